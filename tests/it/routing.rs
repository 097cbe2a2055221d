// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which route a client gets, on one port: by name, protocol and source, terminated or passed through, or refused.
//!
//! What bytes do to the choice is in `hellos`; the order of routes in all its cases is tested beside the table.

use crate::harness::{Backend, End, Listening, Options, Peer, Pki, Program, TlsClient, Tunnel};
use openssl::ssl::SslVerifyMode;
use std::net::Shutdown;
use std::process::Command;

/// A server that sends `mark` and hears the client out.
fn marked(mark: &'static [u8], listening: Listening) -> Backend<()> {
    Backend::start(listening, move |mut peer| {
        // The client may only want to know who it got.
        let _ = peer.try_send(mark);
        peer.receive_all();
    })
}

/// `routes` on one port without TLS of its own.
fn start(routes: &str) -> Tunnel {
    Tunnel::start(&format!("[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n{routes}"))
}

/// A client that asks for `name`, verifies nothing and offers `alpn` (in wire format).
fn client(pki: &Pki, name: &str, alpn: &[u8]) -> TlsClient {
    let settings = TlsClient::with(pki, |builder| {
        builder.set_verify(SslVerifyMode::NONE);
        if !alpn.is_empty() {
            builder.set_alpn_protos(alpn).unwrap();
        }
    });
    settings.named(name)
}

/// The mark of the server that a client of `name` and `alpn` reaches.
fn reached(pki: &Pki, tunnel: &Tunnel, name: &str, alpn: &[u8]) -> String {
    let mut peer = client(pki, name, alpn)
        .connect(tunnel.address("web"))
        .unwrap_or_else(|failure| panic!("{name}: {}\n{}", failure.message, tunnel.log_text()));
    String::from_utf8(peer.receive(4)).unwrap()
}

/// Terminated and passed through on one port; the more specific route wins, whatever its place in the file.
#[test]
fn names_and_protocols_choose_among_routes_of_one_port() {
    let pki = Pki::new();
    let mail = pki.issue("mail", &["mail.test"]);
    let web = pki.issue("web", &["*.web.test"]);
    let through = marked(b"mail", Listening::tls(&mail));
    let (any, h2, exact, rest) = (
        marked(b"any.", Listening::default()),
        marked(b"h2..", Listening::default()),
        marked(b"one.", Listening::default()),
        marked(b"rest", Listening::default()),
    );
    let tls = format!("tls = {{ {} }}", web.toml());
    let tunnel = start(&format!(
        "[[service.route]]\nname = \"rest\"\nfallback = [\"unknown-name\", \"no-name\"]\n{tls}\nconnect = \"{}\"\n\
         [[service.route]]\nsni = [\"*.Web.Test.\"]\n{tls}\nconnect = \"{}\"\n\
         [[service.route]]\nname = \"h2\"\nsni = [\"*.web.test\"]\nalpn = [\"h2\"]\n{tls}\nconnect = \"{}\"\n\
         [[service.route]]\nsni = [\"one.web.test\"]\n{tls}\nconnect = \"{}\"\n\
         [[service.route]]\nname = \"mail\"\nsni = [\"MAIL.test\"]\nconnect = \"{}\"\n\
         [[service.route]]\nsni_regex = ['^[a-z]+\\.apps\\.test$']\naction = \"reject\"\n",
        rest.address(),
        any.address(),
        h2.address(),
        exact.address(),
        through.address(),
    ));
    for (name, alpn, mark) in [
        ("a.web.test", &b""[..], "any."),
        ("A.b.WEB.test", b"", "any."),
        ("a.web.test.", b"\x08http/1.1", "any."),
        ("a.web.test", b"\x08http/1.1\x02h2", "h2.."),
        ("one.web.test", b"\x02h2", "one."),
        ("ONE.web.test.", b"", "one."),
        ("web.test", b"", "rest"),
        ("", b"", "rest"),
        ("a1.apps.test", b"", "rest"),
    ] {
        assert_eq!(reached(&pki, &tunnel, name, alpn), mark, "{name:?} with {alpn:?}");
    }
    let rejected = client(&pki, "abc.apps.test", b"").connect(tunnel.address("web"));
    assert!(rejected.is_err_and(|failure| failure.message.contains("unrecognized name")));
    // Passed through: the certificate is the server's own.
    let mut peer = TlsClient::new(&pki).named("mail.test").connect(tunnel.address("web")).unwrap();
    assert_eq!(peer.receive(4), b"mail");
    drop(peer);
    let line = tunnel.wait_log("the route", |line| line.get("route") == "mail");
    assert_eq!((line.get("sni"), line.get("server")), ("mail.test", &*through.address().to_string()));
}

