// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first view: what is wrong, the daemon in a few figures, one row per service.

use super::Sight;
use super::draw::{Mood, sparkline};
use super::frame::serving;
use super::parts::{
    Column, cell, condition, handshakes_failed, moment, nothing, number, picture, places, plain_table,
    section, standing, text, tile,
};
use super::words::{bits, bytes, count, percent, plural, rate, share, span, timing, urlencoded};
use crate::control::model::{History, Process, Server, Service};
use maud::{Markup, html};

/// Servers that a row names; the rest are counted.
const SERVERS: usize = 12;

const COLUMNS: &[Column] = &[
    text("Service"),
    text("State"),
    picture("Connections, five minutes"),
    picture("Traffic, five minutes"),
    number("Active"),
    number("Peak"),
    number("Total"),
    number("Handshakes ok"),
    number("p50"),
    number("p99"),
    picture("Servers"),
];

pub(super) fn draw(sight: &Sight) -> Markup {
    let snapshot = &sight.snapshot;
    let rows = html! { @for service in &snapshot.services { (row(service)) } };
    html! {
        h1.aside { "Overview" }
        (problems(&snapshot.process))
        (tiles(&snapshot.process))
        @if snapshot.services.is_empty() {
            (nothing("There is no service yet."))
        } @else {
            (section("services", "Services", &plain_table("by-service", "Services, now and in the last five minutes", COLUMNS, &rows)))
        }
        (listeners(sight))
    }
}

/// Only what is wrong or will be: where nothing is, the page says nothing.
fn problems(process: &Process) -> Markup {
    html! {
        div id="problems" role="status" aria-live="polite" {
            @if !process.problems.is_empty() || !process.not_ready.is_empty() {
                ul.problems aria-label="Problems" {
                    @for reason in &process.not_ready {
                        li.bad { (Mood::Bad.shape()) strong { "not ready" } " " (reason) }
                    }
                    @for problem in &process.problems {
                        @let mood = if problem.severity == "error" { Mood::Bad } else { Mood::Warn };
                        li class=(mood.class()) {
                            (mood.shape())
                            span.aside { (problem.severity) ": " }
                            span title=(problem.subject) { (problem.text) }
                        }
                    }
                }
            }
        }
    }
}

fn tiles(process: &Process) -> Markup {
    let traffic = &process.traffic;
    let failed = handshakes_failed(&process.failures);
    let tried = process.handshakes.count.saturating_add(failed);
    let most = if process.places > 0 { process.places } else { process.max_connections };
    html! {
        dl.tiles {
            (tile("Connections now", &count(traffic.active), &html! {
                "peak " (count(traffic.peak))
                @if most > 0 { ", " (percent(traffic.active, most)) " of " (count(most)) " places" }
            }))
            (tile("New connections", &rate(traffic.rate), &connections_line(&process.history, "all services")))
            (tile("Traffic", &bits(traffic.rate_in + traffic.rate_out), &traffic_line(&process.history, "all services")))
            (tile("Handshakes ok", &percent(process.handshakes.count, tried), &html! {
                a href="/failures" { (plural(failed, "failure", "failures")) } " of " (count(tried))
            }))
            (tile("Handshake p99", &timing(process.handshakes.p99), &html! {
                a href="/latency" { "half within " (timing(process.handshakes.p50)) }
            }))
            (tile("Carried", &bytes(traffic.bytes_in.saturating_add(traffic.bytes_out)), &html! {
                (bytes(traffic.bytes_in)) " in, " (bytes(traffic.bytes_out)) " out"
            }))
            (tile("Connections ever", &count(traffic.total), &html! { (count(traffic.failed)) " failed" }))
            (tile("Uptime", &span(process.uptime.floor()), &html! {
                (serving(process))
                @if process.queued > 0 { " " (count(process.queued)) " queued" }
            }))
        }
    }
}

