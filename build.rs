// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the crate what it is being built from, and refuses what it cannot be built from.
//!
//! Sets, for `env!` in the library and the binary:
//!
//! | variable | example | |
//! |---|---|---|
//! | `TUNNEL_VERSION` | `0.1.0` | from Cargo.toml |
//! | `TUNNEL_COMMIT` | `3a2211c0d1e2` | empty unless built from a git checkout |
//! | `TUNNEL_FEATURES` | `aws-lc` | enabled cargo features, separated by spaces; may be empty |
//! | `TUNNEL_TLS_LIBRARY` | `OpenSSL 3.0.19` | the library whose headers were found; the one that runs may be newer |
//!
//! The output depends on nothing but the sources, the commit, the features and that library: no date, no host name,
//! no path. The TLS library was found by openssl-sys, whose findings reach us as `DEP_OPENSSL_*` because we depend on
//! it directly (Cargo Book, "The `links` manifest key"); we only read them.

#![expect(clippy::disallowed_macros, reason = "a build script speaks to cargo through its standard output")]

use std::env;
use std::path::Path;
use std::process::Command;

/// The oldest OpenSSL that has what we call: 3.0.0, in the form of `OPENSSL_VERSION_NUMBER` (0xMNN00PP0).
const OLDEST_OPENSSL: u64 = 0x3000_0000;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    match check_target().and_then(|()| tls_library()) {
        Ok(library) => set("TUNNEL_TLS_LIBRARY", &library),
        // Fails the build once this script has ended.
        Err(why) => println!("cargo::error={why}"),
    }
    set("TUNNEL_VERSION", &env::var("CARGO_PKG_VERSION").unwrap_or_default());
    set("TUNNEL_FEATURES", &features());
    set("TUNNEL_COMMIT", &commit().unwrap_or_default());
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}

fn check_target() -> Result<(), String> {
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os == "linux" {
        return Ok(());
    }
    Err(format!(
        "tunnel runs on Linux only, and this build is for {os}: \
         it is built on epoll, accept4, eventfd, signalfd and splice (README.md, \"Why Linux only\")"
    ))
}

/// The name and version of the TLS library that openssl-sys found, or why it will not do.
fn tls_library() -> Result<String, String> {
    let found = |name: &str| env::var(format!("DEP_OPENSSL_{name}")).ok();
    if found("AWSLC").is_some() {
        return Ok("AWS-LC".to_owned());
    }
    let refuse = |library: &str| {
        Err(format!(
            "the TLS library found is {library}, and tunnel needs OpenSSL 3.0 or later: on Debian \
             `apt-get install libssl-dev pkg-config`; for one elsewhere set OPENSSL_DIR; \
             to bring AWS-LC instead, build with `--features aws-lc`"
        ))
    };
    if let Some(number) = found("LIBRESSL_VERSION_NUMBER") {
        return refuse(&format!("LibreSSL (0x{number})"));
    }
    if found("BORINGSSL").is_some() {
        return refuse("BoringSSL");
    }
    let number = found("VERSION_NUMBER").and_then(|text| u64::from_str_radix(&text, 16).ok());
    match number.map(|number| (number, format!("OpenSSL {}", openssl_version(number)))) {
        Some((number, library)) if number >= OLDEST_OPENSSL => Ok(library),
        Some((_, library)) => refuse(&library),
        None => refuse("one that openssl-sys does not name"),
    }
}

/// `OPENSSL_VERSION_NUMBER` as people write it. Since 3.0 it is 0xMNN00PP0; before, 0xMNNFFPPS with the patch PP as a
/// letter, which matters little here: those versions are refused whatever their letter.
fn openssl_version(number: u64) -> String {
    let (major, minor) = (number >> 28, number >> 20 & 0xff);
    let patch = if number >= OLDEST_OPENSSL { number >> 4 & 0xff } else { number >> 12 & 0xff };
    format!("{major}.{minor}.{patch}")
}

/// The enabled features in alphabetical order. Cargo gives them in capitals and with underscores; ours have none.
fn features() -> String {
    let mut names: Vec<String> = env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(str::to_owned))
        .map(|name| name.to_lowercase().replace('_', "-"))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    names.join(" ")
}

/// The commit checked out, abbreviated; `None` outside a git checkout of this very project (a release tarball unpacked
/// inside some other repository must not take that one's commit) and where git is missing.
fn commit() -> Option<String> {
    let root = env::var("CARGO_MANIFEST_DIR").ok()?;
    if !Path::new(&root).join(".git").exists() {
        return None;
    }
    // Every commit and checkout appends to the log of HEAD, and nothing else does: the one file to watch. Naming a
    // file that does not exist would make cargo run this script each time.
    let head_log = Path::new(&root).join(git(&root, &["rev-parse", "--git-path", "logs/HEAD"])?);
    if head_log.exists() {
        println!("cargo::rerun-if-changed={}", head_log.display());
    }
    git(&root, &["rev-parse", "--short=12", "HEAD"])
}

fn git(root: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
