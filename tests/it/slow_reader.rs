// SPDX-License-Identifier: MIT OR Apache-2.0
//! A reader that stops while its sender does not costs a bounded amount of memory, which is given back (promise G12).

use crate::harness::{Gate, Peer, Rig, Sides, full};

/// The configured buffer of one direction, in KiB.
const BUFFER: u64 = 64;
/// What a connection may hold beside it, in KiB, as tunnel.conf(5) says of `buffer`: as much again of what is encrypted, and 36.
const SLACK: u64 = BUFFER + 36;

fn flood(mut peer: Peer) {
    let block = vec![7; 65_536];
    while peer.try_send(&block).is_ok() {}
}

fn stopped_clients(sides: Sides) {
    let rig = Rig::new(sides, "buffer = \"64KiB\"", flood);
    // What the first connections cost the process once (scratch buffers, pools) is not theirs.
    let mut warm: Vec<_> = (0..4).map(|_| rig.client()).collect();
    warm.iter_mut().for_each(|client| drop(client.receive(1_000_000)));
    drop(warm);
    rig.tunnel.assert_rest();
    let before = rig.tunnel.figures().rss;
    let count = full(400, 40);
    let mut clients: Vec<_> = (0..count).map(|_| rig.client()).collect();
    rig.tunnel.assert_rest();
    let grown = rig.tunnel.figures().rss.saturating_sub(before);
    let bound = (BUFFER + SLACK) * count as u64;
    assert!(grown <= bound, "{sides:?}: {count} stopped readers cost {grown} KiB, more than {bound}");
    // They are stopped, not dead.
    clients.iter_mut().for_each(|client| drop(client.receive(500_000)));
    clients.into_iter().for_each(Peer::reset);
    rig.tunnel.wait_closed(count + 4);
}

#[test]
fn plain_clients_that_stop_reading() {
    stopped_clients(Sides::Plain);
}

#[test]
fn tls_clients_that_stop_reading() {
    stopped_clients(Sides::Terminate);
}

#[test]
fn plain_clients_of_a_tls_server_that_stop_reading() {
    stopped_clients(Sides::Originate);
}

#[test]
fn reencrypted_clients_that_stop_reading() {
    stopped_clients(Sides::Reencrypt);
}

/// A server that stops reading.
#[test]
fn a_stopped_server() {
    for sides in Sides::ALL {
        let gate = Gate::new();
        let stopped = gate.clone();
        let rig = Rig::new(sides, "buffer = \"64KiB\"", move |_peer: Peer| stopped.wait());
        let count = 20;
        let before = rig.tunnel.figures().rss;
        let senders: Vec<_> = (0..count)
            .map(|_| {
                let client = rig.client();
                std::thread::spawn(move || flood(client))
            })
            .collect();
        rig.tunnel.assert_rest();
        let grown = rig.tunnel.figures().rss.saturating_sub(before);
        // Scratch buffers and pools of both workers are in this.
        let bound = (BUFFER + SLACK) * count + 4_096;
        assert!(grown <= bound, "{sides:?}: {count} stopped servers cost {grown} KiB, more than {bound}");
        gate.open();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    }
}

/// Rounds of the same load do not grow the process.
#[test]
fn memory_does_not_grow_with_the_number_of_connections() {
    for sides in Sides::ALL {
        let rig = Rig::echo(sides, "");
        let round = || {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..full(500, 12) {
                            let mut client = rig.client();
                            client.send(&[1; 50_000]);
                            client.receive(50_000);
                            client.half_close();
                            client.receive_all();
                        }
                    });
                }
            });
            rig.tunnel.figures()
        };
        let rounds: Vec<_> = (0..9).map(|_| round()).collect();
        let (early, late) = (rounds[2], rounds[8]);
        assert!(late.rss <= early.rss + early.rss / 10 + 1_024, "{sides:?}: {early:?} became {late:?}");
        crate::harness::wait_for("all descriptors to be given back", || {
            rig.tunnel.figures().fds <= early.fds
        });
    }
}