fn row(service: &Service) -> Markup {
    let traffic = &service.traffic;
    let failed = handshakes_failed(&service.failures);
    let tried = service.handshakes.count.saturating_add(failed);
    html! {
        tr data-key=(service.name) {
            th scope="row" {
                a href={ "/connections?service=" (urlencoded(&service.name)) } { (service.name) }
                small {
                    (service.mode)
                    @for address in service.listens_on.iter().take(3) { " " code { (address) } }
                    @if service.listens_on.len() > 3 { " and " (service.listens_on.len() - 3) " more" }
                }
            }
            td { (condition(&service.state)) }
            td.line {
                (connections_line(&service.history, &service.name))
                span.now { (rate(traffic.rate)) }
            }
            td.line {
                (traffic_line(&service.history, &service.name))
                span.now { (bits(traffic.rate_in + traffic.rate_out)) }
            }
            (cell(traffic.active, &count(traffic.active)))
            (cell(traffic.peak, &count(traffic.peak)))
            (cell(traffic.total, &count(traffic.total)))
            @if service.accepts_tls {
                (cell(share(service.handshakes.count, tried), &percent(service.handshakes.count, tried)))
            } @else {
                td.number { "–" }
            }
            (cell(service.handshakes.p50, &timing(service.handshakes.p50)))
            (cell(service.handshakes.p99, &timing(service.handshakes.p99)))
            td { (servers(service)) }
        }
    }
}

fn connections_line(history: &History, whose: &str) -> Markup {
    let most = history.connections.iter().copied().fold(0.0, f64::max);
    let now = history.connections.last().copied().unwrap_or(0.0);
    let seen = format!("{} now, {} at most", rate(now), rate(most));
    sparkline(
        &history.connections,
        places(history),
        &format!("New connections of {whose}, last five minutes"),
        &seen,
    )
}

fn traffic_line(history: &History, whose: &str) -> Markup {
    let both = history.bytes_in.iter().zip(&history.bytes_out);
    let values: Vec<f64> = both.map(|(bytes_in, bytes_out)| bytes_in + bytes_out).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let seen = format!("{} now, {} at most", bits(values.last().copied().unwrap_or(0.0)), bits(most));
    sparkline(&values, places(history), &format!("Traffic of {whose}, last five minutes"), &seen)
}

fn servers(service: &Service) -> Markup {
    let all: Vec<&Server> = service.routes.iter().flat_map(|route| &route.servers).collect();
    // Those that are down come first, lest they be among the rest.
    let (down, others): (Vec<&Server>, Vec<&Server>) =
        all.iter().partition(|server| standing(server).0 == Mood::Bad);
    html! {
        @if all.is_empty() {
            span.muted { "none" }
        } @else {
            ul.blocks {
                @for server in down.iter().chain(&others).take(SERVERS) {
                    @let (mood, word) = standing(server);
                    li class=(mood.class()) title={ (server.route) ": " (word) } {
                        (mood.shape())
                        a href={ "/servers#server-" (urlencoded(&service.name)) "-" (server.number) } { (server.name) }
                        span.aside { " " (word) }
                    }
                }
                @if all.len() > SERVERS { li { a href="/servers" { "and " (all.len() - SERVERS) " more" } } }
            }
        }
    }
}

fn listeners(sight: &Sight) -> Markup {
    const COLUMNS: &[Column] = &[
        text("Address"),
        text("Service"),
        text("State"),
        number("Backlog"),
        number("Active"),
        number("Total"),
        number("In"),
        number("Out"),
        text("Last connection"),
    ];
    let snapshot = &sight.snapshot;
    let rows = html! {
        @for listener in &snapshot.listeners {
            @let traffic = &listener.traffic;
            tr data-key=(listener.address) {
                th scope="row" { code { (listener.address) } }
                td { (listener.service) }
                td { (condition(&listener.state)) @if !listener.reason.is_empty() { small { (listener.reason) } } }
                td.number data-value=(listener.backlog) {
                    @if listener.backlog < 0 { "unknown" } @else {
                        (listener.backlog)
                        @if listener.backlog_limit > 0 { " of " (listener.backlog_limit) }
                    }
                }
                (cell(traffic.active, &count(traffic.active)))
                (cell(traffic.total, &count(traffic.total)))
                (cell(traffic.bytes_in, &bytes(traffic.bytes_in)))
                (cell(traffic.bytes_out, &bytes(traffic.bytes_out)))
                td data-value=(traffic.last) { (moment(traffic.last, snapshot.at)) }
            }
        }
    };
    if snapshot.listeners.is_empty() {
        return html! {};
    }
    section("listeners", "Listeners", &plain_table("by-listener", "Bound sockets", COLUMNS, &rows))
}
