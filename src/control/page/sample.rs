// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values for tests: a daemon in a busy hour, and one whose every text is hostile.

use super::Sight;
use crate::connection::view::{ConnectionView, TlsView};
use crate::control::model::{
    Bucket, Certificate, Check, Failure, Failures, History, Listener, Names, Problem, Process, Reload, Route,
    Server, Service, Share, Snapshot, Timing, TlsShares, Traffic, Worker,
};
use crate::policy::access::Level;
use serde_json::Value;
use std::sync::Arc;

const NOW: f64 = 1_795_291_290.0;
const DAY: f64 = 86_400.0;

/// Everything there may be, as an administrator sees it.
pub(super) fn sight() -> Sight {
    Sight {
        snapshot: snapshot().into(),
        failures: failures(),
        effective: EFFECTIVE.into(),
        level: Level::Admin,
    }
}

/// The same with every text replaced by `text`.
pub(super) fn hostile(text: &str) -> Sight {
    let json = |value: Value| replaced(value, text);
    let snapshot = json(serde_json::to_value(snapshot()).unwrap());
    let failures = json(serde_json::to_value(failures()).unwrap());
    Sight {
        snapshot: Arc::new(serde_json::from_value(snapshot).unwrap()),
        failures: serde_json::from_value(failures).unwrap(),
        effective: format!("{text}\n{text} = {text}\n[{text}]\n# {text}").into(),
        level: Level::Admin,
    }
}

pub(super) fn hostile_connections(text: &str) -> Vec<ConnectionView> {
    let json = replaced(serde_json::to_value(connections()).unwrap(), text);
    serde_json::from_value(json).unwrap()
}

