// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is dumped reads back as the same, and shows every key there is.

use super::super::raw::TABLES;
use super::super::tests::checked;
use super::super::tree::{self, Entries, Value};
use super::*;
use crate::config::report::Report;

/// Every key that can stay together in one file, with no value at its default.
const FULL: &str = r#"
[global]
workers = 3
max_connections = 7
shutdown_timeout = "90s"
log = { target = "syslog", facility = "daemon", level = "debug", socket = "/run/log \"q\"" }
[[service]]
name = "one"
mode = "relay"
buffer = "1B"
truncation = "close"
timeout = { handshake = "1ms", connect = "2s", idle = "3m", half_close = "4h", linger = "5d" }
[service.accept]
address = ["*:1", "unix:s", "unix:@a"]
[service.accept.tls]
certificate = ["a.pem", "b.pem"]
key = ["a.key", "b.key"]
min_version = "1.3"
max_version = "1.3"
ciphersuites = "S"
groups = "G"
ciphers = "C"
alpn = ["h2", "http/1.1"]
client_ca = "ca.pem"
verify = "optional"
[service.connect]
address = ["localhost:2", "[::1]:3"]
[service.connect.tls]
ca = "/ca.pem"
server_name = "n"
verify = false
certificate = "c.pem"
key = "c.key"
min_version = "1.2"
max_version = "1.2"
ciphers = "C"
ciphersuites = "S"
groups = "G"
alpn = ["h2"]
[[service]]
name = "two"
mode = "demo"
accept = "127.0.0.1:0"
"#;

fn dumped(text: &str) -> String {
    let (settings, report) = checked(text);
    assert!(!report.has_errors(), "{report}");
    dump(&settings)
}

#[test]
fn what_is_dumped_reads_back_as_the_same() {
    for text in [FULL, "[[service]]\nname='a'\naccept='*:1'\nconnect={address='h:2',tls=true}\n"] {
        let first = dumped(text);
        assert_eq!(dumped(&first), first, "{first}");
    }
}

#[test]
fn defaults_are_filled_in_and_paths_are_absolute() {
    let text = dumped("[[service]]\nname='a'\naccept='unix:s'\nconnect={address='h:2',tls=true}\n");
    for line in [
        "workers = 4",
        "max_connections = 20000",
        "shutdown_timeout = \"30s\"",
        "target = \"syslog\"",
        "facility = \"daemon\"",
        "socket = \"/dev/log\"",
        "mode = \"relay\"",
        "buffer = \"256KiB\"",
        "truncation = \"reset\"",
        "idle = \"5m\"",
        "address = [\"unix:/base/s\"]",
        "verify = true",
        "min_version = \"1.2\"",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
}

fn keys_of(table: &Entries) -> Vec<&str> {
    table.iter().map(|(key, _)| key.name.as_str()).collect()
}

/// The first table under `path`; of an array, its first element.
fn table_at<'t>(table: &'t Entries, path: &[&str]) -> &'t Entries {
    let Some((first, rest)) = path.split_first() else { return table };
    let (_, item) = table.iter().find(|(key, _)| key.name == *first).expect("the dump has every table");
    match &item.value {
        Value::Table(inner) => table_at(inner, rest),
        Value::Array(items) => match &items[0].value {
            Value::Table(inner) => table_at(inner, rest),
            other => panic!("{first} holds {other:?}"),
        },
        other => panic!("{first} is {other:?}"),
    }
}

#[test]
fn the_dump_has_exactly_the_keys_of_the_tables() {
    let mut report = Report::default();
    let file = report.add_source("dump".into(), Some(dumped(FULL)));
    let root = tree::parse(file, &mut report);
    for table in TABLES {
        let path: &[&str] = match table.title {
            "top level" => &[],
            "[global]" => &["global"],
            "[global] log" => &["global", "log"],
            "[[service]]" => &["service"],
            "[[service]] timeout" => &["service", "timeout"],
            "[[service]] accept" => &["service", "accept"],
            "[[service]] connect" => &["service", "connect"],
            "[[service]] accept.tls" => &["service", "accept", "tls"],
            "[[service]] connect.tls" => &["service", "connect", "tls"],
            other => panic!("a new table {other}: extend this test"),
        };
        // Includes are put in place, so that the key itself is gone.
        let mut expected: Vec<&str> = table.keys.iter().copied().filter(|key| *key != "include").collect();
        expected.sort_unstable();
        assert_eq!(keys_of(table_at(&root, path)), expected, "{}", table.title);
    }
}
