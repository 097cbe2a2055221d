// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the files as written to [`Settings`]: every value read, every default filled in, every contradiction found.
//!
//! Invariant: a problem never ends the check; it is reported and the next thing is looked at. Not here: services
//! (`service.rs`), anything that touches the system (`load.rs`).

use super::control;
use super::raw::{Document, Fields, Node, unknown_word};
use super::report::{Place, Report};
use super::resolver;
use super::service;
use super::settings::{self, Control, Global, Settings};
use super::tables;
use crate::log;
use crate::stats::MAX_WORKERS;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// Worker threads one may ask for; each has its own TLS contexts.
const WORKERS: RangeInclusive<usize> = 1..=MAX_WORKERS;

/// What `max_connections` may be: each connection takes two descriptors.
const CONNECTIONS: RangeInclusive<usize> = 1..=10_000_000;

/// What `shutdown_timeout` may be; zero closes at once.
const SHUTDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

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
    let mut control = Control::default();
    let mut resolver = resolver::Settings::default();
    let mut services = Vec::new();
    let mut names = HashMap::new();
    let mut seen = documents.iter().any(|document| report.is_broken(document.file));
    for document in documents {
        let fields = document.fields(report);
        for key in ["include", "global", "control", "resolver"] {
            if let (Some(node), Some(pattern)) = (fields.get(key), document.included_by) {
                let message = format!("`{key}` is allowed in the main file only");
                report.error(node.place, message).note(pattern, "this file is included here");
            }
        }
        if document.included_by.is_none() {
            global = fields.get("global").map(|node| check_global(node, document, processors, report));
            if let Some(node) = fields.get("control") {
                control = control::check(node, &document.directory, report);
            }
            if let Some(node) = fields.get("resolver") {
                resolver = resolver::check(node, &document.directory, report);
            }
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
            let Some(fields) = item.fields(&tables::SERVICE, report) else { continue };
            services.push(service::check(fields, &mut names, &document.directory, report));
        }
    }
    if let (false, Some(main)) = (seen, documents.first()) {
        report
            .missing(Place::file(main.file), "no [[service]]: there is nothing to do")
            .help("add [[service]] with `name`, `accept` and `connect`; see tunnel.conf(5)");
    }
    Settings { global: global.unwrap_or_else(|| default_global(processors)), control, resolver, services }
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
    let Some(fields) = node.fields(&tables::GLOBAL, report) else { return global };
    if let Some(node) = fields.get("workers") {
        global.workers = check_workers(node, report).unwrap_or(global.workers);
    }
    if let Some(node) = fields.get("max_connections") {
        global.max_connections = node.integer(CONNECTIONS, report).unwrap_or(global.max_connections);
    }
    if let Some(node) = fields.get("shutdown_timeout") {
        global.shutdown_timeout = node.duration(SHUTDOWN, report).unwrap_or(global.shutdown_timeout);
    }
    if let Some(fields) = fields.get("log").and_then(|node| node.fields(&tables::LOG, report)) {
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
                if text.value.starts_with('/') {
                    let finding = report.error(text.place, format!("unknown target {:?}", text.value));
                    finding.help(format!("for a file write \"file:{}\"", text.value));
                } else {
                    unknown_word("target", text, &["syslog", "stderr", "file:PATH"], report);
                }
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
