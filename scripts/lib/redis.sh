# shellcheck shell=bash
# Redis in its three forms, for scripts/services: a single server, a cluster, and a server behind Sentinel.

readonly MASTER=idem

# A server that the environment names is not started.
start_redis() {
    [[ -n ${IDEM_TEST_REDIS_URL:-} ]] || start_single
    [[ -n ${IDEM_TEST_REDIS_CLUSTER:-} ]] || start_cluster
    [[ -n ${IDEM_TEST_REDIS_SENTINEL:-} ]] || start_sentinel
}

redis_packages() {
    command -v redis-server >/dev/null || echo redis-server
    command -v redis-sentinel >/dev/null || echo redis-sentinel
}

start_single() {
    local port
    port=$(free_ports 1)
    redis single "$port"
    until_ready "Redis" answers "$port"
    export_variable IDEM_TEST_REDIS_URL "redis://127.0.0.1:$port/"
}

start_cluster() {
    local ports port urls="" nodes=() i
    read -ra ports <<<"$(free_ports 6)"
    for i in 0 1 2; do
        port=${ports[i]}
        redis "cluster-$i" "$port" --cluster-enabled yes --cluster-port "${ports[i + 3]}" \
            --cluster-node-timeout 5000
        nodes+=("127.0.0.1:$port")
        urls+="${urls:+,}redis://127.0.0.1:$port/"
    done
    for i in 0 1 2; do until_ready "cluster node $i" answers "${ports[i]}"; done
    redis-cli --cluster create "${nodes[@]}" --cluster-yes >"$dir/cluster-create.log"
    for i in 0 1 2; do until_ready "the cluster" cluster_is_ok "${ports[i]}"; done
    export_variable IDEM_TEST_REDIS_CLUSTER "$urls"
}

cluster_is_ok() {
    local info
    info=$(cli "$1" cluster info) && [[ $info == *cluster_state:ok* && $info == *cluster_known_nodes:3* ]]
}

start_sentinel() {
    local ports urls="" i
    read -ra ports <<<"$(free_ports 5)"
    redis sentinel-master "${ports[0]}"
    redis sentinel-replica "${ports[1]}" --replicaof 127.0.0.1 "${ports[0]}"
    for i in 0 1; do until_ready "a server behind Sentinel" answers "${ports[i]}"; done
    for i in 2 3 4; do
        start_one_sentinel "sentinel-$i" "${ports[i]}" "${ports[0]}"
        urls+="${urls:+,}redis://127.0.0.1:${ports[i]}/"
    done
    for i in 2 3 4; do until_ready "Sentinel" sentinel_knows_all "${ports[i]}"; done
    export_variable IDEM_TEST_REDIS_SENTINEL "$urls"
    export_variable IDEM_TEST_REDIS_MASTER "$MASTER"
}

start_one_sentinel() {
    local name=$1 port=$2 master=$3
    fresh "$name"
    cat >"$dir/$name/sentinel.conf" <<CONF
port $port
bind 127.0.0.1
dir .
sentinel monitor $MASTER 127.0.0.1 $master 2
sentinel down-after-milliseconds $MASTER 2000
sentinel failover-timeout $MASTER 10000
CONF
    run "$name" redis-server sentinel.conf --sentinel
}

sentinel_knows_all() {
    local master
    master=$(cli "$1" sentinel master "$MASTER" | paste -sd ' ') &&
        [[ $master == *"num-slaves 1 "* && $master == *"num-other-sentinels 2 "* ]]
}

redis() {
    local name=$1 port=$2
    shift 2
    fresh "$name"
    run "$name" redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no --daemonize no "$@"
}

cli() {
    redis-cli -h 127.0.0.1 -p "$@" 2>/dev/null
}

answers() { [[ $(cli "$1" ping) == PONG ]]; }
