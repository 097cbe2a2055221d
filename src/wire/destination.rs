// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where somebody asks to be taken: a host, by name or by address, and a port. What SOCKS and CONNECT carry.
//!
//! Invariants: a name is in lower case without a trailing dot, and consists of what names of hosts consist of, so that it
//! may stand in a log and be asked of a name server; an address in text form is an address, never a name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The longest name, in bytes: what SOCKS can say (RFC 1928 section 5).
const MAX_NAME: usize = 255;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

/// A host by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    Name(Box<str>),
}

impl Destination {
    /// The host called `name` in whatever way: "192.0.2.7", "2001:db8::1", the second in brackets or a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &[u8], port: u16) -> Result<Self, &'static str> {
        Self::of(host(name)?, port)
    }

    /// The host that a client has named, in the form in which such names are kept: an IPv6 address without brackets.
    pub fn known(name: &str, port: u16) -> Self {
        Self { host: name.parse().map_or_else(|_| Host::Name(name.into()), Host::Ip), port }
    }

    /// # Errors
    /// A port that is none.
    pub fn of(host: Host, port: u16) -> Result<Self, &'static str> {
        if port == 0 { Err("port 0 is asked for, which is none") } else { Ok(Self { host, port }) }
    }

    /// Reads "host:port", where an IPv6 address has brackets (RFC 9110 section 9.3.6).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        const NO_PORT: &str = "what is asked for has no port";
        let colon = text.iter().rposition(|byte| *byte == b':').ok_or(NO_PORT)?;
        let (name, port) = text.split_at(colon);
        let digits = port.get(1..).filter(|digits| (1..=5).contains(&digits.len()));
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or(NO_PORT)?;
        let port = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(NO_PORT)?;
        if name.contains(&b':') && !name.starts_with(b"[") {
            return Err("an IPv6 address without brackets");
        }
        Self::new(name, port)
    }
}

fn host(name: &[u8]) -> Result<Host, &'static str> {
    let text = std::str::from_utf8(name).map_err(|_| STRANGE)?;
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return inner.map(|ip| Host::Ip(ip.into())).ok_or("brackets around what is no IPv6 address");
    }
    if let Ok(ip) = text.parse() {
        return Ok(Host::Ip(ip));
    }
    if text.len() > MAX_NAME {
        return Err("a name longer than 255 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(STRANGE);
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() || bare.starts_with('.') || bare.contains("..") {
        return Err("an empty name, or one with an empty part");
    }
    // Some libraries take "127.1" and "2130706433" for addresses, which rules for names would not see.
    if bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("a number that is no address");
    }
    Ok(Host::Name(bare.to_ascii_lowercase().into()))
}

const STRANGE: &str = "a name with bytes that no host name has";

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Destination {
    /// As "host:port", an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_host_is_kept_in_one() {
        for (text, expected) in [
            ("db.example.org:5432", "db.example.org:5432"),
            ("DB.Example.ORG.:5432", "db.example.org:5432"),
            ("a_b:1", "a_b:1"),
            ("localhost:65535", "localhost:65535"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(Destination::parse(text.as_bytes()).unwrap().to_string(), expected);
        }
        assert_eq!(Destination::new(b"2001:db8::1", 1).unwrap().to_string(), "[2001:db8::1]:1");
        assert_eq!(Destination::new(b"192.0.2.7", 1).unwrap().host, Host::Ip([192, 0, 2, 7].into()));
    }

    #[test]
    fn what_is_no_host_or_no_port_is_refused() {
        let long = format!("{}:1", "a".repeat(256));
        for text in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:123456",
            "a:+1",
            "a: 1",
            ".:1",
            ".a:1",
            "a..b:1",
            "a b:1",
            "a\0:1",
            "a@b:1",
            "b\u{fc}cher.test:1",
            "2001:db8::1:80",
            "[a]:1",
            "[::1:1",
            "[192.0.2.7]:1",
            "127.1:1",
            "2130706433:1",
            "0x7f.1:1",
            "a:b:1",
            &long,
        ] {
            assert!(Destination::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