/// A route's `tls` inherits from the listener's; a route without it terminates with the listener's.
#[test]
fn a_route_inherits_the_listeners_tls() {
    let pki = Pki::new();
    let (listener, own) = (pki.issue("listener", &["listener.test"]), pki.issue("own", &["own.test"]));
    let backend = marked(b"here", Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ {}, min_version = \"1.3\" }} }}\n\
         connect = \"{}\"\n\
         [[service.route]]\nsni = [\"listener.test\"]\n\
         [[service.route]]\nsni = [\"own.test\"]\ntls = {{ {} }}\n",
        listener.toml(),
        backend.address(),
        own.toml(),
    ));
    for name in ["listener.test", "own.test"] {
        let mut peer = TlsClient::new(&pki).named(name).connect(tunnel.address("web")).unwrap();
        assert_eq!(peer.receive(4), b"here", "{name}");
        let old = TlsClient::version(&pki, openssl::ssl::SslVersion::TLS1_2).named(name);
        assert!(old.connect(tunnel.address("web")).is_err(), "{name}: the listener's version is inherited");
    }
}

/// Rejected by a route, or taken by none: the client is told which by the alert that RFC 6066 has for it.
#[test]
fn whom_no_route_takes_is_told_that_the_name_is_unknown() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let tunnel = start(&format!(
        "[[service.route]]\nsni = [\"known.test\"]\nconnect = \"{}\"\n\
         [[service.route]]\nname = \"apps\"\nsni = [\"*.apps.test\"]\naction = \"reject\"\n",
        backend.address()
    ));
    for name in ["a.apps.test", "unknown.test", "xknown.test", "known.test.evil", ""] {
        let failure = client(&pki, name, b"").connect(tunnel.address("web")).unwrap_err();
        assert!(failure.message.contains("unrecognized name"), "{name:?}: {}", failure.message);
    }
    let mut program = Program::start(Command::new("openssl").args([
        "s_client",
        "-connect",
        &tunnel.address("web").to_string(),
        "-servername",
        "a.apps.test",
    ]));
    assert!(!program.wait_exit().success());
    assert!(program.stderr().contains("unrecognized name"), "{}", program.stderr());
    let lines = tunnel.wait_closed(6);
    let reasons = |word: &str| lines.iter().filter(|line| line.get("reason") == word).count();
    assert_eq!((reasons("route-rejected"), reasons("no-route")), (2, 4), "{lines:#?}");
    let rejected = tunnel.wait_reason("route-rejected");
    assert_eq!((rejected.get("route"), rejected.get("sni")), ("apps", "a.apps.test"));
    assert_eq!(backend.accepted(), 0);
}

/// The longest prefix first; who is from elsewhere finds the route without one.
#[test]
fn the_source_chooses_among_routes_of_one_name() {
    let pki = Pki::new();
    let (near, here, far) = (
        marked(b"near", Listening::tls(&pki.server)),
        marked(b"here", Listening::tls(&pki.server)),
        marked(b"far.", Listening::tls(&pki.server)),
    );
    let routes = |wide: &str, narrow: &str| {
        format!(
            "[[service.route]]\nname = \"far\"\nsni = [\"a.test\"]\nconnect = \"{}\"\n\
             [[service.route]]\nname = \"near\"\nsni = [\"a.test\"]\nsource = [\"{wide}\"]\nconnect = \"{}\"\n\
             [[service.route]]\nname = \"here\"\nsni = [\"a.test\"]\nsource = [\"{narrow}\"]\nconnect = \"{}\"\n",
            far.address(),
            near.address(),
            here.address(),
        )
    };
    for (wide, narrow, mark) in [
        ("127.0.0.0/8", "127.0.0.1", "here"),
        ("127.0.0.0/8", "127.0.0.2", "near"),
        ("10.0.0.0/8", "10.0.0.1", "far."),
    ] {
        assert_eq!(reached(&pki, &start(&routes(wide, narrow)), "a.test", b""), mark, "{wide}, {narrow}");
    }
}

