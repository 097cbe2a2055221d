#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# need.sh PURPOSE: makes sure that a Debian machine has what PURPOSE takes, and does nothing when it has.
#
# Everything that is missing is installed with one apt-get, through sudo unless root. Servers that the tests and the
# benchmark start by themselves (nginx, haproxy, …) come as packages that would start them at once and at each boot:
# both are prevented for those installed here; one that was there before is left as it is.
set -eu

build='gcc libc6-dev pkgconf libssl-dev ca-certificates'
run='openssl curl'
test='openssl curl chromium gnutls-bin nginx haproxy rsyslog socat strace mandoc python3 procps iproute2 nftables prometheus hatop prometheus-haproxy-exporter tmux dnsmasq-base'
# Servers and clients that begin in clear and change to TLS.
test="$test postfix swaks dovecot-imapd dovecot-pop3d dovecot-managesieved postgresql mariadb-server mariadb-client slapd ldap-utils vsftpd inspircd prosody redis-server"
# The package of INN cannot be set up on a machine that does not know its own full name; its test is passed over there.
! hostname --fqdn 2>/dev/null | grep -q '\.' || test="$test inn2"
# Proxies, and clients of proxies.
test="$test dante-server microsocks netcat-openbsd openssh-client openssh-server tinyproxy"
check='mandoc shellcheck'
bench='openssl haproxy nginx libnginx-mod-stream hitch stunnel4 sniproxy strace procps'
aws_lc='cmake g++ libclang-dev'
servers='nginx haproxy rsyslog prometheus-haproxy-exporter hitch stunnel4 sniproxy prometheus
postfix dovecot postgresql mariadb slapd vsftpd inn2 inspircd prosody redis-server
dante-server microsocks openssh-server tinyproxy'

policy=/usr/sbin/policy-rc.d
mark='Made by the need.sh of tunnel, for the time of one installation.'

fail() {
    printf 'need.sh: %s\n' "$@" >&2
    exit 1
}

# Prints those of the packages $@ that are not installed. Reads dpkg's database only: quick, and no network.
missing() {
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | {
        present=" $(sed -n 's/^installed //p' | tr '\n' ' ')"
        for package; do
            case "$present" in *" $package "*) ;; *) printf '%s ' "$package" ;; esac
        done
    }
}

need_rust() {
    command -v cargo >/dev/null ||
        fail 'cargo not found. Install Rust from https://rustup.rs (on Debian 13 also: apt-get install cargo).'
    oldest=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml)
    minor=$(cargo --version | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$oldest" ] ||
        fail "Rust 1.$oldest or later is needed, and $(command -v cargo) is of 1.${minor:-?}. See https://rustup.rs."
}

need_rust_components() {
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
        return
    fi
    command -v rustup >/dev/null || fail 'rustfmt and clippy are needed (on Debian: apt-get install rustfmt rust-clippy).'
    rustup component add rustfmt clippy
}

# Keeps a server that was just installed from starting at boot. Never fails: the tests run all the same.
keep_down() {
    case "$1" in
    dante-server) set -- danted ;;
    openssh-server) set -- ssh ;;
    esac
    if [ -x "/etc/init.d/$1" ]; then
        "/etc/init.d/$1" stop >/dev/null 2>&1 || true
        update-rc.d "$1" disable >/dev/null 2>&1 || true
    fi
    if command -v systemctl >/dev/null; then
        systemctl disable "$1.service" >/dev/null 2>&1 || true
        [ ! -d /run/systemd/system ] || systemctl stop "$1.service" >/dev/null 2>&1 || true
    fi
    echo "need.sh: $1 is installed for the tests and was kept from starting by itself"
}

# As root: installs the packages $@, without starting a service.
install_packages() {
    # invoke-rc.d and deb-systemd-invoke both ask this script before they start anything; an administrator's own one
    # stays in charge. One of ours is left behind only by SIGKILL, and removed the next time.
    if [ ! -e "$policy" ] || grep -q "$mark" "$policy"; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' HUP INT TERM
        printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update || echo 'need.sh: apt-get update failed; trying with the lists there are' >&2
    apt-get -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends install "$@" ||
        fail 'apt-get could not install what is missing. By hand:' "    apt-get install $*"
    for server in $servers; do
        case " $* " in *" $server "* | *" $server-"*) keep_down "$server" ;; esac
    done
}

[ $# -ge 1 ] || fail 'usage: need.sh build|run|test|check|bench'
if [ "$1" = --install ]; then
    shift
    install_packages "$@"
    exit
fi

# The browser's driver comes through npm, which may be there without Debian's package (nodejs from elsewhere brings one).
command -v npm >/dev/null || test="$test nodejs npm"

case "$1" in
build) wanted=$build ;;
run) wanted="$build $run" ;;
test) wanted="$build $test" ;;
check) wanted="$build $check" ;;
bench) wanted="$build $bench" ;;
*) fail "unknown purpose: $1" ;;
esac
case " ${FEATURES:-} " in *aws-lc*) wanted="$wanted $aws_lc" ;; esac

cd "$(dirname "$0")/.."
need_rust
[ "$1" != check ] || need_rust_components
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "need.sh: not a Debian system, so nothing is installed; these must be there (Debian's names): $wanted" >&2
else
    # shellcheck disable=SC2086 # a list of package names
    absent=$(missing $wanted)
    if [ -n "$absent" ]; then
        echo "need.sh: installing $absent"
        # shellcheck disable=SC2086 # a list of package names
        if [ "$(id -u)" = 0 ]; then
            sh packaging/need.sh --install $absent
        elif command -v sudo >/dev/null; then
            sudo sh packaging/need.sh --install $absent
        else
            fail 'missing packages, and neither root nor sudo to install them. As root:' "    apt-get install $absent"
        fi
    fi
fi

# What drives the browser in tests/it/page.rs: as its lock file says, and anew when that has changed.
installed=tests/page/node_modules/.package-lock.json
if [ "$1" = test ] && [ -z "$(find "$installed" -newer tests/page/package-lock.json 2>/dev/null)" ]; then
    npm ci --prefix tests/page --ignore-scripts --no-audit --no-fund
fi
