// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `tls` tables, as `-T` shows them.

use super::{path, word};
use crate::config::tls::{VERIFY, VERSIONS};
use crate::config::tls_client::{CLIENT, SNIS, pin};
use crate::policy::tls_spec::{CertificateFiles, ClientTlsSpec, CommonTlsSpec, ServerTlsSpec, TlsVersion};
use serde::Serialize;
use std::path::Path;

/// What decrypts clients, or what routes inherit.
#[derive(Serialize)]
pub(super) struct AcceptTls {
    /// None where it is only inherited from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificate: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<String>,
    /// Nothing where there is no CA, not even an inherited one: there, writing it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<&'static str>,
    #[serde(flatten)]
    common: Common,
}

/// What is spoken to servers.
#[derive(Serialize)]
pub(super) struct ConnectTls {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    sni: &'static str,
    verify: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pin: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    common: Common,
}

/// Lists that were not written stay out: what they default to belongs to the policy and the TLS library.
#[derive(Serialize)]
struct Common {
    min_version: &'static str,
    max_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphersuites: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<String>,
    #[serde(skip_serializing_if = "Alpn::is_empty")]
    alpn: Alpn,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_log: Option<String>,
}

/// Protocols, or the word for those of the client.
#[derive(Serialize)]
#[serde(untagged)]
enum Alpn {
    List(Vec<String>),
    Word(&'static str),
}

impl Alpn {
    fn is_empty(&self) -> bool {
        matches!(self, Self::List(list) if list.is_empty())
    }
}

impl AcceptTls {
    /// `inherits_ca`: it is a route's, and without a word from it a CA is inherited.
    pub(super) fn of(spec: &ServerTlsSpec, inherits_ca: bool) -> Self {
        let list =
            |pick: fn(&CertificateFiles) -> &Path| spec.certificates.iter().map(pick).map(path).collect();
        Self {
            certificate: list(|files| &files.certificate),
            key: list(|files| &files.key),
            client_ca: spec.client_ca.as_deref().map(path),
            verify: (inherits_ca || spec.client_ca.is_some()).then(|| word(&VERIFY, spec.verify)),
            common: Common::of(&spec.common),
        }
    }
}

impl ConnectTls {
    pub(super) fn of(spec: &ClientTlsSpec) -> Self {
        Self {
            ca: spec.ca.as_deref().map(path),
            server_name: spec.server_name.clone(),
            sni: word(&SNIS, spec.sni),
            verify: spec.verify,
            pin: spec.pins.iter().map(|hash| pin(hash)).collect(),
            certificate: spec.certificate.as_ref().map(|files| path(&files.certificate)),
            key: spec.certificate.as_ref().map(|files| path(&files.key)),
            common: Common {
                alpn: if spec.alpn_of_client {
                    Alpn::Word(CLIENT)
                } else {
                    Alpn::List(spec.common.alpn.clone())
                },
                ..Common::of(&spec.common)
            },
        }
    }
}

impl Common {
    fn of(spec: &CommonTlsSpec) -> Self {
        Self {
            min_version: word(&VERSIONS, spec.min_version.unwrap_or(TlsVersion::Tls12)),
            max_version: word(&VERSIONS, spec.max_version.unwrap_or(TlsVersion::Tls13)),
            ciphers: spec.ciphers.clone(),
            ciphersuites: spec.ciphersuites.clone(),
            groups: spec.groups.clone(),
            alpn: Alpn::List(spec.alpn.clone()),
            key_log: spec.key_log.as_deref().map(path),
        }
    }
}
