// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an independent review of the layered connections found: each test was red before its fix.

use crate::harness::{Backend, Listening, Peer, Tunnel};
use std::net::SocketAddr;

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
