// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all views have around them: head, header with the daemon's own state, navigation, footer.

use super::assets::{ICON, SCRIPT, STYLE};
use super::draw::{Mood, state};
use super::words::{clock, date, plural, span, stamp};
use super::{Sight, VIEWS, connections};
use crate::control::model::Process;
use maud::{DOCTYPE, Markup, html};

pub(super) const MEDIA: &str = "text/html; charset=utf-8";

/// The whole document: `body` is what stands in `main`, under `title`. `current` is the view's place in the navigation.
pub(super) fn document(sight: &Sight, current: &str, title: &str, body: &Markup) -> Vec<u8> {
    let process = &sight.snapshot.process;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title {
                    @if !process.problems.is_empty() { "(" (process.problems.len()) ") " }
                    (title) " · tunnel"
                    @if !process.node.is_empty() { " on " (process.node) }
                }
                link rel="icon" type="image/svg+xml" href=(ICON.path);
                link rel="stylesheet" href=(STYLE.path);
                script type="module" src=(SCRIPT.path) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (header(sight, current))
                main id="main" tabindex="-1" { (body) }
                (footer(sight))
            }
        }
    };
    markup.into_string().into_bytes()
}

fn header(sight: &Sight, current: &str) -> Markup {
    let process = &sight.snapshot.process;
    html! {
        header {
            div.bar {
                a.brand href="/" {
                    svg.logo viewBox="0 0 32 32" aria-hidden="true" focusable="false" {
                        rect.ground width="32" height="32" rx="7" {}
                        path.arch d="M5 27V16a11 11 0 0 1 22 0v11h-5V16a6 6 0 0 0-12 0v11z" {}
                        path.road d="M14.2 27l1-9h1.6l1 9z" {}
                    }
                    span.name { "tunnel" }
                    @if !process.node.is_empty() { span.node { (process.node) } }
                }
                div #pulse .pulse {
                    (serving(process))
                    @if !process.problems.is_empty() {
                        @let worst = worst(process);
                        a class={ "badge " (worst.class()) } href="/#problems" {
                            (worst.shape()) (plural(process.problems.len() as u64, "problem", "problems"))
                        }
                    }
                    span.asof { "as of " time datetime=(stamp(sight.snapshot.at)) { (clock(sight.snapshot.at)) } }
                }
                p #link .link role="status" {}
                button #pause .quiet type="button" hidden { "Pause" }
            }
            nav aria-label="Views" {
                ul {
                    @for view in &VIEWS[..1] { (entry(view.path, view.title, current)) }
                    (entry(connections::PATH, "Connections", current))
                    @for view in &VIEWS[1..] { (entry(view.path, view.title, current)) }
                }
            }
        }
    }
}

fn entry(path: &str, title: &str, current: &str) -> Markup {
    let here = (path == current).then_some("page");
    html! { li { a href=(path) aria-current=[here] { (title) } } }
}

/// The colour of the most urgent problem.
pub(super) fn worst(process: &Process) -> Mood {
    if process.problems.iter().any(|problem| problem.severity == "error") { Mood::Bad } else { Mood::Warn }
}

/// Whether new clients should be sent here.
pub(super) fn serving(process: &Process) -> Markup {
    match process.state.as_str() {
        "serving" if process.ready => state(Mood::Good, "ready"),
        "serving" => state(Mood::Bad, "not ready"),
        "" => state(Mood::Idle, "unknown"),
        other => state(Mood::Warn, other),
    }
}

fn footer(sight: &Sight) -> Markup {
    let process = &sight.snapshot.process;
    html! {
        footer #footer {
            p {
                "tunnel " (process.version)
                @if !process.commit.is_empty() { " (" code { (process.commit) } ")" }
                @if !process.tls_library.is_empty() { " with " (process.tls_library) }
                @if process.pid != 0 { ", process " (process.pid) }
                @if !process.user.is_empty() { " of user " (process.user) }
                @if process.started > 0.0 {
                    ", running for " (span(process.uptime.floor())) " since "
                    time datetime=(stamp(process.started)) { (date(process.started)) " " (clock(process.started)) }
                }
                "."
            }
            p {
                "The same figures: " a href="/metrics" { "metrics" } ", "
                a href="/api/v1/info" { "JSON" } ", " a href="/readyz" { "readiness" } "."
            }
        }
    }
}
