// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which addresses a client may name as its target: those of the public network, and what the configuration allows
//! beside them. Otherwise a listener that connects to the requested name would be a door into its own network.
//!
//! Source: the IANA special-purpose address registries (RFC 6890), as of 2026-11; addresses that carry an IPv4 address are
//! judged by what they carry as well.

use super::hostname::Pattern;
use super::networks::Networks;
use crate::wire::destination::{Destination, Host};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A target that the client names.
#[derive(Clone, Debug)]
pub struct Requested {
    /// None: the client says that, too.
    pub port: Option<u16>,
    /// Networks that may be connected to although they are not public, or although we listen there ourselves.
    pub allow: Networks,
    /// Only these may be asked for, if there are any; an address must be in `allow` then.
    pub names: Box<[Pattern]>,
    /// Only these, if there are any.
    pub ports: Box<[RangeInclusive<u16>]>,
}

impl Requested {
    /// Whether the configuration names the network of `address`.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allow.contains(address)
            || carried(address).is_some_and(|inner| self.allow.contains(inner.into()))
    }

    /// As the configuration has it: "443", or "*".
    pub fn port_text(&self) -> String {
        self.port.map_or_else(|| "*".to_owned(), |port| port.to_string())
    }

    /// Whether a client may ask for that at all, wherever it leads.
    ///
    /// # Errors
    /// What is asked for, and what of it is not allowed.
    pub fn permits_asking(&self, to: &Destination) -> Result<(), String> {
        if !self.ports.is_empty() && !self.ports.iter().any(|ports| ports.contains(&to.port)) {
            return Err(format!("{to}: that port may not be connected to"));
        }
        let known = match &to.host {
            _ if self.names.is_empty() => true,
            Host::Name(name) => self.names.iter().any(|pattern| pattern.matches(name)),
            Host::Ip(ip) => self.allows(*ip),
        };
        if known { Ok(()) } else { Err(format!("{to}: that name may not be connected to")) }
    }

    /// Whether `address` may be connected to, our own listeners apart. The unspecified address never is: the kernel takes
    /// it for this machine, as which nobody has named it.
    pub fn permits(&self, address: IpAddr) -> bool {
        !leads_to(address).is_unspecified() && (self.allows(address) || is_public(address))
    }
}

/// Whether `address` is one unicast interface somewhere on the public network.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match carried(address.into()) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

/// Where `address` leads to: the IPv4 address that it carries, or itself.
pub fn leads_to(address: IpAddr) -> IpAddr {
    carried(address).map_or(address, IpAddr::V4)
}

/// The IPv4 address that a mapped (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC 3056) address leads to.
fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [a, b, c, d, e, f, high, low] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b, [c, d, e, f]) {
        (0, 0, [0, 0, 0, 0xffff]) | (0x64, 0xff9b, [0, 0, 0, 0]) => Some(v4(high, low)),
        (0x2002, ..) => Some(v4(b, c)),
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0 | 10 | 127 | 224..=255, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 168, ..]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => false,
        [_, _, _, _] => true,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Protocol assignments (Teredo, ORCHID and benchmarking among them), documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
impl Requested {
    /// That port of whatever public address.
    pub(crate) fn at(port: u16) -> Self {
        let (allow, names, ports) = (Networks::default(), Box::default(), Box::default());
        Self { port: Some(port), allow, names, ports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_are_asked_for_as_far_as_they_are_listed() {
        let asked = |requested: &Requested, text: &str| {
            requested.permits_asking(&Destination::parse(text.as_bytes()).unwrap()).is_ok()
        };
        let open = Requested { port: None, ..Requested::at(1) };
        assert!(asked(&open, "a.test:1") && asked(&open, "192.0.2.7:65535"));
        let listed = Requested {
            allow: Networks::new(["10.0.0.0/8".parse().unwrap()]),
            names: Box::new([Pattern::name("*.a.test").unwrap()]),
            ports: Box::new([443..=443, 8000..=8999]),
            ..open
        };
        for (text, expected) in [
            ("x.a.test:443", true),
            ("x.a.test:8999", true),
            ("x.a.test:9000", false),
            ("x.a.test:80", false),
            ("a.test:443", false),
            ("xa.test:443", false),
            ("10.1.2.3:443", true),
            ("[::ffff:10.1.2.3]:443", true),
            ("1.1.1.1:443", false),
        ] {
            assert_eq!(asked(&listed, text), expected, "{text}");
        }
    }

    #[test]
    fn only_the_public_network_is_public() {
        for (text, expected) in [
            ("8.8.8.8", true),
            ("192.0.1.1", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("172.15.0.1", true),
            ("172.31.255.255", false),
            ("10.1.2.3", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("192.168.0.1", false),
            ("198.19.255.255", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("2001:4860:4860::8888", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:8.8.8.8", true),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::808:808", false),
            ("2002:7f00:1::", false),
            ("2002:808:808::", true),
            ("::127.0.0.1", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_permitted_in_every_spelling() {
        let allow = Networks::new(["127.0.0.0/8".parse().unwrap()]);
        let requested = Requested { allow, ..Requested::at(443) };
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(requested.permits(text.parse().unwrap()), "{text}");
        }
        assert!(!requested.permits("10.0.0.1".parse().unwrap()));
        assert!(requested.permits("1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn the_unspecified_address_is_never_permitted() {
        let allow = Networks::new(["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
        let requested = Requested { allow, ..Requested::at(443) };
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::", "2002::"] {
            assert!(!requested.permits(text.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.0.0.1"] {
            assert!(requested.permits(text.parse().unwrap()), "{text}");
        }
    }
}
