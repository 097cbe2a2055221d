// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reset on one side is a broken stream on the other, at once (promise G3).

use crate::harness::{End, Gate, Peer, Rig, Sides};
use std::time::{Duration, Instant};

/// A reset must be passed on within a second; more is left for a machine that is busy.
const PROMPT: Duration = Duration::from_secs(4);

#[test]
fn a_server_reset_is_never_a_clean_end() {
    for sides in Sides::ALL {
        for more in ["", "truncation = \"close\""] {
            let gate = Gate::new();
            let heard = gate.clone();
            let rig = Rig::new(sides, more, move |mut peer: Peer| {
                peer.send(b"part");
                heard.wait();
                peer.reset();
            });
            let mut client = rig.client();
            assert_eq!(client.receive(4), b"part");
            let begin = Instant::now();
            gate.open();
            let (bytes, end) = client.receive_all();
            assert_eq!(bytes, b"", "{sides:?}");
            if sides.client_tls() {
                assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
            } else {
                assert_eq!(end, End::Reset, "{sides:?}");
            }
            assert!(begin.elapsed() < PROMPT, "{sides:?}");
            assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "server-reset", "{sides:?}");
        }
    }
}

#[test]
fn a_client_reset_reaches_the_server_as_a_reset() {
    for sides in Sides::ALL {
        for more in ["", "truncation = \"close\""] {
            let rig = Rig::new(sides, more, |mut peer: Peer| {
                peer.send(b"hi");
                let all = peer.receive_all();
                (all, Instant::now())
            });
            let mut client = rig.client();
            client.send(b"part");
            assert_eq!(client.receive(2), b"hi");
            let begin = Instant::now();
            client.reset();
            let ((bytes, end), at) = rig.backend.next();
            assert!(bytes == b"part" || bytes.is_empty(), "{sides:?}: {bytes:?}");
            assert_eq!(end, End::Reset, "{sides:?}");
            assert!(at - begin < PROMPT, "{sides:?}");
            assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "client-reset", "{sides:?}");
        }
    }
}

/// A client that is gone while the server still answers: the server learns it.
#[test]
fn a_reset_while_the_server_sends() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer: Peer| {
            let block = vec![7; 65_536];
            loop {
                if let Err(error) = peer.try_send(&block) {
                    return error.kind();
                }
            }
        });
        let mut client = rig.client();
        client.receive(1);
        client.reset();
        let seen = rig.backend.next();
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        assert!([BrokenPipe, ConnectionReset].contains(&seen), "{sides:?}: {seen:?}");
    }
}

/// After a half-close in one direction, a reset still ends the other.
#[test]
fn a_reset_after_a_half_close() {
    for sides in Sides::ALL {
        let gate = Gate::new();
        let half = gate.clone();
        let rig = Rig::new(sides, "", move |mut peer: Peer| {
            assert_eq!(peer.receive_all().1, End::Clean);
            peer.send(b"part");
            half.wait();
            peer.reset();
        });
        let mut client = rig.client();
        client.half_close();
        assert_eq!(client.receive(4), b"part");
        gate.open();
        let end = client.receive_all().1;
        assert!(end.is_broken(), "{sides:?}: the client saw {end:?}");
        assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "server-reset", "{sides:?}");
    }
}
