// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clients and we agree on: versions, ciphers, groups, resumption; and whether TLS 1.2 is still needed.

use super::Sight;
use super::draw::{COLOURS, key, parts};
use super::parts::{Column, cell, nothing, number, plain_table, section, text};
use super::words::{count, percent, plural, span};
use crate::control::model::{Service, Share, TlsShares};
use maud::{Markup, html};

pub(super) fn draw(sight: &Sight) -> Markup {
    let tls = &sight.snapshot.process.tls;
    html! {
        h1 { "TLS" }
        @if tls.handshakes == 0 {
            (nothing("No handshake with a client has been completed yet."))
        } @else {
            (section("question", "Can I switch off TLS 1.2?", &answer(sight)))
            div.pair {
                (section("versions", "Versions", &shares("versions", "Versions", &tls.versions)))
                (section("ciphers", "Cipher suites", &shares("ciphers", "Cipher suites", &tls.ciphers)))
                (section("groups", "Key exchange", &html! { (hybrid(tls)) (shares("groups", "Groups", &tls.groups)) }))
                (section("resumption", "Resumption", &resumption(sight)))
            }
        }
    }
}

fn of_version(tls: &TlsShares, version: &str) -> u64 {
    tls.versions.iter().find(|share| share.name == version).map_or(0, |share| share.count)
}

fn answer(sight: &Sight) -> Markup {
    const OLD: &str = "TLSv1.2";
    let process = &sight.snapshot.process;
    let (all, old) = (process.tls.handshakes, of_version(&process.tls, OLD));
    let since = span(process.uptime.floor());
    let users: Vec<&Service> =
        sight.snapshot.services.iter().filter(|service| of_version(&service.tls, OLD) > 0).collect();
    let with_tls = sight.snapshot.services.iter().filter(|service| service.tls.handshakes > 0).count();
    html! {
        @if old == 0 {
            p.answer { strong { "As far as seen, yes." } " None of the " (plural(all, "handshake", "handshakes"))
                " of the last " (since) " used it." }
            p.muted { "Clients that come once a month may not have been here yet." }
        } @else {
            p.answer { strong { "Not without turning clients away." } " " (count(old)) " of "
                (plural(all, "handshake", "handshakes")) " used it (" (percent(old, all)) ") in the last " (since) "." }
            @if !users.is_empty() {
                ul {
                    @for service in &users {
                        @let here = of_version(&service.tls, OLD);
                        li { b { (service.name) } ": " (count(here)) " of " (count(service.tls.handshakes))
                            " (" (percent(here, service.tls.handshakes)) ")" }
                    }
                }
                @if users.len() < with_tls { p.muted { "All other services could do without it today." } }
            }
        }
    }
}

fn shares(id: &str, caption: &str, shares: &[Share]) -> Markup {
    const COLUMNS: &[Column] = &[text("Name"), number("Handshakes"), number("Share")];
    if shares.is_empty() {
        return nothing("Nothing is known of it.");
    }
    let total = shares.iter().fold(0, |sum: u64, share| sum.saturating_add(share.count));
    let counts: Vec<u64> = shares.iter().map(|share| share.count).collect();
    let said: Vec<String> = shares
        .iter()
        .take(3)
        .map(|share| format!("{} {}", share.name, percent(share.count, total)))
        .collect();
    let rows = html! {
        @for (index, share) in shares.iter().enumerate() {
            tr data-key=(share.name) {
                th scope="row" { (key(index.min(COLOURS - 1))) code { (share.name) } }
                (cell(share.count, &count(share.count)))
                (cell(share.count, &percent(share.count, total)))
            }
        }
    };
    html! {
        (parts(&counts, caption, &said.join(", ")))
        (plain_table(&format!("{id}-shares"), &format!("{caption} of completed handshakes"), COLUMNS, &rows))
    }
}

/// Whether recorded traffic will stay secret from a quantum computer: of groups that are known to combine both.
fn hybrid(tls: &TlsShares) -> Markup {
    let safe = tls.groups.iter().filter(|share| share.name.contains("MLKEM"));
    let safe = safe.fold(0, |sum: u64, share| sum.saturating_add(share.count));
    html! {
        p.muted { (percent(safe, tls.handshakes)) " of handshakes used a group that also resists quantum computers (ML-KEM)." }
    }
}

fn resumption(sight: &Sight) -> Markup {
    const COLUMNS: &[Column] = &[text("Service"), number("Handshakes"), number("Resumed"), number("Share")];
    let tls = &sight.snapshot.process.tls;
    let full = tls.handshakes.saturating_sub(tls.resumed);
    let said = format!("{} of handshakes resumed an earlier one", percent(tls.resumed, tls.handshakes));
    let rows = html! {
        @for service in sight.snapshot.services.iter().filter(|service| service.tls.handshakes > 0) {
            tr data-key=(service.name) {
                th scope="row" { (service.name) }
                (cell(service.tls.handshakes, &count(service.tls.handshakes)))
                (cell(service.tls.resumed, &count(service.tls.resumed)))
                (cell(super::words::share(service.tls.resumed, service.tls.handshakes),
                    &percent(service.tls.resumed, service.tls.handshakes)))
            }
        }
    };
    html! {
        p { (said) ", which spares both sides the expensive part." }
        (parts(&[tls.resumed, full], "Resumed and full handshakes", &said))
        (plain_table("resumed", "Resumption by service", COLUMNS, &rows))
    }
}
