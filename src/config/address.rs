// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses as text: `host:port`, `[v6]:port`, `*:port` (where to listen: every address; where to connect: the name that
//! the client asks for), `_service._tcp.domain`, `unix:PATH`, `unix:@abstract`; what those to listen on resolve to, and
//! which of them cannot be bound at the same time.
//!
//! Parsing is pure. Resolving asks the system and may block for long: only a task thread may do it.

use super::report::Complaint;
use crate::policy::watch::Question;
use crate::sys::address::Address;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

/// The longest name of a unix socket, in bytes: `sun_path` has 108 and one is for the NUL (unix(7)).
pub(super) const UNIX_NAME_MAX: usize = 107;

/// The longest host name, in characters (RFC 1035 section 2.3.4, as text).
const HOST_NAME_MAX: usize = 253;

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Accept,
    Connect,
}

/// An address as written, split into its parts but not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address in numbers, or a unix socket.
    Ready(Address),
    /// A name to be looked up, and a port.
    Named(String, u16),
    /// This port of the server that the client names; none: the port that it names, too.
    Requested(Option<u16>),
    /// Whatever offers this service ("_imap._tcp.example.org", RFC 2782).
    Service(String),
}

impl Target {
    /// Reads an address. `directory` is what relative unix paths are relative to.
    pub(super) fn parse(text: &str, purpose: Purpose, directory: &Path) -> Result<Self, Complaint> {
        match text.strip_prefix("unix:") {
            Some(name) => unix(text, name, directory).map(Self::Ready),
            None => inet(text, purpose),
        }
    }

    /// The host as TLS names it, if this is not a unix socket: without a zone, and without the dot at the end
    /// (RFC 6066 section 3).
    pub(super) fn host(&self) -> Option<String> {
        match self {
            Self::Ready(Address::Inet(address)) => Some(address.ip().to_string()),
            Self::Ready(_) | Self::Requested(_) => None,
            Self::Named(host, _) => {
                let (host, _zone) = host.split_once('%').unwrap_or((host, ""));
                Some(host.strip_suffix('.').unwrap_or(host).to_owned())
            }
            // The domain that was asked: who answered may have named any host (RFC 6125 section 6.2.1).
            Self::Service(name) => {
                let domain = name.splitn(3, '.').nth(2)?;
                Some(domain.strip_suffix('.').unwrap_or(domain).to_owned())
            }
        }
    }

    /// What is to be asked for, again and again; none of what is known once and for all.
    pub(super) fn question(&self) -> Option<Question> {
        match self {
            // The interface of a link-local address is a matter of this machine.
            Self::Named(host, port) if !host.contains('%') => {
                Some(Question::Host(host.as_str().into(), *port))
            }
            Self::Service(name) => Some(Question::Service(name.as_str().into())),
            _ => None,
        }
    }
}

fn unix(text: &str, name: &str, directory: &Path) -> Result<Address, Complaint> {
    use std::os::unix::ffi::OsStrExt;
    let (length, address) = match name.strip_prefix('@') {
        _ if name.is_empty() || name == "@" => {
            return Err(Complaint::new(format!("the address {text:?} has no name after `unix:`"))
                .help("write `unix:PATH`, or `unix:@NAME` for an abstract name"));
        }
        Some(name) => (name.len(), Address::Abstract(name.as_bytes().to_vec())),
        None => {
            let path = directory.join(name);
            (path.as_os_str().as_bytes().len(), Address::Unix(path))
        }
    };
    if length > UNIX_NAME_MAX {
        let message = format!("the unix socket name has {length} bytes, the system allows {UNIX_NAME_MAX}");
        return Err(Complaint::new(message));
    }
    Ok(address)
}

