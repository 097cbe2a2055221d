// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PROXY protocol, versions 1 and 2: who the client of the sender is, in front of everything else it sends.
//!
//! Source: the specification "The PROXY protocol", versions 1 & 2, of HAProxy.

use super::Parsed;
use std::net::SocketAddr;

/// Which form a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// The addresses of the connection that the sender accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// The sender does not know (UNKNOWN, UNSPEC), or the connection is its own (LOCAL).
    #[default]
    Unknown,
    /// Source and destination, of one family.
    Inet { source: SocketAddr, destination: SocketAddr },
    /// Names of unix sockets, cut at the first NUL unless they begin with one (abstract); empty: unnamed.
    Unix { source: Vec<u8>, destination: Vec<u8> },
}

/// One header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The connection is the sender's own (a health check): its addresses and TLVs are not to be believed.
    pub local: bool,
    pub addresses: Addresses,
    pub tlvs: Tlvs,
}

/// The vector of additional facts (version 2 only).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tlvs {
    /// The name the client asked for (PP2_TYPE_AUTHORITY), checked and normalised as in a ClientHello.
    pub authority: Option<Box<str>>,
    /// The protocol that was agreed on (PP2_TYPE_ALPN).
    pub alpn: Option<Box<[u8]>>,
    /// Up to 128 bytes (PP2_TYPE_UNIQUE_ID).
    pub unique_id: Option<Box<[u8]>>,
    /// The name of a network namespace (PP2_TYPE_NETNS).
    pub netns: Option<Box<str>>,
    pub ssl: Option<Box<Ssl>>,
}

/// TLS between the client and the sender (PP2_TYPE_SSL). Texts are as sent: printable or not, bounded by the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// The client spoke TLS (PP2_CLIENT_SSL).
    pub used: bool,
    /// It showed a certificate in this connection (PP2_CLIENT_CERT_CONN), or in the session resumed (…_SESS).
    pub certificate_now: bool,
    pub certificate_in_session: bool,
    /// 0: the certificate was verified; else the sender's TLS library's code.
    pub verify: u32,
    /// "TLSv1.3".
    pub version: Option<Box<str>>,
    pub cipher: Option<Box<str>>,
    /// The common name in the client certificate's subject.
    pub common_name: Option<Box<str>>,
    pub signature: Option<Box<str>>,
    pub key: Option<Box<str>>,
    /// PP2_SUBTYPE_SSL_GROUP.
    pub group: Option<Box<str>>,
    /// PP2_SUBTYPE_SSL_SIG_SCHEME.
    pub scheme: Option<Box<str>>,
    /// The whole client certificate in DER (PP2_SUBTYPE_SSL_CLIENT_CERT).
    pub certificate: Option<Box<[u8]>>,
}

/// Reads a header from the beginning of a stream; `Done` counts its bytes. At most `limit` bytes of header are taken.
pub fn parse(bytes: &[u8], limit: usize) -> Parsed<Header> {
    let _ = (bytes, limit);
    Parsed::Bad("not written yet")
}

/// Appends `header` to `into`; version 1 carries addresses only. `checksum`: with a CRC32C (version 2).
pub fn write(header: &Header, version: Version, checksum: bool, into: &mut Vec<u8>) {
    let _ = (header, version, checksum, into);
}
