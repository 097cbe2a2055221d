// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[service.route]]`: for whom, where to, and with which TLS on the way.
//!
//! Not here: choosing among them (`policy/route_table.rs`), which also finds two that would take the same client.

use super::address::Target;
use super::names::{Labels, check_names};
use super::needs::Needs;
use super::raw::{At, Fields, Node, unknown_word};
use super::report::{Place, Report};
use super::service::Frame;
use super::settings::{ConnectSettings, RouteSettings, Tls};
use super::side::{check_connect, refuse_in_mode};
use super::tls::{check_alpn, check_route};
use super::{health, limit, networks, reply, server, tables};
use crate::policy::route_table::Fallback;
use crate::policy::service::RouteAction;
use crate::policy::tls_spec::ServerTlsSpec;

/// What `fallback` may list.
pub(super) const FALLBACKS: [&str; 2] = ["no-name", "unknown-name"];

/// Keys that say whom a route takes; it needs one of them.
const CONDITIONS: [&str; 7] = ["sni", "sni_regex", "host", "host_regex", "alpn", "source", "fallback"];

/// What a route falls back on where it says nothing.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'s> {
    pub(super) tls: Option<&'s Tls<ServerTlsSpec>>,
    pub(super) connect: Option<&'s ConnectSettings>,
    /// Whether the service has a `connect` at all, be it good or not.
    pub(super) has_connect: bool,
}

/// Reads all routes of a service.
pub(super) fn check(
    node: Node<'_>,
    frame: Frame<'_>,
    inherited: Inherited<'_>,
    needs: &mut Needs,
    report: &mut Report,
) -> Vec<RouteSettings> {
    if node.items().is_some_and(|items| items.is_empty()) {
        report.error(node.place, "`route` must not be empty");
    }
    let tables = node.tables("[[service.route]]", &tables::ROUTE, report).unwrap_or_default();
    let mut labels = Labels::read("route", &tables, report);
    let routes = tables.iter().enumerate();
    routes
        .map(|(index, fields)| {
            let first = ["sni", "host"].into_iter().find_map(|key| fields.get(key)?.first_str());
            let name = labels.of(index, *fields, first);
            check_one(*fields, name, frame, inherited, needs, report)
        })
        .collect()
}

fn check_one(
    fields: Fields<'_>,
    name: String,
    frame: Frame<'_>,
    inherited: Inherited<'_>,
    needs: &mut Needs,
    report: &mut Report,
) -> RouteSettings {
    check_conditions(fields, &name, needs, report);
    let sni = check_names(fields, "sni", "sni_regex", report);
    let host = check_names(fields, "host", "host_regex", report);
    let alpn = check_alpn(fields, report);
    let source = fields.get("source").and_then(|node| networks::check(node, frame.directory, report));
    let fallback = check_fallback(fields, needs, report);
    let action = check_action(fields, needs, report);
    let tls = fields.get("tls").and_then(|node| {
        needs.route_tls();
        let tls = check_route(node, inherited.tls, frame.directory, report)?;
        needs.terminates(node.place, tls.spec.client_ca.is_some());
        Some(tls)
    });
    let servers =
        server::check(fields, "[[service.route.server]]", &tables::ROUTE_SERVER, frame.directory, report);
    let called = format!("route {name:?} of {}", frame.called);
    let connect = fields.get("connect");
    let connect =
        check_connect(connect, servers, &tables::ROUTE_CONNECT, &called, frame.directory, needs, report);
    let spread = server::check_spread(fields, report);
    if action == RouteAction::Connect {
        check_target(fields, &name, frame, inherited, report);
    }
    let health = health::check(fields, report);
    let goes_to = connect.as_ref().or(inherited.connect).filter(|_| action == RouteAction::Connect);
    check_nameless(fallback, goes_to, report);
    let limit = fields.get("limit").and_then(|node| limit::check(node, report));
    let place = fields.place;
    RouteSettings {
        name,
        place,
        sni,
        host,
        alpn,
        source,
        fallback,
        action,
        limit,
        tls,
        connect,
        spread,
        health,
    }
}

