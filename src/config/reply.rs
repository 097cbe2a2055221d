// SPDX-License-Identifier: MIT OR Apache-2.0
//! Canned replies: of `monitor`, of mode "health", beside `action = "reject"`.

use super::networks;
use super::raw::Node;
use super::report::Report;
use super::settings::MonitorSettings;
use super::tables;
use crate::policy::reply::{Reply, WORDS};
use std::ops::RangeInclusive;
use std::path::Path;

/// How long a reply may be, in bytes: it is sent in one go, without waiting.
const LENGTHS: RangeInclusive<usize> = 1..=4096;

/// The reply where none is written.
pub(super) const DEFAULT: &str = "http-200";

/// Reads a word that stands for a reply, or the text of one.
pub(super) fn check(node: Node<'_>, report: &mut Report) -> Option<Reply> {
    let text = node.text(LENGTHS, report)?;
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    // A text that looks like a word is a slip, not a text.
    if text.value.starts_with("http-")
        && !words.contains(&text.value)
        && !text.value.contains(char::is_whitespace)
    {
        super::raw::unknown_word(node.key, text, &words, report);
        return None;
    }
    Some(Reply::new(text.value))
}

/// Reads `monitor`.
pub(super) fn check_monitor(
    node: Node<'_>,
    directory: &Path,
    report: &mut Report,
) -> Option<MonitorSettings> {
    let fields = node.fields(&tables::MONITOR, report)?;
    if fields.lacks("source") {
        let finding = report.missing(fields.place, "`monitor` has no `source`");
        finding.help("name the networks of your monitors, as in source = [\"10.1.0.0/24\"]");
    }
    let source = fields.get("source").and_then(|node| networks::check(node, directory, report));
    let reply = match fields.get("reply") {
        Some(node) => check(node, report),
        None => Some(Reply::new(DEFAULT)),
    };
    Some(MonitorSettings { source: source?, reply: reply? })
}
