// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers: what the operator says of each, what was seen of it, and its last checks.

use super::Sight;
use super::draw::{checks, state};
use super::parts::{Column, cell, moment, nothing, number, picture, plain_table, section, standing, text};
use super::words::{ago, bytes, clock, count, span, timing, urlencoded};
use crate::control::model::{Server, Service};
use maud::{Markup, html};

/// Rows per service; the API has the rest.
const MOST: usize = 200;

const COLUMNS: &[Column] = &[
    text("Server"),
    text("Route"),
    text("State"),
    picture("Checks"),
    number("Weight"),
    number("Active"),
    number("Total"),
    number("In"),
    number("Out"),
    number("p50"),
    number("p99"),
    number("Errors"),
    text("Last error"),
];

pub(super) fn draw(sight: &Sight) -> Markup {
    let with_servers: Vec<(&Service, Vec<&Server>)> = sight
        .snapshot
        .services
        .iter()
        .map(|service| (service, service.routes.iter().flat_map(|route| &route.servers).collect::<Vec<_>>()))
        .filter(|(_, servers)| !servers.is_empty())
        .collect();
    html! {
        h1 { "Servers" }
        p.muted { "p50 and p99 are those of connecting." }
        @if with_servers.is_empty() { (nothing("No service connects to a server.")) }
        @for (service, servers) in &with_servers {
            @let key = urlencoded(&service.name);
            @let rows = html! { @for server in servers.iter().take(MOST) { (row(service, server, sight.snapshot.at)) } };
            (section(&format!("service-{key}"), &service.name, &html! {
                (plain_table(&format!("servers-{key}"), &format!("Servers of {}", service.name), COLUMNS, &rows))
                @if servers.len() > MOST { p.muted { "and " (count((servers.len() - MOST) as u64)) " more: see the API" } }
            }))
        }
    }
}

fn row(service: &Service, server: &Server, now: f64) -> Markup {
    let (mood, word) = standing(server);
    let traffic = &server.traffic;
    html! {
        tr #{ "server-" (urlencoded(&service.name)) "-" (server.number) } data-key=(server.number) {
            th scope="row" {
                code { (server.name) }
                @if !server.address.is_empty() && server.address != server.name { small { code { (server.address) } } }
            }
            td { (server.route) }
            td { (state(mood, word)) @if server.since > 0.0 { small { "for " (span((now - server.since).floor())) } } }
            td { (strip(server, now)) }
            (cell(u64::from(server.weight), &server.weight.to_string()))
            (cell(traffic.active, &count(traffic.active)))
            (cell(traffic.total, &count(traffic.total)))
            (cell(traffic.bytes_in, &bytes(traffic.bytes_in)))
            (cell(traffic.bytes_out, &bytes(traffic.bytes_out)))
            (cell(server.connects.p50, &timing(server.connects.p50)))
            (cell(server.connects.p99, &timing(server.connects.p99)))
            (cell(server.connect_errors, &count(server.connect_errors)))
            td.prose data-value=(server.last_error_at) {
                @if server.last_error_at > 0.0 { (server.last_error) small { (moment(server.last_error_at, now)) } }
            }
        }
    }
}

fn strip(server: &Server, now: f64) -> Markup {
    let Some(newest) = server.checks.first() else { return html! { span.muted { "none" } } };
    let outcomes: Vec<(bool, String)> = server
        .checks
        .iter()
        .rev()
        .map(|check| {
            let label =
                format!("{} {} in {} {}", clock(check.at), check.status, span(check.took), check.text);
            (check.ok, label)
        })
        .collect();
    let failed = outcomes.iter().filter(|(well, _)| !well).count();
    let seen = format!(
        "{} checks, {failed} failed; the last {} {}",
        outcomes.len(),
        newest.status,
        ago(newest.at, now)
    );
    html! { (checks(&outcomes, &format!("Checks of {}", server.name), &seen)) small { (newest.status) " " (ago(newest.at, now)) } }
}
