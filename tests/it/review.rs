// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an independent review of the layered connections found: each test was red before its fix.

#[cfg(not(feature = "aws-lc"))]
use crate::harness::Pki;
use crate::harness::{Backend, End, Listening, Options, Peer, Rig, Sides, TlsClient, Tunnel};
#[cfg(not(feature = "aws-lc"))]
use openssl::ssl::{HandshakeError, SslRef};
use std::net::SocketAddr;
#[cfg(not(feature = "aws-lc"))]
use std::net::TcpStream;

/// Two servers by host; each answers its own letter.
fn by_host() -> (Tunnel, [Backend<()>; 2]) {
    let server = |letter: u8| {
        Backend::start(Listening::default(), move |mut peer| {
            peer.send(&[letter]);
            peer.fin();
            let _all_that_comes = peer.receive_all();
        })
    };
    let servers = [server(b'a'), server(b'b')];
    let route = |name: &str, address: SocketAddr| {
        format!("[[service.route]]\nhost = [\"{name}\"]\nconnect = \"{address}\"\n")
    };
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\npeek = \"http\"\n{}{}",
        route("a.test", servers[0].address()),
        route("b.test", servers[1].address())
    ));
    (tunnel, servers)
}

/// Servers do not agree on whether the target or the Host header counts, so a request in which they differ could be served
/// for another host than the one that rules and routes saw.
#[test]
fn a_request_that_names_two_hosts_reaches_no_server() {
    let (tunnel, servers) = by_host();
    for request in [
        "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n",
        "CONNECT a.test:80 HTTP/1.1\r\nHost: b.test\r\n\r\n",
    ] {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(request.as_bytes());
        let (answer, _) = client.receive_all();
        assert!(answer.is_empty(), "{request:?}: {answer:?}");
    }
    assert_eq!(servers.iter().map(Backend::accepted).sum::<usize>(), 0);
}

/// A protocol behind the many that are remembered is still offered: the TLS library, or the server, sees it.
#[test]
fn a_protocol_does_not_hide_behind_many_others() {
    let rules = "[[service.rule]]\nalpn = [\"forbidden\"]\naction = \"reject\"";
    let rig = Rig::<u64>::echo(Sides::Terminate, rules);
    let offer = |padding: u8| {
        let mut list: Vec<u8> = (0..padding).flat_map(|number| [2, b'x', b'0' + number]).collect();
        list.extend(b"\x09forbidden");
        TlsClient::with(&rig.pki, move |builder| builder.set_alpn_protos(&list).unwrap())
    };
    assert!(offer(0).connect(rig.address()).is_err());
    assert!(offer(40).connect(rig.address()).is_err());
}

/// Who breaks its handshakes off by a reset has failed them as much as who ends in order, and cost us as much.
#[test]
fn handshakes_that_are_reset_count_as_failed() {
    let rules = "[[service.rule]]\nlimit = { handshake_failures = \"2/1h\" }\naction = \"reject\"";
    let rig = Rig::<u64>::echo(Sides::Terminate, rules);
    for failures in 1..=2 {
        let mut broken = Peer::plain(rig.address());
        broken.send(&[22, 3, 1]);
        broken.reset();
        rig.tunnel.wait_closed(failures);
    }
    assert!(TlsClient::new(&rig.pki).connect(rig.address()).is_err());
    rig.tunnel.wait_reason("rejected");
}

/// The library reads a second hello after a HelloRetryRequest. Rules and routes saw the first.
#[cfg(not(feature = "aws-lc"))]
#[test]
fn a_second_hello_offers_no_other_protocols() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\naccept = {{ address = [\"127.0.0.1:0\"], \
         tls = {{ {}, groups = \"P-384\", alpn = [\"forbidden\", \"fine\"] }} }}\n\
         [[service.rule]]\nalpn = [\"forbidden\"]\naction = \"reject\"",
        backend.address(),
        pki.server.toml()
    ));
    let client = TlsClient::with(&pki, |builder| {
        // The share of the first is not one that the server takes.
        builder.set_groups_list("P-256:P-384").unwrap();
        builder.set_alpn_protos(b"\x04fine").unwrap();
    });
    for (second, reason) in [(&b"\x04fine"[..], "done"), (b"\x09forbidden", "name-changed")] {
        let socket = TcpStream::connect(tunnel.address("web")).unwrap();
        socket.set_nonblocking(true).unwrap();
        // It must not answer before the second list is there.
        let mut shaking = tunnel.frozen(|| client.ssl().connect(socket));
        while let Err(HandshakeError::WouldBlock(waiting)) = shaking {
            offer(waiting.ssl(), second);
            waiting.get_ref().set_nonblocking(false).unwrap();
            shaking = waiting.handshake();
        }
        let mut stream = shaking.unwrap();
        let _sends_its_end = stream.shutdown();
        tunnel.wait_reason(reason);
    }
}

