// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TLS stream that ends with FIN but without close_notify is truncated, and is never shown as whole (promise G3).

use crate::harness::{End, Gate, Listening, Options, Pattern, Peer, Rig, Sides};

/// The combinations in which the client can truncate.
const TLS_CLIENTS: [Sides; 2] = [Sides::Terminate, Sides::Reencrypt];
/// The combinations in which the server can.
const TLS_SERVERS: [Sides; 2] = [Sides::Originate, Sides::Reencrypt];

#[test]
fn a_truncating_client_is_a_reset_to_the_server() {
    for sides in TLS_CLIENTS {
        let rig = Rig::new(sides, "", |mut peer| peer.receive_all());
        let mut client = rig.client();
        client.send(b"a part");
        client.fin();
        let (bytes, end) = rig.backend.next();
        assert_eq!(bytes, b"a part", "{sides:?}");
        assert!(end.is_broken(), "{sides:?}: the server saw {end:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "client-truncated", "{sides:?}");
        drop(client);
    }
}

/// What was accepted before the truncation still arrives, also at a server that is slow to read.
#[test]
fn bytes_before_a_truncation_arrive_first() {
    const BYTES: usize = 300_000;
    for sides in TLS_CLIENTS {
        let gate = Gate::new();
        let slow = gate.clone();
        let rig = Rig::with(
            sides,
            "",
            |listening| Listening { cramped: true, ..listening },
            Options::default(),
            move |mut peer: Peer| {
                slow.wait();
                peer.receive_all()
            },
        );
        let mut client = rig.client();
        client.send(&Pattern::bytes(6, BYTES));
        client.fin();
        // Little of it fits into the server's kernel, so the end is known to the tunnel long before the bytes are through.
        gate.open();
        let (bytes, end) = rig.backend.next();
        assert_eq!(bytes.len(), BYTES, "{sides:?}: {end:?}");
        assert!(bytes == Pattern::bytes(6, BYTES), "{sides:?}");
        assert!(end.is_broken(), "{sides:?}: the server saw {end:?}");
    }
}

#[test]
fn a_truncating_client_is_an_end_where_the_service_says_so() {
    for sides in TLS_CLIENTS {
        let rig = Rig::new(sides, "truncation = \"close\"", |mut peer| {
            let all = peer.receive_all();
            peer.send(b"reply");
            peer.half_close();
            all
        });
        let mut client = rig.client();
        client.send(b"a part");
        client.fin();
        assert_eq!(rig.backend.next(), (b"a part".to_vec(), End::Clean), "{sides:?}");
        assert_eq!(client.receive_all(), (b"reply".to_vec(), End::Clean), "{sides:?}");
    }
}

#[test]
fn a_truncating_server_is_a_broken_stream_to_the_client() {
    // Also where a client's truncation is tolerated: that concerns clients only.
    for more in ["", "truncation = \"close\""] {
        for sides in TLS_SERVERS {
            let rig = Rig::new(sides, more, |mut peer| {
                peer.send(b"a part");
                peer.fin();
                peer.receive_all()
            });
            let mut client = rig.client();
            let (bytes, end) = client.receive_all();
            assert_eq!(bytes, b"a part", "{sides:?}");
            if sides.client_tls() {
                assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
            } else {
                assert_eq!(end, End::Reset, "{sides:?}");
            }
            assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "server-truncated", "{sides:?}");
        }
    }
}

/// A plain side has no close_notify: its FIN is a proper end.
#[test]
fn a_plain_fin_is_never_a_truncation() {
    for sides in [Sides::Plain, Sides::Originate] {
        let rig = Rig::new(sides, "", |mut peer| {
            let all = peer.receive_all();
            peer.half_close();
            all
        });
        let mut client = rig.client();
        client.send(b"all");
        client.fin();
        assert_eq!(rig.backend.next(), (b"all".to_vec(), End::Clean), "{sides:?}");
        assert_eq!(client.receive_all().1, End::Clean, "{sides:?}");
    }
}
