// SPDX-License-Identifier: MIT OR Apache-2.0
//! A peer may die in every phase of a connection's life, by RST, by FIN or by silence: the connection ends for the right
//! reason, within its time, and leaves nothing behind.

use crate::harness::{
    Backend, BlackHole, End, Gate, Limited, Line, Listening, Peer, Pki, Rig, Sides, TlsClient, Tunnel, hello,
    wait_for,
};
use std::io::Write;
use std::time::{Duration, Instant};

/// How a peer dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Reset,
    Fin,
    Silence,
}

impl Death {
    const ALL: [Self; 3] = [Self::Reset, Self::Fin, Self::Silence];

    /// Dies. What is returned must be kept: a silent peer keeps its socket.
    fn strike(self, peer: Peer) -> Option<Peer> {
        match self {
            Self::Reset => {
                peer.reset();
                None
            }
            Self::Fin => {
                peer.fin();
                Some(peer)
            }
            Self::Silence => Some(peer),
        }
    }
}

/// Short timeouts, far enough from each other and from nothing.
const TIMEOUTS: &str = "timeout = { handshake = \"400ms\", connect = \"400ms\", idle = \"400ms\", half_close = \"400ms\", linger = \"400ms\" }";
const SHORT: Duration = Duration::from_millis(400);

/// Waits for the last line of the connection: one that gives a reason.
fn last_words(tunnel: &Tunnel) -> Line {
    tunnel.wait_log("a reason", |line| !line.get("reason").is_empty())
}

/// Runs `live` up to the moment of death and compares the reason; no descriptor stays behind.
fn dies(what: &str, rig: &Rig<End>, live: impl FnOnce() -> Option<Peer>, reasons: &[&str]) {
    let before = rig.tunnel.figures().fds;
    let begin = Instant::now();
    let kept = live();
    let line = last_words(&rig.tunnel);
    assert!(reasons.contains(&line.get("reason")), "{what}: expected {reasons:?}: {}", line.text);
    if line.get("reason").ends_with("timeout") || line.get("reason") == "idle" {
        assert!(begin.elapsed() >= SHORT, "{what}: too early: {}", line.text);
    }
    wait_for("the descriptors to be given back", || rig.tunnel.figures().fds <= before);
    drop(kept);
}

fn rig(sides: Sides) -> Rig<End> {
    Rig::new(sides, TIMEOUTS, |mut peer| {
        let end = peer.receive_all().1;
        if end == End::Clean {
            // Half-closed clients get no answer: the server stays, and is silent.
            peer.wait_broken();
        }
        end
    })
}

#[test]
fn clients_that_die_before_their_hello() {
    for death in Death::ALL {
        let rig = rig(Sides::Terminate);
        let reasons: &[&str] = match death {
            // With TCP_DEFER_ACCEPT the kernel has forgotten it before anybody could accept it: no line.
            Death::Reset => &[],
            Death::Fin => &["client-gone", "client-truncated", "handshake-failed"],
            Death::Silence => &["handshake-timeout"],
        };
        let live = || death.strike(Peer::plain(rig.address()));
        if reasons.is_empty() {
            live();
        } else {
            dies(&format!("{death:?}"), &rig, live, reasons);
        }
        assert_eq!(rig.backend.accepted(), 0, "{death:?}: the server was bothered");
    }
}

#[test]
fn clients_that_die_in_the_middle_of_their_hello() {
    for death in Death::ALL {
        let rig = rig(Sides::Terminate);
        let reasons: &[&str] = match death {
            Death::Reset => &["client-reset", "client-gone", "handshake-failed"],
            Death::Fin => &["client-gone", "client-truncated", "handshake-failed"],
            Death::Silence => &["handshake-timeout"],
        };
        let hello = hello(&TlsClient::new(&rig.pki));
        let live = || {
            let mut client = Peer::plain(rig.address());
            client.send(&hello[..hello.len() / 2]);
            death.strike(client)
        };
        dies(&format!("{death:?}"), &rig, live, reasons);
        assert_eq!(rig.backend.accepted(), 0, "{death:?}: the server was bothered");
    }
}

