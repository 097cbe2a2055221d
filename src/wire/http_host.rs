// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host that an HTTP/1 request asks for (RFC 9112 section 3.2): of `Host`, and of the target in absolute form or of
//! CONNECT, which must name the same.
//!
//! Invariants: nothing is decided before the whole head is there; what names its host twice or in a form that two readers
//! may read differently is refused, never guessed, so that the server behind cannot see another host than the one that
//! was routed; the bytes stay with the caller.
//!
//! Not here: everything else of HTTP. Only the first request of a connection is read.

use super::Parsed;
use httparse::{EMPTY_HEADER, Request, Status};
use std::net::{IpAddr, Ipv6Addr};

/// The most bytes of request line and headers; a larger head is refused, so this bounds what a connection holds.
pub const MAX_HEAD: usize = 64 << 10;

/// The most headers of a request; browsers send about twenty.
const MAX_HEADERS: usize = 128;

/// As of a name in a ClientHello.
const MAX_HOST: usize = 255;

/// The host of the request at the beginning of `bytes`: lower case, without port, brackets and trailing dot; `None` when
/// the request names none (HTTP/1.0, or an empty `Host`). `Done` counts 0 bytes: the request stays unread.
pub fn parse(bytes: &[u8]) -> Parsed<Option<Box<str>>> {
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    if let Some(why) = what_else(head) {
        return Parsed::Bad(why);
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => match host(&request) {
            Ok(host) => Parsed::Done(host, 0),
            Err(why) => Parsed::Bad(why),
        },
        Ok(Status::Partial) if bytes.len() >= MAX_HEAD => {
            Parsed::Bad("a request head larger than 65536 bytes")
        }
        Ok(Status::Partial) => Parsed::More,
        Err(error) => Parsed::Bad(malformed(error)),
    }
}

/// The host of a whole head.
fn host(request: &Request<'_, '_>) -> Result<Option<Box<str>>, &'static str> {
    let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host header");
    }
    // It must be a good one even where the target names one too (RFC 9112 section 3.2).
    let named = match header {
        Some(header) => name(header.value.trim_ascii())?,
        None if request.version == Some(1) => return Err("an HTTP/1.1 request without a Host header"),
        None => None,
    };
    let target = request.path.unwrap_or_default();
    // RFC 9112 section 3.2.2 lets the target override the header, which servers do or do not: what the two say must be
    // one host, or another one could be served than was routed.
    let agreed = |target: Box<str>| match header {
        Some(_) if named.as_ref() != Some(&target) => Err("a target and a Host header that differ"),
        _ => Ok(Some(target)),
    };
    if request.method == Some("CONNECT") {
        return agreed(name(target.as_bytes())?.ok_or("CONNECT to nowhere")?);
    }
    if target.starts_with('/') || target == "*" {
        return Ok(named);
    }
    let (scheme, rest) = target.split_once("://").ok_or("a request target of an unknown form")?;
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return Err("a request target of an unknown form");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    agreed(name(authority.as_bytes())?.ok_or("a request target without a host")?)
}

/// The name in `host`, "name:port", "[2001:db8::1]:port" (RFC 3986 section 3.2.2); none if there is nothing. Fewer
/// characters than that section has: neither escapes nor user names belong in a host that anybody serves.
fn name(host: &[u8]) -> Result<Option<Box<str>>, &'static str> {
    const STRANGE: &str = "a host with bytes that no host name has";
    let host = std::str::from_utf8(host).map_err(|_| STRANGE)?;
    if host.is_empty() {
        return Ok(None);
    }
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("a host with a bracket too few")?;
        let address: Ipv6Addr = address.parse().map_err(|_| "a host in brackets that is no IPv6 address")?;
        check_port(port)?;
        return Ok(Some(IpAddr::from(address).to_string().into()));
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    check_port(port)?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(STRANGE);
    }
    if name.len() > MAX_HOST {
        return Err("a host longer than 255 bytes");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err("a port without a host");
    }
    Ok(Some(name.to_ascii_lowercase().into()))
}

/// Nothing, or a colon and up to five digits.
fn check_port(port: &str) -> Result<(), &'static str> {
    let digits = port.strip_prefix(':').unwrap_or(port);
    let begins = digits.len() < port.len() || port.is_empty();
    if begins && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err("a host with a malformed port")
    }
}

