// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[service.rule]]`: conditions, limits and what is done.
//!
//! Not here: judging (`policy/rules.rs`), files of networks (`networks.rs`).

use super::names::{Labels, check_names};
use super::needs::Needs;
use super::networks;
use super::raw::{Fields, Node};
use super::reply;
use super::report::Report;
use super::settings::RuleSettings;
use super::tables;
use super::tls::check_alpn;
use super::values::Counted;
use crate::policy::bucket::Rate;
use crate::policy::rules::Action;
use crate::policy::tls_peer::CertificateMatch;
use crate::policy::track::{Limits, MOST_SOURCES};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// How many connections at once a source may have at most.
const CONNECTIONS: RangeInclusive<usize> = 1..=10_000_000;

/// What may be the number in a rate.
const EVENTS: RangeInclusive<u64> = 1..=1_000_000_000;

/// What may be the size in a rate, in bytes.
const BYTES: RangeInclusive<u64> = 1..=1 << 50;

/// What may be the time in a rate.
const PERIODS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// How many sources a rule may keep track of.
const SOURCES: RangeInclusive<usize> = 1..=MOST_SOURCES;

/// A SHA-256 hash in hex.
const FINGERPRINT: usize = 64;

/// The words of `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Accept,
    Reject,
    Drop,
    Tarpit,
}

const ACTIONS: [(&str, Word); 4] =
    [("accept", Word::Accept), ("reject", Word::Reject), ("drop", Word::Drop), ("tarpit", Word::Tarpit)];

/// The word for an action, as the file has it.
pub(super) fn action_word(action: &Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Reject(_) => "reject",
        Action::Drop => "drop",
        Action::Tarpit => "tarpit",
    }
}

/// Reads all rules of a service.
pub(super) fn check(
    node: Node<'_>,
    directory: &Path,
    needs: &mut Needs,
    report: &mut Report,
) -> Vec<RuleSettings> {
    let tables = node.tables("[[service.rule]]", &tables::RULE, report).unwrap_or_default();
    let mut labels = Labels::read("rule", &tables, report);
    let rules = tables.iter().enumerate();
    rules
        .filter_map(|(index, fields)| {
            let name = labels.of(index, *fields, None);
            check_rule(*fields, name, directory, needs, report)
        })
        .collect()
}

fn check_rule(
    fields: Fields<'_>,
    name: String,
    directory: &Path,
    needs: &mut Needs,
    report: &mut Report,
) -> Option<RuleSettings> {
    for key in ["sni", "sni_regex", "alpn"] {
        needs.hello(fields.get(key));
    }
    let source = fields.get("source").and_then(|node| networks::check(node, directory, report));
    let sni = check_names(fields, "sni", "sni_regex", report);
    let alpn = check_alpn(fields, report);
    let certificate = fields.get("client_certificate").and_then(|node| {
        let wanted = check_certificate(node, report)?;
        needs.certificate(node.place);
        Some(wanted)
    });
    let limits = fields.get("limit").and_then(|node| check_limits(node, report));
    let action = check_action(fields, needs, report)?;
    Some(RuleSettings { name, source, sni, alpn, certificate, limits, action })
}

/// Reads `action` and what goes with some actions only.
fn check_action(fields: Fields<'_>, needs: &mut Needs, report: &mut Report) -> Option<Action> {
    let Some(node) = fields.get("action") else {
        if fields.lacks("action") {
            let finding = report.missing(fields.place, "a rule without `action`");
            finding.help("add action = \"accept\", \"reject\", \"drop\" or \"tarpit\"");
        }
        return None;
    };
    let reply = fields.get("reply");
    let word = node.choice(&ACTIONS, report)?;
    if let (Word::Accept, Some(limit)) = (word, fields.get("limit")) {
        report
            .error(limit.place, "`limit` beside action = \"accept\": a limit only refuses")
            .note(node.place, "the action is set here")
            .help("refuse with this rule what is beyond the limit, and accept with the next one");
    }
    if let (Word::Accept | Word::Drop | Word::Tarpit, Some(reply)) = (word, reply) {
        report
            .error(reply.place, "`reply` goes with action = \"reject\" only")
            .note(node.place, "the action is set here");
        return None;
    }
    Some(match word {
        Word::Accept => Action::Accept,
        Word::Drop => Action::Drop,
        Word::Tarpit => Action::Tarpit,
        Word::Reject => Action::Reject(match reply {
            Some(node) => {
                needs.plain(node.place);
                Some(reply::check(node, report)?)
            }
            None => None,
        }),
    })
}

