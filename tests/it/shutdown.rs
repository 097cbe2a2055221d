// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGTERM and SIGINT: the first drains, the second closes at once, and nothing that was accepted is lost.

use crate::harness::{
    Backend, Duplex, End, Gate, Listening, Options, Pattern, Peer, Pki, Rig, Sides, TlsClient, Tunnel,
    digest_of_pattern, full, wait_for,
};
use crate::program::{Strace, descriptors, echo, echoing, observe_for, plain, threads};
use nix::sys::signal::Signal;
use openssl::sha::sha256;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What the backend reads before it lets the signal come.
const BEFORE: usize = 1 << 20;

#[test]
fn a_transfer_outlives_the_signal_byte_for_byte() {
    let size = full(256, 24) << 20;
    for (sides, signal) in Sides::ALL.into_iter().zip([Signal::SIGTERM, Signal::SIGINT].into_iter().cycle()) {
        let (reached, go) = (Gate::new(), Gate::new());
        let mut rig = {
            let (reached, go) = (reached.clone(), go.clone());
            Rig::new(sides, "", move |mut peer| {
                peer.receive(BEFORE);
                reached.open();
                go.wait();
                // All of the answer is sent, and most of the request read, after the signal.
                peer.duplex(&Duplex::whole(size as u64, 2))
            })
        };
        let mut client = rig.client();
        let client = std::thread::spawn(move || client.duplex(&Duplex::whole(size as u64, 1)));
        reached.wait();
        rig.tunnel.signal(signal);
        rig.tunnel.wait_log("stopping", |line| line.is("stopping"));
        go.open();
        let (client, server) = (client.join().unwrap(), rig.backend.next());
        assert_eq!((client.end, server.end), (End::Clean, End::Clean), "{sides:?}");
        assert_eq!(client.digest, digest_of_pattern(2, size as u64), "{sides:?}: the client's bytes differ");
        let rest = sha256(&Pattern::bytes(1, size)[BEFORE..]);
        assert_eq!(server.digest, rest, "{sides:?}: the server's bytes differ");
        assert_eq!(rig.tunnel.wait_exit().code(), Some(0), "{sides:?}: {}", rig.tunnel.log_text());
        let stopped = rig.tunnel.wait_log("stopped", |line| line.is("stopped"));
        let last = rig.tunnel.log_lines().pop().unwrap();
        assert_eq!(last, stopped, "the last line is not the end's");
    }
}

#[test]
fn new_connections_are_refused_after_the_first_signal() {
    let mut rig = Rig::echo(Sides::Plain, "");
    let mut client = rig.client();
    echo(&mut client, b"before");
    let address = rig.address();
    rig.tunnel.signal(Signal::SIGTERM);
    rig.tunnel.wait_log("the listener to close", |line| line.is("listener-closed"));
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    echo(&mut client, b"after");
    assert!(rig.tunnel.is_alive(), "the drain did not wait for a live connection");
    client.half_close();
    assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
}

#[test]
fn the_second_signal_closes_at_once() {
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGTERM)] {
        let mut rig = Rig::echo(Sides::Terminate, "");
        let mut client = rig.client();
        echo(&mut client, b"before");
        rig.tunnel.signal(first);
        rig.tunnel.wait_log("stopping", |line| line.is("stopping"));
        echo(&mut client, b"draining");
        let begin = Instant::now();
        rig.tunnel.signal(second);
        assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
        let closed = rig.tunnel.wait_closed(1);
        assert_eq!(closed[0].get("reason"), "stopped", "{}", closed[0].text);
        // G3: a stream that is cut off does not look complete.
        let (_, end) = client.receive_all();
        assert!(end.is_broken(), "the client saw {end:?}");
    }
}

