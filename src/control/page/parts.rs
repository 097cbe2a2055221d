// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pieces of several views: tables, tiles, sections, moments.

use super::draw::{Mood, state};
use super::words::{ago, clock, date, stamp};
use crate::control::model::{Failures, History, Server};
use maud::{Markup, html};

/// A table that scrolls by itself where it is too wide. `key` names it within its page and keeps its sorting.
pub(super) fn table(key: &str, caption: &str, columns: &[Column], rows: &Markup) -> Markup {
    captioned(key, caption, &html! { (caption) }, columns, rows)
}

/// The same where the heading above already says what the caption would.
pub(super) fn plain_table(key: &str, caption: &str, columns: &[Column], rows: &Markup) -> Markup {
    captioned(key, caption, &html! { span.aside { (caption) } }, columns, rows)
}

fn captioned(key: &str, name: &str, caption: &Markup, columns: &[Column], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table id=(key) data-sort="" {
                caption { (caption) }
                thead { tr {
                    @for column in columns {
                        th scope="col" class=[column.number.then_some("number")]
                            data-still=[(!column.sorts).then_some("")] { (column.title) }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// A column of a [`table`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    number: bool,
    sorts: bool,
}

pub(super) const fn text(title: &'static str) -> Column {
    Column { title, number: false, sorts: true }
}

/// Cells of it have `data-value` with the bare number, for sorting.
pub(super) const fn number(title: &'static str) -> Column {
    Column { title, number: true, sorts: true }
}

/// A column of pictures or buttons.
pub(super) const fn picture(title: &'static str) -> Column {
    Column { title, number: false, sorts: false }
}

/// A cell with a number: as people read it, and bare.
pub(super) fn cell(value: impl Into<Bare>, shown: &str) -> Markup {
    let Bare(value) = value.into();
    html! { td.number data-value=(value) { (shown) } }
}

/// A number written for machines.
pub(super) struct Bare(String);

impl From<u64> for Bare {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl From<f64> for Bare {
    fn from(value: f64) -> Self {
        Self(if value.is_finite() { value.to_string() } else { String::new() })
    }
}

/// A part of a view under a heading.
pub(super) fn section(key: &str, title: &str, body: &Markup) -> Markup {
    html! {
        section id=(key) aria-labelledby={ (key) "-title" } {
            h2 id={ (key) "-title" } { (title) }
            (body)
        }
    }
}

/// One figure with its name, and a remark below.
pub(super) fn tile(name: &str, figure: &str, remark: &Markup) -> Markup {
    html! {
        div.tile {
            dt { (name) }
            dd.figure { (figure) }
            dd.remark { (remark) }
        }
    }
}

/// How many samples a history has when it is full; fewer are shown at the right.
pub(super) fn places(history: &History) -> f64 {
    /// Seconds, as the model says.
    const SPAN: f64 = 300.0;
    if history.step > 0.0 { SPAN / history.step } else { 1.0 }
}

/// What is said where there is nothing to show.
pub(super) fn nothing(sentence: &str) -> Markup {
    html! { p.nothing { (sentence) } }
}

/// How long ago, with the moment itself for whoever looks closer.
pub(super) fn moment(at: f64, now: f64) -> Markup {
    if at <= 0.0 {
        return html! { "never" };
    }
    let exact = format!("{} {}", date(at), clock(at));
    html! { time datetime=(stamp(at)) title=(exact) { (ago(at, now)) } }
}

/// How a server stands: what the operator says goes before what was seen.
pub(super) fn standing(server: &Server) -> (Mood, &str) {
    match (server.admin.as_str(), server.state.as_str()) {
        ("maint", _) => (Mood::Idle, "maintenance"),
        ("drain", _) => (Mood::Idle, "draining"),
        (_, "down") => (Mood::Bad, "down"),
        (_, "paused") => (Mood::Warn, "paused"),
        (_, "stopping") => (Mood::Warn, "stopping"),
        (_, "up") => (Mood::Good, "up"),
        (_, "") => (Mood::Idle, "unchecked"),
        (_, other) => (Mood::Idle, other),
    }
}

/// The state of a service, a listener or a worker.
pub(super) fn condition(word: &str) -> Markup {
    let mood = match word {
        "up" | "accepting" | "busy" | "asleep" => Mood::Good,
        "draining" | "paused" => Mood::Warn,
        "gone" | "closed" | "down" => Mood::Bad,
        _ => Mood::Idle,
    };
    state(mood, if word.is_empty() { "unknown" } else { word })
}

/// Failures of handshakes with clients. Other causes are the server's, the operator's, or come later.
pub(super) fn handshakes_failed(failures: &[Failures]) -> u64 {
    const CAUSES: [&str; 19] = [
        "no-shared-cipher",
        "unsupported-protocol",
        "no-shared-group",
        "no-shared-signature",
        "no-shared-alpn",
        "no-certificate",
        "certificate-expired",
        "certificate-revoked",
        "unknown-ca",
        "certificate-other",
        "client-rejects-our-certificate",
        "client-handshake-alert",
        "plain-http",
        "not-tls",
        "bad-hello",
        "name-changed",
        "handshake-failed",
        "handshake-timeout",
        "client-closed-early",
    ];
    let in_handshake = failures.iter().filter(|failures| CAUSES.contains(&failures.cause.as_str()));
    in_handshake.fold(0, |sum, failures| sum.saturating_add(failures.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::causes::CAUSES;

    #[test]
    fn every_cause_of_a_failed_handshake_is_one_there_is() {
        let of = |cause: &str| Failures { cause: cause.to_owned(), count: 1, ..Failures::default() };
        let all: Vec<Failures> = CAUSES.iter().map(|(_, word, _)| of(word)).collect();
        assert_eq!(handshakes_failed(&all), 19);
        assert_eq!(handshakes_failed(&[of("connect-failed"), of("idle"), of("rejected")]), 0);
    }
}
