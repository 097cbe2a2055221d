// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heads as they should be, and all that is refused because it could be read in two ways.

use super::*;

fn ok(text: &str) -> Head {
    match parse(text.as_bytes()) {
        Parsed::Done(head, length) => {
            assert_eq!(length, text.len());
            *head
        }
        other => panic!("{text:?}: {other:?}"),
    }
}

fn status(text: &[u8]) -> Option<u16> {
    match parse(text) {
        Parsed::Bad(refusal) => Some(refusal.status),
        _ => None,
    }
}

#[test]
fn a_head_is_taken_apart() {
    let head = ok("POST /a/b?c=d&e HTTP/1.1\r\nHost: x:9180\r\nContent-Length: 12\r\n\
                   Origin: http://x:9180\r\nSec-Fetch-Site:same-origin\r\nAuthorization: Bearer t\r\n\
                   Content-Type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\nExpect: 100-Continue\r\n\r\n");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        head,
        Head {
            method: Method::Post,
            path: "/a/b".to_owned(),
            query: "c=d&e".to_owned(),
            minor: 1,
            host: some("x:9180"),
            origin: some("http://x:9180"),
            fetch_site: some("same-origin"),
            authorization: some("Bearer t"),
            form: true,
            framing: Framing::Length(12),
            waits: true,
            keep: true,
        }
    );
}

#[test]
fn a_head_is_whole_or_nothing_is_decided() {
    let text = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for cut in 0..text.len() {
        assert_eq!(parse(&text[..cut]), Parsed::More, "cut at {cut}");
    }
    let mut more = text.to_vec();
    more.extend_from_slice(b"GET /next");
    assert!(matches!(parse(&more), Parsed::Done(_, length) if length == text.len()));
}

#[test]
fn the_connection_stays_as_version_and_header_say() {
    for (lines, keep) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: te, Close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n", true),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        assert_eq!(ok(lines).keep, keep, "{lines}");
    }
}

#[test]
fn targets_are_paths_or_name_the_host_of_the_header() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("//evil/", "//evil/", ""),
        ("http://x", "/", ""),
        ("http://X/a?b", "/a", "b"),
    ] {
        let head = ok(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!((&*head.path, &*head.query), (path, query), "{target}");
    }
    for target in ["*", "x:80", "a", "ftp://x/", "http://y/", "http://x:81/", "http://a@x/"] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status(text.as_bytes()), Some(400), "{target}");
    }
}

#[test]
fn what_two_readers_may_read_differently_is_refused() {
    for lines in [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length: 1 1",
        "Content-Length:",
        "Content-Length : 1",
        "Transfer-Encoding : chunked",
        "Host: y",
        "Host: x",
        "X: y\r\n folded",
        "X: y\r\n\tfolded",
        " X: y",
        "X",
        "X: a\0b",
        "X: a\rb",
        ": y",
        "X\0: y",
        "Origin: a\r\nOrigin: a",
        "Authorization: a\r\nAuthorization: b",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n");
        assert_eq!(status(text.as_bytes()), Some(400), "{lines:?}");
    }
    for text in [
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        assert_eq!(status(text.as_bytes()), Some(400), "{text:?}");
    }
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"), Some(400));
}

#[test]
fn each_limit_has_its_status() {
    let with = |line: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n").into_bytes();
    for (text, expected) in [
        (with("Transfer-Encoding: gzip, chunked"), 501),
        (with("Transfer-Encoding: identity"), 501),
        (with("Transfer-Encoding: xchunked"), 501),
        (with("Expect: 200-ok"), 417),
        (with("Content-Length: 99999999999999999999"), 413),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 501),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 505),
        (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n".to_vec(), 505),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), 400),
        (b"\0".to_vec(), 400),
        (with(&"X: y\r\n".repeat(64)), 431),
        (with(&format!("X: {}", "y".repeat(MAX_HEAD))), 431),
        (format!("GET /{}", "a".repeat(MAX_HEAD)).into_bytes(), 414),
    ] {
        assert_eq!(
            status(&text),
            Some(expected),
            "{:?}",
            String::from_utf8_lossy(&text[..text.len().min(60)])
        );
    }
    // Just below.
    assert_eq!(status(&with(&"X: y\r\n".repeat(62))), None);
    assert!(matches!(parse(&with(&format!("X: {}", "y".repeat(MAX_HEAD - 60)))), Parsed::Done(..)));
    assert_eq!(parse(format!("GET /{}", "a".repeat(MAX_HEAD - 10)).as_bytes()), Parsed::More);
}

#[test]
fn lower_versions_need_no_host() {
    let head = ok("HEAD /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((head.method, head.host, head.minor), (Method::Head, None, 0));
    assert!(!ok("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").waits);
}
