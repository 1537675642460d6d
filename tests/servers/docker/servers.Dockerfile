# Debian's MariaDB, Redis and nginx on the base that stands for python:3.11-slim-bookworm: what stands for mysql, redis and nginx is made of it.
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server redis-server nginx-light \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/lib/mysql/* /etc/mysql/mariadb.conf.d/* \
        /usr/bin/aria_* /usr/bin/myisam* /usr/bin/innochecksum /usr/bin/mariadb-*dump* /usr/bin/mariadb-slap /usr/bin/mariadb-backup \
    && install -d -o mysql -g mysql /run/mysqld
