#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# demo.sh BINARY: makes a throw-away certificate and a configuration in ./demo and becomes BINARY with them, in the
# foreground. PORT (8443) is where it listens, on 127.0.0.1 only.
set -eu

binary=$1
port=${PORT:-8443}
days=7
cd "$(dirname "$0")/.."
case "$binary" in /*) ;; *) binary=$PWD/$binary ;; esac

umask 077
mkdir -p demo
cd demo

# True if the certificate is there, belongs to the CA, is for its names and good for another day.
certificate_is_good() {
    [ -s server.key ] && [ -s ca.pem ] &&
        openssl verify -CAfile ca.pem -verify_hostname localhost server.pem >/dev/null 2>&1 &&
        openssl x509 -in server.pem -noout -checkend 86400 >/dev/null 2>&1
}

# A CA whose key lives for one signature, and a server certificate signed by it. Extensions are spelt out here, so that
# the machine's own openssl.cnf changes nothing.
make_certificate() {
    cat >openssl.cnf <<'EOF'
[req]
prompt = no
distinguished_name = ca_name
[ca_name]
CN = throw-away CA of the tunnel demo
[server_name]
CN = localhost
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EOF
    rm -f ca.key ca.pem server.key server.pem
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl ecparam -name prime256v1 -genkey -noout -out server.key
    openssl req -new -x509 -config openssl.cnf -extensions ca -key ca.key -days $days -out ca.pem
    sed 's/^distinguished_name = .*/distinguished_name = server_name/' openssl.cnf >request.cnf
    openssl req -new -config request.cnf -key server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" \
        -days $days -extfile openssl.cnf -extensions server -out server.pem 2>/dev/null
    rm -f ca.key server.csr request.cnf openssl.cnf
}

# The backend is a second service of the same process. Its abstract address carries the process id, which stays when
# this shell becomes tunnel, so that two demos do not meet.
write_configuration() {
    cat >tunnel.conf <<EOF
# Made by "make run", anew each time.
[global]
log = { target = "stderr" }

# TLS from the client, plain to the backend.
[[service]]
name = "web"
accept = { address = ["127.0.0.1:$port"], tls = { certificate = "server.pem", key = "server.key" } }
connect = "unix:@tunnel-demo-$$"

# The backend: it answers by itself.
[[service]]
name = "demo"
mode = "demo"
accept = "unix:@tunnel-demo-$$"
EOF
}

if ! certificate_is_good; then
    make_certificate
    certificate_is_good || { echo 'demo.sh: openssl made no usable certificate in ./demo' >&2; exit 1; }
fi
write_configuration
"$binary" -t -q -c tunnel.conf

cat <<EOF

tunnel: TLS on 127.0.0.1:$port in front of a small backend of its own. In another terminal, from $(dirname "$PWD"):

    curl --cacert demo/ca.pem https://localhost:$port/
    openssl s_client -connect localhost:$port -servername localhost -CAfile demo/ca.pem -verify_return_error

Below is the log, a line per connection. Ctrl-C ends it. The configuration is demo/tunnel.conf.

EOF
exec "$binary" -c tunnel.conf
