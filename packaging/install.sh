#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# install.sh install BINARY | uninstall: puts the daemon, the tunnelctl that lies beside it, their pages, services and
# configuration under DESTDIR, programs under PREFIX (/usr/local). Starts and stops nothing. Files an administrator edits are never overwritten: the new text
# comes beside them as FILE.new, and uninstall leaves them.
set -eu

prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
sbin=$root$prefix/sbin
bin=$root$prefix/bin
share=$root$prefix/share
examples=$share/doc/tunnel/examples
completions=$share/bash-completion/completions
units=$root$prefix/lib/systemd/system
action=${1:-}
cd "$(dirname "$0")/.."

# place MODE FILE TARGET: installs FILE, with the daemon's path in it made true.
place() {
    mkdir -p "$(dirname "$3")"
    sed "s|/usr/sbin/tunnel|$prefix/sbin/tunnel|g" "$2" >"$3"
    chmod "$1" "$3"
}

# place_edited MODE FILE TARGET: as place, but never over a file that is there.
place_edited() {
    rm -f "$3.new"
    if [ ! -e "$3" ]; then
        place "$1" "$2" "$3"
        return
    fi
    place "$1" "$2" "$3.new"
    if cmp -s "$3" "$3.new"; then
        rm -f "$3.new"
    else
        echo "install.sh: $3 is kept; the new one is $3.new"
    fi
}

install_all() {
    mkdir -p "$sbin"
    # A new file and a rename: the program may be running, and must not be cut short at any moment.
    install -m 755 "$1" "$sbin/tunnel.new"
    mv -f "$sbin/tunnel.new" "$sbin/tunnel"
    mkdir -p "$bin" "$completions"
    install -m 755 "$(dirname "$1")/tunnelctl" "$bin/tunnelctl.new"
    mv -f "$bin/tunnelctl.new" "$bin/tunnelctl"
    install -m 644 packaging/tunnelctl.bash-completion "$completions/tunnelctl"
    for page in man/*.[1-8]; do
        mkdir -p "$share/man/man${page##*.}"
        install -m 644 "$page" "$share/man/man${page##*.}/"
    done
    mkdir -p "$examples"
    install -m 644 packaging/examples/* "$examples/"
    place 644 packaging/tunnel.service "$units/tunnel.service"
    place_edited 755 packaging/tunnel.init "$root/etc/init.d/tunnel"
    place_edited 644 packaging/tunnel.default "$root/etc/default/tunnel"
    place_edited 644 tunnel.conf "$root/etc/tunnel/tunnel.conf"
}

uninstall_all() {
    rm -f "$sbin/tunnel" "$bin/tunnelctl" "$completions/tunnelctl" "$units/tunnel.service"
    rm -f "$root/etc/tunnel/tunnel.conf.new" "$root/etc/default/tunnel.new"
    rm -f "$root/etc/init.d/tunnel" "$root/etc/init.d/tunnel.new"
    for page in man/*.[1-8]; do
        rm -f "$share/man/man${page##*.}/$(basename "$page")"
    done
    for example in packaging/examples/*; do
        rm -f "$examples/$(basename "$example")"
    done
    rmdir "$examples" "$share/doc/tunnel" 2>/dev/null || true
    echo "install.sh: configuration is kept: $root/etc/tunnel $root/etc/default/tunnel"
}

case "$action" in
install) install_all "$2" ;;
uninstall) uninstall_all ;;
*) echo 'usage: install.sh install BINARY | uninstall' >&2 && exit 64 ;;
esac
