// SPDX-License-Identifier: MIT OR Apache-2.0
//! PROXY headers taken from peers and sent to servers, made by hand. Rows 36 to 41, 43, 46 and 47 of the known failures of
//! the field. Other programs at the other end: `proxy_programs`.

use crate::harness::{Backend, End, Listening, Peer, Tunnel, full, refusing, wait_for};
use proxy_header::{ParseConfig, ProxyHeader};
use std::net::SocketAddr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
/// 192.0.2.8:56325 → 198.51.100.1:443.
const FOUR: &[u8] = &[192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 5, 1, 0xbb];

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A service with these keys beside `address` in `accept` and in `connect`.
pub(crate) fn service(accept: &str, connect: &str, server: SocketAddr, more: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = [\"127.0.0.1:0\"]{accept} }}\n\
         connect = {{ address = [\"{server}\"]{connect} }}\n{more}\n"
    )
}

pub(crate) const TAKES: &str = ", proxy_protocol = { from = [\"127.0.0.0/8\"] }";

/// A service that takes headers, in front of an echo.
pub(crate) fn taking(more: &str) -> (Tunnel, Backend<u64>) {
    let backend = Backend::echo(Listening::default());
    (Tunnel::start(&service(TAKES, "", backend.address(), more)), backend)
}

/// Sends all that and an end; what comes back.
fn exchange(address: SocketAddr, parts: &[&[u8]]) -> (Vec<u8>, End) {
    let mut peer = Peer::plain(address);
    peer.socket().set_nodelay(true).unwrap();
    for part in parts {
        peer.send(part);
    }
    peer.half_close();
    peer.receive_all()
}

#[test]
fn a_header_may_be_split_anywhere() {
    let (tunnel, _backend) = taking("");
    let long = v2(0x21, 0x11, &[FOUR, &tlv(2, b"a.test"), &tlv(0xe0, b"own")].concat());
    let mut connections = 0;
    for header in [LINE, &long, &v2(0x20, 0, b""), b"PROXY UNKNOWN\r\n"] {
        for cut in (1..=header.len()).step_by(full(1, 3)) {
            let (begin, end) = header.split_at(cut);
            let (back, how) = exchange(tunnel.address("web"), &[begin, end, b"payload"]);
            assert_eq!((&back[..], how), (&b"payload"[..], End::Clean), "cut at {cut}");
            connections += 1;
        }
        let bytes: Vec<&[u8]> = header.chunks(1).chain([&b"payload"[..]]).collect();
        assert_eq!(exchange(tunnel.address("web"), &bytes).0, b"payload", "byte by byte");
        connections += 1;
    }
    for line in tunnel.wait_closed(connections) {
        assert_eq!((line.get("reason"), line.number("in")), ("done", 7), "{}", line.text);
    }
}

