// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that stand still, in whatever phase, keep nobody but themselves from being served, reloaded or stopped.
//!
//! When each phase gives up is in `phases`; here its patience is long, and the point is the others.

use crate::harness::{
    Backend, BlackHole, Gate, Listening, Options, Peer, Pki, Rig, Sides, TlsClient, Tunnel, full, wait_for,
};
use crate::program::{echo, observe_for, plain_at};
use crate::reload::reload_well;
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Clients that stop after a part of their hello, at every length of a few.
fn stopped_in_the_hello(rig: &Rig<u64>, count: usize) -> Vec<TcpStream> {
    let hello = crate::harness::hello(&TlsClient::new(&rig.pki));
    let stop = |number: usize| {
        let mut socket = TcpStream::connect(rig.address()).unwrap();
        socket.write_all(&hello[..number * hello.len() / count]).unwrap();
        socket
    };
    (0..count).map(stop).collect()
}

#[test]
fn clients_stuck_in_their_handshake() {
    let rig = Rig::echo(Sides::Terminate, "timeout = { handshake = \"10m\" }");
    let stuck = stopped_in_the_hello(&rig, full(2_000, 200));
    let begin = Instant::now();
    for _ in 0..10 {
        echo(&mut rig.client(), b"served");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "ten clients took {:?}", begin.elapsed());
    rig.tunnel.assert_rest();
    reload_well(&rig.tunnel);
    echo(&mut rig.client(), b"served after a reload");
    drop(stuck);
}

#[test]
fn clients_that_do_not_read() {
    // Each has a full buffer in the tunnel; a turn of the worker must not be spent on waiting for them.
    let (sent, gate) = (full(64, 16) << 20, Gate::new());
    let rig = {
        let gate = gate.clone();
        Rig::new(Sides::Terminate, "", move |mut peer| {
            if peer.receive(1) == b"f" {
                // The client never reads: this ends when it is gone.
                let _ = peer.try_send(&vec![7; sent]);
            } else {
                peer.send(b"served");
                gate.wait();
            }
        })
    };
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let mut client = rig.client();
            client.send(b"f");
            client
        })
        .collect();
    wait_for("the backend to be held up", || rig.backend.accepted() == stuck.len());
    rig.tunnel.assert_rest();
    let mut client = rig.client();
    client.send(b"s");
    assert_eq!(client.receive(6), b"served");
    gate.open();
}

#[test]
fn servers_that_never_answer() {
    let (hole, backend) = (BlackHole::new(), Backend::echo(Listening::default()));
    let hanging = crate::program::free_address();
    let services = plain_at("hole", hanging, hole.address()) + "timeout = { connect = \"10m\" }\n";
    let services = services + &crate::program::plain("web", backend.address());
    let options = Options::global("workers = 1\nshutdown_timeout = \"1s\"");
    let mut tunnel = Tunnel::start_with(&services, options);
    let stuck: Vec<_> = (0..50).map(|_| TcpStream::connect(hanging).unwrap()).collect();
    let mut client = Peer::plain(tunnel.address("web"));
    echo(&mut client, b"served");
    drop(client);
    tunnel.assert_rest();
    tunnel.signal(Signal::SIGTERM);
    assert_eq!(tunnel.wait_exit().code(), Some(0));
    let reasons = tunnel.wait_closed(51);
    assert_eq!(reasons.iter().filter(|line| line.get("reason") == "stopped").count(), 50);
    drop(stuck);
}

#[test]
fn servers_that_never_shake_hands() {
    let pki = Pki::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let config = Sides::Reencrypt.service("web", &pki, address, "timeout = { handshake = \"10m\" }");
    let mut tunnel = Tunnel::start_with(&config, Options::global("workers = 1\nshutdown_timeout = \"1s\""));
    let address = tunnel.address("web");
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let pki_client = TlsClient::new(&pki);
            std::thread::spawn(move || pki_client.connect(address).map(|mut peer| peer.receive_all().1))
        })
        .collect();
    let held: Vec<_> = (0..10).map(|_| silent.accept().unwrap()).collect();
    tunnel.assert_rest();
    tunnel.signal(Signal::SIGQUIT);
    assert_eq!(tunnel.wait_exit().code(), Some(0));
    for client in clients {
        if let Ok(end) = client.join().unwrap() {
            assert!(end.is_broken(), "a client saw {end:?} of a server that never spoke");
        }
    }
    drop(held);
}

#[test]
fn a_client_that_sends_one_byte_at_a_time_costs_one_byte_at_a_time() {
    let rig = Rig::echo(Sides::Plain, "");
    let mut client = rig.client();
    let before = rig.tunnel.figures().cpu;
    for byte in 0..full(5_000, 500) {
        let byte = [u8::try_from(byte % 256).unwrap()];
        echo(&mut client, &byte);
    }
    observe_for(Duration::from_millis(100));
    let each = (rig.tunnel.figures().cpu - before) / full(5_000, 500) as u64;
    assert!(each < 1_000_000, "{each} ns of CPU per byte");
}