#[test]
fn the_shutdown_timeout_closes_what_is_left() {
    let options = Options::global("workers = 2\nshutdown_timeout = \"500ms\"");
    let mut rig = echoing(Sides::Plain, options);
    let mut client = rig.client();
    echo(&mut client, b"before");
    let begin = Instant::now();
    rig.tunnel.signal(Signal::SIGTERM);
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
    let took = begin.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(10)).contains(&took), "it took {took:?}");
    assert_eq!(rig.tunnel.wait_closed(1)[0].get("reason"), "stopped");
}

#[test]
fn an_idle_tunnel_ends_at_once() {
    let mut rig = Rig::echo(Sides::Terminate, "");
    let begin = Instant::now();
    rig.tunnel.signal(Signal::SIGTERM);
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    for event in ["stopping", "listener-closed", "stopped"] {
        assert!(rig.tunnel.log_lines().iter().any(|line| line.is(event)), "{event} is not logged");
    }
}

#[test]
fn who_waits_in_the_queue_is_served() {
    const WAITING: usize = 8;
    let backend = Backend::echo(Listening::default());
    let mut tunnel = Tunnel::start_with(&plain("web", backend.address()), Options::global("workers = 1"));
    let worker = threads(tunnel.pid(), "worker");
    assert_eq!(worker.len(), 1, "threads named after their task: {worker:?}");
    let before = descriptors(tunnel.pid()).len();
    // The only worker is held on its return from epoll_wait, so that what is accepted stays in the queue.
    let options = ["-e", "trace=/epoll_p?wait", "-e", "inject=/epoll_p?wait:delay_exit=1500000:when=1"];
    let Some(strace) = Strace::attach(worker[0].0, false, &options) else { return };
    let mut clients: Vec<_> = (0..WAITING).map(|_| Peer::plain(tunnel.address("web"))).collect();
    wait_for("the connections to be accepted", || descriptors(tunnel.pid()).len() >= before + WAITING);
    tunnel.signal(Signal::SIGTERM);
    tunnel.wait_log("stopping", |line| line.is("stopping"));
    for client in &mut clients {
        echo(client, b"from the queue");
        client.half_close();
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    }
    assert_eq!(tunnel.wait_exit().code(), Some(0));
    strace.detach();
}

#[test]
fn a_drain_does_not_wait_for_those_who_never_spoke() {
    // Phases of a connection in which nothing may come for ever: the handshake's patience ends them, or the drain's.
    let options = Options::global("workers = 2\nshutdown_timeout = \"2s\"");
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let config = Sides::Terminate.service("web", &pki, backend.address(), "");
    let mut tunnel = Tunnel::start_with(&config, options);
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(tunnel.address("web")).unwrap()).collect();
    let half: Vec<_> = (0..10)
        .map(|_| {
            let mut socket = TcpStream::connect(tunnel.address("web")).unwrap();
            std::io::Write::write_all(&mut socket, b"\x16\x03\x01\x02\x00\x01").unwrap();
            socket
        })
        .collect();
    let mut client = TlsClient::new(&pki).connect(tunnel.address("web")).unwrap();
    echo(&mut client, b"x");
    drop(client);
    tunnel.signal(Signal::SIGTERM);
    assert_eq!(tunnel.wait_exit().code(), Some(0));
    drop((silent, half));
}

#[test]
fn a_drain_costs_no_cpu() {
    let mut rig = Rig::echo(Sides::Terminate, "");
    let mut client = rig.client();
    echo(&mut client, b"before");
    rig.tunnel.signal(Signal::SIGTERM);
    rig.tunnel.wait_log("the listener to close", |line| line.is("listener-closed"));
    // The drain's eventfd stays readable: a worker that leaves it in its set spins now.
    rig.tunnel.assert_rest();
    let before = rig.tunnel.figures().cpu;
    observe_for(Duration::from_secs(1));
    let used = Duration::from_nanos(rig.tunnel.figures().cpu - before);
    assert!(used < Duration::from_millis(20), "{used:?} of CPU in a second of waiting");
    client.half_close();
    client.receive_all();
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
}
