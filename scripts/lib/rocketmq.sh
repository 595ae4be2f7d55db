# shellcheck shell=bash
# Apache RocketMQ in Java, for scripts/services: a name server and a broker for each variant, without containers.
#
# The jars come through Maven (tests/rocketmq/pom.xml) into target/rocketmq/VERSION and stay there. All that a server
# writes is below its own directory: configuration, data, logs, unpacked native libraries.

readonly NEWEST=5.5.0
readonly OLDEST=5.0.0 # the route of an older name server has no `enableActingMaster`, which the client insists on
readonly CLUSTER=idem

readonly MODULES=(
    --add-opens=java.base/java.nio=ALL-UNNAMED
    --add-opens=java.base/sun.nio.ch=ALL-UNNAMED
    --add-opens=java.base/java.lang=ALL-UNNAMED
    --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED
    --add-exports=java.base/sun.nio.ch=ALL-UNNAMED
)
# Quick to start and small in memory, rather than quick after hours; no file in the common temporary directory.
readonly JVM=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto)

rocketmq_packages() {
    command -v java >/dev/null && command -v javac >/dev/null || echo openjdk-17-jdk-headless
    command -v mvn >/dev/null || echo maven
}

# start_rocketmq VARIANT..: the servers boot side by side, name servers before their brokers.
start_rocketmq() {
    local variant wanted=()
    for variant; do
        [[ -n $(named_already "$variant") || " ${wanted[*]} " == *" $variant "* ]] || wanted+=("$variant")
    done
    [[ ${#wanted[@]} -gt 0 ]] || return 0
    [[ ${wanted[*]} != *tls* ]] || make_certificates
    for variant in "${wanted[@]}"; do
        fetch_jars "$(version_of "$variant")"
        start_name_server "$variant"
    done
    for variant in "${wanted[@]}"; do
        until_booted "names-$variant"
        start_broker "$variant"
        write_commands "$variant"
    done
    for variant in "${wanted[@]}"; do
        until_booted "broker-$variant"
        [[ $variant != acl ]] || make_users
        export_variant "$variant"
    done
}

# The variable of a variant: IDEM_TEST_ROCKETMQ, IDEM_TEST_ROCKETMQ_ACL ..
suffix_of() { [[ $1 == plain ]] || echo "_${1^^}"; }

named_already() {
    local variable
    variable=IDEM_TEST_ROCKETMQ$(suffix_of "$1")
    echo "${!variable:-}"
}

version_of() { if [[ $1 == oldest ]]; then echo "$OLDEST"; else echo "$NEWEST"; fi; }

# The address of a variant's name server.
names_of() { echo "127.0.0.1:$(<"$dir/names-$1/port")"; }

export_variant() {
    local suffix
    suffix=$(suffix_of "$1")
    export_variable "IDEM_TEST_ROCKETMQ$suffix" "$(names_of "$1")"
    export_variable "IDEM_TEST_MQADMIN$suffix" "$dir/mqadmin/$1"
    export_variable "IDEM_TEST_JAVA_CLIENT$suffix" "$dir/client/$1"
}

# --- jars ---

jars_of() { echo "$root/target/rocketmq/$1"; }

# fetch_jars VERSION: nothing to do where the jars are complete and made from what the repository says now.
fetch_jars() {
    local jars source="$root/tests/rocketmq" sum newest=()
    jars=$(jars_of "$1")
    mkdir -p "$jars"
    (
        exec 9>"$jars.lock"
        flock 9
        sum=$(find "$source" -type f -exec sha256sum {} + | sort | sha256sum)
        [[ $(cat "$jars/complete" 2>/dev/null) != "$sum" ]] || exit 0
        echo "services: fetching RocketMQ $1" >&2
        rm -rf "$jars"
        mkdir -p "$jars/classes"
        mvn --batch-mode --quiet --no-transfer-progress -f "$source/pom.xml" "-Drocketmq.version=$1" \
            dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$jars/lib" >"$jars/maven.log" ||
            { cat "$jars/maven.log" >&2; exit 1; }
        # Older clients cannot all do what the load does.
        [[ $1 != "$NEWEST" ]] || newest=("$source"/newest/*.java)
        javac -nowarn -proc:none -cp "$jars/lib/*" -d "$jars/classes" "$source"/*.java "${newest[@]}"
        cp -r "$source/META-INF" "$jars/classes"
        echo "$sum" >"$jars/complete"
    )
}

# --- servers ---

# java_server NAME VERSION HEAP DIRECT ARGUMENT..: runs a server of that version in its directory.
java_server() {
    local name=$1 jars heap=$3 direct=$4
    jars=$(jars_of "$2")
    shift 4
    mkdir -p "$dir/$name/tmp"
    logging "$name"
    # Few malloc arenas: the many threads would keep a heap of their own each.
    run "$name" env ROCKETMQ_HOME="$dir/$name" MALLOC_ARENA_MAX=2 \
        java "${JVM[@]}" "${MODULES[@]}" -Xms64m "-Xmx$heap" "-XX:MaxDirectMemorySize=$direct" \
        "-Duser.home=$dir/$name" "-Djava.io.tmpdir=$dir/$name/tmp" \
        "-Drmq.logback.configurationFile=$dir/$name/conf/logback.xml" -cp "$jars/classes:$jars/lib/*" "$@"
}

# All goes to the server's `log`. RocketMQ 5.0 reads the file at a place of its own, and does not start without it.
logging() {
    local conf="$dir/$1/conf"
    mkdir -p "$conf"
    cat >"$conf/logback.xml" <<'XML'
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %t - %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
XML
    ln -s logback.xml "$conf/logback_namesrv.xml"
    ln -s logback.xml "$conf/logback_broker.xml"
}

start_name_server() {
    local name="names-$1" port options=()
    fresh "$name"
    port=$(server_port)
    echo "$port" >"$dir/$name/port"
    cat >"$dir/$name/server.conf" <<CONF
bindAddress=127.0.0.1
listenPort=$port
CONF
    mapfile -t options < <(tls_options "$1")
    java_server "$name" "$(version_of "$1")" 256m 64m "${options[@]}" \
        org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/$name/server.conf"
}

start_broker() {
    local name="broker-$1" port options=()
    fresh "$name"
    port=$(server_port)
    echo "$port" >"$dir/$name/port"
    broker_conf "$1" "$port" >"$dir/$name/server.conf"
    mapfile -t options < <(tls_options "$1")
    java_server "$name" "$(version_of "$1")" 512m 256m "${options[@]}" \
        org.apache.rocketmq.broker.BrokerStartup -c "$dir/$name/server.conf"
}

broker_conf() {
    local store="$dir/broker-$1/store"
    # Topics and groups come into being when they are used, as a broker has it by default: a test needs no mqadmin
    # for a topic of its own. The sizes of files keep the disk's use low. Names are registered again after 10 s, the
    # shortest time, so that a name server which was restarted knows its broker soon. A flush of the timer writes its
    # whole wheel of 38 MB: every second, as it comes, that keeps a fifth of a core busy. After its first transaction,
    # 5.5.0 keeps a whole core busy: it waits for nothing once transactionOpBatchInterval has gone by without one more
    # (TransactionalOpBatchService). So that is a day here, and what a transaction became is written at once.
    cat <<CONF
brokerClusterName=$CLUSTER
brokerName=broker-$1
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
listenPort=$2
namesrvAddr=$(names_of "$1")
registerNameServerPeriod=10000
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
enablePropertyFilter=true
storePathRootDir=$store
storePathCommitLog=$store/commitlog
mappedFileSizeCommitLog=33554432
mappedFileSizeConsumeQueue=200000
mappedFileSizeTimerLog=6553600
maxHashSlotNum=50000
maxIndexNum=200000
flushIntervalCommitLog=100
flushConsumeQueueThoroughInterval=1000
flushConsumerOffsetInterval=1000
flushDelayOffsetInterval=1000
timerFlushIntervalMs=600000
transactionOpBatchInterval=86400000
transactionOpMsgMaxSize=1
diskMaxUsedSpaceRatio=98
CONF
    case $1 in
        acl) acl_conf ;;
        # They wait for nothing in the tests, and a timer keeps a broker busy.
        tls | mtls) echo "timerWheelEnable=false" ;;
        oldest)
            echo "timerWheelEnable=false"
            first_acl_conf
            ;;
        levels)
            echo "timerWheelEnable=false"
            echo "messageDelayLevel=1s 1s 2s 2s 3s 3s 4s 4s 5s 5s 6s 6s 7s 7s 8s 8s 9s 10s"
            # Transactions are asked for soon, and given up after five times.
            printf '%s\n' transactionTimeOut=1000 transactionCheckInterval=1000 transactionCheckMax=5
            ;;
    esac
}

# A broker is up when its name server knows it.
rocketmq_booted() {
    local log="$dir/$1/log"
    grep -q "boot success" "$log" || return 1
    [[ $1 != broker-* ]] || grep -q "Registering current broker to name server completed" "$log"
}

# --- commands ---

# Commands for each variant, which know the name server, the credentials and the certificates: mqadmin, and Apache's client
# for the tests (tests/rocketmq/JavaClient.java). mqadmin itself exits with 0 whatever happens: here it fails when an
# exception was printed.
write_commands() {
    local home="$dir/mqadmin/home-$1" jars options=() java
    mapfile -t options < <(tls_options "$1")
    jars=$(jars_of "$(version_of "$1")")
    mkdir -p "$home/tmp" "$home/conf" "$dir/client"
    echo '<configuration><root level="OFF"/></configuration>' >"$home/conf/logback_tools.xml"
    java=$(printf '%q ' java "${JVM[@]}" "${MODULES[@]}" -Xmx128m "-Duser.home=$home" "-Djava.io.tmpdir=$home/tmp" \
        "-Drmq.logback.configurationFile=$home/conf/logback_tools.xml" "${options[@]}" -cp "$jars/classes:$jars/lib/*")
    cat >"$dir/mqadmin/$1" <<SCRIPT
#!/usr/bin/env bash
# mqadmin COMMAND ARGUMENT..; the name server need not be named. Fails when mqadmin reports an exception.
export ROCKETMQ_HOME=$(printf %q "$home") NAMESRV_ADDR=\${NAMESRV_ADDR:-$(names_of "$1")}
errors=\$(mktemp "\$ROCKETMQ_HOME/errors.XXXXXX")
trap 'rm -f "\$errors"' EXIT
$java org.apache.rocketmq.tools.command.MQAdminStartup "\$@" 2>"\$errors"
code=\$?
cat "\$errors" >&2
! grep -q Exception "\$errors" || exit 1
exit \$code
SCRIPT
    cat >"$dir/client/$1" <<SCRIPT
#!/usr/bin/env bash
# send TOPIC, or consume GROUP TOPIC TAGS [ADDRESS], or load TOPIC
export NAMESRV_ADDR=$(names_of "$1")
[[ \$1 != load ]] || { shift && exec $java JavaLoad "\$@"; }
exec $java JavaClient "\$@"
SCRIPT
    chmod +x "$dir/mqadmin/$1" "$dir/client/$1"
}

mqadmin() {
    local variant=$1
    shift
    "$dir/mqadmin/$variant" "$@"
}

# --- ACL ---

readonly TEST_USER=tests RESTRICTED_USER=restricted ADMIN_USER=admin

# Who may do what: the administrator all; the tests' user all with topics and groups; the restricted one may read and
# write topics that begin with "allowed", and take part in every group.
acl_conf() {
    local provider=org.apache.rocketmq.auth secret
    secret=$(new_secret "$ADMIN_USER")
    cat <<CONF
authenticationEnabled=true
authenticationProvider=$provider.authentication.provider.DefaultAuthenticationProvider
authenticationMetadataProvider=$provider.authentication.provider.LocalAuthenticationMetadataProvider
initAuthenticationUser={"username":"$ADMIN_USER","password":"$secret"}
innerClientAuthenticationCredentials={"accessKey":"$ADMIN_USER","secretKey":"$secret"}
authorizationEnabled=true
authorizationProvider=$provider.authorization.provider.DefaultAuthorizationProvider
authorizationMetadataProvider=$provider.authorization.provider.LocalAuthorizationMetadataProvider
CONF
}

# ACL 1.0, which releases before 5.3 have, with an administrator and a user who may take part in every group and read no
# topic; and consumer groups that only the administrator makes. A later line wins over an earlier one.
first_acl_conf() {
    local conf="$dir/broker-oldest/conf" home="$dir/mqadmin/home-oldest/conf" tests restricted
    tests=$(openssl rand -hex 12)
    restricted=$(openssl rand -hex 12)
    mkdir -p "$conf" "$home"
    cat >"$conf/plain_acl.yml" <<YML
accounts:
  - accessKey: $TEST_USER-oldest
    secretKey: "$tests"
    admin: true
  - accessKey: $RESTRICTED_USER-oldest
    secretKey: "$restricted"
    admin: false
    defaultTopicPerm: DENY
    defaultGroupPerm: SUB
YML
    printf 'accessKey: %s\nsecretKey: "%s"\n' "$TEST_USER-oldest" "$tests" >"$home/tools.yml"
    export_variable IDEM_TEST_ROCKETMQ_OLDEST_TESTS_ACCESS_KEY "$TEST_USER-oldest"
    export_variable IDEM_TEST_ROCKETMQ_OLDEST_TESTS_SECRET_KEY "$tests"
    export_variable IDEM_TEST_ROCKETMQ_OLDEST_RESTRICTED_ACCESS_KEY "$RESTRICTED_USER-oldest"
    export_variable IDEM_TEST_ROCKETMQ_OLDEST_RESTRICTED_SECRET_KEY "$restricted"
    echo "aclEnable=true"
    echo "autoCreateSubscriptionGroup=false"
}

# new_secret USER: makes it, keeps it for the administrator's commands and for the tests, and prints it.
new_secret() {
    local secret suffix=ACL_${1^^}
    secret=$(openssl rand -hex 12)
    export_variable "IDEM_TEST_ROCKETMQ_${suffix}_ACCESS_KEY" "$1"
    export_variable "IDEM_TEST_ROCKETMQ_${suffix}_SECRET_KEY" "$secret"
    if [[ $1 == "$ADMIN_USER" ]]; then
        mkdir -p "$dir/mqadmin/home-acl/conf"
        printf 'accessKey: %s\nsecretKey: "%s"\n' "$1" "$secret" >"$dir/mqadmin/home-acl/conf/tools.yml"
    fi
    echo "$secret"
}

make_users() {
    local all=Pub,Sub,Create,Update,Delete,Get,List
    make_user "$TEST_USER" -r "Topic:*,Group:*" -a "$all" &
    local other=$!
    make_user "$RESTRICTED_USER" -r "Topic:allowed*,Group:*" -a Pub,Sub
    wait "$other"
}

# make_user USER RIGHT..
make_user() {
    local user=$1 where=(-c "$CLUSTER")
    shift
    mqadmin acl createUser "${where[@]}" -u "$user" -p "$(new_secret "$user")" -t Normal
    mqadmin acl createAcl "${where[@]}" -s "User:$user" -d Allow "$@"
} >>"$dir/mqadmin/users.log" 2>&1

# --- TLS ---

# Options of the JVM for a variant with TLS, one a line, for its servers (which call each other) and for mqadmin.
tls_options() {
    local tls="$dir/tls"
    [[ $1 == tls || $1 == mtls ]] || return 0
    printf '%s\n' -Dtls.enable=true -Dtls.test.mode.enable=false "-Dtls.config.file=$tls/none" \
        -Dtls.server.mode=enforcing "-Dtls.server.certPath=$tls/server.pem" "-Dtls.server.keyPath=$tls/server.key" \
        -Dtls.client.authServer=true "-Dtls.client.trustCertPath=$tls/ca.pem"
    [[ $1 == tls ]] ||
        printf '%s\n' -Dtls.server.need.client.auth=require -Dtls.server.authClient=true \
            "-Dtls.server.trustCertPath=$tls/ca.pem" \
            "-Dtls.client.certPath=$tls/client.pem" "-Dtls.client.keyPath=$tls/client.key"
}

# Beside the servers' own: a certificate for clients, and another authority and its client that nobody trusts.
make_certificates() {
    make_authority
    certificate client ca clientAuth
    authority stranger-ca
    certificate stranger stranger-ca clientAuth
    export_variable IDEM_TEST_ROCKETMQ_CA "$dir/tls/ca.pem"
    export_variable IDEM_TEST_ROCKETMQ_CLIENT_CERT "$dir/tls/client.pem"
    export_variable IDEM_TEST_ROCKETMQ_CLIENT_KEY "$dir/tls/client.key"
    export_variable IDEM_TEST_ROCKETMQ_STRANGER_CA "$dir/tls/stranger-ca.pem"
    export_variable IDEM_TEST_ROCKETMQ_STRANGER_CERT "$dir/tls/stranger.pem"
    export_variable IDEM_TEST_ROCKETMQ_STRANGER_KEY "$dir/tls/stranger.key"
} 2>>"$dir/tls.log"
