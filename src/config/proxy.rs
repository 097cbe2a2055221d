// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PROXY protocol on either side: `accept.proxy_protocol` and `connect.send_proxy`.
//!
//! Not here: the header itself (`wire/proxy_header.rs`).

use super::address::Target;
use super::networks;
use super::raw::{At, Node, unknown_word};
use super::report::{Place, Report};
use super::settings::{Endpoint, ProxySettings};
use super::tables;
use crate::policy::service::{Others, SendProxy, SendTlvs};
use crate::sys::address::Address;
use crate::wire::proxy_header::Version;
use std::path::Path;

/// What `proxy_protocol.others` may say.
pub(super) const OTHERS: [(&str, Others); 2] = [("reject", Others::Reject), ("direct", Others::Direct)];

/// What `send_proxy` and `send_proxy.version` may say.
pub(super) const VERSIONS: [(&str, Version); 2] = [("v1", Version::V1), ("v2", Version::V2)];

/// Gives the switch of one TLV.
type Switch = fn(&mut SendTlvs) -> &mut bool;

/// What `send_proxy.tlvs` may list, and the switch of each.
pub(super) const TLVS: [(&str, Switch); 6] = [
    ("alpn", |tlvs| &mut tlvs.alpn),
    ("authority", |tlvs| &mut tlvs.authority),
    ("ssl", |tlvs| &mut tlvs.ssl),
    ("certificate", |tlvs| &mut tlvs.certificate),
    ("unique-id", |tlvs| &mut tlvs.unique_id),
    ("crc32c", |tlvs| &mut tlvs.crc32c),
];

/// No TLVs at all.
const NO_TLVS: SendTlvs = SendTlvs {
    alpn: false,
    authority: false,
    ssl: false,
    certificate: false,
    unique_id: false,
    crc32c: false,
};

const FROM: &str =
    "name the networks of your balancers, as in { from = [\"10.0.0.0/8\"] }: others must not be believed";

/// Reads `accept.proxy_protocol` of a service that listens on `addresses`.
pub(super) fn check_accept(
    node: Node<'_>,
    addresses: &[Endpoint],
    directory: &Path,
    report: &mut Report,
) -> Option<ProxySettings> {
    if node.as_bool() == Some(true) {
        node.mismatch("a table", report).help(FROM);
        return None;
    }
    let fields = node.fields(&tables::PROXY_PROTOCOL, report)?;
    let unix = |endpoint: &Endpoint| {
        matches!(endpoint.target, Target::Ready(Address::Unix(_) | Address::Abstract(_)))
    };
    if fields.lacks("from") && !addresses.iter().all(unix) {
        report.missing(fields.place, "`proxy_protocol` has no `from`").help(FROM);
    }
    let from = fields.get("from").and_then(|node| networks::check(node, directory, report));
    let others = fields.get("others").and_then(|node| node.choice(&OTHERS, report));
    let confirm = fields.get("confirm").and_then(|node| node.boolean(report)).unwrap_or_default();
    Some(ProxySettings { from, others: others.unwrap_or_default(), confirm })
}

/// Reads `connect.send_proxy`.
pub(super) fn check_send(node: Node<'_>, report: &mut Report) -> Option<SendProxy> {
    if node.is_string() {
        return Some(SendProxy {
            version: node.choice(&VERSIONS, report)?,
            tlvs: SendTlvs::default(),
            confirm: false,
        });
    }
    if !node.is_table() {
        node.mismatch("\"v1\", \"v2\" or a table", report);
        return None;
    }
    let fields = node.fields(&tables::SEND_PROXY, report)?;
    if fields.lacks("version") {
        report.missing(fields.place, "`send_proxy` has no `version`").help("write version = \"v2\"");
    }
    let version_node = fields.get("version");
    let version = version_node.and_then(|node| node.choice(&VERSIONS, report));
    let tlvs_node = fields.get("tlvs");
    if let (Some(Version::V1), Some(version), Some(tlvs)) = (version, version_node, tlvs_node) {
        report
            .error(tlvs.place, "`tlvs` with version 1, which has none")
            .note(version.place, "the version is set here")
            .help("write version = \"v2\", or leave out `tlvs`");
        return None;
    }
    let tlvs = match tlvs_node {
        Some(node) => check_tlvs(node, report)?,
        None => SendTlvs::default(),
    };
    let confirm_node = fields.get("confirm");
    let confirm = confirm_node.and_then(|node| node.boolean(report)).unwrap_or_default();
    if let (Some(Version::V1), Some(version), Some(node), true) =
        (version, version_node, confirm_node, confirm)
    {
        report
            .error(node.place, "`confirm` with version 1, in which nothing can be asked for")
            .note(version.place, "the version is set here")
            .help("write version = \"v2\"");
    }
    Some(SendProxy { version: version?, tlvs, confirm })
}

/// Reports a `confirm` on a way that speaks TLS.
pub(super) fn refuse_confirm(node: Node<'_>, tls: Place, report: &mut Report) {
    report
        .error(node.place, "`confirm` beside `tls`: what is confirmed comes ahead of TLS, and bare")
        .note(tls, "TLS is set here")
        .help("leave TLS to the next tunnel, which holds the connection to the server");
}

/// The TLVs that are listed; unlike other lists it may be empty, for nothing but addresses.
fn check_tlvs(node: Node<'_>, report: &mut Report) -> Option<SendTlvs> {
    let Some(items) = node.items() else {
        node.mismatch("a list of strings", report).help("write tlvs = [\"alpn\", \"authority\"]");
        return None;
    };
    let mut tlvs = NO_TLVS;
    let mut certificate = None;
    let texts: Vec<At<&str>> = items.iter().filter_map(|item| item.string(report)).collect();
    for text in texts {
        let Some((word, switch)) = TLVS.iter().find(|(word, _)| *word == text.value) else {
            unknown_tlv(text, report);
            continue;
        };
        if std::mem::replace(switch(&mut tlvs), true) {
            report.error(text.place, format!("{word:?} stands in `tlvs` twice"));
        }
        if *word == "certificate" {
            certificate = Some(text.place);
        }
    }
    if let (Some(place), false) = (certificate, tlvs.ssl) {
        report
            .error(place, "the TLV \"certificate\" is a part of \"ssl\", which is not listed")
            .help("write tlvs = [\"ssl\", \"certificate\", …]");
    }
    Some(tlvs)
}

fn unknown_tlv(text: At<&str>, report: &mut Report) {
    unknown_word("TLV", text, &TLVS.map(|(word, _)| word), report);
}
