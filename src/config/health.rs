// SPDX-License-Identifier: MIT OR Apache-2.0
//! `check` and `passive`, of a service or a route: how it is found out which servers are well.
//!
//! Not here: what follows (`policy/health.rs`), what the kinds of checks say (`wire/checks/`).

use super::raw::{At, Fields, Node, unknown_word};
use super::report::Report;
use super::settings::{CheckSettings, HealthSettings};
use super::tables;
use super::values::format_duration;
use crate::policy::check::{CheckSpec, INTERVAL, TIMEOUT};
use crate::policy::health::{Passive, Thresholds};
use crate::wire::checks::{PROTOCOLS, Protocol, Question, Talk};
use std::ops::RangeInclusive;
use std::time::Duration;

const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(86_400);

/// A check that takes longer tells nothing that is still true.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// For `window`, `pause` and `max_pause`.
const PAUSES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// Checks, or failures, in a row.
const IN_A_ROW: RangeInclusive<usize> = 1..=100;

/// Bytes of `send` and of `expect`.
const TEXTS: RangeInclusive<usize> = 1..=4096;

/// Bytes of `user`.
const USERS: RangeInclusive<usize> = 1..=128;

/// Reads `check` and `passive`.
pub(super) fn check(fields: Fields<'_>, report: &mut Report) -> HealthSettings {
    HealthSettings {
        check: fields.get("check").and_then(|node| check_check(node, report)),
        passive: fields.get("passive").map(|node| check_passive(node, report)),
    }
}

/// The name of a kind, a table, or `false` for none.
pub(super) fn check_check(node: Node<'_>, report: &mut Report) -> Option<At<Option<CheckSettings>>> {
    if node.as_bool() == Some(false) {
        return Some(At { value: None, place: node.place });
    }
    if !node.is_string() && !node.is_table() {
        node.mismatch("the kind of the check, a table or false", report);
        return None;
    }
    let mut settings = if node.is_string() {
        plain(kind(node, report)?)
    } else {
        check_table(node.fields(&tables::CHECK, report)?, report)?
    };
    if settings.spec.tls {
        settings.tls = Some(true);
    }
    Some(At { value: Some(settings), place: node.place })
}

fn kind(node: Node<'_>, report: &mut Report) -> Option<&'static Protocol> {
    let text = node.string(report)?;
    let found = PROTOCOLS.iter().find(|protocol| protocol.name == text.value);
    match found {
        Some(protocol) if protocol.keys.contains(&"expect") && node.key == "check" => {
            let help = "write check = { kind = \"send\", send = \"…\", expect = \"…\" }";
            report.error(node.place, "a check of kind \"send\" needs `send` or `expect`").help(help);
            None
        }
        Some(protocol) => Some(protocol),
        None => {
            unknown_word("kind of check", text, &PROTOCOLS.map(|protocol| protocol.name), report);
            None
        }
    }
}

/// A check with everything at its default.
fn plain(protocol: &'static Protocol) -> CheckSettings {
    let spec = CheckSpec {
        protocol,
        question: Question::default(),
        port: None,
        tls: matches!(protocol.talk, Talk::Handshake),
        interval: INTERVAL,
        timeout: INTERVAL.min(TIMEOUT),
        limits: Thresholds::default(),
    };
    CheckSettings { spec, tls: None }
}

fn check_table(fields: Fields<'_>, report: &mut Report) -> Option<CheckSettings> {
    if fields.lacks("kind") {
        report.missing(fields.place, "`check` has no `kind`").help("add, for example, kind = \"tcp\"");
    }
    let kind_node = fields.get("kind");
    let kind = kind_node.and_then(|node| kind(node, report));
    // What else is wrong is told even if it is not known what it is wrong for.
    let mut settings = plain(kind.unwrap_or(PROTOCOLS[0]));
    let spec = &mut settings.spec;
    for key in ["send", "expect", "user"] {
        if let (Some(node), Some(kind_node), Some(kind)) = (fields.get(key), kind_node, kind) {
            if !kind.keys.contains(&key) {
                let message = format!("`{key}` with a check of kind {:?}, which has none", kind.name);
                report.error(node.place, message).note(kind_node.place, "the kind is set here");
            }
        }
    }
    let text = |key, bytes, report: &mut Report| {
        let text = fields.get(key).and_then(|node| node.text(bytes, report));
        text.map(|text| text.value.into()).unwrap_or_default()
    };
    spec.question = Question {
        send: text("send", TEXTS, report),
        expect: text("expect", TEXTS, report),
        user: text("user", USERS, report),
    };
    if spec.protocol.keys.contains(&"expect") && fields.lacks("send") && fields.lacks("expect") {
        let help = "add, for example, send = \"GET /health HTTP/1.0\\r\\n\\r\\n\" and expect = \"200 OK\"";
        report.missing(fields.place, "a check of kind \"send\" needs `send` or `expect`").help(help);
    }
    spec.port =
        fields.get("port").and_then(|node| node.integer(1..=usize::from(u16::MAX), report)).map(narrow);
    let row = |key, default, report: &mut Report| {
        fields.get(key).and_then(|node| node.integer(IN_A_ROW, report)).map_or(default, narrow)
    };
    let Thresholds { rise, fall } = spec.limits;
    spec.limits = Thresholds { rise: row("rise", rise, report), fall: row("fall", fall, report) };
    check_times(fields, spec, report);
    settings.tls = fields.get("tls").and_then(|node| {
        let tls = node.boolean(report)?;
        if settings.spec.tls && !tls {
            report.error(node.place, "`tls = false` with a check of kind \"tls\"");
        }
        Some(tls)
    });
    kind.map(|_| settings)
}

fn check_times(fields: Fields<'_>, spec: &mut CheckSpec, report: &mut Report) {
    if let Some(interval) = fields.get("interval").and_then(|node| node.duration(INTERVALS, report)) {
        spec.interval = interval;
        spec.timeout = interval.min(TIMEOUT);
    }
    let Some(node) = fields.get("timeout") else { return };
    let Some(timeout) = node.duration(TIMEOUTS, report) else { return };
    if timeout > spec.interval {
        let interval = format_duration(spec.interval);
        report
            .error(node.place, format!("`timeout` is longer than the `interval` of {interval}"))
            .help("a check must end before the next one begins: shorten `timeout`, or lengthen `interval`");
    }
    spec.timeout = timeout;
}

/// A number that was read within bounds that fit.
fn narrow<T: TryFrom<usize> + Default>(number: usize) -> T {
    T::try_from(number).unwrap_or_default()
}

fn check_passive(node: Node<'_>, report: &mut Report) -> Passive {
    match node.as_bool() {
        Some(false) => return Passive::OFF,
        Some(true) => return Passive::default(),
        None => {}
    }
    let mut passive = Passive::default();
    if !node.is_table() {
        node.mismatch("a table, true or false", report);
        return passive;
    }
    let Some(fields) = node.fields(&tables::PASSIVE, report) else { return passive };
    if let Some(fails) = fields.get("fails").and_then(|node| node.integer(IN_A_ROW, report)) {
        passive.fails = narrow(fails);
    }
    for (key, value) in [
        ("window", &mut passive.window),
        ("pause", &mut passive.pause),
        ("max_pause", &mut passive.max_pause),
    ] {
        if let Some(duration) = fields.get(key).and_then(|node| node.duration(PAUSES, report)) {
            *value = duration;
        }
    }
    if passive.pause > passive.max_pause {
        let (pause, most) = (format_duration(passive.pause), format_duration(passive.max_pause));
        report.error(node.place, format!("`pause` ({pause}) is longer than `max_pause` ({most})"));
    }
    passive
}
