// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that cannot be reached, or only at their second address, or that are not who they should be.

use crate::harness::{
    Backend, BlackHole, End, Listening, Peer, Pki, Sides, TlsClient, Tunnel, full, refusing, wait_for,
};
use std::net::SocketAddr;

/// A service with these servers, tried in order.
fn start(sides: Sides, pki: &Pki, servers: &[SocketAddr]) -> Tunnel {
    let list = servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    let text = sides.service("web", pki, servers[0], "timeout = { connect = \"300ms\" }");
    Tunnel::start(&text.replace(&format!("\"{}\"", servers[0]), &list))
}

/// How a connection ends that can come to nothing.
fn end(sides: Sides, pki: &Pki, tunnel: &Tunnel) -> End {
    if sides.client_tls() {
        return client(sides, pki, tunnel).receive_all().1;
    }
    match Peer::try_plain(tunnel.address("web")) {
        Ok(mut peer) => peer.receive_all().1,
        // The reset was there before we looked.
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            End::Reset
        }
    }
}

fn client(sides: Sides, pki: &Pki, tunnel: &Tunnel) -> Peer {
    if sides.client_tls() {
        TlsClient::new(pki).connect(tunnel.address("web")).unwrap()
    } else {
        Peer::plain(tunnel.address("web"))
    }
}

/// Row 51: an error that epoll reports with readability must not spin; every client is told, none is told a clean end.
#[test]
fn a_server_that_refuses() {
    for sides in Sides::ALL {
        let pki = Pki::new();
        let tunnel = start(sides, &pki, &[refusing()]);
        let before = tunnel.figures().fds;
        let count = full(10_000, 40);
        for _ in 0..count {
            let end = end(sides, &pki, &tunnel);
            assert!(end.is_broken() || matches!(end, End::Other(_)), "{sides:?}: the client saw {end:?}");
        }
        assert_eq!(tunnel.wait_reason("connect-failed").get("service"), "web", "{sides:?}");
        wait_for("the descriptors to be given back", || tunnel.figures().fds <= before);
    }
}

#[test]
fn a_server_that_resets_right_after_accepting() {
    for sides in Sides::ALL {
        let pki = Pki::new();
        // Plain sockets also where TLS is expected: it never comes to that.
        let backend = Backend::start(Listening::default(), Peer::reset);
        let tunnel = start(sides, &pki, &[backend.address()]);
        let before = tunnel.figures().fds;
        for _ in 0..full(5_000, 40) {
            let end = end(sides, &pki, &tunnel);
            assert!(end.is_broken() || matches!(end, End::Other(_)), "{sides:?}: the client saw {end:?}");
        }
        wait_for("the descriptors to be given back", || tunnel.figures().fds <= before);
    }
}

#[test]
fn the_next_address_is_tried() {
    for sides in Sides::ALL {
        let pki = Pki::new();
        let backend = Backend::echo(Listening::tls_if(sides.server_tls(), &pki));
        let hole = BlackHole::new();
        for dead in [refusing(), hole.address()] {
            let tunnel = start(sides, &pki, &[dead, backend.address()]);
            let mut client = client(sides, &pki, &tunnel);
            client.send(b"ping");
            assert_eq!(client.receive(4), b"ping", "{sides:?}");
            client.half_close();
            assert_eq!(client.receive_all().1, End::Clean);
            let line = &tunnel.wait_closed(1)[0];
            assert!(line.get("server").contains(&backend.address().to_string()), "{sides:?}: {}", line.text);
        }
    }
}

#[test]
fn a_server_that_never_answers() {
    for sides in Sides::ALL {
        let pki = Pki::new();
        let hole = BlackHole::new();
        let tunnel = start(sides, &pki, &[hole.address()]);
        let end = end(sides, &pki, &tunnel);
        assert!(end.is_broken() || matches!(end, End::Other(_)), "{sides:?}: the client saw {end:?}");
        tunnel.wait_reason("connect-timeout");
    }
}

/// Originating TLS verifies chain and name unless told otherwise.
#[test]
fn a_server_that_is_somebody_else() {
    let (pki, others) = (Pki::new(), Pki::named("Other Authority"));
    let wrong_name = pki.issue("wrong", &["somebody.else"]);
    for (certificate, keys, good) in [
        (&pki.server, "", true),
        (&pki.server, ", server_name = \"localhost\"", true),
        (&wrong_name, ", server_name = \"somebody.else\"", true),
        (&wrong_name, "", false),
        (&wrong_name, ", server_name = \"localhost\"", false),
        (&others.server, "", false),
        (&others.server, ", verify = false", true),
    ] {
        let backend = Backend::echo(Listening::tls(certificate));
        let ca =
            if keys.contains("verify") { String::new() } else { format!("ca = \"{}\"", pki.ca.display()) };
        let keys = if ca.is_empty() { keys.trim_start_matches(", ") } else { keys };
        let tunnel = Tunnel::start(&format!(
            "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
             connect = {{ address = \"{}\", tls = {{ {ca}{keys} }} }}\n",
            backend.address()
        ));
        let mut client = Peer::plain(tunnel.address("web"));
        if good {
            client.send(b"ping");
            assert_eq!(client.receive(4), b"ping", "{keys}");
        } else {
            let (bytes, end) = client.receive_all();
            assert_eq!((bytes.as_slice(), end), (b"".as_slice(), End::Reset), "{keys}");
            tunnel.wait_reason("server-handshake-failed");
        }
    }
}

/// A client certificate of ours, towards a server that asks for one.
#[test]
fn a_server_that_asks_for_our_certificate() {
    let pki = Pki::new();
    let ours = pki.issue("ours", &["tunnel"]);
    let backend = Backend::echo(Listening::tls_with(&pki.server, |builder| {
        builder.set_ca_file(&pki.ca).unwrap();
        let required = openssl::ssl::SslVerifyMode::PEER | openssl::ssl::SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        builder.set_verify(required);
    }));
    for (certificate, good) in [(format!(", {}", ours.toml()), true), (String::new(), false)] {
        let tunnel = Tunnel::start(&format!(
            "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
             connect = {{ address = \"{}\", tls = {{ ca = \"{}\"{certificate} }} }}\n",
            backend.address(),
            pki.ca.display()
        ));
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(b"ping");
        if good {
            assert_eq!(client.receive(4), b"ping");
        } else {
            assert!(client.receive_all().1.is_broken());
        }
    }
}

/// The same server, gone and back: nothing is remembered against it.
#[test]
fn a_server_that_comes_back() {
    let dead = refusing();
    let pki = Pki::new();
    let tunnel = start(Sides::Plain, &pki, &[dead]);
    assert!(end(Sides::Plain, &pki, &tunnel).is_broken());
    let listener = std::net::TcpListener::bind(dead).unwrap();
    let _back = Backend::serve_on(listener, Listening::default(), crate::harness::echo);
    let mut peer = client(Sides::Plain, &pki, &tunnel);
    peer.send(b"ping");
    assert_eq!(peer.receive(4), b"ping");
}
