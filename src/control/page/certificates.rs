// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates, revocation lists and ticket keys on a calendar of the next 90 days.

use super::Sight;
use super::draw::{Mood, percent, state};
use super::parts::{Column, nothing, picture, section, table, text};
use super::words::{clock, date, days, into_month, month};
use crate::control::model::Certificate;
use maud::{Markup, html};

const DAY: f64 = 86_400.0;

/// What the calendar shows, from a little before now.
const SPAN: f64 = 90.0 * DAY;
const BEFORE: f64 = 3.0 * DAY;

/// What ends within that time should be renewed; within the other, at once.
const SOON: f64 = 30.0 * DAY;
const VERY_SOON: f64 = 7.0 * DAY;

pub(super) fn draw(sight: &Sight) -> Markup {
    let now = sight.snapshot.at;
    let all = &sight.snapshot.certificates;
    let mut sorted: Vec<&Certificate> = all.iter().collect();
    // What never ends, or nobody knows when, comes last.
    let end = |certificate: &Certificate| {
        if certificate.not_after > 0.0 { certificate.not_after } else { f64::MAX }
    };
    sorted.sort_by(|a, b| end(a).total_cmp(&end(b)));
    html! {
        h1 { "Certificates" }
        @if all.is_empty() {
            (nothing("No certificate is loaded: no service terminates TLS or shows a certificate to its servers."))
        } @else {
            p { (summary(&sorted, now)) }
            (section("calendar", "The next 90 days", &calendar(&sorted, now)))
            (section("details", "Details", &details(&sorted, now)))
        }
    }
}

/// In one sentence: what comes next.
fn summary(sorted: &[&Certificate], now: f64) -> Markup {
    let dated: Vec<&&Certificate> =
        sorted.iter().filter(|it| it.not_after > 0.0 && !is_routine(it)).collect();
    let expired = dated.iter().filter(|it| it.not_after <= now).count();
    let soon = dated.iter().filter(|it| it.not_after > now && it.not_after < now + SOON).count();
    html! {
        @match (expired, soon) {
            (0, 0) => { "No certificate ends within 30 days." },
            (0, _) => { (soon) " of " (dated.len()) " end within 30 days." },
            (_, 0) => { strong { (expired) " of " (sorted.len()) " have ended." } },
            _ => { strong { (expired) " of " (dated.len()) " have ended" } ", and " (soon) " more end within 30 days." },
        }
    }
}

/// Lists and ticket keys are renewed in the course of things, shortly before their end.
fn is_routine(certificate: &Certificate) -> bool {
    matches!(certificate.kind.as_str(), "crl" | "ticket-key")
}

/// How urgent it is.
fn mood(certificate: &Certificate, now: f64) -> (Mood, &'static str) {
    match certificate.not_after - now {
        _ if certificate.not_after <= 0.0 => (Mood::Idle, "unknown"),
        _ if certificate.not_before > now => (Mood::Bad, "not yet valid"),
        left if left <= 0.0 => (Mood::Bad, "expired"),
        _ if is_routine(certificate) => (Mood::Good, "valid"),
        left if left < VERY_SOON => (Mood::Bad, "ends very soon"),
        left if left < SOON => (Mood::Warn, "ends soon"),
        _ => (Mood::Good, "valid"),
    }
}

fn name(certificate: &Certificate) -> &str {
    certificate.names.first().filter(|name| !name.is_empty()).map_or_else(
        || if certificate.file.is_empty() { certificate.kind.as_str() } else { certificate.file.as_str() },
        String::as_str,
    )
}

/// Where a moment lies on the strip, in percent.
fn place(at: f64, now: f64) -> f64 {
    ((at - (now - BEFORE)) / (BEFORE + SPAN) * 100.0).clamp(0.0, 100.0)
}

fn calendar(sorted: &[&Certificate], now: f64) -> Markup {
    html! {
        div.scroll role="region" aria-label="Calendar" tabindex="0" {
            table #by-end .calendar {
                caption { "When each ends; the line is today, " (date(now)) }
                thead { tr {
                    th scope="col" { "Name" }
                    th.wide scope="col" { span.aside { "Calendar" } (months(now)) }
                    th scope="col" { "Ends" }
                } }
                tbody { @for (index, certificate) in sorted.iter().enumerate() {
                    @let (mood, word) = mood(certificate, now);
                    tr data-key=(identity(index, certificate)) {
                        th scope="row" { span.peer { (name(certificate)) } small { (kind(&certificate.kind)) } }
                        td.wide { (bar(certificate, mood, now)) }
                        td { (state(mood, word)) small { (end(certificate, now)) } }
                    }
                } }
            }
        }
    }
}

/// What tells it from all others, for the script. Two may be the same file, for two services.
fn identity(index: usize, certificate: &Certificate) -> String {
    if certificate.fingerprint.is_empty() {
        index.to_string()
    } else {
        format!("{}{index}", certificate.fingerprint)
    }
}

fn end(certificate: &Certificate, now: f64) -> String {
    if certificate.not_after <= 0.0 {
        return String::new();
    }
    let verb = if certificate.not_after <= now { "ended" } else { "ends" };
    format!("{verb} {}", days(certificate.not_after, now))
}

