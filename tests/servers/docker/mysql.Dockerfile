# Stands for mysql:8.4: the same variables, the same way to give the server arguments.
FROM qzbrain-test/servers:1
COPY mysql-entrypoint.sh /usr/local/bin/
VOLUME /var/lib/mysql
EXPOSE 3306
ENTRYPOINT ["mysql-entrypoint.sh"]
CMD ["mysqld"]
