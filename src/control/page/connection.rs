// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection: who, where to, what was agreed on, and how long each phase took.

use super::connections::{PATH, condition, kill, tls};
use super::draw::percent;
use super::parts::{nothing, section};
use super::words::{bits, bytes, clock, span};
use super::{Page, Sight, frame};
use crate::connection::view::{ConnectionView, Wanted};
use crate::control::answer::{End, Format};
use crate::control::state::State;
use crate::policy::access::Level;
use maud::{Markup, html};

/// The number in "/connections/17".
pub(super) fn at(path: &str) -> Option<u64> {
    let number = path.strip_prefix(PATH)?.strip_prefix('/')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

pub(super) fn page(id: u64, sight: Sight) -> Page {
    let wanted = Wanted { id: Some(id), ..Wanted::default() };
    Page::Connections {
        wanted: Box::new(wanted),
        from: None,
        most: 1,
        format: Box::new(Detail { id, sight, found: None }),
    }
}

/// Waits for the one connection.
#[derive(Debug)]
struct Detail {
    id: u64,
    sight: Sight,
    found: Option<ConnectionView>,
}

impl Format for Detail {
    fn head(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, connection: &ConnectionView, _: &mut Vec<u8>) {
        self.found = Some(connection.clone());
    }

    fn look(&mut self, state: &mut State) {
        self.sight = Sight::now(state, self.sight.level);
    }

    fn tail(&mut self, _: &End, out: &mut Vec<u8>) {
        let title = format!("Connection {}", self.id);
        let body = html! {
            p { a href=(PATH) { "All connections" } }
            h1 { (title) }
            @match &self.found {
                Some(connection) => (self.draw(connection)),
                None => (nothing("It is not there, or not any more: its line in the log tells how it ended.")),
            }
        };
        out.extend(frame::document(&self.sight, PATH, &title, &body));
    }
}

impl Detail {
    fn draw(&self, connection: &ConnectionView) -> Markup {
        html! {
            div.lead {
                (condition(connection)) " " (connection.doing)
                @if !connection.waits_for.is_empty() { ", waits for " (connection.waits_for) }
                @if self.sight.level >= Level::Operate { " " (kill(connection.id, PATH)) }
            }
            div.pair {
                (section("timeline", "Timeline", &timeline(connection, self.sight.snapshot.at)))
                (section("facts", "What is known of it", &facts(connection)))
            }
        }
    }
}

fn facts(connection: &ConnectionView) -> Markup {
    let known =
        |text: &str| html! { @if text.is_empty() { span.muted { "none" } } @else { code.peer { (text) } } };
    html! {
        dl.facts {
            dt { "Client" } dd { (known(&connection.client)) }
            @if !connection.via.is_empty() { dt { "Through" } dd { (known(&connection.via)) } }
            dt { "Name asked for" } dd { (known(&connection.name)) }
            dt { "Protocols (ALPN)" } dd { (known(&connection.alpn)) }
            dt { "TLS with the client" } dd { (tls(connection.client_tls.as_ref())) }
            dt { "Client certificate" } dd { (known(&connection.client_cn)) }
            dt { "Service and route" } dd { (connection.service) @if !connection.route.is_empty() { " / " (connection.route) } }
            dt { "Server" } dd { (known(&connection.server)) }
            dt { "TLS with the server" } dd { (tls(connection.server_tls.as_ref())) }
            dt { "In" } dd { (bytes(connection.bytes_in)) ", " (bits(connection.rate_in)) ", " (bytes(connection.buffered_in)) " held" }
            dt { "Out" } dd { (bytes(connection.bytes_out)) ", " (bits(connection.rate_out)) ", " (bytes(connection.buffered_out)) " held" }
            dt { "Still for" } dd { (span(connection.idle)) }
            dt { "Worker" } dd { (connection.worker) }
        }
    }
}

/// A phase: its name, how long it took, and whether it was reached.
type Phase = (&'static str, Option<f64>);

fn phases(connection: &ConnectionView) -> [Phase; 5] {
    [
        ("waiting for a worker", Some(connection.queued_for)),
        ("handshake with the client", connection.handshake),
        ("looking up the name", connection.resolve),
        ("connecting to the server", connection.connect),
        ("relaying", connection.relay),
    ]
}

fn timeline(connection: &ConnectionView, now: f64) -> Markup {
    let phases = phases(connection);
    let reached: Vec<(usize, &str, f64)> = phases
        .iter()
        .enumerate()
        .filter_map(|(index, (name, took))| took.map(|took| (index, *name, took)))
        .collect();
    // A handshake of milliseconds must be seen beside hours of relaying, so the strip grows with the logarithm.
    let weight = |took: f64| (1.0 + took.max(0.0) * 10_000.0).ln();
    let whole = reached.iter().map(|(_, _, took)| weight(*took)).sum::<f64>().max(f64::MIN_POSITIVE);
    let mut from = 0.0;
    let mut next = |took: f64| {
        let width = weight(took) / whole * 100.0;
        from += width;
        (from - width, width)
    };
    html! {
        svg.parts.timeline role="img" {
            title { "Phases of the connection" }
            desc { "Accepted " (span(connection.age)) " ago; " (reached.len()) " phases, wider by the logarithm of their time" }
            rect.trough width="100%" height="100%" {}
            @for (index, name, took) in &reached {
                @let (x, width) = next(*took);
                rect class=(super::draw::colour(*index)) x=(percent(x)) width=(percent(width)) height="100%" {
                    title { (name) " " (span(*took)) }
                }
            }
        }
        ol.steps {
            li { b { "accepted" } " " time { (clock(now - connection.age)) } " " span.muted { (span(connection.age)) " ago" } }
            @for (index, (name, took)) in phases.iter().enumerate() {
                li class=[took.is_none().then_some("ahead")] {
                    (super::draw::key(index)) (name) " "
                    @match took { Some(took) => b { (span(*took)) }, None => span.muted { "not reached" } }
                }
            }
            li { b { "now" } " " (connection.doing) " " span.muted { "still for " (span(connection.idle)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_alone_is_a_connection() {
        assert_eq!([at("/connections/17"), at("/connections/0")], [Some(17), Some(0)]);
        for path in [
            "/connections/",
            "/connections/-1",
            "/connections/+1",
            "/connections/1/x",
            "/connection/1",
            "/connections/99999999999999999999",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
    }
}
