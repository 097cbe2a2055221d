// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the files as written to [`Settings`]: every value read, every default filled in, every contradiction found.
//!
//! Invariant: a problem never ends the check; it is reported and the next thing is looked at. Not here: the `tls`
//! tables (`tls.rs`), anything that touches the system (`load.rs`).

use super::address::{Purpose, Target};
use super::raw::{self, At, Document, Fields, Node, unknown_word};
use super::report::{Place, Report};
use super::settings::{self, Endpoint, Global, ServiceSettings, Settings};
use super::tls;
use crate::log;
use crate::mode::MODES;
use crate::policy::service::{Timeouts, Truncation};
use crate::stats::MAX_WORKERS;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// Worker threads one may ask for; each has its own TLS contexts.
const WORKERS: RangeInclusive<usize> = 1..=MAX_WORKERS;

/// What `max_connections` may be: each connection takes two descriptors.
const CONNECTIONS: RangeInclusive<usize> = 1..=10_000_000;

/// What a timeout may be. Zero would end everything at once; beyond a year is a slip.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(365 * 86_400);

/// What `shutdown_timeout` may be; zero closes at once.
const SHUTDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// What `buffer` may be, in bytes.
const BUFFERS: RangeInclusive<u64> = 1..=1 << 30;

/// The longest name of a service; it stands in every log line.
const NAME_MAX: usize = 64;

const LEVELS: [(&str, log::Level); 5] = [
    ("error", log::Level::Error),
    ("warning", log::Level::Warning),
    ("notice", log::Level::Notice),
    ("info", log::Level::Info),
    ("debug", log::Level::Debug),
];

/// The name of a log level, as the file has it.
pub(super) fn level_name(level: log::Level) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("info", |(name, _)| name)
}

/// Checks all files together; the first is the main one. `processors` is what "auto" means for `workers`.
pub(super) fn check(documents: &[Document], processors: usize, report: &mut Report) -> Settings {
    let mut global = None;
    let mut services = Vec::new();
    let mut names = Vec::new();
    let mut seen = documents.iter().any(|document| report.is_broken(document.file));
    for document in documents {
        let fields = document.fields(report);
        for key in ["include", "global"] {
            if let (Some(node), Some(pattern)) = (fields.get(key), document.included_by) {
                let message = format!("`{key}` is allowed in the main file only");
                report.error(node.place, message).note(pattern, "this file is included here");
            }
        }
        if document.included_by.is_none() {
            global = fields.get("global").map(|node| check_global(node, document, processors, report));
        }
        let Some(node) = fields.get("service") else { continue };
        let Some(items) = node.items() else {
            seen = true;
            let finding = node.mismatch("a list of tables", report);
            finding.help("write [[service]], with two brackets on either side");
            continue;
        };
        seen |= !items.is_empty();
        for item in items {
            let Some(fields) = item.fields(&raw::SERVICE, report) else { continue };
            let name = check_name(fields, &mut names, report);
            services.push(check_service(fields, name, &document.directory, report));
        }
    }
    if let (false, Some(main)) = (seen, documents.first()) {
        report
            .missing(Place::file(main.file), "no [[service]]: there is nothing to do")
            .help("add [[service]] with `name`, `accept` and `connect`; see tunnel.conf(5)");
    }
    Settings { global: global.unwrap_or_else(|| default_global(processors)), services }
}

fn default_global(processors: usize) -> Global {
    Global {
        workers: processors.clamp(*WORKERS.start(), *WORKERS.end()),
        max_connections: settings::MAX_CONNECTIONS,
        log: default_log(),
        shutdown_timeout: settings::SHUTDOWN_TIMEOUT,
    }
}

fn default_log() -> log::Settings {
    let target =
        log::Target::Syslog { facility: settings::FACILITY.1, socket: settings::SYSLOG_SOCKET.into() };
    log::Settings { target, level: log::Level::Info }
}

fn check_global(node: Node<'_>, document: &Document, processors: usize, report: &mut Report) -> Global {
    let mut global = default_global(processors);
    let Some(fields) = node.fields(&raw::GLOBAL, report) else { return global };
    if let Some(node) = fields.get("workers") {
        global.workers = check_workers(node, report).unwrap_or(global.workers);
    }
    if let Some(node) = fields.get("max_connections") {
        global.max_connections = node.integer(CONNECTIONS, report).unwrap_or(global.max_connections);
    }
    if let Some(node) = fields.get("shutdown_timeout") {
        global.shutdown_timeout = node.duration(SHUTDOWN, report).unwrap_or(global.shutdown_timeout);
    }
    if let Some(fields) = fields.get("log").and_then(|node| node.fields(&raw::LOG, report)) {
        global.log = check_log(fields, &document.directory, report);
    }
    global
}

