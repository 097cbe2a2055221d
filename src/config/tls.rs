// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `tls` tables of `accept` and `connect`: from what is written to the specifications that are loaded.
//!
//! Not here: opening any file that is named, or asking the TLS library what it knows; the policy does both.

use super::address::{Target, check_host};
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::settings::{Endpoint, Tls, TlsPlaces};
use super::tables::{self, Table};
use super::tls_client::{check_pins, check_sni, is_alpn_of_client};
use crate::policy::tls_spec::{
    CertificateFiles, ClientTlsSpec, ClientVerify, CommonTlsSpec, ServerTlsSpec, TlsVersion,
};
use std::path::Path;

/// Names of protocol versions: what `min_version` and `max_version` may say.
pub(super) const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// What `verify` on accept may say.
pub(super) const VERIFY: [(&str, ClientVerify); 3] = [
    ("none", ClientVerify::None),
    ("optional", ClientVerify::Optional),
    ("required", ClientVerify::Required),
];

/// The longest ALPN protocol name, in bytes (RFC 7301 section 3.1).
const ALPN_NAME_MAX: usize = 255;

/// Reads `accept.tls`. `alone`: nobody but itself can bring the certificate it needs; else it may be there only to be
/// inherited from.
pub(super) fn check_accept(
    node: Node<'_>,
    alone: bool,
    directory: &Path,
    report: &mut Report,
) -> Option<Tls<ServerTlsSpec>> {
    let (fields, mut own) = read_server(node, &tables::ACCEPT_TLS, directory, report)?;
    if alone && fields.lacks("certificate") {
        let finding = report.missing(fields.place, "`accept.tls` has no `certificate`");
        finding.help("add, for example, certificate = \"web.pem\", key = \"web.key\"");
    }
    if let (true, Some(node)) = (fields.lacks("client_ca"), fields.get("verify")) {
        let finding = report.missing(node.place, "`verify` without a `client_ca` to verify against");
        finding.help("add client_ca = \"clients.pem\", or leave out `verify`");
    }
    own.tls.spec.verify = own.verify.unwrap_or_default();
    (own.tls.terminates() || !alone).then_some(own.tls)
}

/// Reads the `tls` of a route, which inherits from `base`, `accept.tls`, every key that it does not name. `certificate`
/// and `key` are one in this, and so are `client_ca` and `verify`: who names a CA of its own means it to be enforced.
pub(super) fn check_route(
    node: Node<'_>,
    base: Option<&Tls<ServerTlsSpec>>,
    directory: &Path,
    report: &mut Report,
) -> Option<Tls<ServerTlsSpec>> {
    let (fields, own) = read_server(node, &tables::ROUTE_TLS, directory, report)?;
    let base_ca = base.and_then(|base| base.spec.client_ca.as_ref());
    if let (true, None, Some(node)) = (fields.lacks("client_ca"), base_ca, fields.get("verify")) {
        let finding = report.missing(node.place, "`verify` without a `client_ca` to verify against");
        finding.help("add client_ca = \"clients.pem\" here or in accept.tls, or leave out `verify`");
    }
    let has_certificate = base.is_some_and(|base| base.names("certificate"));
    if fields.lacks("certificate") && fields.lacks("key") && !has_certificate {
        let finding = report.missing(fields.place, "`tls` has no `certificate`, nor does it inherit one");
        finding.help("add, for example, certificate = \"web.pem\", key = \"web.key\"");
    }
    let ServerRead { mut tls, verify } = own;
    let Some(base) = base else {
        tls.spec.verify = verify.unwrap_or_default();
        return tls.terminates().then_some(tls);
    };
    let own_ca = tls.spec.client_ca.is_some();
    tls.spec.verify = verify.unwrap_or(if own_ca { ClientVerify::Required } else { base.spec.verify });
    if tls.spec.verify == ClientVerify::None {
        tls.spec.client_ca = None;
    } else if !own_ca {
        tls.spec.client_ca.clone_from(&base.spec.client_ca);
    }
    if !tls.names("certificate") {
        tls.spec.certificates.clone_from(&base.spec.certificates);
        tls.places.certificates.clone_from(&base.places.certificates);
        tls.places.private_keys.clone_from(&base.places.private_keys);
    }
    inherit_common(&mut tls, base, report);
    // After its own, so that these are found first.
    tls.places.keys.extend(base.places.keys.iter().copied());
    tls.terminates().then_some(tls)
}

