// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[service]]`: its own keys, and what its parts must agree on.
//!
//! Not here: the parts (`side.rs`, `tls.rs`, `rule.rs`, `route.rs`), what clients can be known by (`needs.rs`).

use super::names::{NAME_MAX, is_name};
use super::needs::Needs;
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::route::{self, Inherited};
use super::settings::{self, HealthSettings, RouteSettings, ServiceSettings, Tls};
use super::side::{self, Accept, refuse_in_mode};
use super::tables;
use super::{health, limit, reply, rule, server, socks, starttls, tls, tls_client};
use crate::mode::{MODES, Mode};
use crate::policy::quota::{QuotaSpec, Ways};
use crate::policy::reply::Reply;
use crate::policy::service::{Peek, RouteAction, Timeouts, Truncation};
use crate::policy::tls_spec::ServerTlsSpec;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// What a timeout may be. Zero would end everything at once; beyond a year is a slip.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(365 * 86_400);

/// What `buffer` may be, in bytes.
const BUFFERS: RangeInclusive<u64> = 1..=1 << 30;

/// The mode in which everybody gets `reply`, ahead of everything that is decided by what a client says.
const HEALTH: &str = "health";

/// The mode that answers by itself, whatever is sent.
const DEMO: &str = "demo";

/// What the parts of a service are read within.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    /// As messages call the service.
    pub(super) called: &'a str,
    pub(super) mode: &'static Mode,
    /// Where the mode is set, if it is.
    pub(super) mode_place: Option<Place>,
    pub(super) directory: &'a Path,
}

/// Reads a service; `names` are those of the services before it.
pub(super) fn check<'t>(
    fields: Fields<'t>,
    names: &mut HashMap<&'t str, Place>,
    directory: &Path,
    report: &mut Report,
) -> ServiceSettings {
    let name = check_name(fields, names, report);
    let called = name.map_or_else(|| "a service".to_owned(), |name| format!("service {:?}", name.value));
    let mode_node = fields.get("mode");
    let modes: Vec<_> = MODES.iter().map(|mode| (mode.name, *mode)).collect();
    let mode = mode_node.map_or(Some(MODES[0]), |node| node.choice(&modes, report));
    let mode_place = mode_node.map(|node| node.place);
    let frame = Frame { called: &called, mode: mode.unwrap_or(MODES[0]), mode_place, directory };
    let mut needs = Needs::default();

    let accept = check_accept(fields, frame, report);
    let accept_tls = check_accept_tls(fields, accept.as_ref(), directory, &mut needs, report);
    let connect = check_connect(fields, frame, mode.is_some(), &mut needs, report);
    let rules =
        fields.get("rule").map_or_else(Vec::new, |node| rule::check(node, directory, &mut needs, report));
    let inherited = Inherited {
        tls: accept_tls.as_ref(),
        connect: connect.as_ref(),
        has_connect: !fields.lacks("connect") || !fields.lacks("server") || mode.is_none(),
    };
    let routes = fields
        .get("route")
        .map_or_else(Vec::new, |node| route::check(node, frame, inherited, &mut needs, report));
    check_defaults_used(accept_tls.as_ref(), needs.has_route_tls(), report);
    warn_of_unused(fields.get("connect").or_else(|| fields.get("server")), &routes, report);

    let starttls = accept.as_ref().and_then(|accept| accept.starttls);
    starttls::check_service(starttls, accept_tls.as_ref(), connect.as_ref(), &routes, report);
    let proxy_node = accept.as_ref().and_then(|accept| accept.proxy_node);
    refuse_in_health(fields, accept.as_ref(), frame, report);
    let peek = needs.peek(fields.get("peek"), proxy_node.is_some(), report);
    if let (Some(node), true) = (proxy_node, accept.as_ref().is_some_and(Accept::confirms)) {
        refuse_confirm(node, frame, peek, needs.terminates_at(), report);
        starttls::check_confirm(node, connect.as_ref(), &routes, report);
    }
    let monitor = fields.get("monitor").and_then(|node| reply::check_monitor(node, directory, report));
    let buffer = fields.get("buffer").and_then(|node| node.size(BUFFERS, report));
    let truncations = [("reset", Truncation::Reset), ("close", Truncation::Close)];
    let truncation = fields.get("truncation").and_then(|node| node.choice(&truncations, report));
    let (accept, socket, proxy_protocol) = accept
        .map_or_else(Default::default, |accept| (accept.addresses, accept.socket, accept.proxy_protocol));
    // What is missing has been reported; the rest is still loaded, so that one run tells all.
    let service = ServiceSettings {
        name: name.map_or("", |name| name.value).to_owned(),
        mode: frame.mode,
        reply: check_reply(fields, mode, report),
        socks: socks::check(fields, frame, report),
        monitor,
        peek,
        accept,
        starttls,
        socket,
        proxy_protocol,
        accept_tls,
        connect,
        health: check_health(fields, frame, mode.is_some(), report),
        spread: server::check_spread(fields, report),
        timeouts: fields.get("timeout").map_or_else(Timeouts::default, |node| check_timeouts(node, report)),
        buffer: buffer.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(settings::BUFFER),
        truncation: truncation.unwrap_or_default(),
        limit: check_limit(fields, frame, report),
        rules,
        routes,
    };
    check_ways(&service, frame, report);
    service
}

