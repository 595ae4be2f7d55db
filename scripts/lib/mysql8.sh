# shellcheck shell=bash
# Oracle's MySQL, for scripts/services. Debian has it in its unstable release alone (9.7 when this was written; the 8 in
# the name is the oldest that the stores support), so it runs out of a folder of its own, target/mysql, with that
# release's libraries, and nothing of it is installed. To have a newer one, delete that folder.

mysql8_packages() { :; }

start_mysql8() {
    local port password home="$dir/mysql8" programs="$root/target/mysql" server=() as_root=()
    [[ -z ${IDEM_TEST_MYSQL8_URL:-} ]] || return 0
    make_authority
    fetch_mysql
    fresh mysql8
    port=$(server_port)
    password=$(openssl rand -hex 12)
    [[ $(id -u) != 0 ]] || as_root=(--user=root)
    (umask 077 && mysql_users "$password" >"$home/users.sql")
    server=("$programs"/root/usr/lib/*/ld-linux-*.so.* --library-path "$(dirname "$programs"/root/usr/lib/*/libc.so.6)"
        "$programs/root/usr/sbin/mysqld" --no-defaults "${as_root[@]}" --basedir="$programs/root/usr"
        --datadir="$home/data")
    "${server[@]}" --initialize-insecure >"$home/init.log" 2>&1
    run mysql8 "${server[@]}" --init-file="$home/users.sql" --port="$port" --bind-address=127.0.0.1 \
        --skip-name-resolve --socket=socket --mysqlx=OFF --secure-file-priv=NULL --max-connections=200 \
        --ssl-ca="$dir/tls/ca.pem" --ssl-cert="$dir/tls/server.pem" --ssl-key="$dir/tls/server.key"
    until_booted mysql8
    export_variable IDEM_TEST_MYSQL8_URL "mysql://idem:$password@127.0.0.1:$port/idem"
    export_variable IDEM_TEST_MYSQL8_CA "$dir/tls/ca.pem"
}

# The server and all that it needs, down to the C library: apt sees a machine on which nothing is installed.
fetch_mysql() (
    mkdir -p "$programs"
    exec 9>"$programs.lock"
    flock 9
    [[ ! -f $programs/complete ]] || exit 0
    echo "services: fetching MySQL from Debian's unstable release" >&2
    rm -rf "$programs"
    mkdir -p "$programs"/apt/{lists,archives}/partial "$programs/root"
    : >"$programs/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) sid main" \
        >"$programs/apt/sources.list"
    {
        apt_apart update
        apt_apart install --download-only -y mysql-server-core
        find "$programs/apt/archives" -name '*.deb' ! -name 'perl*' ! -name 'libperl*' \
            -exec dpkg-deb -x {} "$programs/root" \;
    } >"$programs/fetch.log" 2>&1 || { cat "$programs/fetch.log" >&2; exit 1; }
    rm -rf "$programs/apt"
    touch "$programs/complete"
)

# The mirror that this machine takes Debian's packages from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep --max-count=1 '/debian/$'
}

apt_apart() {
    local apt="$programs/apt"
    apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::status="$apt/status" \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache::archives="$apt/archives" -o Dir::Cache::pkgcache= \
        -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=true -o APT::Sandbox::User=root \
        -o APT::Install-Recommends=false "$@"
}

mysql8_booted() {
    grep -q "ready for connections" "$dir/mysql8/log"
}
