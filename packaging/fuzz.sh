#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# fuzz.sh SECONDS: runs each target under fuzz/ for that long. Finds stay under fuzz/artifacts.
set -eu

seconds=${1:-60}
cd "$(dirname "$0")/.."

fail() {
    printf 'fuzz.sh: %s\n' "$@" >&2
    exit 1
}

[ -f fuzz/Cargo.toml ] || fail 'there is no fuzz/Cargo.toml'
cargo +nightly --version >/dev/null 2>&1 || fail 'nightly Rust is missing:' '    rustup toolchain install nightly'
cargo +nightly fuzz --version >/dev/null 2>&1 || fail 'cargo-fuzz is missing:' '    cargo install cargo-fuzz'
for target in $(cargo +nightly fuzz list); do
    echo "== $target, $seconds s"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds"
done
