// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a review of the whole program found broken, where no module for one behaviour is the place for it.

use crate::harness::{
    Backend, Duplex, End, Gate, Listening, Options, Pattern, Peer, Pki, Rig, Sides, TlsClient, Tunnel,
    cramped, digest_of_pattern, full, wait_for,
};
use crate::program::{descriptors, echo};
use crate::reload::reload_well;
use std::fmt::Write as _;

/// A client uploaded, closed in order, and was answered by a server that had not read all of it: the answer met a closed
/// socket, and the daemon passed the reset on at once, which cost the server what its kernel had not acknowledged.
/// A complete upload must arrive whole before the server learns that nobody listens; and meanwhile the kernel, which tells
/// of the client's reset again and again (it had not read its TLS session tickets), must not keep the worker busy.
#[test]
fn an_answer_to_a_client_that_left_does_not_cost_the_upload() {
    const BYTES: usize = 1_000_000;
    for sides in [Sides::Plain, Sides::Terminate] {
        let gate = Gate::new();
        let slow = gate.clone();
        let rig = Rig::with(
            sides,
            "buffer = \"2MiB\"",
            |listening| Listening { cramped: true, ..listening },
            Options::default(),
            move |mut peer: Peer| {
                slow.wait();
                peer.send(b"x");
                let first = peer.receive(1_000);
                // The second answer meets whatever the first one has led to.
                let _ = peer.try_send(b"y");
                let (rest, end) = peer.receive_all();
                ([first, rest].concat(), end)
            },
        );
        let mut client = rig.client();
        client.send(&Pattern::bytes(4, BYTES));
        client.half_close();
        client.fin();
        // All of it is with the tunnel, or a reset would cost what the client's own kernel still has.
        wait_for("the upload to be taken over", || unsent(client.socket()) == 0);
        drop(client);
        rig.tunnel.assert_rest();
        gate.open();
        let (bytes, end) = rig.backend.next();
        assert_eq!(bytes.len(), BYTES, "{sides:?}: {end:?}");
        assert!(bytes == Pattern::bytes(4, BYTES), "{sides:?}");
        assert!(matches!(end, End::Clean | End::Reset), "{sides:?}: {end:?}");
        rig.tunnel.wait_closed(1);
    }
}

/// What the peer's kernel has not acknowledged (tcp(7), SIOCOUTQ).
fn unsent(socket: &std::net::TcpStream) -> usize {
    let port = socket.local_addr().unwrap().port();
    let own = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mine = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = mine.filter(|fields| fields[1] == own).map(|fields| fields[4].to_owned()).next().unwrap();
    usize::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
}

/// Sessions with a TLS server were kept for resumption under the policy they were agreed under, and with them its
/// certificates, though no later policy may resume them: every reload with a connection in between cost the
/// size of the trust store. After the first ten reloads nothing may be added.
#[test]
fn reloads_with_sessions_in_between_cost_no_memory() {
    let pki = Pki::new();
    let mut trusted = std::fs::read_to_string(&pki.ca).unwrap();
    for number in 0..100 {
        let other = Pki::named(&format!("Authority {number}"));
        trusted += &std::fs::read_to_string(&other.ca).unwrap();
    }
    std::fs::write(&pki.ca, trusted).unwrap();
    let backend = Backend::echo(Listening::tls(&pki.server));
    let tunnel = Tunnel::start(&Sides::Originate.service("web", &pki, backend.address(), ""));
    let mut resident = Vec::new();
    for number in 1..=full(300, 30) {
        for _ in 0..3 {
            let mut client = Peer::plain(tunnel.address("web"));
            echo(&mut client, b"there and back");
            client.half_close();
            assert_eq!(client.receive_all().1, End::Clean);
        }
        tunnel.wait_closed(3 * number);
        reload_well(&tunnel);
        resident.push(tunnel.figures().rss);
    }
    let (early, late) = (resident[9], *resident.last().unwrap());
    assert!(late < early + 3_072, "KiB after each reload: {resident:?}");
}

