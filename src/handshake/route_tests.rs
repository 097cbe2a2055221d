// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a client's first bytes to its route: the steps that peek and the one that picks, over sockets whose other end the
//! test holds. Hellos are those of real programs, from the fuzzer's corpus.

use super::{Progress, Step, peek_hello, peek_host, pick_route};
use crate::connection::context::{Common, Ctx};
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::log::{Level, Log};
use crate::policy::hostname::Pattern;
use crate::policy::reply::Reply;
use crate::policy::route_table::{Fallback, Match, RouteTable};
use crate::policy::service::{Peek, Route, RouteAction, Service};
use crate::stream::testing::{await_input, drain, packet_pair, unix_pair};
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use crate::wire::proxy_header::{Header, Ssl, Tlvs};
use std::path::Path;
use std::time::Instant;

/// The programs whose hellos ask for site1.example.com, and the route that takes each.
const PROGRAMS: [(&str, usize); 5] =
    [("chromium", 1), ("curl", 1), ("openssl-s_client", 1), ("gnutls-cli", 2), ("python", 0)];

fn program(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_hello");
    std::fs::read(folder.join(name)).unwrap()
}

/// Split into records of `size` bytes.
fn records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

/// A route that takes `names` with `alpn`.
fn takes(names: &[&str], alpn: &[&str]) -> Match {
    Match {
        names: names.iter().map(|name| Pattern::name(name).unwrap()).collect(),
        alpn: alpn.iter().map(|name| name.as_bytes().into()).collect(),
        ..Match::default()
    }
}

fn service(peek: Peek, matches: &[Match], action: &RouteAction) -> Service {
    let route = |number: usize| {
        let name = format!("route-{number}");
        Route { action: action.clone(), ..Route::plain(&name) }
    };
    Service {
        peek,
        routes: (0..matches.len()).map(route).collect(),
        table: RouteTable::build(matches).unwrap(),
        ..Service::plain()
    }
}

/// The service that all programs are sent to.
fn by_program() -> Service {
    let matches =
        [takes(&["*.com"], &["http/1.1"]), takes(&["*.example.com"], &["h2"]), takes(&["*.com"], &[])];
    service(Peek::Tls, &matches, &RouteAction::Connect)
}

#[expect(clippy::disallowed_methods, reason = "the clock starts somewhere")]
fn ctx() -> Ctx {
    let (log, _) = Log::to_memory(Level::Info);
    let common = Common::alone(log);
    Ctx::new(0, common, Instant::now())
}

/// A client whose other end is given too.
fn client(ctx: &Ctx) -> (Socket, Pair) {
    let (theirs, ours) = unix_pair();
    (theirs, Pair::new(ours, Address::Unnamed, 64 * 1024, ctx.now))
}

/// Sends `parts` one after the other, the steps looking at each; all but the last must leave them waiting.
fn shake(
    parts: &[&[u8]],
    service: &Service,
    pair: &mut Pair,
    theirs: &Socket,
    ctx: &mut Ctx,
) -> Result<(), Reason> {
    let peek: Step = if service.peek == Peek::Http { peek_host::STEP } else { peek_hello::STEP };
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(theirs.send(part).unwrap(), part.len());
        if number + 1 < parts.len() {
            let waits = (peek.run)(pair, service, ctx)?;
            assert!(matches!(waits, Progress::Wait(_)), "decided after part {number}");
        }
    }
    assert_eq!((peek.run)(pair, service, ctx)?, Progress::Done);
    assert_eq!((pick_route::STEP.run)(pair, service, ctx)?, Progress::Done);
    Ok(())
}

/// The route that `parts` get.
fn route(parts: &[&[u8]], service: &Service, ctx: &mut Ctx) -> usize {
    let (theirs, mut pair) = client(ctx);
    shake(parts, service, &mut pair, &theirs, ctx).unwrap();
    assert_eq!(pair.client.stream.as_raw().unwrap().early(), parts.concat(), "the bytes stay");
    pair.facts.route
}