/// A number; `None` for "auto", and for what is neither.
fn check_workers(node: Node<'_>, report: &mut Report) -> Option<usize> {
    if !node.is_string() {
        return node.integer(WORKERS, report);
    }
    let text = node.string(report)?;
    if text.value != "auto" {
        let finding =
            report.error(text.place, format!("`workers` must be \"auto\" or a number, not {:?}", text.value));
        if text.value.parse::<usize>().is_ok() {
            finding.help(format!("write the number without quotes: workers = {}", text.value));
        }
    }
    None
}

fn check_log(fields: Fields<'_>, directory: &Path, report: &mut Report) -> log::Settings {
    let mut checked = default_log();
    if let Some(node) = fields.get("level") {
        checked.level = node.choice(&LEVELS, report).unwrap_or(checked.level);
    }
    let facility = fields.get("facility").and_then(|node| check_facility(node, report));
    let socket = fields.get("socket").and_then(|node| node.path(directory, report));
    let written = fields.get("target").and_then(|node| node.string(report));
    let target = written.map_or("syslog", |text| text.value);
    checked.target = match target.strip_prefix("file:") {
        Some("") => {
            if let Some(text) = written {
                report.error(text.place, "the target \"file:\" has no path").help("write \"file:PATH\"");
            }
            return checked;
        }
        Some(path) => log::Target::File(directory.join(path)),
        None if target == "stderr" => log::Target::Stderr,
        None if target == "syslog" => log::Target::Syslog {
            facility: facility.unwrap_or(settings::FACILITY.1),
            socket: socket.unwrap_or_else(|| settings::SYSLOG_SOCKET.into()),
        },
        None => {
            if let Some(text) = written {
                unknown_word("target", text, &["syslog", "stderr", "file:PATH"], report);
            }
            return checked;
        }
    };
    if target != "syslog" {
        for node in [fields.get("facility"), fields.get("socket")].into_iter().flatten() {
            let message = format!("`{}` has no effect: the target is not \"syslog\"", node.key);
            report.warning(node.place, message);
        }
    }
    checked
}

fn check_facility(node: Node<'_>, report: &mut Report) -> Option<log::Facility> {
    let text = node.string(report)?;
    // The default is known without asking, so that it can be shown and read back whatever names the log knows.
    let default = (text.value == settings::FACILITY.0).then_some(settings::FACILITY.1);
    let found = default.or_else(|| log::Facility::from_name(text.value));
    if found.is_none() {
        unknown_word("facility", text, log::Facility::NAMES, report);
    }
    found
}

/// The name of a service, which nobody before may have had; `names` are those so far.
fn check_name<'t>(
    fields: Fields<'t>,
    names: &mut Vec<At<&'t str>>,
    report: &mut Report,
) -> Option<At<&'t str>> {
    let Some(node) = fields.get("name") else {
        if fields.lacks("name") {
            report.missing(fields.place, "a service without `name`").help("add, for example, name = \"web\"");
        }
        return None;
    };
    let name = node.string(report)?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.value.is_empty() || name.value.len() > NAME_MAX || !name.value.bytes().all(good) {
        let finding = report.error(name.place, format!("{:?} cannot be the name of a service", name.value));
        finding.help(format!(
            "up to {NAME_MAX} letters, digits, `-`, `_` and `.`: it stands in logs and statistics"
        ));
        return None;
    }
    if let Some(first) = names.iter().find(|known| known.value == name.value) {
        let finding = report.error(name.place, format!("a second service with the name {:?}", name.value));
        finding.note(first.place, "the first is here");
        return None;
    }
    names.push(name);
    Some(name)
}

