// SPDX-License-Identifier: MIT OR Apache-2.0
//! The effective configuration as TOML, for `-T`: every default filled in, includes put in place, paths absolute.
//!
//! Invariant: what is written here can be read again and means the same. Files that hold secrets are shown by their
//! paths, never opened. No key holds a secret itself; the first one that does gets a type of its own below, whose
//! `Serialize` writes `***`, so that nobody can forget to mask it.

use super::address::Target;
use super::check::level_name;
use super::settings::{self, Endpoint, ServiceSettings, Settings};
use super::tls::{VERIFY, VERSIONS};
use super::values::{format_duration, format_size};
use crate::log;
use crate::policy::service::{Timeouts, Truncation};
use crate::policy::tls_spec::{CertificateFiles, ClientTlsSpec, CommonTlsSpec, ServerTlsSpec, TlsVersion};
use crate::sys::address::Address;
use serde::Serialize;
use std::path::Path;

/// Writes `settings` as TOML.
pub(super) fn dump(settings: &Settings) -> String {
    let file = File {
        global: Global {
            workers: settings.global.workers,
            max_connections: settings.global.max_connections,
            shutdown_timeout: format_duration(settings.global.shutdown_timeout),
            log: Log::of(&settings.global.log),
        },
        service: settings.services.iter().map(Service::of).collect(),
    };
    // Only maps with keys that are no strings cannot be TOML, and there are none above.
    toml::to_string(&file).unwrap_or_else(|error| format!("# the configuration cannot be shown: {error}\n"))
}

#[derive(Serialize)]
struct File {
    global: Global,
    service: Vec<Service>,
}

#[derive(Serialize)]
struct Global {
    workers: usize,
    max_connections: usize,
    shutdown_timeout: String,
    log: Log,
}

#[derive(Serialize)]
struct Log {
    target: String,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    facility: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
}

#[derive(Serialize)]
struct Service {
    name: String,
    mode: &'static str,
    buffer: String,
    truncation: &'static str,
    accept: Side<AcceptTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Side<ConnectTls>>,
    timeout: Timeout,
}

#[derive(Serialize)]
struct Side<T> {
    address: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<T>,
}

#[derive(Serialize)]
struct Timeout {
    handshake: String,
    connect: String,
    idle: String,
    half_close: String,
    linger: String,
}

#[derive(Serialize)]
struct AcceptTls {
    certificate: Vec<String>,
    key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<String>,
    /// Nothing without a CA: there, writing it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<&'static str>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct ConnectTls {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    common: Common,
}

/// Lists that were not written stay out: what they default to belongs to the policy and the TLS library.
#[derive(Serialize)]
struct Common {
    min_version: &'static str,
    max_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphersuites: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpn: Vec<String>,
}

impl Log {
    fn of(log: &log::Settings) -> Self {
        let level = level_name(log.level);
        match &log.target {
            log::Target::Syslog { facility, socket } => Self {
                target: "syslog".to_owned(),
                level,
                facility: Some(facility_name(*facility)),
                socket: Some(path(socket)),
            },
            log::Target::Stderr => Self { target: "stderr".to_owned(), level, facility: None, socket: None },
            log::Target::File(file) => {
                Self { target: format!("file:{}", path(file)), level, facility: None, socket: None }
            }
        }
    }
}

impl Service {
    fn of(service: &ServiceSettings) -> Self {
        let connect = Side {
            address: service.connect.iter().map(address).collect(),
            tls: service.connect_tls.as_ref().map(|tls| ConnectTls::of(&tls.spec)),
        };
        Self {
            name: service.name.clone(),
            mode: service.mode.name,
            buffer: format_size(u64::try_from(service.buffer).unwrap_or(u64::MAX)),
            truncation: match service.truncation {
                Truncation::Reset => "reset",
                Truncation::Close => "close",
            },
            accept: Side {
                address: service.accept.iter().map(address).collect(),
                tls: service.accept_tls.as_ref().map(|tls| AcceptTls::of(&tls.spec)),
            },
            connect: (!service.connect.is_empty()).then_some(connect),
            timeout: Timeout::of(&service.timeouts),
        }
    }
}

impl Timeout {
    fn of(timeouts: &Timeouts) -> Self {
        Self {
            handshake: format_duration(timeouts.handshake),
            connect: format_duration(timeouts.connect),
            idle: format_duration(timeouts.idle),
            half_close: format_duration(timeouts.half_close),
            linger: format_duration(timeouts.linger),
        }
    }
}

impl AcceptTls {
    fn of(spec: &ServerTlsSpec) -> Self {
        let list =
            |pick: fn(&CertificateFiles) -> &Path| spec.certificates.iter().map(pick).map(path).collect();
        Self {
            certificate: list(|files| &files.certificate),
            key: list(|files| &files.key),
            client_ca: spec.client_ca.as_deref().map(path),
            verify: spec.client_ca.is_some().then(|| word(&VERIFY, spec.verify)),
            common: Common::of(&spec.common),
        }
    }
}

impl ConnectTls {
    fn of(spec: &ClientTlsSpec) -> Self {
        Self {
            ca: spec.ca.as_deref().map(path),
            server_name: spec.server_name.clone(),
            verify: spec.verify,
            certificate: spec.certificate.as_ref().map(|files| path(&files.certificate)),
            key: spec.certificate.as_ref().map(|files| path(&files.key)),
            common: Common::of(&spec.common),
        }
    }
}

impl Common {
    fn of(spec: &CommonTlsSpec) -> Self {
        Self {
            min_version: word(&VERSIONS, spec.min_version.unwrap_or(TlsVersion::Tls12)),
            max_version: word(&VERSIONS, spec.max_version.unwrap_or(TlsVersion::Tls13)),
            ciphers: spec.ciphers.clone(),
            ciphersuites: spec.ciphersuites.clone(),
            groups: spec.groups.clone(),
            alpn: spec.alpn.clone(),
        }
    }
}

/// The word that stands for `value`.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn facility_name(facility: log::Facility) -> &'static str {
    let known = |name: &&&str| log::Facility::from_name(name) == Some(facility);
    log::Facility::NAMES.iter().find(known).map_or(settings::FACILITY.0, |name| name)
}

/// The address as written, but a unix path absolute: the dump may be read from elsewhere.
fn address(endpoint: &Endpoint) -> String {
    match &endpoint.target {
        Target::Ready(Address::Unix(file)) => format!("unix:{}", path(file)),
        _ => endpoint.text.value.clone(),
    }
}

/// A path as text; in TOML it cannot be anything but UTF-8.
fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
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
            let mut expected: Vec<&str> =
                table.keys.iter().copied().filter(|key| *key != "include").collect();
            expected.sort_unstable();
            assert_eq!(keys_of(table_at(&root, path)), expected, "{}", table.title);
        }
    }
}
