#!/bin/bash
# What the official image's entrypoint does, for a MariaDB: MYSQL_DATABASE, MYSQL_USER, MYSQL_PASSWORD and MYSQL_ROOT_PASSWORD (each also as …_FILE).
# The tables are made by a server that listens on its socket only; the container's arguments are the server's.
set -euo pipefail
data=/var/lib/mysql socket=/run/mysqld/mysqld.sock
given() {
    local file=${1}_FILE
    if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-}"; fi
}
[ "${1:-}" != mysqld ] || shift
server=(mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$socket")
if [ ! -d "$data/mysql" ]; then
    chown mysql: "$data"
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
    "${server[@]}" --skip-networking "$@" &
    until mariadb-admin --no-defaults --socket="$socket" ping --silent 2>/dev/null; do sleep 0.1; done
    mariadb --no-defaults --socket="$socket" -uroot <<SQL
CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$(given MYSQL_PASSWORD)';
GRANT ALL ON \`${MYSQL_DATABASE//_/\\_}\`.* TO '$MYSQL_USER'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY '$(given MYSQL_ROOT_PASSWORD)';
SQL
    kill %1
    wait %1
fi
exec "${server[@]}" --port=3306 --bind-address=0.0.0.0 "$@"