/// Reads `accept`.
fn check_accept<'t>(fields: Fields<'t>, frame: Frame<'_>, report: &mut Report) -> Option<Accept<'t>> {
    if fields.lacks("accept") {
        let finding = report.missing(fields.place, format!("{} has no `accept`", frame.called));
        finding.help("add, for example, accept = \"127.0.0.1:8443\"");
    }
    side::check_accept(fields.get("accept")?, frame.directory, report)
}

/// Reports what has no meaning where everybody is answered at once.
fn refuse_in_health(fields: Fields<'_>, accept: Option<&Accept<'_>>, frame: Frame<'_>, report: &mut Report) {
    if frame.mode.name != HEALTH {
        return;
    }
    let keys = ["peek", "monitor", "limit", "rule", "route"].into_iter().filter_map(|key| fields.get(key));
    let proxy = accept.and_then(|accept| accept.proxy_node);
    let tls = accept.and_then(|accept| accept.starttls_node.or(accept.tls));
    for node in keys.chain(proxy).chain(tls) {
        refuse_in_mode(node, HEALTH, frame.mode_place, report);
    }
}

/// Whether the ways to the servers fit the mode, and what is known of clients.
fn check_ways(service: &ServiceSettings, frame: Frame<'_>, report: &mut Report) {
    tls_client::check_known(service, report);
    let ways = service.routes.iter().filter_map(|route| route.connect.as_ref()).chain(&service.connect);
    ways.for_each(|connect| socks::check_connect(connect, frame, report));
}

/// The name of a service, which nobody before may have had; `names` are those so far.
fn check_name<'t>(
    fields: Fields<'t>,
    names: &mut HashMap<&'t str, Place>,
    report: &mut Report,
) -> Option<At<&'t str>> {
    let Some(node) = fields.get("name") else {
        if fields.lacks("name") {
            report.missing(fields.place, "a service without `name`").help("add, for example, name = \"web\"");
        }
        return None;
    };
    let name = node.string(report)?;
    if !is_name(name.value, "") {
        let finding = report.error(name.place, format!("{:?} cannot be the name of a service", name.value));
        finding.help(format!(
            "up to {NAME_MAX} letters, digits, `-`, `_` and `.`: it stands in logs and statistics"
        ));
        return None;
    }
    if let Some(first) = names.get(name.value) {
        let finding = report.error(name.place, format!("a second service with the name {:?}", name.value));
        finding.note(*first, "the first is here");
        return None;
    }
    names.insert(name.value, name.place);
    Some(name)
}

fn check_limit(fields: Fields<'_>, frame: Frame<'_>, report: &mut Report) -> Option<QuotaSpec> {
    let node = fields.get("limit")?;
    let limit = limit::check(node, report)?;
    let rations = [limit.bandwidth, limit.connection_bandwidth].iter().any(|ways| *ways != Ways::default());
    if frame.mode.name == DEMO && rations {
        let message = format!("`limit` of bytes has no effect in mode {DEMO:?}, which answers by itself");
        report.warning(node.place, message);
    }
    Some(limit)
}

/// Reads `accept.tls`. Beside routes it may lack a certificate, to be only inherited from.
fn check_accept_tls(
    fields: Fields<'_>,
    accept: Option<&Accept<'_>>,
    directory: &Path,
    needs: &mut Needs,
    report: &mut Report,
) -> Option<Tls<ServerTlsSpec>> {
    let node = accept?.tls?;
    let tls = tls::check_accept(node, fields.get("route").is_none(), directory, report)?;
    if tls.terminates() {
        needs.terminates(node.place, tls.spec.client_ca.is_some());
    }
    Some(tls)
}

