#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# test.sh BINARY: installs into a scratch directory and checks what lies there, then takes the init script and the demo
# through their lives with BINARY. Needs no root and touches nothing outside the scratch directory.
set -eu

binary=$(realpath "$1")
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
demo_pid=
cleanup() {
    [ -z "$demo_pid" ] || kill "$demo_pid" 2>/dev/null || true
    [ ! -x "$scratch/init" ] || "$scratch/init" stop >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "test.sh: FAILED: $*" >&2
    exit 1
}

# expect STATUS COMMAND...: runs COMMAND, whose exit status must be STATUS.
expect() {
    want=$1
    shift
    got=0
    "$@" >"$scratch/output" 2>&1 || got=$?
    [ "$got" = "$want" ] || { cat "$scratch/output" >&2 && fail "$* ended with $got, not $want"; }
}

# wait_for COMMAND...: until COMMAND succeeds, for at most ten seconds.
wait_for() {
    tries=100
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "waited in vain for: $*"
        sleep 0.1
    done
}

test_install() {
    export DESTDIR="$scratch/root" PREFIX=/opt/tunnel
    expect 0 sh packaging/install.sh install "$binary"
    for file in opt/tunnel/sbin/tunnel opt/tunnel/lib/systemd/system/tunnel.service etc/init.d/tunnel etc/default/tunnel \
        etc/tunnel/tunnel.conf opt/tunnel/share/man/man8/tunnel.8 opt/tunnel/share/man/man5/tunnel.conf.5 \
        opt/tunnel/share/doc/tunnel/examples/grafana-dashboard.json; do
        [ -s "$DESTDIR/$file" ] || fail "install left no $file"
    done
    grep -q '^ExecStart=/opt/tunnel/sbin/tunnel ' "$DESTDIR/opt/tunnel/lib/systemd/system/tunnel.service" ||
        fail 'the unit does not name the installed binary'
    # The administrator's text stays, the new one comes beside it, and goes when there is nothing new.
    cp "$DESTDIR/etc/tunnel/tunnel.conf" "$scratch/original"
    echo '# edited' >>"$DESTDIR/etc/tunnel/tunnel.conf"
    expect 0 sh packaging/install.sh install "$binary"
    tail -n 1 "$DESTDIR/etc/tunnel/tunnel.conf" | grep -q '^# edited$' || fail 'install overwrote tunnel.conf'
    cmp -s "$scratch/original" "$DESTDIR/etc/tunnel/tunnel.conf.new" || fail 'install left no tunnel.conf.new'
    cp "$scratch/original" "$DESTDIR/etc/tunnel/tunnel.conf"
    expect 0 sh packaging/install.sh install "$binary"
    [ ! -e "$DESTDIR/etc/tunnel/tunnel.conf.new" ] || fail 'a needless tunnel.conf.new'
    cp "$DESTDIR/etc/init.d/tunnel" "$scratch/init.installed"
    expect 0 sh packaging/install.sh uninstall
    left=$(cd "$DESTDIR" && find . -type f | sort | tr '\n' ' ')
    [ "$left" = './etc/default/tunnel ./etc/tunnel/tunnel.conf ' ] || fail "uninstall left $left"
    unset DESTDIR PREFIX
}

is_dead() {
    status=0
    "$scratch/init" status || status=$?
    [ $status = 1 ]
}

test_init_script() {
    sed -e "s|^DAEMON=.*|DAEMON=$binary|" -e "s|^PIDFILE=.*|PIDFILE=$scratch/pid|" -e "s|^RUNDIR=.*|RUNDIR=$scratch|" \
        -e "s|/etc/default/tunnel|$scratch/default|g" "$scratch/init.installed" >"$scratch/init"
    chmod 755 "$scratch/init"
    echo "CONFIG=$scratch/tunnel.conf" >"$scratch/default"
    cat >"$scratch/good.conf" <<EOF
[global]
log = { target = "file:$scratch/log" }

[[service]]
name = "demo"
mode = "demo"
accept = "unix:@tunnel-test-$$"
EOF
    echo 'nonsense = true' >"$scratch/bad.conf"

    cp "$scratch/bad.conf" "$scratch/tunnel.conf"
    expect 3 "$scratch/init" status
    expect 6 "$scratch/init" start
    expect 3 "$scratch/init" status
    expect 7 "$scratch/init" reload
    expect 0 "$scratch/init" stop
    expect 0 "$scratch/init" try-restart
    expect 3 "$scratch/init" status

    cp "$scratch/good.conf" "$scratch/tunnel.conf"
    expect 0 "$scratch/init" start
    expect 0 "$scratch/init" status
    pid=$(cat "$scratch/pid")
    expect 0 "$scratch/init" start
    [ "$(cat "$scratch/pid")" = "$pid" ] || fail 'the second start was not idle'
    expect 0 "$scratch/init" reload
    expect 0 "$scratch/init" force-reload
    expect 0 "$scratch/init" status
    [ "$(cat "$scratch/pid")" = "$pid" ] || fail 'reload started another process'

    cp "$scratch/bad.conf" "$scratch/tunnel.conf"
    for action in reload force-reload restart try-restart; do
        expect 6 "$scratch/init" $action
        expect 0 "$scratch/init" status
        [ "$(cat "$scratch/pid")" = "$pid" ] || fail "$action with a wrong configuration touched the process"
    done

    cp "$scratch/good.conf" "$scratch/tunnel.conf"
    expect 0 "$scratch/init" restart
    [ "$(cat "$scratch/pid")" != "$pid" ] || fail 'restart kept the process'
    pid=$(cat "$scratch/pid")
    expect 0 "$scratch/init" try-restart
    [ "$(cat "$scratch/pid")" != "$pid" ] || fail 'try-restart kept the process'
    kill -KILL "$(cat "$scratch/pid")"
    wait_for is_dead
    expect 0 "$scratch/init" start
    expect 0 "$scratch/init" status
    expect 0 "$scratch/init" stop
    expect 3 "$scratch/init" status
    expect 0 "$scratch/init" stop
    expect 2 "$scratch/init" dance

    # The package was removed, this file stayed.
    sed -i "s|^DAEMON=.*|DAEMON=$scratch/gone|" "$scratch/init"
    expect 0 "$scratch/init" start
    expect 0 "$scratch/init" stop
    expect 4 "$scratch/init" status
}

test_demo() {
    cp -r packaging "$scratch/"
    PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    export PORT
    # In a shell without job control a background process ignores SIGINT, hence python's fresh one.
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' sh "$scratch/packaging/demo.sh" "$binary" >"$scratch/demo.log" 2>&1 &
    demo_pid=$!
    wait_for curl -sf --max-time 5 --cacert "$scratch/demo/ca.pem" "https://localhost:$PORT/"
    [ ! -e "$scratch/demo/ca.key" ] || fail 'the key of the throw-away CA was kept'
    kill -INT "$demo_pid"
    status=0
    wait "$demo_pid" || status=$?
    demo_pid=
    [ $status = 0 ] || { cat "$scratch/demo.log" >&2 && fail "the demo ended with $status after SIGINT"; }
}

test_install
test_init_script
test_demo
echo 'test.sh: install, init script and demo are well'
