// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is dumped reads back as the same, and shows every key there is.

use super::*;
use crate::config::report::Report;
use crate::config::tables::TABLES;
use crate::config::tests::checked;
use crate::config::tree::{self, Entries, Value};

/// Every key, with no value at its default.
const FULL: &str = r#"
[global]
workers = 3
max_connections = 7
shutdown_timeout = "90s"
log = { target = "syslog", facility = "daemon", level = "debug", socket = "/run/log \"q\"" }
[control]
socket = "run/control"
mode = "0660"
group = "adm"
admin = ["root", "@adm"]
operate = ["1000"]
http = "127.0.0.1:9180"
hosts = ["Stats.example.org"]
tokens = [{ file = "token", level = "operate" }]
certificates = [{ cn = "ops", level = "admin" }]
[resolver]
servers = ["192.0.2.53", "[2001:db8::53]:5353"]
hosts = "hosts"
min = "2s"
max = "10m"
negative = "0s"
stale = "1h"
timeout = "500ms"
attempts = 3
[[service]]
name = "one"
mode = "relay"
buffer = "1B"
truncation = "close"
balance = "leastconn"
retries = 4
queue = { length = 9, timeout = "7s" }
timeout = { handshake = "1ms", connect = "2s", idle = "3m", half_close = "4h", linger = "5d", tarpit = "6d" }
limit = { max_connections = 8, rate = "9/10s", lifetime = "11h", lifetime_jitter = "12m", bandwidth = { up = "13MiB/14s", down = "15KiB/16ms" }, connection_bandwidth = { up = "17MiB/18s", down = "19KiB/20ms" } }
monitor = { source = ["10.1.0.0/24", "::1"], reply = "all \"well\"\r\n\tok" }
peek = "tls"
check = { kind = "send", send = "x\r\n", expect = "y", port = 1, tls = false, interval = "9s", timeout = "1s", rise = 7, fall = 8 }
passive = { fails = 2, window = "3s", pause = "4s", max_pause = "5s" }
[service.accept]
address = ["*:1", "unix:s", "unix:@a"]
starttls = "imap"
owner = "root"
group = "7"
mode = "0620"
socket = { backlog = 11, v6only = true, freebind = true, reuse_port = true, interface = "lo", fast_open = true, mptcp = true, keepalive = { idle = "12s", interval = "13s", count = 14 }, user_timeout = "15ms", congestion = "reno", tos = 16, mark = 17, receive_buffer = "18KiB", send_buffer = "19KiB" }
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
key_log = "/keys"
[service.accept.proxy_protocol]
from = ["10.0.0.0/8", "::ffff:192.0.2.0/120", "file:lbs.txt"]
others = "direct"
[service.connect]
address = ["localhost:2", "[::1]:3"]
starttls = "imap"
opportunistic = true
source = ["127.0.0.1:1000-1999", "::1"]
socket = { interface = "lo", fast_open = true, mptcp = true, keepalive = false, user_timeout = "20m", congestion = "cubic", tos = 0, mark = 21, receive_buffer = "22KiB", send_buffer = "23KiB" }
send_proxy = { version = "v2", tlvs = ["certificate", "ssl"] }
proxy = { kind = "http", address = "p:2", user = "u", password_file = "w" }
[service.connect.tls]
ca = "/ca.pem"
server_name = "n"
sni = "client"
pin = ["sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
key_log = "keys"
verify = false
certificate = "c.pem"
key = "c.key"
min_version = "1.2"
max_version = "1.2"
ciphers = "C"
ciphersuites = "S"
groups = "G"
alpn = ["h2"]
[[service.rule]]
name = "all"
source = ["192.0.2.7", "2001:db8::/32", "file:/bad.txt"]
sni = ["*.Example.org", "bücher.example"]
sni_regex = ['^\d+$']
alpn = ["h2"]
action = "tarpit"
[service.rule.client_certificate]
present = true
cn = ["a*"]
subject = ["CN=a"]
issuer = ["*O=b"]
san = ["c"]
fingerprint = ["00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"]
[service.rule.limit]
connections = 1
rate = "2/3s"
handshake_failures = "4/5m"
bytes = "6KiB/7h"
prefix_v4 = 8
prefix_v6 = 9
sources = 10
[[service.rule]]
action = "accept"
client_certificate = { present = false }
[[service.rule]]
action = "drop"
limit = { rate = "1/1s" }
[[service.route]]
name = "own"
sni = ["a.example", "*.a.example"]
sni_regex = ["b+"]
alpn = ["h2"]
source = ["10.0.0.0/8"]
fallback = ["unknown-name", "no-name"]
action = "connect"
limit = { max_connections = 1 }
tls = { certificate = "r.pem", verify = "none" }
connect = { address = "h:1", send_proxy = "v1" }
[[service.route]]
sni = ["b.example"]
tls = { client_ca = "r-ca.pem", min_version = "1.2", max_version = "1.2" }
connect = { address = ["*:443"], allow = ["127.0.0.0/8"], tls = true }
[[service.route]]
sni = ["c.example"]
balance = "random2"
retries = 0
queue = { length = 0 }
check = { kind = "mysql", user = "me" }
passive = false
[[service.route.server]]
name = "one"
address = "10.0.0.1:1"
weight = 3
max_connections = 5
slow_start = "8s"
check = "tcp"
[[service.route.server]]
address = "_imap._tcp.example.org"
expand = 3
[[service.route.server]]
address = "unix:two"
backup = true
check = false
[[service.route]]
sni_regex = ["x"]
action = "reject"
[[service]]
name = "two"
mode = "demo"
accept = "127.0.0.1:0"
[[service]]
name = "three"
mode = "health"
reply = "ok"
accept = "127.0.0.1:0"
[[service]]
name = "four"
accept = { address = "unix:four", proxy_protocol = {} }
connect = { send_proxy = { version = "v2", tlvs = [] } }
server = [{ address = "_a._tcp.example.org", expand = 4 }, { name = "five", address = "unix:@five", max_connections = 2, slow_start = "1s", check = "redis" }]
check = { kind = "pgsql", user = "me" }
[[service.rule]]
source = ["0.0.0.0/0"]
action = "reject"
reply = "http-403"
[[service.route]]
host = ["www.example", "WWW.example.org"]
host_regex = ["w+"]
[[service.route]]
fallback = ["unknown-name"]
action = "reject"
reply = "http-404"
[[service]]
name = "six"
peek = "http"
accept = "*:3"
connect = { address = "*:80", allow = ["10.0.0.0/8"] }
[[service]]
name = "asked"
mode = "socks"
socks = { users = "users" }
accept = "*:4"
connect = { address = "*:*", names = ["*.example.org", "a"], ports = [443, "8000-8999"] }
[[service]]
name = "several"
accept = "*:5"
connect = { address = "localhost:2", expand = 2 }
[[service]]
name = "chained"
accept = { address = "unix:second", proxy_protocol = { confirm = true } }
connect = { address = "unix:third", send_proxy = { version = "v2", confirm = true } }
[[service]]
name = "five"
accept = { address = "*:2", tls = { alpn = ["h2"], min_version = "1.3" } }
[[service.route]]
sni = ["a.example"]
tls = { certificate = "a.pem" }
connect = "127.0.0.1:1"
[[service.route]]
sni = ["b.example"]
connect = "127.0.0.1:2"
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
        "hosts = \"/etc/hosts\"",
        "min = \"5s\"",
        "max = \"1h\"",
        "negative = \"10s\"",
        "stale = \"1d\"",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
}