/// The first days of the months on the strip, with their names.
fn months(now: f64) -> Markup {
    let mut firsts = Vec::new();
    let mut at = now - BEFORE;
    while firsts.len() < 5 {
        // To the middle of the next month, and back to its beginning.
        let middle = at - into_month(at) * DAY + 45.0 * DAY;
        at = middle - into_month(middle) * DAY;
        if at > now + SPAN {
            break;
        }
        firsts.push((percent(place(at, now)), month(at + DAY)));
    }
    html! {
        svg.months role="img" {
            title { "Months" }
            @for (x, name) in &firsts {
                line x1=(x) x2=(x) y1="0" y2="100%" {}
                text x=(x) dx="4" y="70%" { (name) }
            }
        }
    }
}

fn bar(certificate: &Certificate, mood: Mood, now: f64) -> Markup {
    let from = place(certificate.not_before, now);
    let to = if certificate.not_after > 0.0 { place(certificate.not_after, now) } else { 100.0 };
    let today = percent(place(now, now));
    let beyond = certificate.not_after > now + SPAN;
    html! {
        svg.until role="img" {
            title { (name(certificate)) }
            desc { @if certificate.not_after > 0.0 {
                "From " (date(certificate.not_before)) " to " (date(certificate.not_after)) ", " (end(certificate, now))
            } @else { "Its end is unknown" } }
            rect.trough width="100%" height="60%" y="20%" rx="3" {}
            // What has ended still has a mark at the edge.
            rect class=(mood.class()) x=(percent(from.min(to - 0.6))) width=(percent((to - from).max(0.6)))
                height="60%" y="20%" rx="3" {}
            @if beyond { text.beyond x="99%" y="68%" { "›" } }
            line.today x1=(today) x2=(today) y1="0" y2="100%" {}
        }
    }
}

fn kind(word: &str) -> &str {
    match word {
        "certificate" => "certificate",
        "client-certificate" => "certificate shown to servers",
        "ca" => "authority",
        "crl" => "revocation list",
        "ticket-key" => "ticket key",
        other => other,
    }
}

fn details(sorted: &[&Certificate], now: f64) -> Markup {
    const COLUMNS: &[Column] = &[
        text("Name"),
        text("State"),
        text("Key"),
        text("Valid from"),
        text("Valid until"),
        text("Issuer"),
        text("Used by"),
        text("File"),
        picture("Identity"),
    ];
    let date_of = |at: f64| {
        html! { td data-value=(at) { @if at > 0.0 { span title=(clock(at)) { (date(at)) } small { (days(at, now)) } } } }
    };
    let rows = html! {
        @for (index, certificate) in sorted.iter().enumerate() {
            @let (mood, word) = mood(certificate, now);
            tr data-key=(identity(index, certificate)) {
                th scope="row" {
                    span.peer { (name(certificate)) }
                    small { (kind(&certificate.kind)) }
                    @for other in certificate.names.iter().skip(1).take(8) { small.peer { (other) } }
                    @if certificate.names.len() > 9 { small { "and " (certificate.names.len() - 9) " more" } }
                }
                td {
                    (state(mood, word))
                    @if certificate.newer_on_disk { (state(Mood::Warn, "file on disk is newer")) }
                }
                td { (certificate.key_type) }
                (date_of(certificate.not_before))
                (date_of(certificate.not_after))
                td.prose { (certificate.issuer) }
                td { @for (index, user) in certificate.used_by.iter().enumerate() { @if index > 0 { ", " } (user) } }
                td { code { (certificate.file) } }
                td {
                    @if !certificate.fingerprint.is_empty() || !certificate.serial.is_empty() {
                        details data-key="identity" {
                            summary { "Serial" span.aside { " and fingerprint of " (name(certificate)) } }
                            p { "Serial " code { (certificate.serial) } }
                            p { "SHA-256 " code { (certificate.fingerprint) } }
                        }
                    }
                }
            }
        }
    };
    table("by-name", "What is loaded, whatever ends first first", COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(kind: &str, not_after: f64) -> Certificate {
        Certificate { kind: kind.to_owned(), not_after, ..Certificate::default() }
    }

    #[test]
    fn urgency_grows_towards_the_end() {
        let words =
            [-1.0, 3.0 * DAY, 20.0 * DAY, 60.0 * DAY].map(|left| mood(&certificate("ca", 1e9 + left), 1e9).1);
        assert_eq!(words, ["expired", "ends very soon", "ends soon", "valid"]);
        assert_eq!(mood(&certificate("crl", 1e9 + 60.0), 1e9).1, "valid");
        assert_eq!(mood(&certificate("ca", 0.0), 1e9).1, "unknown");
        let early = Certificate { not_before: 2e9, not_after: 3e9, ..Certificate::default() };
        assert_eq!(mood(&early, 1e9).1, "not yet valid");
    }

    #[test]
    fn every_month_on_the_strip_is_named_once() {
        for start in 0..365 {
            let now = 1_795_291_290.0 + f64::from(start) * DAY;
            let text = months(now).into_string();
            let lines = text.matches("<line").count();
            assert!((2..=4).contains(&lines), "{now}: {text}");
        }
    }
}
