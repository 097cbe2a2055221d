// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes arrive as they were sent: both directions at once, every size, every combination of sides.

use crate::harness::{Duplex, End, Pattern, Received, Rig, Sides, digest_of_pattern, full, soaking};

/// The seeds of what the client and the server send.
const UP: u64 = 1;
const DOWN: u64 = 2;

fn whole(seed: u64, bytes: u64, sent: u64) -> Received {
    Received { bytes, digest: digest_of_pattern(seed, bytes), end: End::Clean, sent }
}

/// Sends `up` and `down` bytes at once over one connection and compares digests at both ends and the log's counts.
fn both_ways(sides: Sides, up: u64, down: u64) {
    let rig = Rig::new(sides, "", move |mut peer| peer.duplex(&Duplex::whole(down, DOWN)));
    let got = rig.client().duplex(&Duplex::whole(up, UP));
    assert_eq!(got, whole(DOWN, down, up), "{sides:?}: what the client got");
    assert_eq!(rig.backend.next(), whole(UP, up, down), "{sides:?}: what the server got");
    let line = &rig.tunnel.wait_closed(1)[0];
    assert_eq!(line.get("reason"), "done", "{sides:?}: {}", line.text);
    assert_eq!((line.number("in"), line.number("out")), (up, down), "{sides:?}: {}", line.text);
}

#[test]
fn both_directions_at_once_in_bulk() {
    let bytes = if soaking() { 1 << 30 } else { 64 << 20 };
    for sides in Sides::ALL {
        both_ways(sides, bytes, bytes);
    }
}

#[test]
fn one_direction_in_bulk() {
    // Odd numbers, so that no last piece is a whole record, page or pipe.
    let bytes = if soaking() { (1 << 30) + 12_345 } else { (24 << 20) + 12_345 };
    for sides in Sides::ALL {
        both_ways(sides, bytes, 1);
        both_ways(sides, 1, bytes);
    }
}

#[test]
fn sizes_around_every_boundary() {
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| {
            let length = u64::from_be_bytes(peer.receive(8).try_into().unwrap());
            peer.duplex(&Duplex::whole(length, DOWN))
        });
        let sizes = boundaries();
        for &size in &sizes {
            let mut client = rig.client();
            client.send(&size.to_be_bytes());
            assert_eq!(
                client.duplex(&Duplex::whole(size, UP)),
                whole(DOWN, size, size),
                "{sides:?}, {size} bytes"
            );
            assert_eq!(rig.backend.next(), whole(UP, size, size), "{sides:?}, {size} bytes");
        }
        let closed = rig.tunnel.wait_closed(sizes.len());
        assert!(closed.iter().all(|line| line.get("reason") == "done"), "{sides:?}: {closed:?}");
    }
}

/// Nothing, one byte, and one less and one more than every power of two up to 2 MiB (records, pages, pipes, buffers).
fn boundaries() -> Vec<u64> {
    let around = (4..=21).flat_map(|power| [(1u64 << power) - 1, 1 << power, (1 << power) + 1]);
    [0, 1, 2, 3].into_iter().chain(around).collect()
}

/// A length whose last bytes stay inside the TLS library without a new event on the socket would never come back
/// (row 77 of the field's bugs).
#[test]
fn every_length_is_echoed() {
    let step = full(1, 61);
    for sides in Sides::ALL {
        let rig = Rig::echo(sides, "");
        let mut client = rig.client();
        let near_records = [16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 33_000];
        for length in (1..33_000).step_by(step).chain(near_records) {
            let bytes = Pattern::bytes(length as u64, length);
            client.send(&bytes);
            assert!(client.receive(length) == bytes, "{sides:?}, {length} bytes came back changed");
        }
        client.half_close();
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean), "{sides:?}");
    }
}

#[test]
fn many_connections_at_once() {
    const BYTES: u64 = 300_000;
    for sides in Sides::ALL {
        let rig = Rig::new(sides, "", |mut peer| peer.duplex(&Duplex::whole(BYTES, DOWN)));
        let count = full(2_000, 60);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    for _ in 0..count / 10 {
                        let got = rig.client().duplex(&Duplex::whole(BYTES, UP));
                        assert_eq!(got, whole(DOWN, BYTES, BYTES), "{sides:?}");
                    }
                });
            }
        });
        for _ in 0..count {
            assert_eq!(rig.backend.next(), whole(UP, BYTES, BYTES), "{sides:?}");
        }
    }
}