/// What a stream that is not HTTP/1 looks like, as soon as that is certain.
fn what_else(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x16, ..] => Some("not HTTP but a TLS hello on a plain port"),
        [b'P', b'R', b'I', b' ', ..] => {
            Some("HTTP/2 with prior knowledge, which names its host behind the head")
        }
        [b'P', b'R', b'O', b'X', b'Y', b' ', ..] => Some(PROXY_HEADER),
        _ if bytes.starts_with(b"\r\n\r\n\0") => Some(PROXY_HEADER),
        _ => None,
    }
}

fn malformed(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a malformed header name in the request",
        httparse::Error::HeaderValue => "a malformed header value in the request",
        httparse::Error::NewLine => "a malformed line end in the request",
        httparse::Error::TooManyHeaders => "more than 128 headers in the request",
        httparse::Error::Version => "not a version of HTTP/1",
        httparse::Error::Token | httparse::Error::Status => "not an HTTP request",
    }
}

const PROXY_HEADER: &str = "not HTTP but a PROXY header where none is expected";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::corpus;

    fn done(request: &[u8]) -> Option<Box<str>> {
        match parse(request) {
            Parsed::Done(host, 0) => host,
            other => panic!("{:?}: {other:?}", request.escape_ascii().to_string()),
        }
    }

    fn bad(request: &[u8]) -> &'static str {
        match parse(request) {
            Parsed::Bad(why) => why,
            other => panic!("{:?}: {other:?}", request.escape_ascii().to_string()),
        }
    }

    fn with_host(value: &str) -> Vec<u8> {
        format!("GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: {value}\r\nAccept: */*\r\n\r\n").into_bytes()
    }

    #[test]
    fn a_host_is_kept_as_a_hello_names_it() {
        for (value, host) in [
            ("www.example.org", Some("www.example.org")),
            ("WWW.Example.ORG.", Some("www.example.org")),
            ("www.example.org:8080", Some("www.example.org")),
            ("www.example.org.:", Some("www.example.org")),
            (" \twww.example.org \t", Some("www.example.org")),
            ("a_b", Some("a_b")),
            ("192.0.2.7:80", Some("192.0.2.7")),
            ("[2001:DB8:0::1]:80", Some("2001:db8::1")),
            ("[::1]", Some("::1")),
            ("", None),
        ] {
            assert_eq!(done(&with_host(value)).as_deref(), host, "{value:?}");
        }
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        let long = "a".repeat(256);
        for value in [
            "a b",
            "a\0b",
            "a\x7fb",
            "a@b",
            "a/b",
            "a,b",
            "a%62",
            "bücher.test",
            ".",
            ":80",
            "a:x",
            "a:80:80",
            "a:123456",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[a]",
            "2001:db8::1",
            "a\rb",
            "*",
            &long,
        ] {
            bad(&with_host(value));
        }
    }

    #[test]
    fn two_hosts_are_refused_even_if_they_are_one() {
        for second in ["a.test", "b.test", ""] {
            let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: y\r\nhOST: {second}\r\n\r\n");
            assert_eq!(bad(request.as_bytes()), "more than one Host header");
        }
    }

    #[test]
    fn a_target_that_names_a_host_names_that_of_the_header() {
        for (line, host) in [
            ("GET http://B.test/a.test", "b.test"),
            ("GET HTTP://b.test:80?x", "b.test."),
            ("GET https://b.test#x", "B.test:443"),
            ("CONNECT b.test:443", "b.test"),
            ("CONNECT [::1]:443", "[::1]"),
            ("OPTIONS *", "b.test"),
            ("GET /http://a.test/", "b.test"),
        ] {
            let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let expected = if host == "[::1]" { "::1" } else { "b.test" };
            assert_eq!(done(request.as_bytes()).as_deref(), Some(expected), "{line}");
        }
        // Servers do not agree on which of two counts.
        for line in ["GET http://b.test/", "CONNECT b.test:443"] {
            for host in ["a.test", ""] {
                let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                assert_eq!(bad(request.as_bytes()), "a target and a Host header that differ");
            }
            assert_eq!(done(format!("{line} HTTP/1.0\r\n\r\n").as_bytes()).as_deref(), Some("b.test"));
        }
        for line in [
            "GET a.test",
            "GET b.test/x",
            "GET ://b.test/",
            "GET http:///x",
            "GET http://u@b.test/",
            "CONNECT /",
            "CONNECT :443",
            "GET http://a.test\\@b.test/",
            "GET a/http://b.test",
        ] {
            bad(format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
        }
        bad(b"GET http://b.test/ HTTP/1.1\r\nHost: a b\r\n\r\n");
        bad(b"GET http://b.test/ HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn only_old_requests_may_have_no_host() {
        assert_eq!(done(b"GET / HTTP/1.0\r\n\r\n"), None);
        assert_eq!(done(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").as_deref(), Some("a.test"));
        bad(b"GET / HTTP/1.1\r\n\r\n");
        bad(b"GET /\r\n");
        bad(b"GET / HTTP/2.0\r\n\r\n");
    }

    #[test]
    fn what_two_readers_read_differently_is_refused() {
        bad(b"GET / HTTP/1.1\r\nHost: a.test\r\n b.test\r\n\r\n");
        bad(b"GET / HTTP/1.1\r\nX: y\r\n Host: a.test\r\n\r\n");
        bad(b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n");
        bad(b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n");
        bad(b"GET / HTTP/1.1\r\nHost\r\n\r\n");
        bad(b"GET / HTTP/1.1\r\nX: a\rHost: a.test\r\n\r\n");
        // Line feeds alone are line ends (RFC 9112 section 2.2).
        assert_eq!(done(b"GET / HTTP/1.1\nHost: a.test\n\n").as_deref(), Some("a.test"));
        assert_eq!(done(b"\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\nHost: b").as_deref(), Some("a.test"));
    }

    #[test]
    fn other_protocols_are_told_apart() {
        assert_eq!(bad(&[22, 3, 1]), "not HTTP but a TLS hello on a plain port");
        assert!(bad(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").contains("prior knowledge"));
        assert_eq!(bad(b"PROXY TCP4 "), PROXY_HEADER);
        assert_eq!(bad(b"\r\n\r\n\0\r\nQUIT\n"), PROXY_HEADER);
        assert_eq!(bad(b"\0"), "not an HTTP request");
        bad(b"SSH-2.0-OpenSSH\r\n");
        assert_eq!(parse(b"PR"), Parsed::More);
    }

    #[test]
    fn a_head_is_bounded() {
        let request = |size: usize| format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(size));
        let rest = request(0).len();
        let most = request(MAX_HEAD - rest);
        assert_eq!(done(most.as_bytes()).as_deref(), Some("a.test"));
        assert_eq!(bad(request(MAX_HEAD - rest + 1).as_bytes()), "a request head larger than 65536 bytes");
        let endless = [b'\n'; MAX_HEAD];
        assert_eq!(parse(&endless[1..]), Parsed::More);
        bad(&endless);
        let headers = |count: usize| {
            let many: String = (0..count).map(|n| format!("x{n}: y\r\n")).collect();
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{many}\r\n")
        };
        done(headers(MAX_HEADERS - 1).as_bytes());
        assert_eq!(bad(headers(MAX_HEADERS).as_bytes()), "more than 128 headers in the request");
    }

    #[test]
    fn nothing_is_decided_before_the_head_is_whole() {
        let requests: [&[u8]; 5] = [
            &with_host("a.test:80"),
            b"GET http://a.test/ HTTP/1.1\nHost: a.test\n\n",
            b"\r\n\r\nCONNECT [::1]:443 HTTP/1.0\r\nX:\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost:a.test\r\nContent-Length: 4\r\n\r\n",
            b"PROPFIND / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ];
        for request in requests {
            done(request);
            for length in 1..request.len() {
                let part = parse(&request[..length]);
                assert_eq!(part, Parsed::More, "{:?} cut at {length}", request.escape_ascii().to_string());
            }
            done(&[request, b"GET / HTTP/1.1\r\nHost: other.test\r\nHost: x\r\n\r\n"].concat());
        }
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds_its_promises() {
        let whole_ones = corpus::replay("http_host", parse);
        assert!(whole_ones.len() >= 4, "{whole_ones:?}");
    }
}
