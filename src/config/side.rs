// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two sides of a service, and of a route: `accept` and `connect`, each an address or a table.
//!
//! Not here: what stands in their tables (`tls.rs`, `proxy.rs`, `socket.rs`).

use super::address::{Purpose, Target};
use super::needs::Needs;
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::settings::{
    ConnectSettings, Endpoint, NetworkList, ProxySettings, ServerSettings, SocketSettings,
};
use super::tables::{self, Table};
use super::{networks, proxy, resolver, socket, socks, starttls, tls, via};
use crate::wire::starttls::Protocol;
use std::path::Path;

/// What `accept` says.
pub(super) struct Accept<'t> {
    pub(super) addresses: Vec<Endpoint>,
    pub(super) starttls_node: Option<Node<'t>>,
    pub(super) starttls: Option<At<&'static Protocol>>,
    pub(super) socket: SocketSettings,
    /// Read later, when it is known what there is to read it with.
    pub(super) tls: Option<Node<'t>>,
    pub(super) proxy_node: Option<Node<'t>>,
    pub(super) proxy_protocol: Option<ProxySettings>,
}

impl Accept<'_> {
    /// Whether clients may ask to be told that the server was reached.
    pub(super) fn confirms(&self) -> bool {
        self.proxy_protocol.as_ref().is_some_and(|proxy| proxy.confirm)
    }
}

/// Reads `accept`.
pub(super) fn check_accept<'t>(node: Node<'t>, directory: &Path, report: &mut Report) -> Option<Accept<'t>> {
    let side = Side::read(node, &tables::ACCEPT, true, report)?;
    let addresses = side.addresses(Purpose::Accept, directory, report);
    let proxy_node = side.get("proxy_protocol");
    let proxy_protocol = proxy_node.and_then(|node| proxy::check_accept(node, &addresses, directory, report));
    let starttls_node = side.get("starttls");
    let starttls = starttls_node.and_then(|node| starttls::check_protocol(node, report));
    let tls = side.get("tls");
    let socket = socket::check_accept(side.fields, &addresses, report);
    Some(Accept { addresses, socket, starttls_node, starttls, tls, proxy_node, proxy_protocol })
}

/// Reads the `connect` of a service, or of a route with a table of its own, beside which `servers` stand; `called` is how a
/// warning calls it.
pub(super) fn check_connect(
    node: Option<Node<'_>>,
    servers: Vec<ServerSettings>,
    table: &'static Table,
    called: &str,
    directory: &Path,
    needs: &mut Needs,
    report: &mut Report,
) -> Option<ConnectSettings> {
    let Some(node) = node else {
        let alone = ConnectSettings { servers, ..ConnectSettings::default() };
        return (!alone.servers.is_empty()).then_some(alone);
    };
    let side = Side::read(node, table, servers.is_empty(), report)?;
    if let (Some(server), false) = (servers.first(), side.texts.is_empty()) {
        report
            .error(node.place, "addresses in `connect` beside `[[…server]]` tables")
            .note(server.endpoint.text.place, "the first server is here")
            .help("write each address as a table of its own, or all of them in `connect`");
    }
    let addresses = side.addresses(Purpose::Connect, directory, report);
    let requested = check_requested(&addresses, needs, report);
    let expand = side.get("expand").and_then(|node| resolver::check_expand(node, &addresses, report));
    let allow = side.get("allow");
    if let (Some(node), None, false) = (allow, requested, addresses.is_empty()) {
        report
            .error(node.place, "`allow` without an address \"*:PORT\"")
            .help("configured servers need no permission: leave it out");
    }
    let (names, ports) = socks::check_listed(side.fields, requested, report);
    let allow: Option<NetworkList> = allow.and_then(|node| networks::check(node, directory, report));
    let tls = side.get("tls").and_then(|node| tls::check_connect(node, called, directory, report));
    if let Some(tls) = &tls {
        let endpoints = addresses.iter().chain(servers.iter().map(|server| &server.endpoint));
        tls::check_server_names(tls, endpoints, report);
    }
    let listed = (&*addresses, expand);
    let via = side.get("proxy").and_then(|node| via::check(node, listed, &servers, directory, report));
    let send_proxy = side.get("send_proxy").and_then(|node| proxy::check_send(node, report));
    if let (Some(node), Some(tls), true) =
        (side.get("send_proxy"), &tls, send_proxy.is_some_and(|send| send.confirm))
    {
        proxy::refuse_confirm(node, tls.places.table, report);
    }
    let leads_somewhere = !addresses.is_empty() || !servers.is_empty();
    let (asks, may_not) = (side.get("starttls"), side.get("opportunistic"));
    let starttls = starttls::check_connect(asks, may_not, side.get("tls").is_some(), report);
    let outgoing = socket::check_connect(side.fields, &addresses, report);
    leads_somewhere.then_some(ConnectSettings {
        addresses,
        servers,
        expand,
        allow,
        names,
        ports,
        via,
        starttls,
        tls,
        send_proxy,
        outgoing,
    })
}