fn inet(text: &str, purpose: Purpose) -> Result<Target, Complaint> {
    if purpose == Purpose::Connect && text.starts_with('_') && !text.contains(':') {
        return service(text).map(Target::Service);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let complaint = Complaint::new(format!("the address {text:?} has no port"));
        return Err(complaint.help(if text.starts_with('/') {
            format!("for a unix socket write `unix:{text}`")
        } else if text.parse::<u16>().is_ok() {
            match purpose {
                Purpose::Accept => format!("for that port on every address of this host write `*:{text}`"),
                Purpose::Connect => format!("for that port on this host write `127.0.0.1:{text}`"),
            }
        } else {
            "write `host:port`, `[v6]:port` or `unix:PATH`".to_owned()
        }));
    };
    if text.parse::<Ipv6Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok() {
        let complaint = Complaint::new(format!("the IPv6 address in {text:?} needs brackets"));
        return Err(complaint.help(match host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("write `[{ip}]:{port}`"),
            Err(_) => format!("write `[{text}]:PORT`"),
        }));
    }
    if let Some(scheme) = text.find("://") {
        let complaint = Complaint::new(format!("{text:?} is a URL, not an address"));
        return Err(complaint.help(format!("leave out `{}`, write `host:port`", &text[..scheme + 3])));
    }
    if (host, port, purpose) == ("*", "*", Purpose::Connect) {
        return Ok(Target::Requested(None));
    }
    let port = parse_port(text, port, purpose)?;
    let ready = |ip: IpAddr| Target::Ready(Address::Inet(SocketAddr::new(ip, port)));
    if host == "*" {
        return match purpose {
            Purpose::Accept => Ok(ready(Ipv6Addr::UNSPECIFIED.into())),
            Purpose::Connect => Ok(Target::Requested(Some(port))),
        };
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let target = match bracketed {
        Some(inner) => match inner.parse::<Ipv6Addr>() {
            Ok(ip) => ready(ip.into()),
            // An address with a zone ("fe80::1%eth0"): the system knows the number of the interface.
            Err(_) if inner.split_once('%').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok()) => {
                Target::Named(inner.to_owned(), port)
            }
            Err(_) => return Err(Complaint::new(format!("{inner:?} is not an IPv6 address"))),
        },
        None => match host.parse::<Ipv4Addr>() {
            Ok(ip) => ready(ip.into()),
            Err(_) => Target::Named(check_name(text, host, purpose)?, port),
        },
    };
    match &target {
        Target::Ready(Address::Inet(address))
            if purpose == Purpose::Connect && address.ip().is_unspecified() =>
        {
            let complaint = Complaint::new(format!("cannot connect to the wildcard {text:?}"));
            Err(complaint.help("name one host, for example `127.0.0.1`"))
        }
        _ => Ok(target),
    }
}

/// The name of a service: two labels with an underscore, then a domain.
fn service(text: &str) -> Result<String, Complaint> {
    let mut parts = text.splitn(3, '.');
    let named = |part: Option<&str>| part.is_some_and(|part| part.len() > 1 && part.starts_with('_'));
    let (service, protocol) = (named(parts.next()), named(parts.next()));
    let domain = parts.next().filter(|domain| !domain.starts_with('_') && !domain.is_empty());
    if !(service && protocol && domain.is_some()) {
        let complaint = Complaint::new(format!("the address {text:?} has no port"));
        return Err(complaint.help("write `host:port`, or a service as in `_imap._tcp.example.org`"));
    }
    check_host(text)?;
    Ok(text.to_owned())
}

fn parse_port(text: &str, port: &str, purpose: Purpose) -> Result<u16, Complaint> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(0) if purpose == Purpose::Connect => {
            Err(Complaint::new(format!("cannot connect to port 0 in {text:?}")))
        }
        Ok(port) if digits => Ok(port),
        _ if port.is_empty() => {
            Err(Complaint::new(format!("the address {text:?} has no port after the colon")))
        }
        _ if digits => Err(Complaint::new(format!("the port {port} is above 65535"))),
        _ => Err(Complaint::new(format!("{port:?} in {text:?} is not a port number"))),
    }
}

fn check_name(text: &str, host: &str, purpose: Purpose) -> Result<String, Complaint> {
    if host.is_empty() {
        let complaint = Complaint::new(format!("the address {text:?} has no host before the colon"));
        return Err(match purpose {
            Purpose::Accept => complaint.help(format!("to listen on every address write `*{text}`")),
            Purpose::Connect => complaint,
        });
    }
    check_host(host)?;
    Ok(host.to_owned())
}

/// Whether `host` can be a host name; IDNs are written in their ASCII form (RFC 5890).
pub(super) fn check_host(host: &str) -> Result<(), Complaint> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if !host.is_ascii() {
        let complaint = Complaint::new(format!("the host name {host:?} is not ASCII"));
        return Err(complaint.help("write international names in their ASCII form, `xn--…`"));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(Complaint::new(format!("{host:?} is not an IPv4 address")));
    }
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.len() > HOST_NAME_MAX || !host.strip_suffix('.').unwrap_or(host).split('.').all(good) {
        return Err(Complaint::new(format!("{host:?} is not a host name")));
    }
    Ok(())
}

/// Looks up names, each once, by getaddrinfo(3). Blocks.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    known: BTreeMap<String, Result<Vec<SocketAddr>, String>>,
}

