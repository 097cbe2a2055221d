// SPDX-License-Identifier: MIT OR Apache-2.0
//! `starttls` on either side, and `opportunistic`: which protocol begins in clear, and whether it all fits together.
//!
//! Not here: the protocols (`wire/starttls/`).

use super::raw::{At, Node};
use super::report::{Place, Report};
use super::settings::{ConnectSettings, RouteSettings, Tls};
use crate::policy::service::{AskTls, RouteAction};
use crate::policy::tls_spec::ServerTlsSpec;
use crate::wire::starttls::{Opening, PROTOCOLS, Protocol};

/// Reads the `starttls` of either side.
pub(super) fn check_protocol(node: Node<'_>, report: &mut Report) -> Option<At<&'static Protocol>> {
    let protocols = PROTOCOLS.map(|protocol| (protocol.name, protocol));
    Some(At { value: node.choice(&protocols, report)?, place: node.place })
}

/// Reads `starttls` and `opportunistic` of a `connect`; `tls` tells whether it has one.
pub(super) fn check_connect(
    starttls: Option<Node<'_>>,
    opportunistic: Option<Node<'_>>,
    tls: bool,
    report: &mut Report,
) -> Option<At<AskTls>> {
    let allowed = opportunistic.map_or(Some(false), |node| node.boolean(report))?;
    let Some(node) = starttls else {
        if let Some(node) = opportunistic {
            report
                .error(node.place, "`opportunistic` without `starttls`")
                .help("TLS that begins at once is always there, or the connection fails: leave it out");
        }
        return None;
    };
    if !tls {
        report
            .error(node.place, "`starttls` without `tls`: there is nothing to go on to")
            .help("add, for example, tls = true");
    }
    let protocol = check_protocol(node, report)?.value;
    if let (true, false, Some(node)) = (allowed, protocol.may_stay_clear, opportunistic) {
        let message = format!("{:?} has no way to go on in clear once TLS was declined", protocol.name);
        report.error(node.place, message).help("leave `opportunistic` out");
    }
    Some(At { value: AskTls { protocol, opportunistic: allowed }, place: node.place })
}

/// Whether the clients that begin in clear find TLS, and the same protocol on the other side.
pub(super) fn check_service(
    starttls: Option<At<&'static Protocol>>,
    tls: Option<&Tls<ServerTlsSpec>>,
    connect: Option<&ConnectSettings>,
    routes: &[RouteSettings],
    report: &mut Report,
) {
    let Some(starttls) = starttls else { return };
    let shared = tls.is_some_and(Tls::terminates);
    let bare = routes.iter().find(|route| route.action == RouteAction::Connect && route.tls.is_none());
    // What of TLS could not be read has been told already.
    let lacks = !shared && (bare.is_some() || routes.is_empty()) && !report.has_errors();
    if lacks {
        let finding = report.error(starttls.place, "`starttls` without `tls`: there is nothing to go on to");
        if let Some(route) = bare {
            finding.note(route.place, format!("route {:?} has none", route.name));
        }
        finding.help("add tls = { certificate = \"…\", key = \"…\" } to `accept`");
    }
    let own = routes.iter().filter_map(|route| route.connect.as_ref());
    for other in connect.into_iter().chain(own).filter_map(|connect| connect.starttls) {
        check_same(starttls, other.value.protocol, other.place, report);
    }
}

/// Whether a client must speak before its `confirm`, which is at `node`, can be: it waits for that.
pub(super) fn check_confirm(
    node: Node<'_>,
    connect: Option<&ConnectSettings>,
    routes: &[RouteSettings],
    report: &mut Report,
) {
    let ways = connect.into_iter().chain(routes.iter().filter_map(|route| route.connect.as_ref()));
    let login = |asks: &At<AskTls>| matches!(asks.value.protocol.opening, Opening::Login);
    for asks in ways.filter_map(|connect| connect.starttls).filter(login) {
        let message =
            format!("{:?} with `confirm`: the client's login comes before TLS", asks.value.protocol.name);
        report
            .error(asks.place, message)
            .note(node.place, "`confirm` is set here")
            .help("leave `confirm` out, or set `starttls` in the tunnel before this one");
    }
}

fn check_same(ours: At<&'static Protocol>, theirs: &Protocol, place: Place, report: &mut Report) {
    if ours.value != theirs {
        let message = format!("the server speaks {:?}, its clients {:?}", theirs.name, ours.value.name);
        report.error(place, message).note(ours.place, "the clients' protocol is set here");
    }
}