#[cfg(not(feature = "aws-lc"))]
#[expect(unsafe_code, reason = "a call that the openssl crate has for sessions that have not begun only")]
fn offer(session: &SslRef, protocols: &[u8]) {
    unsafe extern "C" {
        fn SSL_set_alpn_protos(
            ssl: *mut openssl_sys::SSL,
            protocols: *const u8,
            length: std::ffi::c_uint,
        ) -> std::ffi::c_int;
    }
    // An `SslRef` is the library's object itself, seen through a reference.
    let ssl = std::ptr::from_ref(session).cast_mut().cast::<openssl_sys::SSL>();
    let length = protocols.len().try_into().unwrap();
    // SAFETY: the pointer is to a live session, and the one thread that uses it is here; the call copies the list.
    let failed = unsafe { SSL_set_alpn_protos(ssl, protocols.as_ptr(), length) };
    assert_eq!(failed, 0);
}

/// Nothing is read, whatever the client sends, and its own end does not shorten the time; that it breaks off does.
#[test]
fn a_tarpit_holds_until_its_time_is_over() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n\
         timeout = {{ tarpit = \"1s\" }}\n[[service.rule]]\naction = \"tarpit\"\n",
        backend.address()
    ));
    let mut client = Peer::plain(tunnel.address("web"));
    client.send(b"let me in");
    client.half_close();
    assert!(client.receive_all().0.is_empty());
    let line = tunnel.wait_closed(1).remove(0);
    assert_eq!((line.get("reason"), line.get("in")), ("tarpitted", "0"), "{}", line.text);
    let held: f64 = line.get("t_total").parse().unwrap();
    assert!((1_000.0..5_000.0).contains(&held), "{}", line.text);
    Peer::plain(tunnel.address("web")).reset();
    let line = tunnel.wait_closed(2).remove(1);
    let held: f64 = line.get("t_total").parse().unwrap();
    assert!(line.get("reason") == "tarpitted" && held < 1_000.0, "{}", line.text);
    assert_eq!(backend.accepted(), 0);
}

/// Whom a rule holds may not keep everybody else out: beyond half of all places it is refused instead.
#[test]
fn a_tarpit_leaves_places_for_others() {
    let backend = Backend::echo(Listening::default());
    let service = |name: &str, more: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\naccept = \"127.0.0.1:0\"\nconnect = \"{}\"\n{more}\n",
            backend.address()
        )
    };
    let held = "timeout = { tarpit = \"10s\" }\nrule = [{ action = \"tarpit\" }]";
    let tunnel = Tunnel::start_with(
        &(service("held", held) + &service("open", "")),
        Options::global("max_connections = 8"),
    );
    let peers: Vec<Peer> = (0..8).map(|_| Peer::plain(tunnel.address("held"))).collect();
    let refused = tunnel.wait_closed(4);
    assert!(refused.iter().all(|line| line.get("reason") == "tarpitted"));
    crate::program::echo(&mut Peer::plain(tunnel.address("open")), b"there is room");
    peers.into_iter().for_each(Peer::reset);
    tunnel.wait_closed(9);
}

/// Who is only held is not served: a drain does not wait for it.
#[test]
fn a_drain_lets_those_go_that_a_tarpit_holds() {
    let mut tunnel = Tunnel::start_with(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:9\"\n\
         timeout = { tarpit = \"10m\" }\nrule = [{ action = \"tarpit\" }]\n",
        Options::global("workers = 1\nmax_connections = 2\nshutdown_timeout = \"5m\""),
    );
    let mut held = Peer::plain(tunnel.address("web"));
    // The second finds half of all places taken, so the first is held by now.
    let _refused = Peer::plain(tunnel.address("web"));
    tunnel.wait_closed(1);
    tunnel.signal(nix::sys::signal::Signal::SIGTERM);
    assert_ne!(held.receive_all().1, End::Silence);
    assert!(tunnel.wait_exit().success());
}