/// Whether somebody inherits from an `accept.tls` that cannot stand alone.
fn check_defaults_used(accept_tls: Option<&Tls<ServerTlsSpec>>, inherited: bool, report: &mut Report) {
    let Some(tls) = accept_tls else { return };
    if !tls.names("certificate") && !inherited {
        report
            .missing(tls.places.table, "`accept.tls` has no `certificate`, and no route has a `tls` with one")
            .help("add, for example, certificate = \"web.pem\", key = \"web.key\"");
    }
}

/// Whether clients must speak before the way to the server begins, though they wait for that to be confirmed.
fn refuse_confirm(
    node: Node<'_>,
    frame: Frame<'_>,
    peek: Peek,
    terminates: Option<Place>,
    report: &mut Report,
) {
    let asks = frame.mode.name == socks::MODE;
    let because = match (terminates, peek) {
        (Some(_), _) => "TLS is terminated here",
        _ if asks => "in this mode the client says first where it goes",
        (None, Peek::Tls | Peek::Http) => "the name that routes is what the client says first",
        (None, Peek::None) => return,
    };
    let message = format!("`confirm`, but {because}: {} must reach its server before it reads", frame.called);
    let finding = report.error(node.place, message);
    if let Some(place) = terminates {
        finding.note(place, "TLS is set here");
    }
    finding.help(if asks {
        "leave it out"
    } else {
        "write peek = \"none\": the tunnel before this one tells the name in its PROXY header"
    });
}

/// Whether any route goes where the service's `connect` says.
fn warn_of_unused(connect: Option<Node<'_>>, routes: &[RouteSettings], report: &mut Report) {
    let elsewhere = |route: &RouteSettings| route.connect.is_some() || route.action != RouteAction::Connect;
    if let (Some(node), false, true) = (connect, routes.is_empty(), routes.iter().all(elsewhere)) {
        report.warning(node.place, format!("`{}` has no effect: no route goes there", node.key));
    }
}

/// Reads `connect`; `mode_known` tells whether the mode was understood, so that what it wants can be told.
fn check_connect(
    fields: Fields<'_>,
    frame: Frame<'_>,
    mode_known: bool,
    needs: &mut Needs,
    report: &mut Report,
) -> Option<settings::ConnectSettings> {
    let node = fields.get("connect");
    let servers = server::check(fields, "[[service.server]]", &tables::SERVER, frame.directory, report);
    let has_none = ["connect", "server", "route"].iter().all(|key| fields.lacks(key));
    match node.or_else(|| fields.get("server")) {
        None if mode_known && frame.mode.connects && has_none => {
            let finding = report.missing(fields.place, format!("{} has no `connect`", frame.called));
            finding.help("add, for example, connect = \"127.0.0.1:8080\"");
        }
        Some(node) if mode_known && !frame.mode.connects => {
            refuse_in_mode(node, frame.mode.name, frame.mode_place, report);
        }
        _ => {}
    }
    side::check_connect(node, servers, &tables::CONNECT, frame.called, frame.directory, needs, report)
}

/// Reads how it is found out which servers are well.
fn check_health(
    fields: Fields<'_>,
    frame: Frame<'_>,
    mode_known: bool,
    report: &mut Report,
) -> HealthSettings {
    if mode_known && !frame.mode.connects {
        for node in ["check", "passive"].into_iter().filter_map(|key| fields.get(key)) {
            refuse_in_mode(node, frame.mode.name, frame.mode_place, report);
        }
    }
    health::check(fields, report)
}

/// The reply of a service that gives nothing else.
fn check_reply(fields: Fields<'_>, mode: Option<&Mode>, report: &mut Report) -> Option<Reply> {
    let health = mode.is_some_and(|mode| mode.name == HEALTH);
    match fields.get("reply") {
        Some(node) if mode.is_some() && !health => {
            report
                .error(node.place, format!("`reply` goes with mode = \"{HEALTH}\" only"))
                .help("monitors, rules and routes have a `reply` of their own");
            None
        }
        Some(node) => reply::check(node, report),
        None => health.then(|| Reply::new(reply::DEFAULT)),
    }
}

fn check_timeouts(node: Node<'_>, report: &mut Report) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(fields) = node.fields(&tables::TIMEOUT, report) else { return timeouts };
    for (key, value) in [
        ("handshake", &mut timeouts.handshake),
        ("connect", &mut timeouts.connect),
        ("idle", &mut timeouts.idle),
        ("half_close", &mut timeouts.half_close),
        ("linger", &mut timeouts.linger),
        ("tarpit", &mut timeouts.tarpit),
    ] {
        if let Some(duration) = fields.get(key).and_then(|node| node.duration(TIMEOUTS, report)) {
            *value = duration;
        }
    }
    timeouts
}