/// Row 36: whatever comes with the header in one segment is payload, all of it.
#[test]
fn what_follows_the_header_at_once_is_payload() {
    let (tunnel, _backend) = taking("");
    for size in [1, 100, 20_000, 1_000_000] {
        let payload = tlv(2, b"evil.test").repeat(size / 12 + 1);
        for header in [LINE, &v2(0x21, 0x11, FOUR)] {
            let all = [header, &payload].concat();
            let mut peer = Peer::plain(tunnel.address("web"));
            let mut writer = peer.socket().try_clone().unwrap();
            let sending = std::thread::spawn(move || {
                std::io::Write::write_all(&mut writer, &all).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let (back, end) = peer.receive_all();
            sending.join().unwrap();
            assert!(back == payload && end == End::Clean, "{size}: {} came back, {end:?}", back.len());
        }
    }
}

#[test]
fn the_client_is_who_the_header_says() {
    let (tunnel, _backend) = taking("");
    let mut six = vec![0; 36];
    (six[0], six[1], six[2], six[3]) = (0x20, 1, 0x0d, 0xb8);
    (six[15], six[31], six[33], six[35]) = (7, 1, 9, 2);
    let mut unix = vec![0; 216];
    unix[..6].copy_from_slice(b"/run/s");
    let local = [FOUR, &tlv(2, b"evil.test")].concat();
    for (header, client) in [
        (LINE.to_vec(), Some("192.0.2.7:56324")),
        (v2(0x21, 0x11, FOUR), Some("192.0.2.8:56325")),
        (v2(0x21, 0x21, &six), Some("[2001:db8::7]:9")),
        (v2(0x21, 0x31, &unix), Some("unix:/run/s")),
        // Row 38: of a LOCAL header nothing is believed.
        (v2(0x20, 0x11, &local), None),
        (v2(0x21, 0x00, b""), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
    ] {
        let mut peer = Peer::plain(tunnel.address("web"));
        let own = peer.socket().local_addr().unwrap().to_string();
        peer.send(&header);
        peer.half_close();
        assert_eq!(peer.receive_all(), (Vec::new(), End::Clean));
        let line = tunnel.wait_log("the end", |line| line.is("connection-closed") && line.get("via") == own);
        assert_eq!(line.get("client"), client.unwrap_or(&own), "{}", line.text);
        assert_eq!(line.get("sni"), "", "{}", line.text);
    }
}

/// Rows 37, 40 and 43.
#[test]
fn malformed_headers_reach_no_server() {
    let (tunnel, backend) = taking("");
    let headers: [&[u8]; 10] = [
        b"PROXY TCP4 999.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        &v2(0x21, 0x12, FOUR),
        &v2(0x21, 0x99, b""),
        &v2(0x21, 0x11, &FOUR[..11]),
        &v2(0x21, 0x11, &[FOUR, &tlv(3, &[1; 4])].concat()),
        &v2(0x21, 0x11, &[FOUR, &tlv(2, b"a"), &tlv(2, b"b")].concat()),
    ];
    for header in headers {
        let mut peer = Peer::plain(tunnel.address("web"));
        peer.send(header);
        let (back, _) = peer.receive_all();
        assert_eq!(back, b"", "{}", header.escape_ascii());
    }
    for line in tunnel.wait_closed(headers.len()) {
        assert_eq!(line.get("reason"), "bad-proxy-header", "{}", line.text);
    }
    assert_eq!(backend.accepted(), 0);
    // A header that is only half there when its sender goes is none.
    drop(Peer::plain(tunnel.address("web")));
    exchange(tunnel.address("web"), &[&LINE[..10]]);
    tunnel.wait_closed(headers.len() + 2);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn other_peers_are_refused_or_served_without_a_look() {
    let backend = Backend::echo(Listening::default());
    let from = |others: &str| format!(", proxy_protocol = {{ from = [\"192.0.2.0/24\"]{others} }}");
    let strict = Tunnel::start(&service(&from(""), "", backend.address(), ""));
    let mut peer = Peer::plain(strict.address("web"));
    let _may_be_gone = peer.try_send(LINE);
    assert_eq!(peer.receive_all().0, b"");
    assert_eq!(strict.wait_closed(1)[0].get("reason"), "bad-proxy-header");
    assert_eq!(backend.accepted(), 0);
    let direct = Tunnel::start(&service(&from(", others = \"direct\""), "", backend.address(), ""));
    let (back, end) = exchange(direct.address("web"), &[LINE, b"payload"]);
    assert_eq!((back, end), ([LINE, b"payload"].concat(), End::Clean), "never taken for a header");
    let line = &direct.wait_closed(1)[0];
    assert!(line.get("client").starts_with("127.0.0.1:") && line.get("via").is_empty(), "{}", line.text);
}

/// Row 41: silent peers cost nobody else anything, and whoever trickles is not put up with for longer than silence.
#[test]
fn the_header_has_the_time_of_the_handshake_in_total() {
    let (tunnel, backend) = taking("timeout = { handshake = \"1500ms\" }");
    let silent: Vec<_> = (0..full(1000, 200)).map(|_| Peer::plain(tunnel.address("web"))).collect();
    assert_eq!(exchange(tunnel.address("web"), &[LINE, b"payload"]).0, b"payload", "meanwhile");
    let mut trickling = Peer::plain(tunnel.address("web"));
    trickling.send(&v2(0x21, 0x11, &[0; 10_000])[..20]);
    let own = trickling.socket().local_addr().unwrap().to_string();
    let is_over = || {
        tunnel.log_lines().into_iter().find(|line| line.is("connection-closed") && line.get("client") == own)
    };
    wait_for("the end of the time", || {
        let _may_be_gone = trickling.try_send(&[0]);
        is_over().is_some()
    });
    let line = is_over().unwrap();
    assert_eq!(line.get("reason"), "handshake-timeout");
    let total: f64 = line.get("t_total").parse().unwrap();
    assert!((1_400.0..8_000.0).contains(&total), "{}", line.text);
    let lines = tunnel.wait_closed(silent.len() + 2);
    assert_eq!(
        lines.iter().filter(|line| line.get("reason") == "handshake-timeout").count(),
        silent.len() + 1
    );
    assert_eq!(backend.accepted(), 1);
}

/// Everything that a connection brings, as it comes.
pub(crate) fn recorder() -> Backend<Vec<u8>> {
    Backend::start(Listening::default(), |mut peer: Peer| {
        let bytes = peer.receive_all().0;
        peer.half_close();
        bytes
    })
}

/// Row 46: the header comes first, whatever the client has said by then, and to whichever server.
#[test]
fn the_header_is_the_first_that_a_server_sees() {
    for version in ["v1", "v2"] {
        let backend = recorder();
        let connect = format!(", send_proxy = \"{version}\"");
        let text = service("", &connect, backend.address(), "")
            .replace("connect = { address = [", &format!("connect = {{ address = [\"{}\", ", refusing()));
        let tunnel = Tunnel::start(&text);
        for payload in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[b'x'; 300_000]] {
            let mut peer = Peer::plain(tunnel.address("web"));
            let own = peer.socket().local_addr().unwrap();
            peer.send(payload);
            peer.half_close();
            let seen = backend.next();
            let (header, length) = parse(&seen);
            let both = header.proxied_address().unwrap();
            assert_eq!((both.source, both.destination), (own, tunnel.address("web")));
            assert!(seen[length..] == *payload, "{version}: {} after the header", seen.len() - length);
            assert_eq!(version == "v1", seen.starts_with(b"PROXY TCP4 "));
        }
    }
}

pub(crate) fn parse(bytes: &[u8]) -> (ProxyHeader<'_>, usize) {
    let config = ParseConfig { include_tlvs: true, allow_v1: true, allow_v2: true };
    ProxyHeader::parse(bytes, config).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()))
}

/// A server that speaks first gets its header without a word of the client's.
#[test]
fn the_header_does_not_wait_for_the_client() {
    let backend = Backend::start(Listening::default(), |mut peer: Peer| {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n") {
            seen.extend(peer.receive(1));
        }
        peer.send(b"220 hello\r\n");
        peer.receive_all();
        seen
    });
    let tunnel = Tunnel::start(&service("", ", send_proxy = \"v1\"", backend.address(), ""));
    let mut peer = Peer::plain(tunnel.address("web"));
    assert_eq!(peer.receive(11), b"220 hello\r\n");
    drop(peer);
    assert!(backend.next().starts_with(b"PROXY TCP4 "));
}

