# Debian's MariaDB, Redis and nginx on the base that stands for python:3.11-slim-bookworm: what stands for mysql, redis and nginx is made of it.
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mariadb-server redis-server nginx-light \
    && rm -rf /var/lib/apt/lists/* /var/lib/mysql/* /etc/mysql/mariadb.conf.d/* \
    && install -d -o mysql -g mysql /run/mysqld