/// The address that stands for the server of the client's choice, if there is one.
fn check_requested<'e>(
    addresses: &'e [Endpoint],
    needs: &mut Needs,
    report: &mut Report,
) -> Option<&'e Endpoint> {
    let requested = addresses.iter().find(|endpoint| matches!(endpoint.target, Target::Requested(_)))?;
    if let Some(other) = addresses.iter().find(|other| other.text.place != requested.text.place) {
        report
            .error(requested.text.place, format!("{:?} must be the only address", requested.text.value))
            .note(other.text.place, "another one is here")
            .help("it stands for whatever server the client asks for");
    } else if matches!(requested.target, Target::Requested(Some(_))) {
        needs.name(requested.text.place);
    }
    Some(requested)
}

/// A side as written: its addresses, and its table if it is one.
struct Side<'t> {
    texts: Vec<At<&'t str>>,
    fields: Option<Fields<'t>>,
}

impl<'t> Side<'t> {
    /// `alone`: nothing else says the addresses.
    fn read(node: Node<'t>, table: &'static Table, alone: bool, report: &mut Report) -> Option<Self> {
        if node.is_string() {
            return Some(Self { texts: node.string(report).into_iter().collect(), fields: None });
        }
        if !node.is_table() {
            let finding = node.mismatch("an address or a table", report);
            if node.items().is_some() {
                finding.help(format!("for several addresses write {} = {{ address = […] }}", node.key));
            }
            return None;
        }
        let fields = node.fields(table, report)?;
        let Some(address) = fields.get("address") else {
            if !alone {
                return Some(Self { texts: Vec::new(), fields: Some(fields) });
            }
            if fields.lacks("address") {
                let message = format!("`{}` has no `address`", node.key);
                report.missing(node.place, message).help("add, for example, address = \"127.0.0.1:8443\"");
            }
            return None;
        };
        Some(Self { texts: address.strings(report), fields: Some(fields) })
    }

    fn get(&self, key: &'static str) -> Option<Node<'t>> {
        self.fields.and_then(|fields| fields.get(key))
    }

    fn addresses(&self, purpose: Purpose, directory: &Path, report: &mut Report) -> Vec<Endpoint> {
        let mut addresses = Vec::new();
        for text in &self.texts {
            match Target::parse(text.value, purpose, directory) {
                Ok(target) => {
                    let text = At { value: text.value.to_owned(), place: text.place };
                    addresses.push(Endpoint { text, target });
                }
                Err(complaint) => {
                    report.complain(text.place, complaint);
                }
            }
        }
        addresses
    }
}

/// Reports that `node` cannot stand in a service that answers by itself; `mode` is where that is said.
pub(super) fn refuse_in_mode(node: Node<'_>, name: &str, mode: Option<Place>, report: &mut Report) {
    let message = format!("a service with mode {name:?} answers by itself and has no `{}`", node.key);
    let finding = report.error(node.place, message);
    if let Some(mode) = mode {
        finding.note(mode, "the mode is set here");
    }
}
