// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PROXY protocol, versions 1 and 2: who the client of the sender is, in front of everything else it sends.
//!
//! Source: the specification "The PROXY protocol", versions 1 & 2, of HAProxy; sections are its sections.
//!
//! Invariants: a header is taken whole or not at all, and exactly its own bytes; whatever a stranger says twice, too long
//! or in another form than the specification's is refused, not interpreted; texts stay as they were sent.
//!
//! Not here: who may send a header, and what it means to a connection (`handshake/recv_proxy.rs`, `send_proxy.rs`).

mod crc;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use super::Parsed;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The most bytes that a header of ours has, and that one of a stranger's should be allowed. The fixed parts take less
/// than 1 KiB, so this leaves 15 KiB to a client's certificate, where few have 2; it is also the size of the buffer in
/// which HAProxy, unless told otherwise, takes a header.
pub const MAX_HEADER: usize = 16 << 10;

/// Which form a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The sender, one of our own kind, asks to be told whether the server was reached (a type for private use).
    pub confirm: bool,
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

/// Reads a header from the beginning of a stream; `Done` counts its bytes. At most `limit` bytes of header are taken:
/// shown that many this never asks for more.
pub fn parse(bytes: &[u8], limit: usize) -> Parsed<Header> {
    let begins = |word: &[u8]| bytes.iter().zip(word).all(|(a, b)| a == b);
    if begins(v1::BEGIN) {
        v1::parse(bytes, limit)
    } else if begins(v2::SIGNATURE) {
        v2::parse(bytes, limit)
    } else {
        Parsed::Bad("there is no PROXY header")
    }
}

/// Appends `header` to `into`; version 1 carries addresses only. `checksum`: with a CRC32C (version 2).
///
/// IPv4 addresses in IPv6 form go as IPv4 if both are; of an IPv4 and an IPv6 address both go as IPv6. A header never
/// becomes longer than [`MAX_HEADER`]: a TLV that does not fit is left out, and as the client's certificate is the last
/// in line it is the first to stay behind. A LOCAL header has no TLVs.
pub fn write(header: &Header, version: Version, checksum: bool, into: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::write(header, into),
        Version::V2 => v2::write(header, checksum, into),
    }
}

/// Two addresses of one family.
enum Family {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

/// The narrowest family that both have a form in.
fn family(source: SocketAddr, destination: SocketAddr) -> Family {
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Family::V4(SocketAddrV4::new(from, source.port()), SocketAddrV4::new(to, destination.port()))
        }
        _ => Family::V6(as_v6(source), as_v6(destination)),
    }
}

fn as_v6(address: SocketAddr) -> SocketAddrV6 {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, address.port(), 0, 0)
}