/// `peek = "http"`: the host of the request, in any form, and a canned answer for whom a route rejects.
#[test]
fn plain_requests_are_routed_by_their_host() {
    let (www, other) = (marked(b"www.", Listening::default()), marked(b"rest", Listening::default()));
    let tunnel = start(&format!(
        "[[service.route]]\nhost = [\"www.example.org\"]\nconnect = \"{}\"\n\
         [[service.route]]\nname = \"gone\"\nhost = [\"gone.example.org\"]\naction = \"reject\"\nreply = \"http-404\"\n\
         [[service.route]]\nhost = [\"*.example.org\"]\nfallback = [\"no-name\"]\nconnect = \"{}\"\n",
        www.address(),
        other.address(),
    ));
    let ask = |request: &str| {
        let mut peer = Peer::plain(tunnel.address("web"));
        peer.send(request.as_bytes());
        // Who is refused at once may be gone by now.
        let _refused = peer.socket().shutdown(Shutdown::Write);
        peer.receive_all()
    };
    for (request, mark) in [
        ("GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "www."),
        ("GET / HTTP/1.1\r\nhost: WWW.Example.org.:8080\r\n\r\n", "www."),
        ("GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "www."),
        ("GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n", "rest"),
        ("GET / HTTP/1.0\r\n\r\n", "rest"),
    ] {
        assert_eq!(ask(request), (mark.into(), End::Clean), "{request}");
    }
    let (answer, end) = ask("GET / HTTP/1.1\r\nHost: gone.example.org\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.0 404 ") && end == End::Clean, "{answer:?}, {end:?}");
    let reached = (www.accepted(), other.accepted());
    for (request, reason) in [
        ("GET / HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n", "no-route"),
        ("GET / HTTP/1.1\r\nHost: www.example.org\r\nHost: a.example.org\r\n\r\n", "bad-request"),
        ("GET / HTTP/1.1\r\nHost: www.example.org\r\n a.example.org\r\n\r\n", "bad-request"),
        ("GET / HTTP/1.1\r\n\r\n", "bad-request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad-request"),
        ("\u{16}\u{3}\u{1}", "bad-request"),
        ("GET / HT", "bad-request"),
    ] {
        assert_eq!(ask(request), (Vec::new(), End::Clean), "{request:?}");
        tunnel.wait_reason(reason);
    }
    let refused = tunnel.wait_closed(13).iter().filter(|line| line.get("reason") == "bad-request").count();
    assert_eq!(refused, 6);
    assert_eq!((www.accepted(), other.accepted()), reached, "what was refused reached no server");
}

/// A hundred thousand routes are loaded, and the last of them is found.
#[test]
fn a_large_table_of_routes_serves() {
    let pki = Pki::new();
    let backend = marked(b"last", Listening::tls(&pki.server));
    let count = if crate::harness::soaking() { 100_000 } else { 5_000 };
    let mut routes =
        format!("[[service.route]]\nsni = [\"*.zone.test\"]\nconnect = \"{}\"\n", backend.address());
    for number in 0..count {
        routes += &format!("[[service.route]]\nsni = [\"host{number}.zone.test\"]\naction = \"reject\"\n");
    }
    let service = format!("[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n{routes}");
    let tunnel = Tunnel::start_with(&service, Options::default());
    assert_eq!(reached(&pki, &tunnel, "other.zone.test", b""), "last");
    let last = format!("HOST{}.zone.test.", count - 1);
    let failure = client(&pki, &last, b"").connect(tunnel.address("web")).unwrap_err();
    assert!(failure.message.contains("unrecognized name"), "{}", failure.message);
}