fn replaced(value: Value, text: &str) -> Value {
    match value {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Array(items) => items.into_iter().map(|item| replaced(item, text)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, field)| (name, replaced(field, text)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

fn s(text: &str) -> String {
    text.to_owned()
}

fn all(texts: &[&str]) -> Vec<String> {
    texts.iter().copied().map(str::to_owned).collect()
}

/// A curve of a hundred and fifty samples that looks like a busy hour.
fn curve(level: f64, swing: f64, seed: f64) -> Vec<f64> {
    (0..150)
        .map(|index| {
            let t = f64::from(index);
            let noise = ((t * 12.9898 + seed) * 43_758.545).sin().fract().abs();
            (level + swing * ((t / 17.0 + seed).sin() + 0.5 * (t / 5.0).sin() + noise)).max(0.0)
        })
        .collect()
}

fn history(level: f64, seed: f64) -> History {
    let failures = curve(level / 60.0 - 0.4, level / 40.0, seed + 3.0);
    History {
        step: 2.0,
        last: NOW,
        connections: curve(level, level / 4.0, seed),
        failures,
        bytes_in: curve(level * 9_000.0, level * 3_000.0, seed + 1.0),
        bytes_out: curve(level * 90_000.0, level * 40_000.0, seed + 2.0),
        active: vec![3; 150],
    }
}

fn timing(count: u64, scale: f64) -> Timing {
    let shape = [2, 9, 31, 62, 80, 90, 95, 97, 98, 99, 100, 100];
    let mut le = scale / 8.0;
    let mut buckets = Vec::new();
    for percent in shape {
        buckets.push(Bucket { le: Some(le), count: count * percent / 100 });
        le *= 2.0;
    }
    buckets.push(Bucket { le: None, count });
    Timing { count, sum: count as f64 * scale * 1.2, p50: scale * 0.8, p99: scale * 30.0, buckets }
}

fn traffic(total: u64) -> Traffic {
    Traffic {
        active: total / 40,
        peak: total / 25,
        total,
        failed: total / 300,
        rate: total as f64 / 900.0,
        peak_rate: total as f64 / 300.0,
        bytes_in: total * 12_000,
        bytes_out: total * 310_000,
        rate_in: total as f64 * 11.0,
        rate_out: total as f64 * 301.0,
        last: NOW - 0.4,
    }
}

fn cause(cause: &str, count: u64, hint: &str, ago: f64) -> Failures {
    Failures { cause: s(cause), count, hint: s(hint), last_client: s("198.51.100.23:51544"), last: NOW - ago }
}

fn causes(scale: u64) -> Vec<Failures> {
    vec![
        cause(
            "no-shared-cipher",
            61 * scale,
            "The client offers only ciphers that are switched off here: it is old, or a scanner.",
            2.0,
        ),
        cause(
            "not-tls",
            34 * scale,
            "Plain HTTP came to a TLS port: somebody uses http:// where https:// is due.",
            12.0,
        ),
        cause(
            "unknown-ca",
            11 * scale,
            "The client does not trust our certificate: it lacks the authority, or the chain here is incomplete.",
            75.0,
        ),
        cause("connect-failed", 3 * scale, "No server of the route could be reached.", 400.0),
    ]
}

fn tls(handshakes: u64) -> TlsShares {
    let share = |name: &str, percent: u64| Share { name: s(name), count: handshakes * percent / 100 };
    TlsShares {
        handshakes,
        resumed: handshakes * 38 / 100,
        versions: vec![share("TLSv1.3", 96), share("TLSv1.2", 4)],
        ciphers: vec![
            share("TLS_AES_128_GCM_SHA256", 71),
            share("TLS_AES_256_GCM_SHA384", 20),
            share("TLS_CHACHA20_POLY1305_SHA256", 5),
            share("ECDHE-ECDSA-AES128-GCM-SHA256", 4),
        ],
        groups: vec![share("X25519MLKEM768", 54), share("X25519", 41), share("secp256r1", 5)],
    }
}

fn server(number: u32, name: &str, state: &str, admin: &str) -> Server {
    let down = state == "down";
    let check = |index: u32| {
        let ok = !(down && index < 5) && index != 11;
        Check {
            at: NOW - f64::from(index) * 2.0,
            ok,
            status: s(if ok { "L4OK" } else { "L4CON" }),
            took: 0.000_8,
            text: s(if ok { "" } else { "Connection refused" }),
        }
    };
    Server {
        service: s("web"),
        route: s("default"),
        name: s(name),
        address: s(name),
        admin: s(admin),
        state: s(state),
        since: NOW - if down { 10.0 } else { 3.2 * DAY },
        weight: 100,
        initial_weight: 100,
        backup: number == 3,
        max_connections: 2000,
        number,
        traffic: traffic(20_000 / u64::from(number)),
        connects: timing(20_000, 0.000_6),
        connect_errors: if down { 31 } else { 0 },
        last_error_at: if down { NOW - 2.0 } else { 0.0 },
        last_error: s(if down { "Connection refused" } else { "" }),
        checks: (0..20).map(check).collect(),
        check: s("tcp"),
        watched: true,
        rise: 2,
        fall: 3,
        streak: 0,
        checked: 130_000,
        check_failures: if down { 6 } else { 1 },
        downs: u64::from(down),
        pauses: 0,
        downtime: if down { 10.0 } else { 0.0 },
    }
}

fn route(name: &str, takes: &[&str], tls: &str, servers: Vec<Server>) -> Route {
    let action = s(if servers.is_empty() { "reject" } else { "connect" });
    Route {
        name: s(name),
        action,
        takes: all(takes),
        tls: s(tls),
        traffic: traffic(9_000),
        limited: 3,
        balance: s(if servers.is_empty() { "" } else { "leastconn" }),
        waiting: 0,
        servers,
    }
}

fn service(name: &str, mode: &str, listens: &[&str], level: f64, routes: Vec<Route>) -> Service {
    let total = (level * 4_000.0).to_string().parse().unwrap_or(0);
    let tls_here = name != "health";
    Service {
        limited: 17,
        option_errors: 0,
        name: s(name),
        mode: s(mode),
        state: s("up"),
        listens_on: all(listens),
        accepts_tls: tls_here,
        connects_tls: name == "mail",
        uptime: 3.2 * DAY,
        traffic: traffic(total),
        handshakes: if tls_here { timing(total, 0.002_1) } else { Timing::default() },
        connects: timing(total, 0.000_6),
        lifetimes: timing(total, 2.4),
        failures: if tls_here { causes(total / 20_000) } else { Vec::new() },
        tls: if tls_here { tls(total) } else { TlsShares::default() },
        history: history(level, level),
        routes_total: routes.len() as u64,
        routes,
        rules: Vec::new(),
    }
}

fn services() -> Vec<Service> {
    let web = vec![
        route(
            "mail",
            &["mail.example.org"],
            "passed through",
            vec![server(1, "10.0.0.5:443", "up", "ready")],
        ),
        route(
            "site",
            &["*.example.org", "example.org"],
            "terminated",
            vec![
                server(2, "10.0.0.6:8080", "up", "ready"),
                server(3, "10.0.0.7:8080", "down", "ready"),
                server(4, "10.0.0.8:8080", "up", "drain"),
            ],
        ),
        route("scanners", &["fallback no-name"], "none", Vec::new()),
    ];
    let imaps = vec![route(
        "default",
        &[],
        "terminated",
        vec![server(1, "10.0.0.9:143", "up", "ready"), server(2, "10.0.0.10:143", "up", "maint")],
    )];
    let ldap =
        vec![route("default", &[], "terminated", vec![server(1, "/run/slapd/ldapi", "unchecked", "ready")])];
    vec![
        service("web", "relay", &["*:443", "[::]:443"], 84.0, web),
        service("imaps", "relay", &["192.0.2.10:993"], 12.0, imaps),
        service("ldaps", "relay", &["192.0.2.10:636"], 3.0, ldap),
        service("health", "health", &["127.0.0.1:9000"], 1.0, Vec::new()),
    ]
}

fn certificate(kind: &str, file: &str, names: &[&str], from: f64, to: f64, newer: bool) -> Certificate {
    Certificate {
        kind: s(kind),
        file: s(file),

        names: all(names),
        key_type: s("EC prime256v1"),
        issuer: s("CN=Example Issuing CA 3, O=Example"),
        serial: s("04D2A1"),
        fingerprint: s(&"AB12".repeat(16)),
        not_before: NOW + from * DAY,
        not_after: if to == 0.0 { 0.0 } else { NOW + to * DAY },
        used_by: all(&["web/site", "imaps"]),
        newer_on_disk: newer,
        ..Certificate::default()
    }
}

fn certificates() -> Vec<Certificate> {
    vec![
        certificate(
            "certificate",
            "/etc/tunnel/web.pem",
            &["example.org", "*.example.org", "www.example.org"],
            -50.0,
            40.0,
            false,
        ),
        certificate("certificate", "/etc/tunnel/imaps.pem", &["imap.example.org"], -84.0, 6.0, true),
        certificate("certificate", "/etc/tunnel/ldap.pem", &["ldap.example.org"], -90.0, 21.0, false),
        certificate("certificate", "/etc/tunnel/old.pem", &["old.example.org"], -400.0, -2.0, false),
        certificate("ca", "/etc/tunnel/clients.pem", &["CN=Client CA"], -300.0, 900.0, false),
        certificate("crl", "/etc/tunnel/clients.crl", &["CN=Client CA"], -1.0, 6.0, false),
        certificate("ticket-key", "", &[], -0.2, 0.8, false),
    ]
}

fn worker(number: u64, load: f64, connections: u64) -> Worker {
    Worker {
        number,
        state: s(if load > 0.3 { "busy" } else { "asleep" }),
        busy_for: if load > 0.8 { 0.04 } else { 0.0 },
        doing: s(if load > 0.8 { "callback" } else { "" }),
        load,
        connections,
        traffic: traffic(connections * 40),
        turns: 1_234_567,
        turn: timing(1_234_567, 0.000_04),
        longest: 0.021,
        inbox: 0,
        bookmarks: 1,
        panics: 0,
    }
}

fn process() -> Process {
    let problem = |severity: &str, subject: &str, text: &str| Problem {
        severity: s(severity),
        subject: s(subject),
        text: s(text),
    };
    Process {
        name: s("tunnel"),
        version: s("0.1.0"),
        commit: s("3a2211c0d1e2"),
        tls_library: s("OpenSSL 3.0.19 27 Jan 2026"),
        pid: 4711,
        user: s("tunnel"),
        node: s("edge-1"),
        state: s("serving"),
        ready: true,
        not_ready: Vec::new(),
        started: NOW - 3.2 * DAY,
        uptime: 3.2 * DAY,
        config: s("/etc/tunnel/tunnel.conf"),
        reload: Reload {
            applied: 4,
            refused: 1,
            last: NOW - 3_700.0,
            ok: false,
            messages: all(&[
                "/etc/tunnel/tunnel.conf:14:12: unknown key\n14 |   certificat = \"web.pem\"\n   |   ^^^^^^^^^^ did you mean `certificate`?",
            ]),
            in_effect_since: NOW - 1.5 * DAY,
        },
        max_connections: 20_000,
        places: 16_000,
        open_files: 65_536,
        queued: 0,
        log_lost: 0,
        log_level: s("info"),
        traffic: traffic(400_000),
        handshakes: timing(396_000, 0.002_1),
        connects: timing(396_000, 0.000_6),
        lifetimes: timing(396_000, 2.4),
        failures: causes(20),
        tls: tls(396_000),
        names: Names { kept: 3, hits: 1_204, misses: 61, queries: 122, ..Names::default() },
        history: history(100.0, 0.3),
        problems: vec![
            problem("error", "10.0.0.7:8080", "server 10.0.0.7:8080 of web/site is down: Connection refused"),
            problem(
                "warning",
                "imaps.pem",
                "certificate imap.example.org (imaps.pem) of imaps expires in 6 days, and its file on disk is newer: reload",
            ),
        ],
    }
}

fn snapshot() -> Snapshot {
    let listener = |address: &str, service: &str, state: &str| Listener {
        address: s(address),
        service: s(service),
        state: s(state),
        reason: s(if state == "paused" { "all places are taken" } else { "" }),
        backlog: 2,
        backlog_limit: 4096,
        uptime: 3.2 * DAY,
        traffic: traffic(100_000),
    };
    Snapshot {
        at: NOW,
        process: process(),
        services: services(),
        listeners: vec![
            listener("0.0.0.0:443", "web", "accepting"),
            listener("[::]:443", "web", "accepting"),
            listener("192.0.2.10:993", "imaps", "paused"),
            listener("192.0.2.10:636", "ldaps", "accepting"),
        ],
        workers: vec![
            worker(0, 0.41, 2_600),
            worker(1, 0.86, 3_410),
            worker(2, 0.38, 2_500),
            worker(3, 0.11, 1_490),
        ],
        certificates: certificates(),
        ..Snapshot::default()
    }
}

fn failures() -> Vec<Failure> {
    let causes = causes(1);
    (0..80u64)
        .map(|index| {
            let cause = &causes[usize::from(u8::try_from(index * 7 % 11 % 4).unwrap())];
            Failure {
                at: NOW - index as f64 * 3.1,
                worker: index % 4,
                id: 9_000 - index,
                service: s("web"),
                route: s(if index % 3 == 0 { "site" } else { "" }),
                client: format!("198.51.100.{}:{}", index % 250, 40_000 + index),
                name: s("shop.example.org"),
                server: s(""),
                cause: cause.cause.clone(),
                hint: cause.hint.clone(),
                doing: s("accepting TLS"),
                text: s("no cipher in common"),
            }
        })
        .collect()
}

pub(super) fn connections() -> Vec<ConnectionView> {
    let tls = |version: &str, resumed: bool| TlsView {
        version: s(version),
        cipher: s(if version == "TLSv1.3" {
            "TLS_AES_128_GCM_SHA256"
        } else {
            "ECDHE-ECDSA-AES128-GCM-SHA256"
        }),
        group: s("X25519MLKEM768"),
        resumed,
    };
    (0..24u64)
        .map(|index| {
            let new = index == 3;
            ConnectionView {
                id: 91_234 - index * 3,
                worker: index % 4,
                state: s(if new {
                    "accepted"
                } else if index % 9 == 8 {
                    "client-closed"
                } else {
                    "connected"
                }),
                doing: s(if new { "reading the hello" } else { "relaying" }),
                waits_for: s(if new { "the client" } else { "either side" }),
                service: s("web"),
                route: s(if new { "" } else { "site" }),
                client: format!("203.0.113.{}:{}", 7 + index * 3, 40_000 + index * 17),
                via: s(if index % 5 == 1 { "10.1.0.2:33000" } else { "" }),
                server: s(if new { "" } else { "10.0.0.6:8080" }),
                name: s(if index % 2 == 0 { "shop.example.org" } else { "www.example.org" }),
                alpn: s("h2"),
                client_tls: (!new)
                    .then(|| tls(if index % 7 == 6 { "TLSv1.2" } else { "TLSv1.3" }, index % 3 == 0)),
                server_tls: None,
                client_cn: s(""),
                age: 0.8 + index as f64 * index as f64 * 3.7,
                idle: 0.3,
                queued_for: 0.000_2,
                handshake: (!new).then_some(0.002_4),
                resolve: None,
                connect: (!new).then_some(0.000_9),
                relay: (!new).then_some(0.8 + index as f64 * index as f64 * 3.7),
                bytes_in: 1_200 + index * 40_000,
                bytes_out: 48_000 + index * index * 900_000,
                rate_in: 1_200.0,
                rate_out: 350_000.0 / (1.0 + index as f64),
                buffered_in: 0,
                buffered_out: 16_384,
            }
        })
        .collect()
}

const EFFECTIVE: &str = "[global]
max_connections = 20000

[global.log]
level = \"info\"

# what follows is for the world
[[service]]
name = \"web\"
accept = { address = [\"*:443\"] }

[control]
http = \"127.0.0.1:9180\"
tokens = [{ token = \"swordfish\", level = \"admin\" }]
";
