# shellcheck shell=bash
# PostgreSQL, for scripts/services. It is as durable as it comes (fsync is on).

postgres_packages() {
    [[ -n $(postgres_programs) ]] || echo postgresql
}

# The folder of the newest release's programs, which Debian keeps out of the search path.
postgres_programs() {
    local found=(/usr/lib/postgresql/*/bin/initdb)
    if [[ -x ${found[-1]} ]]; then dirname "${found[-1]}"; else dirname "$(command -v initdb)" 2>/dev/null || true; fi
}

start_postgres() {
    local port programs password as_user=()
    [[ -z ${IDEM_TEST_POSTGRES_URL:-} ]] || return 0
    make_authority
    fresh postgres
    port=$(server_port)
    programs=$(postgres_programs)
    password=$(openssl rand -hex 12)
    mapfile -t as_user < <(other_than_root)
    make_postgres_data >"$dir/postgres/init.log" 2>&1
    run postgres "${as_user[@]}" "$programs/postgres" -D "$dir/postgres/data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=200 -c log_min_messages=warning \
        -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key
    until_booted postgres
    export_variable IDEM_TEST_POSTGRES_URL "postgres://idem:$password@127.0.0.1:$port/idem"
    export_variable IDEM_TEST_POSTGRES_CA "$dir/tls/ca.pem"
}

# PostgreSQL refuses to run as root. Its user keeps the right to pass folders that are closed to others, because nobody
# says that the directory of the servers is open to all.
other_than_root() {
    local user=postgres
    [[ $(id -u) == 0 ]] || return 0
    id "$user" >/dev/null 2>&1 || user=nobody
    printf '%s\n' setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups \
        --inh-caps=+dac_override --ambient-caps=+dac_override
}

make_postgres_data() {
    local data="$dir/postgres/data" password_file="$dir/postgres/password"
    mkdir "$data"
    (umask 077 && echo "$password" >"$password_file")
    [[ ${#as_user[@]} == 0 ]] || chown -R "${as_user[1]#*=}" "$dir/postgres"
    "${as_user[@]}" "$programs/initdb" --pgdata="$data" --username=idem --pwfile="$password_file" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C --no-sync
    rm "$password_file"
    cp "$dir/tls/server.pem" "$dir/tls/server.key" "$data"
    [[ ${#as_user[@]} == 0 ]] || chown "${as_user[1]#*=}" "$data"/server.*
    echo 'CREATE DATABASE idem' | "${as_user[@]}" "$programs/postgres" --single -D "$data" postgres
}

postgres_booted() {
    grep -q "database system is ready to accept connections" "$dir/postgres/log"
}