/// Fills in what `tls` does not say of what both sides have in common.
fn inherit_common(tls: &mut Tls<ServerTlsSpec>, base: &Tls<ServerTlsSpec>, report: &mut Report) {
    let (own, from) = (&mut tls.spec.common, &base.spec.common);
    own.min_version = own.min_version.or(from.min_version);
    own.max_version = own.max_version.or(from.max_version);
    own.ciphers = own.ciphers.take().or_else(|| from.ciphers.clone());
    own.ciphersuites = own.ciphersuites.take().or_else(|| from.ciphersuites.clone());
    own.groups = own.groups.take().or_else(|| from.groups.clone());
    own.key_log = own.key_log.take().or_else(|| from.key_log.clone());
    if own.alpn.is_empty() {
        own.alpn.clone_from(&from.alpn);
    }
    if let (Some(min), Some(max)) = (own.min_version, own.max_version) {
        if min > max {
            // One of the two was inherited, since what a table says itself has been compared.
            let message = "`min_version` is above `max_version`, of which one is inherited";
            report.error(tls.places.table, message).note(base.places.table, "it is inherited from here");
        }
    }
}

/// TLS towards clients as one table says it.
struct ServerRead {
    tls: Tls<ServerTlsSpec>,
    /// As written, or implied by a CA; none where neither is there.
    verify: Option<ClientVerify>,
}

fn read_server<'t>(
    node: Node<'t>,
    table: &'static Table,
    directory: &Path,
    report: &mut Report,
) -> Option<(Fields<'t>, ServerRead)> {
    if node.as_bool().is_some() {
        let finding = node.mismatch("a table on accept", report);
        finding.help("a server needs a certificate: tls = { certificate = \"web.pem\" }");
        return None;
    }
    let fields = node.fields(table, report)?;
    let mut places = places_of(fields, table);
    let certificates = check_certificates(fields, directory, &mut places, report);
    let common = check_common(fields, directory, report);
    let verify_node = fields.get("verify");
    let written = verify_node.and_then(|node| node.choice(&VERIFY, report));
    let ca_node = fields.get("client_ca");
    let client_ca = ca_node.and_then(|node| node.path(directory, report));
    if let (Some(ca), Some(node), Some(ClientVerify::None)) = (ca_node, verify_node, written) {
        report
            .error(node.place, "`verify` is \"none\", yet there is a `client_ca`")
            .note(ca.place, "the CA is set here")
            .help("leave out one of the two; `client_ca` alone means verify = \"required\"");
    }
    let verify = written.or_else(|| client_ca.is_some().then_some(ClientVerify::Required));
    let spec = ServerTlsSpec { certificates, common, client_ca, verify: ClientVerify::None };
    Some((fields, ServerRead { tls: Tls { spec, places }, verify }))
}