impl Resolver {
    /// Every address of `target`, in the order the system prefers, none twice, at least one; none of a target that only
    /// clients know, or that is asked for again and again.
    pub(super) fn resolve(&mut self, target: &Target) -> Result<Vec<Address>, Complaint> {
        let (host, port) = match target {
            Target::Ready(address) => return Ok(vec![address.clone()]),
            Target::Requested(_) | Target::Service(_) => return Ok(Vec::new()),
            Target::Named(host, port) => (host, *port),
        };
        let answer = self.known.entry(host.clone()).or_insert_with(|| look_up(host));
        let found = answer.as_ref().map_err(|reason| {
            Complaint::new(format!("cannot resolve {host:?}: {reason}"))
                .help("names are looked up when the configuration is loaded")
        })?;
        let with_port = |address: &SocketAddr| {
            let mut address = *address;
            address.set_port(port);
            Address::Inet(address)
        };
        Ok(found.iter().map(with_port).collect())
    }
}

fn look_up(host: &str) -> Result<Vec<SocketAddr>, String> {
    // The standard library puts a sentence of its own before the one of gai_strerror(3).
    const PREFIX: &str = "failed to lookup address information: ";
    let answer = (host, 0).to_socket_addrs().map_err(|error| {
        let reason = error.to_string();
        reason.strip_prefix(PREFIX).map_or_else(|| reason.clone(), str::to_owned)
    })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in answer {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

/// Whether the two cannot both be bound: the same address, or the same port where one of them is a wildcard that
/// takes in the other. `[::]` is dual-stack and takes in IPv4 too. Port 0 is another port each time.
pub(super) fn overlap(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Inet(a), Address::Inet(b)) => {
            let (ip, other) = (a.ip().to_canonical(), b.ip().to_canonical());
            let takes_in = |wildcard: IpAddr, ip: IpAddr| match wildcard {
                IpAddr::V4(v4) => v4.is_unspecified() && ip.is_ipv4(),
                IpAddr::V6(v6) => v6.is_unspecified(),
            };
            let zones_differ =
                matches!((a, b), (SocketAddr::V6(a), SocketAddr::V6(b)) if a.scope_id() != b.scope_id());
            let same = ip == other && !zones_differ;
            a.port() == b.port() && a.port() != 0 && (same || takes_in(ip, other) || takes_in(other, ip))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, purpose: Purpose) -> Result<Target, String> {
        Target::parse(text, purpose, Path::new("/etc/tunnel")).map_err(|complaint| complaint.message)
    }

    #[test]
    fn good_addresses_are_read() {
        let inet = |text: &str| Target::Ready(Address::Inet(text.parse().unwrap()));
        for (text, target) in [
            ("127.0.0.1:80", inet("127.0.0.1:80")),
            ("[::1]:443", inet("[::1]:443")),
            ("*:443", inet("[::]:443")),
            ("0.0.0.0:1", inet("0.0.0.0:1")),
            ("127.0.0.1:0", inet("127.0.0.1:0")),
            ("db.example.org:5432", Target::Named("db.example.org".into(), 5432)),
            ("my_host.:65535", Target::Named("my_host.".into(), 65535)),
            ("[fe80::1%eth0]:1", Target::Named("fe80::1%eth0".into(), 1)),
            ("unix:run/s", Target::Ready(Address::Unix("/etc/tunnel/run/s".into()))),
            ("unix:/run/s", Target::Ready(Address::Unix("/run/s".into()))),
            ("unix:@tunnel", Target::Ready(Address::Abstract(b"tunnel".to_vec()))),
        ] {
            assert_eq!(parse(text, Purpose::Accept), Ok(target), "{text}");
        }
    }

    #[test]
    fn hosts_are_named_as_tls_wants_them() {
        for (text, host) in [
            ("10.0.0.1:1", Some("10.0.0.1")),
            ("[::1]:1", Some("::1")),
            ("[fe80::1%eth0]:1", Some("fe80::1")),
            ("a.example.:1", Some("a.example")),
            ("unix:s", None),
        ] {
            assert_eq!(parse(text, Purpose::Connect).unwrap().host().as_deref(), host, "{text}");
        }
    }

    #[test]
    fn services_are_connected_to_by_name() {
        let name = "_imap._tcp.example.org";
        let target = parse(name, Purpose::Connect).unwrap();
        assert_eq!(target, Target::Service(name.into()));
        assert_eq!(target.host().as_deref(), Some("example.org"));
        assert_eq!(target.question(), Some(Question::Service(name.into())));
        let without = format!("the address {name:?} has no port");
        assert_eq!(parse(name, Purpose::Accept), Err(without));
        for text in
            ["_imap", "_imap._tcp", "_imap._tcp.", "_._tcp.example.org", "_imap.tcp.org", "_a._b._c.d"]
        {
            let message = parse(text, Purpose::Connect).unwrap_err();
            assert_eq!(message, format!("the address {text:?} has no port"));
        }
        assert_eq!(parse("_a._b.c d", Purpose::Connect), Err("\"_a._b.c d\" is not a host name".into()));
    }

    #[test]
    fn what_may_change_is_asked_for_again() {
        let question = |text: &str| parse(text, Purpose::Connect).unwrap().question();
        assert_eq!(question("db.example:5432"), Some(Question::Host("db.example".into(), 5432)));
        for text in ["192.0.2.1:1", "[fe80::1%eth0]:1", "*:1", "unix:s"] {
            assert_eq!(question(text), None, "{text}");
        }
    }

    #[test]
    fn bad_addresses_are_refused_with_their_reason() {
        let long_label = format!("{}:1", "a".repeat(64));
        for (text, message) in [
            ("", "the address \"\" has no port"),
            ("localhost", "the address \"localhost\" has no port"),
            ("localhost:", "the address \"localhost:\" has no port after the colon"),
            (":80", "the address \":80\" has no host before the colon"),
            ("::1:80", "the IPv6 address in \"::1:80\" needs brackets"),
            ("fe80::1", "the IPv6 address in \"fe80::1\" needs brackets"),
            ("[::g]:80", "\"::g\" is not an IPv6 address"),
            ("1.2.3:80", "\"1.2.3\" is not an IPv4 address"),
            ("1.2.3.256:80", "\"1.2.3.256\" is not an IPv4 address"),
            ("a b:80", "\"a b\" is not a host name"),
            ("a..b:80", "\"a..b\" is not a host name"),
            ("bücher.example:80", "the host name \"bücher.example\" is not ASCII"),
            ("h:65536", "the port 65536 is above 65535"),
            ("h:+80", "\"+80\" in \"h:+80\" is not a port number"),
            ("h:http", "\"http\" in \"h:http\" is not a port number"),
            ("https://h:443", "\"https://h:443\" is a URL, not an address"),
            ("unix:", "the address \"unix:\" has no name after `unix:`"),
            ("unix:@", "the address \"unix:@\" has no name after `unix:`"),
            (&long_label, &format!("{:?} is not a host name", "a".repeat(64))),
        ] {
            assert_eq!(parse(text, Purpose::Accept), Err(message.to_owned()), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(parse(&long, Purpose::Accept).unwrap_err().contains("has 108 bytes"));
        assert!(parse(&long[..long.len() - 1], Purpose::Accept).is_ok());
    }

    #[test]
    fn connecting_to_a_wildcard_or_port_0_is_refused() {
        for text in ["*:0", "0.0.0.0:80", "[::]:80", "127.0.0.1:0"] {
            assert!(parse(text, Purpose::Connect).is_err(), "{text}");
            assert!(parse(text, Purpose::Accept).is_ok(), "{text}");
        }
        assert_eq!(parse("*:80", Purpose::Connect), Ok(Target::Requested(Some(80))));
    }

    #[test]
    fn parsing_any_prefix_of_anything_never_panics() {
        for text in ["[fe80::1%eth0]:65535", "unix:@é", "https://é:1", "*:0", "[[]]:::::"] {
            for (end, _) in text.char_indices() {
                let _ = parse(&text[..end], Purpose::Connect);
            }
        }
    }

    #[test]
    fn wildcards_overlap_with_what_they_take_in() {
        let address = |text: &str| match parse(text, Purpose::Accept).unwrap() {
            Target::Ready(address) => address,
            other => unreachable!("the table has only numbers, not {other:?}"),
        };
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("*:1", "0.0.0.0:1", true),
            ("*:1", "127.0.0.1:1", true),
            ("*:1", "[::1]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("0.0.0.0:1", "10.0.0.1:1", true),
            ("[::ffff:10.0.0.1]:1", "10.0.0.1:1", true),
            ("unix:a", "unix:/etc/tunnel/a", true),
            ("unix:@a", "unix:a", false),
        ] {
            assert_eq!(overlap(&address(a), &address(b)), expected, "{a} {b}");
            assert_eq!(overlap(&address(b), &address(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_name_resolves_to_distinct_addresses_with_its_port() {
        let addresses = Resolver::default().resolve(&Target::Named("localhost".into(), 99)).unwrap();
        assert!(!addresses.is_empty());
        for (index, address) in addresses.iter().enumerate() {
            assert!(address.to_string().ends_with(":99"), "{address}");
            assert!(!addresses[..index].contains(address), "{address} twice");
        }
    }

    #[test]
    fn a_name_is_asked_for_once_and_its_failure_is_told_each_time() {
        let mut resolver = Resolver::default();
        resolver.known.insert("gone".into(), Err("Name or service not known".into()));
        for port in [1, 2] {
            let complaint = resolver.resolve(&Target::Named("gone".into(), port)).unwrap_err();
            assert_eq!(complaint.message, "cannot resolve \"gone\": Name or service not known");
        }
    }
}
