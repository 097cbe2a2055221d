// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: how the last load went, what leads where, and all of it as text.

use super::Sight;
use super::draw::{Mood, state};
use super::parts::{moment, nothing, section};
use super::wiring;
use super::words::{count, plural};
use maud::{Markup, html};

/// Keys whose values are nobody's business, wherever they stand.
const SECRETS: [&str; 4] = ["token", "secret", "password", "passphrase"];

pub(super) fn draw(sight: &Sight) -> Markup {
    html! {
        h1 { "Configuration" }
        (section("load", "The last load", &load(sight)))
        (section("wiring", "What leads where", &wiring::draw(&sight.snapshot)))
        (section("effective", "In effect", &effective(&sight.effective)))
    }
}

fn load(sight: &Sight) -> Markup {
    let (process, now) = (&sight.snapshot.process, sight.snapshot.at);
    let reload = &process.reload;
    html! {
        @if reload.last <= 0.0 {
            (nothing("Nothing has been told of it yet."))
        } @else {
            p {
                @if reload.ok { (state(Mood::Good, "took effect")) } @else { (state(Mood::Bad, "refused")) }
                " " (moment(reload.last, now))
                @if !reload.ok { ": what follows was not taken, and the daemon goes on with what it had." }
            }
        }
        @if !reload.messages.is_empty() { pre.messages tabindex="0" { (reload.messages.join("\n")) } }
        dl.facts {
            dt { "File" } dd { code { (process.config) } }
            dt { "In effect since" } dd { (moment(reload.in_effect_since, now)) }
            dt { "Loads" } dd { (count(reload.applied)) " took effect, " (count(reload.refused)) " refused" }
            dt { "Services" } dd { (plural(sight.snapshot.services.len() as u64, "service", "services")) }
            dt { "Connections at most" }
            dd { (count(process.max_connections)) @if process.places != process.max_connections && process.places > 0 {
                ", and descriptors for " (count(process.places))
            } }
            dt { "Open files at most" } dd { (count(process.open_files)) }
            dt { "Log" }
            dd { "from level " (process.log_level) @if process.log_lost > 0 { ", " (plural(process.log_lost, "line", "lines")) " lost" } }
        }
    }
}

fn effective(text: &str) -> Markup {
    if text.is_empty() {
        return nothing("It is not known here.");
    }
    html! {
        p.muted { "Every default filled in, as " code { "tunnel -T" } " shows it. Secrets are left out." }
        pre.config tabindex="0" aria-label="Effective configuration" { code {
            @for line in masked(text).lines() { (line_of(line)) "\n" }
        } }
    }
}

/// A line with its parts told apart: tables, keys, comments.
fn line_of(line: &str) -> Markup {
    let trimmed = line.trim_start();
    html! {
        @if trimmed.starts_with('#') {
            i { (line) }
        } @else if trimmed.starts_with('[') {
            b { (line) }
        } @else if let Some((key, value)) = line.split_once(" = ") {
            span.word { (key) } " = " (value)
        } @else {
            (line)
        }
    }
}

/// The text with every value of a secret key replaced, also inside of inline tables.
fn masked(text: &str) -> String {
    text.lines().map(masked_line).collect::<Vec<_>>().join("\n")
}

fn masked_line(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((at, value)) = secret(rest) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        shown.push_str("\"…\"");
        rest = &after[value..];
    }
    shown.push_str(rest);
    shown
}

/// Where the value of the first secret key stands in `line`, and how long it is.
fn secret(line: &str) -> Option<(usize, usize)> {
    let assigned = |(at, _): (usize, &str)| {
        let key = line[..at].trim_end();
        let word = key.rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).next()?;
        let value = line[at + 1..].trim_start();
        // A list of tables has more keys inside.
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''))?;
        SECRETS.iter().any(|secret| word.contains(secret)).then_some((value, quote))
    };
    let (value, quote) = line.match_indices('=').find_map(assigned)?;
    let from = line.len() - value.len();
    let mut escaped = false;
    let end = value.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = quote == '"' && *c == '\\' && !escaped;
        ends
    });
    Some((from, end.map_or(value.len(), |(at, _)| at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        for (line, shown) in [
            ("token = \"abc\"", "token = \"…\""),
            (
                "tokens = [{ token = \"a\\\"b\", level = \"admin\" }, { token = 'c' }]",
                "tokens = [{ token = \"…\", level = \"admin\" }, { token = \"…\" }]",
            ),
            ("password=\"unterminated", "password=\"…\""),
            ("name = \"token = x\"", "name = \"token = x\""),
            ("key = \"/etc/web.key\"", "key = \"/etc/web.key\""),
            ("", ""),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}
