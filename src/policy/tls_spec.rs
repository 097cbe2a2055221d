// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the configuration says about TLS, checked for shape but not yet loaded from the files it names.

use std::path::PathBuf;

/// TLS towards clients: what `accept.tls` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTlsSpec {
    /// At least one. The first is served to clients that ask for no name or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    pub common: CommonTlsSpec,
    /// CA file whose certificates sign client certificates.
    pub client_ca: Option<PathBuf>,
    pub verify: ClientVerify,
}

/// TLS towards servers: what `connect.tls` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientTlsSpec {
    /// Our own certificate, shown to servers that ask for one.
    pub certificate: Option<CertificateFiles>,
    pub common: CommonTlsSpec,
    /// CA file; without it the system's CAs are trusted.
    pub ca: Option<PathBuf>,
    /// Whether the server's chain and name are verified.
    pub verify: bool,
    /// The name asked for (SNI) and verified; without it the host part of the server's configured address.
    pub server_name: Option<String>,
    pub sni: Sni,
    /// Offer the protocol that was agreed on with the client instead of `common.alpn`.
    pub alpn_of_client: bool,
    /// SHA-256 of the keys (SubjectPublicKeyInfo) that the server may have; any, if there is none.
    pub pins: Vec<[u8; 32]>,
}

/// Which name the server is asked for (RFC 6066 section 3). What is verified does not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sni {
    /// The one that is verified.
    #[default]
    Server,
    /// The one that the client asked for, if it asked for any.
    Client,
    None,
}

/// What both sides have in common. Strings are in OpenSSL's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CommonTlsSpec {
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
    /// TLS 1.2 cipher list, see openssl-ciphers(1).
    pub ciphers: Option<String>,
    /// TLS 1.3 cipher suites.
    pub ciphersuites: Option<String>,
    /// Key exchange groups.
    pub groups: Option<String>,
    /// ALPN protocol names (RFC 7301), most wanted first.
    pub alpn: Vec<String>,
    /// The file into which the secrets of sessions are written.
    pub key_log: Option<PathBuf>,
}

/// A PEM file with a certificate and its chain, and a PEM file with its key (may be the same file).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerify {
    #[default]
    None,
    Optional,
    Required,
}

/// Something wrong with what a [`ServerTlsSpec`] or [`ClientTlsSpec`] names, told to whoever knows the place in
/// the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The configuration key at fault: "certificate", "key", "ciphers", "client_ca", …
    pub key: &'static str,
    /// Which certificate of the list, when `key` is "certificate" or "key"; else 0.
    pub index: usize,
    /// What is wrong, naming the file.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with the value of `key` as a whole.
    pub fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, index: 0, message: message.into(), help: None }
    }

    /// The same, about certificate `index` of the list.
    #[must_use]
    pub fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}
