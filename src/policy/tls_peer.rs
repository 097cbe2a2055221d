// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's certificate: what it says, and conditions on that.

/// What a certificate says; made from DER, or, of a PROXY header without the whole certificate, from its common name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The last common name of the subject.
    pub common_name: Option<Box<str>>,
    /// Distinguished names in the form of RFC 2253.
    pub subject: Box<str>,
    pub issuer: Box<str>,
    /// DNS names, e-mail addresses, URIs and IP addresses of subjectAltName, as text.
    pub alternative_names: Vec<Box<str>>,
    /// SHA-256 of the whole certificate, in lower-case hex.
    pub fingerprint: Box<str>,
}

/// Conditions on a client certificate: all that are there must hold. Texts are exact, or with one leading or trailing `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateMatch {
    /// Whether there is one at all.
    pub present: Option<bool>,
    pub common_name: Vec<Box<str>>,
    pub subject: Vec<Box<str>>,
    pub issuer: Vec<Box<str>>,
    pub alternative_name: Vec<Box<str>>,
    /// In hex; colons and case do not matter.
    pub fingerprint: Vec<Box<str>>,
}

impl PeerCertificate {
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let _ = der;
        None
    }
}
