// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS clients that mean harm: one of them must not cost the others anything, nor the process more than a little.
//!
//! That the process is at rest afterwards and ends on SIGTERM is checked by the harness at the end of every test.

use crate::harness::{
    DATA, End, Forger, Gate, HANDSHAKE, KEY_UPDATE, Options, Peer, Rig, Sides, TlsClient, cramped,
};
use crate::program::echo;
use openssl::ssl::SslVersion;
use std::net::TcpStream;

/// A TLS service of one worker, so that whoever keeps it busy keeps everybody waiting.
fn one_worker<T: Send + 'static>(more: &str, serve: impl Fn(Peer) -> T + Send + Sync + 'static) -> Rig<T> {
    Rig::with(Sides::Terminate, more, |listening| listening, Options::global("workers = 1"), serve)
}

fn echoing(more: &str) -> Rig<u64> {
    one_worker(more, crate::harness::echo)
}

fn forger<T: Send + 'static>(rig: &Rig<T>, version: SslVersion) -> Forger {
    Forger::connect(&rig.pki, TcpStream::connect(rig.address()).unwrap(), version)
}

/// A server that answers "ping" with "answer" once the gate is open, and anybody else at once.
fn answering(gate: &Gate) -> Rig<()> {
    let asked = gate.clone();
    one_worker("", move |mut peer| {
        if peer.receive(4) == b"ping" {
            asked.wait();
        }
        // The client may be gone.
        let _ = peer.try_send(b"answer");
        peer.receive_all();
    })
}

/// A client asked, began a handshake message and left it at its header; then the server answered. The library refuses
/// to write in the middle of a message, and the worker tried again and again: nobody else was served, not even SIGTERM.
/// Once the message is complete, its client must get the answer.
#[test]
fn a_message_begun_keeps_nobody_waiting() {
    for version in [SslVersion::TLS1_3, SslVersion::TLS1_2] {
        let gate = Gate::new();
        let rig = answering(&gate);
        let mut hostile = begin_message(&rig, version);
        gate.open();
        let mut innocent = rig.client();
        innocent.send(b"help");
        assert_eq!(innocent.receive(6), b"answer", "{version:?}");
        rig.tunnel.assert_rest();
        if version == SslVersion::TLS1_3 {
            hostile.send(HANDSHAKE, &[0]);
            hostile.renew();
            assert_eq!(hostile.peer.receive(6), b"answer");
            hostile.send(DATA, b"a record under the new keys");
        } else {
            hostile.send(HANDSHAKE, &[0; 100]);
            // The warning that there is no renegotiation, which the library takes for the end; the answer is behind it.
            let (_, end) = hostile.peer.receive_all();
            assert!(matches!(&end, End::Other(words) if words.contains("no renegotiation")), "{end:?}");
        }
        hostile.peer.reset();
        let lines = rig.tunnel.wait_closed(1);
        assert_eq!(lines[0].number("out"), 6, "{version:?}: {}", lines[0].text);
    }
}

/// Sends "ping" and the header of a handshake message, and waits until the tunnel has both.
fn begin_message<T: Send + 'static>(rig: &Rig<T>, version: SslVersion) -> Forger {
    let mut hostile = forger(rig, version);
    hostile.send(DATA, b"ping");
    // Of a KeyUpdate, or of a ClientHello of 100 bytes.
    hostile.send(HANDSHAKE, if version == SslVersion::TLS1_3 { &KEY_UPDATE } else { &[1, 0, 0, 100] });
    rig.tunnel.assert_rest();
    hostile
}

/// The same with the message never completed: SIGTERM, given twice, was not heeded by a worker that never came back.
#[test]
fn a_message_begun_does_not_outlive_a_signal() {
    let gate = Gate::new();
    let mut rig = answering(&gate);
    let hostile = begin_message(&rig, SslVersion::TLS1_3);
    gate.open();
    rig.tunnel.assert_rest();
    rig.tunnel.signal(nix::sys::signal::Signal::SIGTERM);
    rig.tunnel.wait_log("the drain to begin", |line| line.is("stopping"));
    rig.tunnel.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(rig.tunnel.wait_exit().success());
    drop(hostile);
}

/// The library failed while it was asked to write, so the stream was dead, but nobody told the reading side: it was
/// asked to read again and again. Either way of ending such a client ends its connection.
#[test]
fn a_stream_that_dies_while_writing_is_over() {
    for leave in [true, false] {
        let gate = Gate::new();
        let rig = answering(&gate);
        let mut hostile = begin_message(&rig, SslVersion::TLS1_3);
        gate.open();
        rig.tunnel.assert_rest();
        let reason = if leave {
            hostile.peer.fin();
            "client-truncated"
        } else {
            // Payload inside a message is an error (RFC 8446 section 5.1).
            hostile.send(DATA, b"in between");
            "client-tls-error"
        };
        let line = rig.tunnel.wait_closed(1).remove(0);
        assert_eq!(line.get("reason"), reason, "{}", line.text);
        rig.tunnel.assert_rest();
    }
}

/// As many barren records (without payload) as are sent in one go.
const FLOOD: usize = 60_000;