/// Reads `connect.tls`; `called` is how a warning calls the service.
pub(super) fn check_connect(
    node: Node<'_>,
    called: &str,
    directory: &Path,
    report: &mut Report,
) -> Option<Tls<ClientTlsSpec>> {
    let spec = ClientTlsSpec { verify: true, ..ClientTlsSpec::default() };
    let places =
        TlsPlaces { table: node.place, keys: Vec::new(), certificates: Vec::new(), private_keys: Vec::new() };
    match node.as_bool() {
        Some(true) => return Some(Tls { spec, places }),
        Some(false) => return None,
        None => {}
    }
    if !node.is_table() {
        node.mismatch("true, false or a table", report);
        return None;
    }
    let fields = node.fields(&tables::CONNECT_TLS, report)?;
    let mut places = places_of(fields, &tables::CONNECT_TLS);
    let certificates = check_certificates(fields, directory, &mut places, report);
    if let (Some(node), true) = (fields.get("certificate"), certificates.len() > 1) {
        report.error(node.place, "`connect.tls` takes one `certificate` only");
    }
    let common = check_common(fields, directory, report);
    let ca = fields.get("ca").and_then(|node| node.path(directory, report));
    let server_name = fields.get("server_name").and_then(|node| check_server_name(node, report));
    let verify_node = fields.get("verify");
    let verify = verify_node.and_then(|node| node.boolean(report)).unwrap_or(true);
    if let (Some(node), false, true) = (verify_node, verify, fields.get("pin").is_none()) {
        let message =
            format!("{called} does not verify its server: anybody in between can read and change everything");
        report.warning(node.place, message);
    }
    let spec = ClientTlsSpec {
        certificate: certificates.into_iter().next(),
        common,
        ca,
        verify,
        server_name,
        sni: check_sni(fields, report),
        alpn_of_client: is_alpn_of_client(fields),
        pins: check_pins(fields, report),
    };
    Some(Tls { spec, places })
}

/// Reports servers that have no name to be verified.
pub(super) fn check_server_names<'s>(
    tls: &Tls<ClientTlsSpec>,
    servers: impl Iterator<Item = &'s Endpoint>,
    report: &mut Report,
) {
    if !tls.spec.verify || tls.spec.server_name.is_some() {
        return;
    }
    let nameless =
        |server: &&Endpoint| server.target.host().is_none() && !matches!(server.target, Target::Requested(_));
    for server in servers.filter(nameless) {
        report
            .missing(server.text.place, "a unix socket has no name that TLS could verify")
            .note(tls.places.table, "TLS is set here")
            .help("add server_name = \"…\" to connect.tls");
    }
}

fn places_of(fields: Fields<'_>, spec: &Table) -> TlsPlaces {
    let places = spec.keys.iter().filter_map(|key| fields.get(key).map(|node| (*key, node.place)));
    TlsPlaces {
        table: fields.place,
        keys: places.collect(),
        certificates: Vec::new(),
        private_keys: Vec::new(),
    }
}

fn check_server_name(node: Node<'_>, report: &mut Report) -> Option<String> {
    let name = node.string(report)?;
    match check_host(name.value) {
        // RFC 6066 section 3 wants no dot at the end.
        Ok(()) => Some(name.value.strip_suffix('.').unwrap_or(name.value).to_owned()),
        Err(complaint) => {
            report.complain(name.place, complaint);
            None
        }
    }
}

/// Pairs `certificate` with `key`: as many of each, or no `key` when the certificate's file holds it.
fn check_certificates(
    fields: Fields<'_>,
    directory: &Path,
    places: &mut TlsPlaces,
    report: &mut Report,
) -> Vec<CertificateFiles> {
    let certificate_node = fields.get("certificate");
    let key_node = fields.get("key");
    let certificates = certificate_node.map_or_else(Vec::new, |node| strings_not_empty(node, report));
    let keys = key_node.map_or_else(Vec::new, |node| strings_not_empty(node, report));
    match (certificate_node, key_node) {
        (None, Some(key)) => {
            report.missing(key.place, "`key` without a `certificate`");
        }
        (Some(certificate), Some(key)) => {
            let count = |node: Node<'_>| node.items().map_or(1, |items| items.len());
            let (certificates, keys) = (count(certificate), count(key));
            if certificates != keys {
                let finding =
                    report.error(key.place, format!("{keys} of `key` for {certificates} of `certificate`"));
                finding.note(certificate.place, "the certificates are here");
                finding.help("write one key for each certificate, in the same order");
            }
        }
        _ => {}
    }
    places.certificates = certificates.iter().map(|text| text.place).collect();
    places.private_keys = keys.iter().map(|text| text.place).collect();
    let pair = |(index, certificate): (usize, &At<&str>)| {
        let key = keys.get(index).unwrap_or(certificate);
        CertificateFiles { certificate: directory.join(certificate.value), key: directory.join(key.value) }
    };
    certificates.iter().enumerate().map(pair).collect()
}

