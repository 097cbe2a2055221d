// SPDX-License-Identifier: MIT OR Apache-2.0
//! Version 1: one line of text, "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".
//!
//! Numbers are strict, since two readers that take "010" or "65536" for different numbers see different clients; framing
//! is tolerant: the line may come byte by byte.

use super::{Addresses, Family, Header, Parsed, family};
use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// How every line begins.
pub(super) const BEGIN: &[u8] = b"PROXY ";

/// The longest line there may be, CRLF included (section 2.1: the worst case of UNKNOWN).
const LONGEST: usize = 107;

/// Reads a line of which as much as is there begins like [`BEGIN`].
pub(super) fn parse(bytes: &[u8], limit: usize) -> Parsed<Header> {
    let longest = limit.min(LONGEST);
    let shown = bytes.get(..longest).unwrap_or(bytes);
    let Some(end) = shown.windows(2).position(|two| two == b"\r\n") else {
        return match shown {
            _ if shown.len() >= longest => Parsed::Bad("the line of the PROXY header is too long"),
            _ if !may_become_one(shown) => Parsed::Bad(MALFORMED),
            _ => Parsed::More,
        };
    };
    match addresses(&shown[..end]) {
        Ok(addresses) => Parsed::Done(Header { addresses, ..Header::default() }, end + 2),
        Err(why) => Parsed::Bad(why),
    }
}

/// Appends the line. What is no pair of IP addresses is UNKNOWN: this version knows nothing else, and no LOCAL.
pub(super) fn write(header: &Header, into: &mut Vec<u8>) {
    let inet = match &header.addresses {
        Addresses::Inet { source, destination } if !header.local => family(*source, *destination),
        _ => return into.extend_from_slice(b"PROXY UNKNOWN\r\n"),
    };
    match inet {
        Family::V4(from, to) => line("TCP4", [from.ip(), to.ip()], [from.port(), to.port()], into),
        Family::V6(from, to) => line("TCP6", [from.ip(), to.ip()], [from.port(), to.port()], into),
    }
}

fn line<A: Display>(family: &str, [source, destination]: [A; 2], ports: [u16; 2], into: &mut Vec<u8>) {
    let [from, to] = ports;
    let _never_fails = write!(into, "PROXY {family} {source} {destination} {from} {to}\r\n");
}

/// Whether what has come so far can be the beginning of a line. Everything else is told at once, not when it is too long
/// or too late.
fn may_become_one(line: &[u8]) -> bool {
    // A part of the first word is one, or we were not asked.
    let Some(rest) = line.strip_prefix(BEGIN) else { return true };
    let begins = |word: &[u8]| rest.iter().zip(word).all(|(a, b)| a == b);
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let fits = |byte: &u8| byte.is_ascii_hexdigit() || b".: ".contains(byte);
    begins(UNKNOWN) || (begins(b"TCP4 ") || begins(b"TCP6 ")) && rest.iter().skip(5).all(fits)
}

/// The addresses in a whole line, without its CRLF.
fn addresses(line: &[u8]) -> Result<Addresses, &'static str> {
    let rest = line.strip_prefix(BEGIN).ok_or(MALFORMED)?;
    if rest.starts_with(UNKNOWN) {
        // Section 2.1: whatever follows is to be ignored.
        return Ok(Addresses::Unknown);
    }
    let mut words = rest.split(|byte| *byte == b' ');
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok()).ok_or(MALFORMED);
    let family = word()?;
    let (source, destination) = (word()?, word()?);
    let (from, to) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(MALFORMED);
    }
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err("the PROXY header names an unknown family"),
    };
    let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    Ok(Addresses::Inet { source, destination })
}

/// The standard library's reader is as strict as needed: four decimal numbers of at most 255 without leading zeros, or
/// RFC 4291's text form without a zone.
fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, &'static str> {
    text.parse().map(A::into).map_err(|_| "an address in the PROXY header is malformed")
}

/// Decimal, without sign or leading zeros.
fn port(text: &str) -> Result<u16, &'static str> {
    let strict = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| strict).ok_or("a port in the PROXY header is malformed")
}

const UNKNOWN: &[u8] = b"UNKNOWN";
const MALFORMED: &str = "the line of the PROXY header is malformed";