#[test]
fn clients_that_die_in_the_middle_of_their_handshake() {
    for death in Death::ALL {
        let rig = rig(Sides::Terminate);
        let reasons: &[&str] = match death {
            Death::Reset => &["client-reset", "client-gone", "handshake-failed"],
            Death::Fin => &["client-gone", "client-truncated", "handshake-failed"],
            Death::Silence => &["handshake-timeout"],
        };
        let hello = hello(&TlsClient::new(&rig.pki));
        let live = || {
            let mut client = Peer::plain(rig.address());
            client.send(&hello);
            // The server's whole first flight is there, so the handshake is half done.
            client.receive(500);
            death.strike(client)
        };
        dies(&format!("{death:?}"), &rig, live, reasons);
    }
}

/// The handshake timer is a total: a client that sends a byte now and then does not move it (row 84).
#[test]
fn a_trickling_client_does_not_prolong_its_handshake() {
    let rig = rig(Sides::Terminate);
    let hello = hello(&TlsClient::new(&rig.pki));
    let mut client = Peer::plain(rig.address());
    let begin = Instant::now();
    let mut sent = 0;
    // One byte whenever a twentieth of the timeout has passed: more than 200 bytes would take ten times the timeout.
    wait_for("the trickling client to be cut off", || {
        if begin.elapsed() > SHORT * sent / 20 && (sent as usize) < hello.len() {
            let at = sent as usize;
            let _ = client.try_send(&hello[at..=at]);
            sent += 1;
        }
        rig.tunnel.log_lines().iter().any(|line| line.get("reason") == "handshake-timeout")
    });
    assert!(begin.elapsed() >= SHORT);
    assert!((sent as usize) < hello.len(), "the whole hello went through");
}

#[test]
fn clients_that_die_while_the_server_is_being_connected() {
    for sides in [Sides::Plain, Sides::Terminate] {
        for death in Death::ALL {
            let pki = Pki::new();
            let hole = BlackHole::new();
            let tunnel = Tunnel::start(&sides.service("web", &pki, hole.address(), TIMEOUTS));
            let before = tunnel.figures().fds;
            let client = if sides.client_tls() {
                TlsClient::new(&pki).connect(tunnel.address("web")).unwrap()
            } else {
                Peer::plain(tunnel.address("web"))
            };
            let kept = death.strike(client);
            let line = last_words(&tunnel);
            // A client that half-closes may still want the answer, and one whose socket is not read cannot be heard:
            // then it is the connect that times out.
            let reasons = ["connect-timeout", "client-reset", "client-truncated", "client-gone"];
            assert!(reasons.contains(&line.get("reason")), "{sides:?}, {death:?}: {}", line.text);
            if death == Death::Silence {
                assert_eq!(line.get("reason"), "connect-timeout", "{sides:?}");
            }
            wait_for("the descriptors to be given back", || tunnel.figures().fds <= before);
            drop(kept);
        }
    }
}

