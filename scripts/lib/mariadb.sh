# shellcheck shell=bash
# MariaDB, for scripts/services. It is as durable as it comes.

# Where Debian keeps the server; it is not in everybody's search path.
PATH+=:/usr/sbin

mariadb_packages() {
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null || echo mariadb-server
}

start_mariadb() {
    local port password home="$dir/mariadb" as_root=()
    [[ -z ${IDEM_TEST_MYSQL_URL:-} ]] || return 0
    make_authority
    fresh mariadb
    port=$(server_port)
    password=$(openssl rand -hex 12)
    [[ $(id -u) != 0 ]] || as_root=(--user=root)
    (umask 077 && mysql_users "$password" >"$home/users.sql")
    mariadb-install-db --no-defaults "${as_root[@]}" --datadir="$home/data" --skip-test-db >"$home/init.log" 2>&1
    # The socket's path is relative to the data: a path that is too long is an error.
    run mariadb mariadbd --no-defaults "${as_root[@]}" --datadir="$home/data" --init-file="$home/users.sql" \
        --port="$port" --bind-address=127.0.0.1 --skip-name-resolve --socket=socket --max-connections=200 \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_general_ci \
        --ssl-ca="$dir/tls/ca.pem" --ssl-cert="$dir/tls/server.pem" --ssl-key="$dir/tls/server.key"
    until_booted mariadb
    export_variable IDEM_TEST_MYSQL_URL "mysql://idem:$password@127.0.0.1:$port/idem"
    export_variable IDEM_TEST_MYSQL_CA "$dir/tls/ca.pem"
}

# The server reads them at every start, so they change nothing the second time.
mysql_users() {
    cat <<SQL
CREATE DATABASE IF NOT EXISTS idem;
CREATE USER IF NOT EXISTS idem@'127.0.0.1' IDENTIFIED BY '$1';
GRANT ALL PRIVILEGES ON *.* TO idem@'127.0.0.1' WITH GRANT OPTION;
SQL
}

mariadb_booted() {
    grep -q "ready for connections" "$dir/mariadb/log"
}