fn check_service(
    fields: Fields<'_>,
    name: Option<At<&str>>,
    directory: &Path,
    report: &mut Report,
) -> ServiceSettings {
    let called = name.map_or_else(|| "a service".to_owned(), |name| format!("service {:?}", name.value));
    let mode_node = fields.get("mode");
    let modes: Vec<_> = MODES.iter().map(|mode| (mode.name, *mode)).collect();
    let mode = mode_node.map_or(Some(MODES[0]), |node| node.choice(&modes, report));
    let accept = fields.get("accept");
    if fields.lacks("accept") {
        let finding = report.missing(fields.place, format!("{called} has no `accept`"));
        finding.help("add, for example, accept = \"127.0.0.1:8443\"");
    }
    let accept = accept.and_then(|node| check_side(node, Purpose::Accept, directory, report));
    let accept_tls = accept.as_ref().and_then(|side| side.tls);
    let accept_tls = accept_tls.and_then(|node| tls::check_accept(node, directory, report));

    let connect = fields.get("connect");
    match (connect, mode) {
        (None, Some(mode)) if mode.connects && fields.lacks("connect") => {
            let finding = report.missing(fields.place, format!("{called} has no `connect`"));
            finding.help("add, for example, connect = \"127.0.0.1:8080\"");
        }
        (Some(node), Some(mode)) if !mode.connects => {
            let name = mode.name;
            let message = format!("a service with mode {name:?} answers by itself and has no `connect`");
            let finding = report.error(node.place, message);
            if let Some(mode) = mode_node {
                finding.note(mode.place, "the mode is set here");
            }
        }
        _ => {}
    }
    let connect_side = connect.and_then(|node| check_side(node, Purpose::Connect, directory, report));
    let connect_tls = connect_side.as_ref().and_then(|side| side.tls);
    let connect_tls = connect_tls.and_then(|node| tls::check_connect(node, &called, directory, report));
    let connect = connect_side.map_or_else(Vec::new, |side| side.addresses);
    if let Some(tls) = &connect_tls {
        tls::check_server_names(tls, &connect, report);
    }

    let timeouts = fields.get("timeout").map_or_else(Timeouts::default, |node| check_timeouts(node, report));
    let buffer = fields.get("buffer").and_then(|node| node.size(BUFFERS, report));
    let truncations = [("reset", Truncation::Reset), ("close", Truncation::Close)];
    let truncation = fields.get("truncation").and_then(|node| node.choice(&truncations, report));
    // What is missing has been reported; the rest is still loaded, so that one run tells all.
    ServiceSettings {
        name: name.map_or("", |name| name.value).to_owned(),
        mode: mode.unwrap_or(MODES[0]),
        accept: accept.map_or_else(Vec::new, |side| side.addresses),
        accept_tls,
        connect,
        connect_tls,
        timeouts,
        buffer: buffer.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(settings::BUFFER),
        truncation: truncation.unwrap_or_default(),
    }
}

/// One side of a service: where, and with which `tls`.
struct Side<'t> {
    addresses: Vec<Endpoint>,
    tls: Option<Node<'t>>,
}

fn check_side<'t>(
    node: Node<'t>,
    purpose: Purpose,
    directory: &Path,
    report: &mut Report,
) -> Option<Side<'t>> {
    let spec = match purpose {
        Purpose::Accept => &raw::ACCEPT,
        Purpose::Connect => &raw::CONNECT,
    };
    let (texts, tls) = if node.is_table() {
        let fields = node.fields(spec, report)?;
        let Some(address) = fields.get("address") else {
            if fields.lacks("address") {
                let message = format!("`{}` has no `address`", node.key);
                report.missing(node.place, message).help("add, for example, address = \"127.0.0.1:8443\"");
            }
            return None;
        };
        (address.strings(report), fields.get("tls"))
    } else if node.is_string() {
        (node.string(report).into_iter().collect(), None)
    } else {
        let finding = node.mismatch("an address or a table", report);
        if node.items().is_some() {
            finding.help(format!("for several addresses write {} = {{ address = […] }}", node.key));
        }
        return None;
    };
    let mut addresses = Vec::new();
    for text in texts {
        match Target::parse(text.value, purpose, directory) {
            Ok(target) => {
                let text = At { value: text.value.to_owned(), place: text.place };
                addresses.push(Endpoint { text, target });
            }
            Err(complaint) => {
                report.complain(text.place, complaint);
            }
        }
    }
    Some(Side { addresses, tls })
}

fn check_timeouts(node: Node<'_>, report: &mut Report) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(fields) = node.fields(&raw::TIMEOUT, report) else { return timeouts };
    for (key, value) in [
        ("handshake", &mut timeouts.handshake),
        ("connect", &mut timeouts.connect),
        ("idle", &mut timeouts.idle),
        ("half_close", &mut timeouts.half_close),
        ("linger", &mut timeouts.linger),
    ] {
        if let Some(duration) = fields.get(key).and_then(|node| node.duration(TIMEOUTS, report)) {
            *value = duration;
        }
    }
    timeouts
}