/// A client that sent what is no TLS and reset its connection at once was still waited for, to be heard out, for the
/// whole of `linger`, with a descriptor and a place of max_connections. Nobody is there to be heard: it must be
/// gone at once.
#[test]
fn a_client_that_resets_after_its_alert_is_gone_at_once() {
    let rig = Rig::echo(Sides::Terminate, "timeout = { linger = \"1h\" }");
    echo(&mut rig.client(), b"before");
    rig.tunnel.wait_closed(1);
    let before = descriptors(rig.tunnel.pid()).len();
    let count = full(2_000, 200);
    for number in 0..count {
        let mut client = Peer::plain(rig.address());
        client.send(b"\x16\x03\x01\x00\x05hello");
        if number % 2 == 0 {
            // The alert has arrived: the daemon is hearing this one out.
            client.receive(1);
        }
        client.reset();
    }
    wait_for("all places to be free again", || descriptors(rig.tunnel.pid()).len() <= before);
    assert_eq!(rig.tunnel.wait_closed(count + 1).len(), count + 1);
}

/// The mode that echoes, of a plain or a TLS client.
fn demo(pki: &Pki, tls: bool) -> Tunnel {
    let mut text = String::from("[[service]]\nname = \"web\"\nmode = \"demo\"\n");
    let tls = if tls { format!(", tls = {{ {} }}", pki.server.toml()) } else { String::new() };
    writeln!(text, "accept = {{ address = \"127.0.0.1:0\"{tls} }}").unwrap();
    Tunnel::start(&text)
}

/// The demo read more than it could hold of a TLS record, and then waited for the socket to tell of the rest, which
/// the library had already: an echo of 12,000 bytes stopped in the middle.
/// Whatever comes is sent back, in one record or many.
#[test]
fn the_demo_sends_everything_back() {
    let pki = Pki::new();
    for tls in [false, true] {
        let tunnel = demo(&pki, tls);
        let connect = || match tls {
            true => TlsClient::new(&pki).connect(tunnel.address("web")).unwrap(),
            false => Peer::plain(tunnel.address("web")),
        };
        for length in [1, 12_000, 16_384, 100_000] {
            let mut client = connect();
            client.send(&Pattern::bytes(5, length));
            assert!(client.receive(length) == Pattern::bytes(5, length), "tls = {tls}, {length} bytes");
        }
        let received = connect().duplex(&Duplex::whole(3_000_000, 6));
        assert_eq!((received.bytes, received.end), (3_000_000, End::Clean), "tls = {tls}");
        assert_eq!(received.digest, digest_of_pattern(6, 3_000_000), "tls = {tls}");
    }
}

/// A TLS client of the demo that sent and never read made the worker run again and again: there was input, and no
/// room for the answer.
/// Who does not read is not read either, and costs nothing.
#[test]
fn a_client_of_the_demo_that_does_not_read_costs_nothing() {
    let pki = Pki::new();
    for tls in [false, true] {
        let tunnel = demo(&pki, tls);
        let socket = cramped(tunnel.address("web"));
        let mut client = match tls {
            true => TlsClient::new(&pki).connect_over(socket).unwrap(),
            false => Peer::from_socket(socket),
        };
        let block = Pattern::bytes(7, 4_000);
        client.socket().set_nonblocking(true).unwrap();
        let mut sent = 0;
        // Until nothing has moved for so long that nothing will.
        wait_for("the kernel to take no more", || {
            let before = sent;
            while client.try_send(&block).is_ok() {
                sent += block.len();
            }
            tunnel.assert_rest();
            sent == before
        });
        assert!(sent > 100_000, "only {sent} bytes fit: nothing was echoed");
        // Nothing of what was echoed can arrive any more: nobody may wait for it until the idle timeout.
        client.reset();
        assert_eq!(tunnel.wait_closed(1)[0].get("reason"), "client-reset", "tls = {tls}");
    }
}