/// Rows 39, 46 and 47: taken and sent on, in every family.
#[test]
fn a_header_is_told_on() {
    let backend = recorder();
    let tunnel = Tunnel::start(&service(TAKES, ", send_proxy = \"v2\"", backend.address(), ""));
    let told_on = |header: &[u8]| {
        let mut peer = Peer::plain(tunnel.address("web"));
        let own = peer.socket().local_addr().unwrap();
        peer.send(header);
        peer.half_close();
        (backend.next(), own)
    };
    let mut six = vec![0x20; 36];
    six[32..].copy_from_slice(&[0, 9, 1, 0xbb]);
    let mapped =
        [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 8], &[0; 10], &[0xff, 0xff, 198, 51, 100, 1], &FOUR[8..]];
    let mut unix = vec![0; 216];
    unix[..9].copy_from_slice(b"\0abstract");
    unix[108..114].copy_from_slice(b"/run/s");
    for (header, family, block) in [
        (v2(0x21, 0x11, FOUR), 0x11, FOUR.to_vec()),
        (v2(0x21, 0x21, &six), 0x21, six.clone()),
        (v2(0x21, 0x21, &mapped.concat()), 0x11, FOUR.to_vec()),
        (v2(0x21, 0x31, &unix), 0x31, unix.clone()),
    ] {
        let (seen, _) = told_on(&header);
        assert_eq!((seen[12], seen[13]), (0x21, family), "{}", seen.escape_ascii());
        assert_eq!(seen[16..16 + block.len()], block);
    }
    for header in [v2(0x20, 0x11, FOUR), v2(0x20, 0, b""), v2(0x21, 0, b""), b"PROXY UNKNOWN\r\n".to_vec()] {
        let (seen, own) = told_on(&header);
        let both = parse(&seen).0.proxied_address().unwrap().clone();
        assert_eq!((both.source, both.destination), (own, tunnel.address("web")));
    }
    let (seen, _) = told_on(&v2(0x21, 0x11, &[FOUR, &tlv(2, b"A.Test."), &tlv(5, b"their id")].concat()));
    let header = parse(&seen).0;
    assert_eq!((header.authority(), header.unique_id()), (Some("a.test"), Some(&b"their id"[..])));
}

/// A client of a dual-stack listener is the IPv4 client that it is.
#[test]
fn mapped_addresses_are_told_as_what_they_are() {
    let backend = recorder();
    let text = service("", ", send_proxy = \"v1\"", backend.address(), "").replace("127.0.0.1:0", "[::]:0");
    let tunnel = Tunnel::start(&text);
    let port = tunnel.address("web").port();
    for (target, family) in [(format!("127.0.0.1:{port}"), "TCP4"), (format!("[::1]:{port}"), "TCP6")] {
        let mut peer = Peer::plain(target.parse().unwrap());
        let own = peer.socket().local_addr().unwrap();
        peer.half_close();
        let expected = format!("PROXY {family} {} {} {} {port}\r\n", own.ip(), own.ip(), own.port());
        assert_eq!(String::from_utf8(backend.next()).unwrap(), expected);
    }
}