fn check_certificate(node: Node<'_>, report: &mut Report) -> Option<CertificateMatch> {
    let fields = node.fields(&tables::CLIENT_CERTIFICATE, report)?;
    if fields.is_empty() {
        let finding = report.missing(fields.place, "`client_certificate` without any condition");
        finding.help("write, for example, present = true");
        return None;
    }
    let present_node = fields.get("present");
    let present = present_node.and_then(|node| node.boolean(report));
    let texts = |key, check: fn(&str) -> Result<(), String>, report: &mut Report| {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let mut list: Vec<Box<str>> = Vec::new();
        for text in node.strings(report) {
            match check(text.value) {
                Ok(()) => list.push(text.value.into()),
                Err(message) => {
                    report.error(text.place, message);
                }
            }
        }
        list
    };
    let wanted = CertificateMatch {
        present,
        common_name: texts("cn", check_text, report),
        subject: texts("subject", check_text, report),
        issuer: texts("issuer", check_text, report),
        alternative_name: texts("san", check_text, report),
        fingerprint: texts("fingerprint", check_fingerprint, report),
    };
    let keys = tables::CLIENT_CERTIFICATE.keys.iter();
    let other = keys.filter(|key| **key != "present").find_map(|key| fields.get(key));
    if let (Some(false), Some(present), Some(other)) = (present, present_node, other) {
        let message = format!("`{}` of a certificate that must not be there", other.key);
        report.error(other.place, message).note(present.place, "`present` is set here");
    }
    Some(wanted)
}

/// Whether `text` may be compared with: it may have one `*`, at its beginning or at its end.
fn check_text(text: &str) -> Result<(), String> {
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    if text.is_empty() {
        return Err("a text to compare with must not be empty".to_owned());
    }
    if inner.contains('*') {
        return Err(format!("{text:?} may have one `*` only, at its beginning or at its end"));
    }
    Ok(())
}

fn check_fingerprint(text: &str) -> Result<(), String> {
    let hex = text.replace(':', "");
    if hex.len() == FINGERPRINT && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(format!("{text:?} is not the SHA-256 hash of a certificate in hex, {FINGERPRINT} digits"))
}

fn check_limits(node: Node<'_>, report: &mut Report) -> Option<Limits> {
    let fields = node.fields(&tables::LIMIT, report)?;
    if ["connections", "rate", "handshake_failures", "bytes"].iter().all(|key| fields.lacks(key)) {
        let finding = report.missing(fields.place, "`limit` without a limit");
        finding.help("write one or more of connections = 20, rate = \"100/10s\", handshake_failures = \"10/1m\", bytes = \"100MiB/1m\"");
        return None;
    }
    let mut limits = Limits::NONE;
    let connections = fields.get("connections").and_then(|node| node.integer(CONNECTIONS, report));
    limits.connections = connections.and_then(|number| u32::try_from(number).ok());
    let rate = |key, counted, most, report: &mut Report| -> Option<Rate> {
        fields.get(key)?.rate(counted, most, &PERIODS, report)
    };
    limits.rate = rate("rate", Counted::Events, &EVENTS, report);
    limits.handshake_failures = rate("handshake_failures", Counted::Events, &EVENTS, report);
    limits.bytes = rate("bytes", Counted::Bytes, &BYTES, report);
    for (key, bits, value) in
        [("prefix_v4", 32, &mut limits.v4_prefix), ("prefix_v6", 128, &mut limits.v6_prefix)]
    {
        let written = fields.get(key).and_then(|node| node.integer(0..=bits, report));
        *value = written.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(*value);
    }
    let sources = fields.get("sources").and_then(|node| node.integer(SOURCES, report));
    limits.sources = sources.unwrap_or(limits.sources);
    Some(limits)
}