#[test]
fn servers_that_die_in_their_tls_handshake() {
    for sides in [Sides::Originate, Sides::Reencrypt] {
        for death in Death::ALL {
            let pki = Pki::new();
            let gate = Gate::new();
            let keep = gate.clone();
            let backend = Backend::start(Listening::default(), move |mut peer: Peer| {
                // Into the middle of the tunnel's hello.
                peer.receive(20);
                let kept = death.strike(peer);
                keep.wait();
                drop(kept);
            });
            let tunnel = Tunnel::start(&sides.service("web", &pki, backend.address(), TIMEOUTS));
            let before = tunnel.figures().fds;
            let mut client = if sides.client_tls() {
                TlsClient::new(&pki).connect(tunnel.address("web")).unwrap()
            } else {
                Peer::plain(tunnel.address("web"))
            };
            let (bytes, end) = client.receive_all();
            assert_eq!(bytes, b"", "{sides:?}, {death:?}");
            assert_ne!(end, End::Clean, "{sides:?}, {death:?}: shown as a complete, empty answer");
            assert_ne!(end, End::Silence, "{sides:?}, {death:?}");
            let line = last_words(&tunnel);
            let reasons: &[&str] = match death {
                Death::Reset => &["server-handshake-failed", "server-reset", "server-gone"],
                Death::Fin => &["server-handshake-failed", "server-gone", "server-truncated"],
                Death::Silence => &["server-handshake-timeout"],
            };
            assert!(reasons.contains(&line.get("reason")), "{sides:?}, {death:?}: {}", line.text);
            wait_for("the descriptors to be given back", || tunnel.figures().fds <= before);
            gate.open();
        }
    }
}

#[test]
fn clients_that_die_in_the_relay() {
    for sides in Sides::ALL {
        for death in Death::ALL {
            let rig = rig(sides);
            let reason = match death {
                Death::Reset => "client-reset",
                Death::Fin if sides.client_tls() => "client-truncated",
                Death::Fin => "half-close-timeout",
                Death::Silence => "idle",
            };
            let live = || {
                let mut client = rig.client();
                client.send(b"x");
                death.strike(client)
            };
            dies(&format!("{sides:?}, {death:?}"), &rig, live, &[reason]);
        }
    }
}

#[test]
fn servers_that_die_in_the_relay() {
    for sides in Sides::ALL {
        for death in Death::ALL {
            let gate = Gate::new();
            let keep = gate.clone();
            let rig: Rig<End> = Rig::new(sides, TIMEOUTS, move |mut peer: Peer| {
                // Both ends know that the relay has begun.
                peer.send(b"x");
                peer.receive(1);
                let kept = death.strike(peer);
                keep.wait();
                drop(kept);
                End::Clean
            });
            let reason = match death {
                Death::Reset => "server-reset",
                Death::Fin if sides.server_tls() => "server-truncated",
                Death::Fin => "half-close-timeout",
                Death::Silence => "idle",
            };
            let live = || {
                let mut client = rig.client();
                client.receive(1);
                client.send(b"y");
                Some(client)
            };
            dies(&format!("{sides:?}, {death:?}"), &rig, live, &[reason]);
            gate.open();
        }
    }
}

#[test]
fn clients_that_die_after_half_closing() {
    for sides in Sides::ALL {
        for death in [Death::Reset, Death::Silence] {
            let rig = rig(sides);
            let reason = if death == Death::Reset { "client-reset" } else { "half-close-timeout" };
            let live = || {
                let mut client = rig.client();
                client.half_close();
                // The end has gone through before the client dies.
                rig.tunnel.wait_log("the tunnel to listen", |line| line.is("listening"));
                death.strike(client)
            };
            dies(&format!("{sides:?}, {death:?}"), &rig, live, &[reason]);
        }
    }
}

#[test]
fn clients_that_die_while_they_are_heard_out() {
    for death in Death::ALL {
        let rig = rig(Sides::Terminate);
        let live = || {
            let mut client = Peer::plain(rig.address());
            client.send(b"GET / HTTP/1.1\r\n\r\n");
            // It has been told the end.
            assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
            death.strike(client)
        };
        dies(&format!("{death:?}"), &rig, live, &["not-tls"]);
        assert_eq!(rig.backend.accepted(), 0, "{death:?}: the server was bothered");
    }
}