/// Why `parts` are refused, and what the client is told.
fn refused(parts: &[&[u8]], service: &Service) -> (Reason, Vec<u8>) {
    let mut ctx = ctx();
    let (theirs, mut pair) = client(&ctx);
    let reason = shake(parts, service, &mut pair, &theirs, &mut ctx).unwrap_err();
    (reason, drain(&theirs).0)
}

#[test]
fn a_hello_cut_at_any_byte_routes_like_the_whole() {
    let (service, mut ctx) = (by_program(), ctx());
    for (name, expected) in PROGRAMS {
        let whole = program(name);
        assert_eq!(route(&[&whole], &service, &mut ctx), expected, "{name}");
        for cut in 1..whole.len() {
            let parts = whole.split_at(cut);
            assert_eq!(route(&[parts.0, parts.1], &service, &mut ctx), expected, "{name} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(route(&bytes, &service, &mut ctx), expected, "{name} byte by byte");
    }
}

/// Whoever waits does so for bytes that are still to be read: those that were read were looked at, however many reads a
/// turn had. In a number of reads that ends a turn the last of them was once forgotten.
#[test]
fn a_hello_is_understood_with_its_last_byte_in_any_number_of_reads() {
    let (service, mut ctx) = (by_program(), ctx());
    let whole = program("openssl-s_client");
    for size in (10..whole.len()).step_by(3) {
        let (theirs, ours) = packet_pair();
        let mut pair = Pair::new(ours, Address::Unnamed, 64 * 1024, ctx.now);
        for part in whole.chunks(size) {
            assert_eq!(theirs.send(part).unwrap(), part.len());
        }
        while (peek_hello::STEP.run)(&mut pair, &service, &mut ctx).unwrap() != Progress::Done {
            await_input(pair.client.stream.as_raw().unwrap().socket());
        }
    }
}

#[test]
fn a_hello_in_records_of_any_size_routes_like_the_whole() {
    let (service, mut ctx) = (by_program(), ctx());
    for (name, expected) in PROGRAMS {
        let whole = program(name);
        for size in 1..=whole.len() - 5 {
            let split = records(&whole, size);
            assert_eq!(route(&[&split], &service, &mut ctx), expected, "{name} in records of {size}");
        }
    }
}

#[test]
fn whom_no_route_takes_is_told_by_an_alert() {
    const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 1, 0, 2, 2, 112];
    let other = service(Peek::Tls, &[takes(&["other.test"], &[])], &RouteAction::Connect);
    let (reason, told) = refused(&[&program("curl")], &other);
    assert_eq!((reason.word(), told), ("no-route", UNRECOGNIZED_NAME.to_vec()));
    assert!(reason.detail().unwrap().contains("\"site1.example.com\""));
    let (reason, told) = refused(&[&program("openssl-noname")], &other);
    assert_eq!((reason.word(), told), ("no-route", UNRECOGNIZED_NAME.to_vec()));
    assert_eq!(reason.detail().unwrap(), "the client asked for no name");
    let reply = RouteAction::Reject(Some(Reply::new("ok")));
    let rejecting = service(Peek::Tls, &[takes(&["*.example.com"], &[])], &reply);
    let (reason, told) = refused(&[&program("chromium")], &rejecting);
    assert_eq!((reason.word(), told), ("route-rejected", UNRECOGNIZED_NAME.to_vec()));
}

#[test]
fn what_is_no_hello_reaches_no_route() {
    const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];
    let fallback = Fallback { no_name: true, unknown_name: true };
    let everybody = service(Peek::Tls, &[Match { fallback, ..Match::default() }], &RouteAction::Connect);
    for (bytes, word, told) in [
        (&program("nul-name")[..], "bad-hello", &DECODE_ERROR[..]),
        (&[22, 3, 1, 0, 0], "bad-hello", &DECODE_ERROR),
        (&[22, 3, 1, 0xff, 0xff], "bad-hello", &DECODE_ERROR),
        (&program("sslv2"), "not-tls", &[]),
        (b"GET / HTTP/1.1\r\n", "not-tls", &[]),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "not-tls", &[]),
    ] {
        let (reason, heard) = refused(&[bytes], &everybody);
        assert_eq!((reason.word(), &heard[..]), (word, told), "{:?}", reason.detail());
    }
    let (reason, _) = refused(&[b"G", b"E"], &everybody);
    assert_eq!(reason.word(), "not-tls", "at the first byte");
}