/// Adds to `keys` those of all tables under `path`; of a list, those of all its elements.
fn collect<'t>(table: &'t Entries, path: &[&str], keys: &mut Vec<&'t str>) {
    let Some((first, rest)) = path.split_first() else {
        keys.extend(table.iter().map(|(key, _)| key.name.as_str()));
        return;
    };
    for (_, item) in table.iter().filter(|(key, _)| key.name == *first) {
        match &item.value {
            Value::Table(inner) => collect(inner, rest, keys),
            Value::Array(items) => {
                for item in items {
                    let Value::Table(inner) = &item.value else { panic!("{first} holds {item:?}") };
                    collect(inner, rest, keys);
                }
            }
            other => panic!("{first} is {other:?}"),
        }
    }
}

#[test]
fn the_dump_has_exactly_the_keys_of_the_tables() {
    let mut report = Report::default();
    let file = report.add_source("dump".into(), Some(dumped(FULL)));
    let root = tree::parse(file, &mut report);
    for table in TABLES {
        let path = table.title.replace("top level", "").replace(['[', ']'], "").replace([' ', '.'], "/");
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut found = Vec::new();
        collect(&root, &path, &mut found);
        found.sort_unstable();
        found.dedup();
        // Includes are put in place, so that the key itself is gone.
        let mut expected: Vec<&str> = table.keys.iter().copied().filter(|key| *key != "include").collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{}", table.title);
    }
}

#[test]
fn what_a_route_inherits_is_written_out() {
    let text = dumped(FULL);
    let routes: Vec<&str> = text.split("[service.route.tls]\n").skip(1).collect();
    let lines = |tls: &str| -> Vec<String> {
        tls.lines().take_while(|line| !line.starts_with('[')).map(str::to_owned).collect()
    };
    let has = |index: usize, line: &str| lines(routes[index]).iter().any(|known| known == line);
    for (route, line) in [
        (0, "certificate = [\"/base/r.pem\"]"),
        (0, "key = [\"/base/r.pem\"]"),
        (0, "verify = \"none\""),
        (0, "min_version = \"1.3\""),
        (0, "alpn = [\"h2\", \"http/1.1\"]"),
        (1, "certificate = [\"/base/a.pem\", \"/base/b.pem\"]"),
        (1, "key = [\"/base/a.key\", \"/base/b.key\"]"),
        (1, "client_ca = \"/base/r-ca.pem\""),
        (1, "verify = \"required\""),
        (1, "max_version = \"1.2\""),
        (1, "groups = \"G\""),
        (2, "min_version = \"1.3\""),
    ] {
        assert!(has(route, line), "{line} is not in tls {route}:\n{text}");
    }
    assert!(!lines(routes[0]).iter().any(|line| line.starts_with("client_ca")), "{text}");
}
