// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any buffer size works, also one that a reader who pauses fills at once: no stall, no spin, no lost byte.

use crate::harness::{Duplex, End, Gate, Listening, Options, Rig, Sides, digest_of_pattern, full};

/// Buffer sizes and how many bytes are sent through: fewer where every byte is a system call.
fn sweep() -> [(&'static str, u64); 7] {
    let bytes = |soak, test| full(soak, test) as u64;
    [
        ("1B", bytes(300_000, 60_000)),
        ("2B", bytes(400_000, 100_000)),
        ("16B", bytes(1_000_000, 600_000)),
        ("64B", bytes(2_000_000, 1_000_000)),
        ("1KiB", 4_000_000),
        ("16KiB", 12_000_000),
        ("64KiB", 12_000_000),
    ]
}

/// What the reader takes before it pauses.
const FIRST: u64 = 1_000;

fn down(sides: Sides) {
    for (buffer, bytes) in sweep() {
        let more = format!("buffer = \"{buffer}\"");
        let rig = Rig::new(sides, &more, move |mut peer| peer.duplex(&Duplex::whole(bytes, 7)));
        let mut client = rig.cramped_client();
        client.send(b"x");
        let first = client.receive(usize::try_from(FIRST).unwrap());
        // The reader pauses until the tunnel has nothing left to do: this also sees it use no CPU time while stuck.
        rig.tunnel.assert_rest();
        client.half_close();
        let (rest, end) = client.receive_all();
        assert_eq!(end, End::Clean, "{sides:?}, buffer {buffer}");
        let whole = openssl::sha::sha256(&[first, rest].concat());
        assert_eq!(whole, digest_of_pattern(7, bytes), "{sides:?}, buffer {buffer}");
        assert_eq!(rig.backend.next().bytes, 1);
    }
}

fn up(sides: Sides) {
    for (buffer, bytes) in sweep() {
        let more = format!("buffer = \"{buffer}\"");
        let gate = Gate::new();
        let closed = gate.clone();
        let rig = Rig::with(
            sides,
            &more,
            |listening| Listening { cramped: true, ..listening },
            Options::default(),
            move |mut peer| {
                let first = peer.receive(usize::try_from(FIRST).unwrap());
                closed.wait();
                let (rest, end) = peer.receive_all();
                peer.half_close();
                (openssl::sha::sha256(&[first, rest].concat()), end)
            },
        );
        let mut client = rig.client();
        let sender = std::thread::spawn(move || client.duplex(&Duplex::whole(bytes, 9)));
        rig.tunnel.assert_rest();
        gate.open();
        assert_eq!(
            rig.backend.next(),
            (digest_of_pattern(9, bytes), End::Clean),
            "{sides:?}, buffer {buffer}"
        );
        let got = sender.join().unwrap();
        assert_eq!((got.bytes, got.end, got.sent), (0, End::Clean, bytes), "{sides:?}, buffer {buffer}");
    }
}

#[test]
fn plain_to_the_client() {
    down(Sides::Plain);
}

#[test]
fn terminated_to_the_client() {
    down(Sides::Terminate);
}

#[test]
fn originated_to_the_client() {
    down(Sides::Originate);
}

#[test]
fn reencrypted_to_the_client() {
    down(Sides::Reencrypt);
}

#[test]
fn plain_to_the_server() {
    up(Sides::Plain);
}

#[test]
fn terminated_to_the_server() {
    up(Sides::Terminate);
}

#[test]
fn originated_to_the_server() {
    up(Sides::Originate);
}

#[test]
fn reencrypted_to_the_server() {
    up(Sides::Reencrypt);
}
