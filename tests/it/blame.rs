// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose fault a failure on the way to a server is: what is none of the server's pauses none.

use crate::harness::{Backend, End, Listening, Peer, Pki, Tunnel};
use std::path::Path;

/// More failures than a server may have by default before it is paused.
const FAILURES: usize = 5;

/// Connects so often, from wherever `connect` does it; all of them are closed for `reason`, and no server was paused.
#[track_caller]
fn fails_without_a_pause(tunnel: &Tunnel, reason: &str, connect: impl Fn()) {
    (0..FAILURES).for_each(|_| connect());
    for line in tunnel.wait_closed(FAILURES) {
        assert_eq!(line.get("reason"), reason, "{}", line.text);
    }
    assert!(!tunnel.log_lines().iter().any(|line| line.is("server-paused")), "{}", tunnel.log_text());
}

/// An option that this machine does not take is no server's fault.
#[test]
fn a_source_that_is_not_ours_pauses_no_server() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ address = \"{}\", source = \"192.0.2.1\" }}\n",
        backend.address()
    ));
    fails_without_a_pause(&tunnel, "connect-failed", || be_let_down(&tunnel));
    assert_eq!(backend.accepted(), 0);
}

/// A client of the service "web", which may be let down before we look.
fn be_let_down(tunnel: &Tunnel) {
    let _let_down = Peer::try_plain(tunnel.address("web")).map(|mut client| client.receive_all());
}

/// A tunnel at that unix socket that confirms, with these further lines.
fn next(socket: &Path, server: &Backend<u64>, lines: &str) -> Tunnel {
    Tunnel::start(&format!(
        "[[service]]\nname = \"out\"\nconnect = \"{}\"\n\
         accept = {{ address = \"unix:{}\", proxy_protocol = {{ confirm = true }} }}\n{lines}\n",
        server.address(),
        socket.display()
    ))
}

/// A tunnel that wants to be confirmed by these.
fn before(addresses: &[String]) -> Tunnel {
    Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ address = {addresses:?}, send_proxy = {{ version = \"v2\", confirm = true }} }}\n"
    ))
}

/// Whom the next tunnel refuses it would refuse as well tomorrow, and so would its neighbour; all others go on through it.
#[test]
fn whom_the_next_tunnel_refuses_pauses_it_for_nobody() {
    let (server, neighbour) = (Backend::echo(Listening::default()), Backend::echo(Listening::default()));
    for lines in [
        "[[service.rule]]\nsource = [\"127.0.0.1\"]\naction = \"reject\"",
        "[[service.rule]]\nsource = [\"127.0.0.1\"]\naction = \"drop\"",
        "[[service.rule]]\nsource = [\"127.0.0.1\"]\naction = \"tarpit\"",
        "peek = \"none\"\n[[service.route]]\nsni = [\"a.test\"]",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("next");
        let next = next(&socket, &server, lines);
        let tunnel = before(&[format!("unix:{}", socket.display()), neighbour.address().to_string()]);
        fails_without_a_pause(&tunnel, "unconfirmed", || be_let_down(&tunnel));
        assert_eq!((neighbour.accepted(), server.accepted()), (0, 0), "{lines}");
        drop((tunnel, next));
    }
}

/// Where it has no place left its neighbour may have one, and nothing is wrong with it.
#[test]
fn a_next_tunnel_without_a_place_is_passed_over_and_not_paused() {
    let server = Backend::echo(Listening::default());
    let dir = tempfile::tempdir().unwrap();
    let sockets = ["full", "free"].map(|name| dir.path().join(name));
    let limit = "[[service.route]]\nsource = [\"127.0.0.1\"]\nlimit = { rate = \"1/1h\" }";
    let _full = next(&sockets[0], &server, limit);
    let _free = next(&sockets[1], &server, "");
    let tunnel = before(&sockets.map(|socket| format!("unix:{}", socket.display())));
    for _ in 0..=FAILURES {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(b"x");
        client.half_close();
        assert_eq!(client.receive_all(), (b"x".to_vec(), End::Clean));
    }
    tunnel.wait_closed(FAILURES + 1);
    assert!(!tunnel.log_lines().iter().any(|line| line.is("server-paused")), "{}", tunnel.log_text());
}

/// A server that knows its names refuses others, as it should, and so would its neighbour.
#[test]
fn a_name_that_the_client_invents_pauses_no_server() {
    let pki = Pki::new();
    let (server, neighbour) = (Backend::echo(Listening::default()), Backend::echo(Listening::default()));
    let strict = Tunnel::start(&format!(
        "[[service]]\nname = \"tls\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ {} }} }}\n\
         [[service.route]]\nsni = [\"localhost\"]\nconnect = \"{}\"\n",
        pki.server.toml(),
        server.address()
    ));
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\npeek = \"http\"\n\
         connect = {{ address = [\"{}\", \"{}\"], tls = {{ ca = \"{}\", server_name = \"localhost\", sni = \"client\" }} }}\n",
        strict.address("tls"),
        neighbour.address(),
        pki.ca.display()
    ));
    fails_without_a_pause(&tunnel, "server-handshake-failed", || {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(b"GET / HTTP/1.1\r\nHost: invented.test\r\n\r\n");
        client.receive_all();
    });
    assert_eq!(neighbour.accepted(), 0);
}