#[test]
fn who_leaves_early_is_told_apart() {
    for (said, word) in [(&b""[..], "handshake-failed"), (&[22, 3][..], "handshake-failed")] {
        let mut ctx = ctx();
        let (theirs, mut pair) = client(&ctx);
        theirs.send(said).unwrap();
        drop(theirs);
        let reason = (peek_hello::STEP.run)(&mut pair, &by_program(), &mut ctx).unwrap_err();
        assert_eq!(reason.word(), word);
        assert_eq!(reason.detail().unwrap().contains("in the middle"), !said.is_empty());
    }
    let mut ctx = ctx();
    let (theirs, mut pair) = client(&ctx);
    theirs.send(b"GET ").unwrap();
    drop(theirs);
    let web = service(Peek::Http, &[Match::default()], &RouteAction::Connect);
    assert_eq!((peek_host::STEP.run)(&mut pair, &web, &mut ctx).unwrap_err().word(), "bad-request");
}

#[test]
fn a_host_is_routed_however_it_is_cut() {
    let matches = [takes(&["www.example.org"], &[]), takes(&["*.example.org"], &[])];
    let web = service(Peek::Http, &matches, &RouteAction::Connect);
    let request = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let mut ctx = ctx();
    for (host, expected) in [("WWW.example.org.:80", 0), ("a.example.org", 1)] {
        let whole = request(host);
        for cut in 1..whole.len() {
            let parts = whole.split_at(cut);
            assert_eq!(route(&[parts.0, parts.1], &web, &mut ctx), expected, "{host} cut at {cut}");
        }
    }
    let (reason, told) = refused(&[&request("example.org")], &web);
    assert_eq!((reason.word(), told), ("no-route", Vec::new()));
    assert_eq!(refused(&[b"GET / HTTP/1.1\r\n\r\n"], &web).0.word(), "bad-request");
    assert_eq!(refused(&[&program("curl")], &web).0.word(), "bad-request");
    let reply = Reply::new("http-404");
    let rejecting = service(Peek::Http, &matches, &RouteAction::Reject(Some(reply.clone())));
    let (reason, told) = refused(&[&request("a.example.org")], &rejecting);
    assert_eq!((reason.word(), &told[..]), ("route-rejected", &*reply.bytes));
}

/// The tunnel before us has done the TLS: what follows its header is payload, and its name and protocol are the client's.
#[test]
fn payload_behind_a_header_that_tells_of_tls_is_not_read() {
    let mut ctx = ctx();
    // Where a route terminates TLS, it is expected within the tunnel's as well.
    for (used, terminates) in [(true, false), (false, false), (true, true)] {
        let service = Service { terminates, ..by_program() };
        let (theirs, mut pair) = client(&ctx);
        let ssl = Some(Box::new(Ssl { used, ..Ssl::default() }));
        pair.facts.header =
            Some(Box::new(Header { tlvs: Tlvs { ssl, ..Tlvs::default() }, ..Header::default() }));
        pair.facts.server_name = Some("a.example.com".into());
        pair.facts.alpn = [Box::from(&b"h2"[..])].into();
        let shaken = shake(&[b"USER somebody"], &service, &mut pair, &theirs, &mut ctx);
        if used && !terminates {
            shaken.unwrap();
            assert_eq!((pair.facts.route, pair.facts.server_name.as_deref()), (1, Some("a.example.com")));
        } else {
            assert_eq!(shaken.unwrap_err().word(), "not-tls");
        }
    }
}
