// SPDX-License-Identifier: MIT OR Apache-2.0
//! One side may end while the other goes on (promises G1, G2), and a TLS side ends with close_notify after every
//! clean end (G4).

use crate::harness::{Duplex, End, Gate, Pattern, Rig, Sides, digest_of_pattern};

/// What comes after the other direction has ended: too much for any buffer on the way.
const LATE: u64 = 1_000_000;

#[test]
fn a_late_reply_reaches_a_client_that_has_half_closed() {
    for sides in Sides::ALL {
        let gate = Gate::new();
        let late = gate.clone();
        let rig = Rig::new(sides, "", move |mut peer| {
            let request = peer.receive_all();
            late.wait();
            peer.duplex(&Duplex { receive: Some(0), ..Duplex::whole(LATE, 3) });
            request
        });
        let mut client = rig.client();
        client.send(b"request");
        client.half_close();
        // The reply is late: everything has come to rest before it begins.
        rig.tunnel.assert_rest();
        gate.open();
        let (reply, end) = client.receive_all();
        assert_eq!((reply.len() as u64, end), (LATE, End::Clean), "{sides:?}");
        assert_eq!(openssl::sha::sha256(&reply), digest_of_pattern(3, LATE), "{sides:?}");
        assert_eq!(rig.backend.next(), (b"request".to_vec(), End::Clean), "{sides:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "done", "{sides:?}");
    }
}

#[test]
fn a_late_request_reaches_a_server_that_has_half_closed() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| {
            peer.send(b"greeting");
            peer.half_close();
            peer.receive_all()
        });
        let mut client = rig.client();
        assert_eq!(client.receive_all(), (b"greeting".to_vec(), End::Clean), "{sides:?}");
        rig.tunnel.assert_rest();
        let late = Pattern::bytes(4, usize::try_from(LATE).unwrap());
        client.send(&late);
        client.half_close();
        let (bytes, end) = rig.backend.next();
        assert_eq!((bytes == late, end), (true, End::Clean), "{sides:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "done", "{sides:?}");
    }
}

/// close_notify and FIN at once is as proper an end as close_notify alone.
#[test]
fn a_full_close_after_close_notify_is_clean() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| {
            let all = peer.receive_all();
            peer.half_close();
            all
        });
        let mut client = rig.client();
        client.send(b"all");
        client.half_close();
        if sides.client_tls() {
            client.fin();
        }
        assert_eq!(rig.backend.next(), (b"all".to_vec(), End::Clean), "{sides:?}");
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean), "{sides:?}");
    }
}

/// A client that half-closes before the server side is even connected.
#[test]
fn an_end_that_comes_before_anything_else() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| {
            let all = peer.receive_all();
            peer.send(b"nothing heard");
            peer.half_close();
            all
        });
        let mut client = rig.client();
        client.half_close();
        assert_eq!(client.receive_all(), (b"nothing heard".to_vec(), End::Clean), "{sides:?}");
        assert_eq!(rig.backend.next(), (Vec::new(), End::Clean), "{sides:?}");
    }
}

/// The server answers and closes altogether, as HTTP/1.0 does: the answer is whole, whatever its length.
#[test]
fn an_answer_ended_by_closing() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| {
            let length = u32::from_be_bytes(peer.receive(4).try_into().unwrap());
            peer.send(&Pattern::bytes(5, length as usize));
            peer.half_close();
        });
        for length in [0u32, 1, 100, 16_383, 16_384, 16_385, 65_536, 1_000_000] {
            let mut client = rig.client();
            client.send(&length.to_be_bytes());
            let (bytes, end) = client.receive_all();
            assert_eq!(end, End::Clean, "{sides:?}, {length} bytes");
            assert!(bytes == Pattern::bytes(5, length as usize), "{sides:?}, {length} bytes");
            rig.backend.next();
        }
    }
}

/// After both directions have ended, the connection itself ends: FIN comes, without waiting for ours.
#[test]
fn the_socket_is_closed_after_both_ends() {
    for sides in Sides::ALL {
        let rig = Rig::echo(sides, "timeout = { linger = \"500ms\" }");
        let mut client = rig.client();
        client.send(b"echo");
        client.half_close();
        assert_eq!(client.receive_all(), (b"echo".to_vec(), End::Clean), "{sides:?}");
        // Our socket stays open: the tunnel gives up its own all the same.
        let before = rig.tunnel.wait_closed(1);
        assert!(["done", "linger-timeout"].contains(&before[0].get("reason")), "{sides:?}: {before:?}");
    }
}