fn check_common(fields: Fields<'_>, directory: &Path, report: &mut Report) -> CommonTlsSpec {
    let key_log = fields.get("key_log");
    if let Some(node) = key_log {
        let message = "`key_log`: whoever reads that file can decrypt every connection of this table";
        report.warning(node.place, message);
    }
    let version = |key, report: &mut Report| {
        let node = fields.get(key)?;
        Some(At { value: node.choice(&VERSIONS, report)?, place: node.place })
    };
    let min = version("min_version", report);
    let max = version("max_version", report);
    if let (Some(min), Some(max)) = (min, max) {
        if min.value > max.value {
            let finding = report.error(min.place, "`min_version` is above `max_version`");
            finding.note(max.place, "`max_version` is set here");
        }
    }
    let words = |key, report: &mut Report| {
        let node: Node<'_> = fields.get(key)?;
        string_not_empty(node, report)
    };
    let ciphers = words("ciphers", report);
    let ciphersuites = words("ciphersuites", report);
    let only = |version, bound: Option<At<TlsVersion>>| bound.filter(|bound| bound.value == version);
    let idle = [
        (&ciphers, only(TlsVersion::Tls13, min), "`ciphers` are for TLS 1.2, which is switched off"),
        (
            &ciphersuites,
            only(TlsVersion::Tls12, max),
            "`ciphersuites` are for TLS 1.3, which is switched off",
        ),
    ];
    for (list, bound, message) in idle {
        if let (Some(list), Some(bound)) = (list, bound) {
            report.warning(list.place, message).note(bound.place, "it is switched off here");
        }
    }
    CommonTlsSpec {
        min_version: min.map(|min| min.value),
        // One below the floor was reported; nobody else need stumble over it.
        max_version: max.map(|max| max.value).filter(|max| min.is_none_or(|min| min.value <= *max)),
        ciphers: ciphers.map(|text| text.value.to_owned()),
        ciphersuites: ciphersuites.map(|text| text.value.to_owned()),
        groups: words("groups", report).map(|text| text.value.to_owned()),
        alpn: if is_alpn_of_client(fields) { Vec::new() } else { check_alpn(fields, report) },
        key_log: key_log.and_then(|node| node.path(directory, report)),
    }
}

/// Reads `alpn`: what is offered, answered, or asked for.
pub(super) fn check_alpn(fields: Fields<'_>, report: &mut Report) -> Vec<String> {
    let Some(node) = fields.get("alpn") else { return Vec::new() };
    if node.items().is_none() {
        node.mismatch("a list of strings", report).help("write alpn = [\"h2\", \"http/1.1\"]");
        return Vec::new();
    }
    let names = strings_not_empty(node, report);
    for (index, name) in names.iter().enumerate() {
        if name.value.len() > ALPN_NAME_MAX {
            report.error(name.place, format!("the protocol name is longer than {ALPN_NAME_MAX} bytes"));
        }
        if let Some(first) = names[..index].iter().find(|first| first.value == name.value) {
            report
                .error(name.place, format!("{:?} stands in `alpn` twice", name.value))
                .note(first.place, "first here");
        }
    }
    names.into_iter().map(|name| name.value.to_owned()).collect()
}

/// The strings of a string or a list, none of which may be empty.
fn strings_not_empty<'t>(node: Node<'t>, report: &mut Report) -> Vec<At<&'t str>> {
    let strings = node.strings(report);
    for empty in strings.iter().filter(|text| text.value.is_empty()) {
        report_empty(node.key, empty.place, report);
    }
    strings
}

fn string_not_empty<'t>(node: Node<'t>, report: &mut Report) -> Option<At<&'t str>> {
    let text = node.string(report)?;
    if text.value.is_empty() {
        report_empty(node.key, text.place, report);
    }
    Some(text)
}

fn report_empty(key: &str, place: Place, report: &mut Report) {
    report.error(place, format!("`{key}` must not be empty"));
}