/// Whom the route takes: somebody in particular, known in one way.
fn check_conditions(fields: Fields<'_>, name: &str, needs: &mut Needs, report: &mut Report) {
    if CONDITIONS.iter().all(|key| fields.lacks(key)) {
        report.missing(fields.place, format!("route {name:?} does not say whom it takes")).help(
            "add, for example, sni = [\"www.example.org\"]; a service without any route takes everybody",
        );
    }
    for key in ["sni", "sni_regex", "alpn"] {
        needs.hello(fields.get(key));
    }
    let sni = fields.get("sni").or_else(|| fields.get("sni_regex"));
    let host = fields.get("host").or_else(|| fields.get("host_regex"));
    match (sni, host) {
        (Some(sni), Some(host)) => {
            report
                .error(host.place, format!("`{}` beside `{}`: no client has both", host.key, sni.key))
                .note(sni.place, format!("`{}` is set here", sni.key))
                .help("`sni` is for TLS, `host` for HTTP without it");
        }
        _ => needs.host(host),
    }
}

fn check_fallback(fields: Fields<'_>, needs: &mut Needs, report: &mut Report) -> At<Fallback> {
    let mut fallback = Fallback::default();
    let Some(node) = fields.get("fallback") else { return At { value: fallback, place: fields.place } };
    for text in node.strings(report) {
        let taken = match text.value {
            "no-name" => std::mem::replace(&mut fallback.no_name, true),
            "unknown-name" => {
                needs.unknown_name(text.place);
                std::mem::replace(&mut fallback.unknown_name, true)
            }
            _ => {
                unknown_word(node.key, text, &FALLBACKS, report);
                false
            }
        };
        if taken {
            report.error(text.place, format!("{:?} stands in `fallback` twice", text.value));
        }
    }
    At { value: fallback, place: node.place }
}

/// Reads `action` and what goes with one action only.
fn check_action(fields: Fields<'_>, needs: &mut Needs, report: &mut Report) -> RouteAction {
    let node = fields.get("action");
    let reject = node.and_then(|node| node.choice(&[("connect", false), ("reject", true)], report));
    let note = |finding: &mut super::report::Finding| {
        if let Some(node) = node {
            finding.note(node.place, "the action is set here");
        }
    };
    let reply = fields.get("reply");
    if reject != Some(true) {
        if let Some(reply) = reply {
            note(report.error(reply.place, "`reply` goes with action = \"reject\" only"));
        }
        return RouteAction::Connect;
    }
    for key in ["connect", "server", "tls", "check", "passive", "limit"] {
        if let Some(other) = fields.get(key) {
            note(report.error(other.place, format!("`{key}` beside action = \"reject\"")));
        }
    }
    let reply = reply.and_then(|node| {
        needs.plain(node.place);
        reply::check(node, report)
    });
    RouteAction::Reject(reply)
}

/// Whether the route goes somewhere, as the mode wants it.
fn check_target(
    fields: Fields<'_>,
    name: &str,
    frame: Frame<'_>,
    inherited: Inherited<'_>,
    report: &mut Report,
) {
    match fields.get("connect").or_else(|| fields.get("server")) {
        Some(node) if !frame.mode.connects => {
            refuse_in_mode(node, frame.mode.name, frame.mode_place, report);
        }
        _ if !frame.mode.connects => {
            for node in ["check", "passive"].into_iter().filter_map(|key| fields.get(key)) {
                refuse_in_mode(node, frame.mode.name, frame.mode_place, report);
            }
        }
        None if frame.mode.connects
            && !inherited.has_connect
            && fields.lacks("connect")
            && fields.lacks("server") =>
        {
            report
                .missing(fields.place, format!("route {name:?} has no `connect`, nor has {}", frame.called))
                .help("add, for example, connect = \"127.0.0.1:8080\", or action = \"reject\"");
        }
        _ => {}
    }
}

/// Whether clients without a name are sent to the server they name.
fn check_nameless(fallback: At<Fallback>, connect: Option<&ConnectSettings>, report: &mut Report) {
    let requested = connect.and_then(requested);
    if let (true, Some(address)) = (fallback.value.no_name, requested) {
        report
            .error(fallback.place, "\"no-name\" on a route to the server that the client names")
            .note(address, "it goes there");
    }
}

/// Where "*:PORT" is written, if that is where this goes.
fn requested(connect: &ConnectSettings) -> Option<Place> {
    let endpoint = connect.addresses.iter().find(|endpoint| matches!(endpoint.target, Target::Requested(_)));
    endpoint.map(|endpoint| endpoint.text.place)
}