/// A client sent 250,000 key updates in one go: 7 MB that cost it little, and the worker three seconds inside a single
/// call of read, in which nobody else was served. A call reads a bounded number of records now, and whoever sends more
/// than a thousand without payload is cut off.
#[test]
fn a_flood_of_key_updates_is_cut_off() {
    let rig = echoing("");
    let mut hostile = forger(&rig, SslVersion::TLS1_3);
    let flood: Vec<u8> = (0..FLOOD).flat_map(|_| hostile.seal_key_update(false)).collect();
    let before = rig.tunnel.figures();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| hostile.send_raw(&flood));
        echo(&mut rig.client(), b"innocent");
        // The kernel may have taken all of it before the end is known.
        let _ = sending.join().unwrap();
    });
    let line = rig.tunnel.wait_reason("client-tls-error");
    assert_eq!(line.number("in"), 0, "{}", line.text);
    echo(&mut rig.client(), b"innocent");
    // A thousand key updates take a few milliseconds, all of them would take far more.
    let spent = rig.tunnel.figures().cpu - before.cpu;
    assert!(spent < 200_000_000, "{spent} ns of CPU time for a connection that was cut off");
}

/// The bound of the flood must not end honest peers, however long they live: who has sent payload starts anew.
/// 2,500 key updates with payload every 500 of them are served; a thousand and some in a row are not, even if they
/// come one at a time.
#[test]
fn payload_pays_for_key_updates() {
    let rig = echoing("");
    let mut peer = forger(&rig, SslVersion::TLS1_3);
    for _ in 0..5 {
        let mut barren: Vec<u8> = (0..500).flat_map(|_| peer.seal_key_update(false)).collect();
        barren.extend(peer.seal(DATA, b"payload"));
        peer.send_raw(&barren).unwrap();
        assert_eq!(peer.peer.receive(7), b"payload");
    }
    let sent = (0..5_000).take_while(|_| {
        let update = peer.seal_key_update(false);
        peer.send_raw(&update).is_ok()
    });
    assert!(sent.count() > 1_000, "cut off too early");
    let line = rig.tunnel.wait_closed(1).remove(0);
    assert_eq!((line.get("reason"), line.number("in")), ("client-tls-error", 35), "{}", line.text);
}

/// A client asked for a key update again and again and never read: every request makes the library answer, the
/// answers piled up in the daemon's memory, and there was no end to it. Who does not read the answers is not read
/// either; without payload the client is cut off, and with some in between it is idle sooner or later.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    for (payload, reason) in [(false, "client-tls-error"), (true, "idle")] {
        let rig = one_worker("timeout = { idle = \"1s\", linger = \"1s\" }", |mut peer| peer.receive_all().0);
        let mut hostile = Forger::connect(&rig.pki, cramped(rig.address()), SslVersion::TLS1_3);
        hostile.send(DATA, b"first");
        rig.tunnel.assert_rest();
        let before = rig.tunnel.figures();
        let mut most = 0;
        // 27 bytes each: 13 MB of answers, of which the kernel takes a part.
        for _ in 0..1_000 {
            let mut updates: Vec<u8> = (0..500).flat_map(|_| hostile.seal_key_update(true)).collect();
            if payload {
                updates.extend(hostile.seal(DATA, b"x"));
            }
            let sent = hostile.send_raw(&updates);
            most = most.max(rig.tunnel.figures().rss);
            if sent.is_err() {
                break;
            }
        }
        assert!(most < before.rss + 3_072, "payload = {payload}: {before:?} became {most} KiB");
        let line = rig.tunnel.wait_closed(1).remove(0);
        assert_eq!(line.get("reason"), reason, "{}", line.text);
    }
}

/// With `truncation = "close"` an end of TCP between two records was passed on as a reset all the same. Now that it is an
/// end, the opposite mistake must not be made: half a record is a truncation whatever the service says, or the
/// server would take what came for the whole. (That the reply still arrives is in `truncation`.)
#[test]
fn a_torn_record_is_never_forgiven() {
    let rig = one_worker("truncation = \"close\"", |mut peer| peer.receive_all());
    for torn in [1, 4, 5, 500] {
        let mut hostile = forger(&rig, SslVersion::TLS1_3);
        hostile.send(DATA, b"hello");
        let record = hostile.seal(DATA, &[7; 1_000]);
        hostile.send_raw(&record[..torn]).unwrap();
        hostile.peer.fin();
        let (bytes, end) = rig.backend.next();
        assert_eq!(bytes, b"hello", "{torn} bytes of the next record");
        assert!(end.is_broken(), "{torn} bytes of the next record: {end:?}");
    }
    // An end between two records, and an innocent client, for comparison.
    let mut hostile = forger(&rig, SslVersion::TLS1_3);
    hostile.send(DATA, b"hello");
    hostile.peer.fin();
    assert_eq!(rig.backend.next(), (b"hello".to_vec(), End::Clean));
    let mut innocent = TlsClient::new(&rig.pki).connect(rig.address()).unwrap();
    innocent.half_close();
    assert_eq!(rig.backend.next().1, End::Clean);
}
