// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of `connect.tls` that depend on who the client is, or on which key the server has: `sni`, `alpn = "client"`,
//! `pin`.
//!
//! Not here: the other keys of the table (`tls.rs`).

use super::raw::{Fields, Node};
use super::report::{Place, Report};
use super::settings::{ConnectSettings, ServiceSettings, Tls};
use crate::policy::service::Peek;
use crate::policy::tls_spec::{ServerTlsSpec, Sni};
use crate::wire::base64;

/// What `sni` may say.
pub(super) const SNIS: [(&str, Sni); 3] =
    [("server", Sni::Server), ("client", Sni::Client), ("none", Sni::None)];

/// What `alpn` says for "what the client speaks".
pub(super) const CLIENT: &str = "client";

/// What stands before a pin, as curl(1) writes it.
pub(super) const SHA256: &str = "sha256//";

const HOW_TO_PIN: &str = "make one: openssl x509 -in server.pem -pubkey -noout | openssl pkey -pubin -outform der | \
     openssl dgst -sha256 -binary | openssl base64";

pub(super) fn check_sni(fields: Fields<'_>, report: &mut Report) -> Sni {
    fields.get("sni").and_then(|node| node.choice(&SNIS, report)).unwrap_or_default()
}

/// Whether `alpn` names the client instead of protocols.
pub(super) fn is_alpn_of_client(fields: Fields<'_>) -> bool {
    fields.get("alpn").and_then(|node| node.as_str()) == Some(CLIENT)
}

/// Reads `pin`: hashes of keys.
pub(super) fn check_pins(fields: Fields<'_>, report: &mut Report) -> Vec<[u8; 32]> {
    let texts = fields.get("pin").map_or_else(Vec::new, |node: Node<'_>| node.strings(report));
    let mut pins: Vec<[u8; 32]> = Vec::new();
    for text in texts {
        let hash = text.value.strip_prefix(SHA256).and_then(|hash| base64::decode(hash.as_bytes()));
        match hash.and_then(|hash| <[u8; 32]>::try_from(hash).ok()) {
            None => {
                let message = format!("{:?} is not the SHA-256 of a key", text.value);
                report.error(text.place, message).help(format!("write \"{SHA256}BASE64\"; {HOW_TO_PIN}"));
            }
            Some(pin) if pins.contains(&pin) => {
                report.error(text.place, format!("{:?} stands in `pin` twice", text.value));
            }
            Some(pin) => pins.push(pin),
        }
    }
    pins
}

/// A pin as it is written.
pub(super) fn pin(hash: &[u8]) -> String {
    format!("{SHA256}{}", base64::encode(hash))
}

/// Whether what the ways to the servers take from clients is ever known: each way with the TLS towards its clients.
pub(super) fn check_known(service: &ServiceSettings, report: &mut Report) {
    let shared = service.shared_tls();
    let mut told = Vec::new();
    let routes = service.routes.iter();
    let ways = routes
        .map(|route| (route.tls.as_ref().or(shared), route.connect.as_ref().or(service.connect.as_ref())));
    let alone = (shared, service.connect.as_ref());
    let ways: Vec<_> = if service.routes.is_empty() { vec![alone] } else { ways.collect() };
    for (accept_tls, connect) in ways {
        if let Some(connect) = connect {
            check_way(service, accept_tls, connect, &mut told, report);
        }
    }
}

/// `told`: the places that have been complained of.
fn check_way(
    service: &ServiceSettings,
    accept_tls: Option<&Tls<ServerTlsSpec>>,
    connect: &ConnectSettings,
    told: &mut Vec<Place>,
    report: &mut Report,
) {
    let (Some(tls), None) = (&connect.tls, &service.proxy_protocol) else { return };
    let place = |key: &str| {
        let found = tls.places.keys.iter().find(|(known, _)| *known == key);
        found.map_or(tls.places.table, |(_, place)| *place)
    };
    let mut tell = |key: &str, message: &str, help: &str, report: &mut Report| {
        let place = place(key);
        if !told.contains(&place) {
            told.push(place);
            report.error(place, message).help(help.to_owned());
        }
    };
    if tls.spec.sni == Sni::Client && service.peek == Peek::None {
        let message = "the name of the client is to be asked for, but no name is ever known";
        tell("sni", message, "write peek = \"tls\" or peek = \"http\"", report);
    }
    if tls.spec.alpn_of_client && accept_tls.is_none_or(|tls| tls.spec.common.alpn.is_empty()) {
        let message =
            "the protocol of the client is to be asked for, but none is ever agreed on with clients";
        let help = "set `alpn` in accept.tls: what is agreed on there is what the server is asked for";
        tell("alpn", message, help, report);
    }
}