/// The server has been reset, and the client dies before it has read what came before.
#[test]
fn clients_that_die_before_a_reset_that_waits_for_them() {
    for sides in Sides::ALL {
        for death in Death::ALL {
            let gate = Gate::new();
            let read = gate.clone();
            let rig: Rig<End> = Rig::new(sides, TIMEOUTS, move |mut peer: Peer| {
                peer.send(&[7; 100_000]);
                read.wait();
                peer.reset();
                End::Reset
            });
            let live = || {
                let client = rig.cramped_client();
                wait_for("the server to have sent all", || rig.backend.accepted() == 1);
                gate.open();
                rig.backend.next();
                death.strike(client)
            };
            // The two breaks may be seen in either order, and what has not left the tunnel is given up after its own time.
            let reasons = match death {
                Death::Reset => &["server-reset", "client-reset"][..],
                Death::Fin => &["server-reset", "client-truncated", "linger-timeout"],
                Death::Silence => &["server-reset", "linger-timeout"],
            };
            let before = rig.tunnel.figures().fds;
            let kept = live();
            let line = last_words(&rig.tunnel);
            assert!(reasons.contains(&line.get("reason")), "{sides:?}, {death:?}: {}", line.text);
            wait_for("the descriptors to be given back", || rig.tunnel.figures().fds <= before);
            drop(kept);
        }
    }
}

/// The idle timer is silence in both directions: traffic in one keeps both alive.
#[test]
fn traffic_in_one_direction_is_not_idleness() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, TIMEOUTS, |mut peer: Peer| peer.receive_all());
        let mut client = rig.client();
        let begin = Instant::now();
        let mut sent = 0;
        wait_for("three times the idle timeout to pass", || {
            if begin.elapsed() > SHORT * sent / 8 {
                client.send(b"x");
                sent += 1;
            }
            begin.elapsed() > SHORT * 3
        });
        client.half_close();
        let (bytes, end) = rig.backend.next();
        assert_eq!((bytes.len(), end), (sent as usize, End::Clean), "{sides:?}");
    }
}

/// Thousands of clients killed at any byte of their handshake: the process is at rest afterwards (row 50), and serves.
#[test]
fn clients_killed_at_any_byte_of_their_handshake() {
    let rig = Rig::echo(Sides::Terminate, "timeout = { handshake = \"2s\" }");
    let client = TlsClient::new(&rig.pki);
    let before = rig.tunnel.figures();
    for number in 0..crate::harness::full(10_000, 400) {
        // A stride that meets every position up to 700 (hello and second flight) once in 701 clients.
        let limited = Limited::connect(rig.address(), number * 263 % 701);
        let stopped = client.ssl().connect(limited);
        let socket = match stopped {
            Ok(stream) => stream.get_ref().socket.try_clone(),
            Err(openssl::ssl::HandshakeError::WouldBlock(middle)) => middle.get_ref().socket.try_clone(),
            Err(error) => panic!("client {number}: {error}"),
        };
        let peer = Peer::from_socket(socket.unwrap());
        if number % 3 == 0 { drop(peer) } else { peer.reset() }
    }
    wait_for("the descriptors to be given back", || rig.tunnel.figures().fds <= before.fds);
    rig.tunnel.assert_rest();
    let mut legal = rig.client();
    legal.send(b"alive");
    assert_eq!(legal.receive(5), b"alive");
}

/// Silent clients do not keep others from being served, and are all gone after their time.
#[test]
fn many_silent_clients_do_not_disturb() {
    let rig = Rig::echo(Sides::Terminate, "timeout = { handshake = \"1s\" }");
    let before = rig.tunnel.figures().fds;
    let count = crate::harness::full(2_000, 200);
    let silent: Vec<_> = (0..count)
        .map(|number| {
            let mut socket = Limited::connect(rig.address(), 100);
            socket.write_all(&[0x16, 3, 1][..number % 4]).unwrap();
            socket
        })
        .collect();
    let mut legal = rig.client();
    legal.send(b"alive");
    assert_eq!(legal.receive(5), b"alive");
    drop(legal);
    wait_for("the silent clients to be cut off", || rig.tunnel.figures().fds <= before);
    drop(silent);
}
