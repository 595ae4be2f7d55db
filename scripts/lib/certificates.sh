# shellcheck shell=bash
# Certificates of a private authority, for the servers of scripts/services that speak TLS.

authority_made=""

# The authority of this start, DIR/tls/ca.pem, and one certificate for all of its servers.
make_authority() {
    [[ -z $authority_made ]] || return 0
    fresh tls
    authority ca
    certificate server ca serverAuth
    authority_made=yes
} 2>>"$dir/tls.log"

# authority NAME
# The keys are PKCS#8, the only form that Netty reads.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=idem tests $1" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$dir/tls/$1.key" -out "$dir/tls/$1.pem"
}

# certificate NAME AUTHORITY USAGE
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$dir/tls/$1.key" |
        openssl x509 -req -CA "$dir/tls/$2.pem" -CAkey "$dir/tls/$2.key" -CAcreateserial -days 30 \
            -extfile <(printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
                "extendedKeyUsage=$3" "subjectAltName=IP:127.0.0.1,DNS:localhost") \
            -out "$dir/tls/$1.pem"
}
