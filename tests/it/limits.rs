// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens where something runs out: max_connections, descriptors, the kernel's memory; and floods.
//!
//! Rows 48, 49, 59, 60 and 67 of the field's bug list: spinning on EMFILE, a pause that never ends, a connection count
//! that leaks, work for clients that are long gone.

use crate::harness::{
    Backend, End, Line, Listening, Options, Peer, Rig, Sides, TlsClient, Tunnel, full, refusing, wait_for,
    wait_up_to,
};
use crate::program::{
    Place, Process, Strace, descriptors, echo, echoing, knock, observe_for, plain, plain_at,
};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// How soon after a limit is no longer reached the next client must be served (G7).
const SERVED_WITHIN: Duration = Duration::from_secs(1);

const MOST: usize = 4;

fn limited(sides: Sides) -> Rig<u64> {
    echoing(sides, Options::global(&format!("workers = 2\nmax_connections = {MOST}")))
}

#[test]
fn who_comes_beyond_max_connections_waits_in_the_backlog() {
    let rig = limited(Sides::Plain);
    let mut inside: Vec<_> = (0..MOST).map(|_| rig.client()).collect();
    for client in &mut inside {
        echo(client, b"inside");
    }
    let mut outside: Vec<_> = (0..3).map(|_| rig.client()).collect();
    for client in &mut outside {
        client.send(b"outside");
    }
    rig.tunnel.wait_log("the listener to pause", |line| line.is("listener-paused"));
    // Level-triggered and full: whoever leaves the listener in the set spins here.
    rig.tunnel.assert_rest();
    assert_eq!(rig.backend.accepted(), MOST, "more connections than max_connections");
    for mut client in outside {
        drop(inside.pop());
        let freed = Instant::now();
        assert_eq!(client.receive(7), b"outside");
        assert!(freed.elapsed() < SERVED_WITHIN, "served {:?} after a place was free", freed.elapsed());
        inside.insert(0, client);
    }
    drop(inside);
    rig.tunnel.wait_log("the listener to resume", |line| line.is("listener-resumed"));
    assert!(
        rig.tunnel.log_lines().len() < 50,
        "one line per event, not per attempt:\n{}",
        rig.tunnel.log_text()
    );
}

#[test]
fn the_count_of_connections_returns_to_zero_however_they_end() {
    for sides in [Sides::Plain, Sides::Terminate] {
        let rig = limited(sides);
        for round in 0..full(500, 50) {
            let mut clients: Vec<_> = (0..MOST).map(|_| rig.client()).collect();
            for client in &mut clients {
                echo(client, b"every place is free again");
            }
            for (number, mut client) in clients.into_iter().enumerate() {
                match (round + number) % 3 {
                    0 => client.reset(),
                    1 => drop(client),
                    _ => {
                        client.half_close();
                        assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
                    }
                }
            }
        }
    }
}

#[test]
fn the_count_returns_to_zero_after_failures_too() {
    let refusing = refusing();
    let options = Options::global(&format!("workers = 2\nmax_connections = {MOST}"));
    let backend = Backend::echo(Listening::default());
    let pki = crate::harness::Pki::new();
    let services = plain("refused", refusing) + &Sides::Terminate.service("web", &pki, backend.address(), "");
    let tunnel = Tunnel::start_with(&services, options);
    for round in 0..full(2_000, 100) {
        if round % 2 == 0 {
            assert_ne!(
                knock(tunnel.address("refused")),
                End::Silence,
                "round {round}: never told that the server refuses"
            );
        } else {
            let mut client = Peer::plain(tunnel.address("web"));
            client.send(b"GET / HTTP/1.0\r\n\r\n");
            assert_ne!(client.receive_all().1, End::Silence, "round {round}: never told that this is no TLS");
        }
    }
    let mut clients: Vec<_> =
        (0..MOST).map(|_| TlsClient::new(&pki).connect(tunnel.address("web")).unwrap()).collect();
    for client in &mut clients {
        echo(client, b"served");
    }
}

/// Descriptors the process may have, and clients that want some.
const FEW: &str = "64";
const CROWD: usize = 150;

/// While `CROWD` clients sit there: little CPU, few lines, and a client is served soon after they left.
#[track_caller]
fn endure(pid: Pid, address: SocketAddr, cpu: impl Fn() -> u64, lines: impl Fn() -> usize) {
    let (span, before) = (Duration::from_secs(full(10, 2) as u64), lines());
    let crowd: Vec<_> = (0..CROWD).map(|_| TcpStream::connect(address).unwrap()).collect();
    wait_for("descriptors to run short", || descriptors(pid).len() >= 30);
    // Who was accepted and found no descriptor for the way to the server is turned away first.
    observe_for(Duration::from_millis(500));
    let used = cpu();
    observe_for(span);
    let share = (cpu() - used) as f64 / span.as_nanos() as f64;
    assert!(share < 0.02, "{:.1} % of a core while nothing can be accepted", share * 100.0);
    assert!(lines() - before < 50, "{} lines about it", lines() - before);
    drop(crowd);
    let released = Instant::now();
    let mut client = Peer::plain(address);
    echo(&mut client, b"serving again");
    assert!(released.elapsed() < SERVED_WITHIN, "served only {:?} after the release", released.elapsed());
}

/// How many lines are not the one that every accepted connection leaves.
fn beside_connections(lines: &[Line]) -> usize {
    lines.iter().filter(|line| !line.is("connection-closed")).count()
}

#[test]
fn when_descriptors_run_out_it_neither_spins_nor_floods_the_log() {
    let rig = Rig::echo(Sides::Plain, "");
    let pid = rig.tunnel.pid();
    echo(&mut rig.client(), b"before");
    // The limit comes down while it runs, so that no reckoning at start can keep it from being reached.
    let limit =
        Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={FEW}:{FEW}")]).status();
    assert!(limit.unwrap().success());
    endure(pid, rig.address(), || rig.tunnel.figures().cpu, || beside_connections(&rig.tunnel.log_lines()));
}

#[test]
fn a_low_limit_at_start_is_reckoned_with() {
    let backend = Backend::echo(Listening::default());
    let place = Place::new(&format!(
        "[global]\nlog = {{ target = \"stderr\" }}\nworkers = 1\nmax_connections = 20000\n\n{}",
        plain("web", backend.address())
    ));
    let mut process = place.start_under(&["prlimit", &format!("--nofile={FEW}:{FEW}")], &[]);
    process.wait_started();
    let cpu =
        |process: &Process| crate::program::threads(process.pid(), "").iter().map(|thread| thread.1).sum();
    let lines = || beside_connections(&process.log.lines());
    endure(process.pid(), process.log.address("web"), || cpu(&process), lines);
    let turned_away = process.log.lines().iter().filter(|line| line.is("connect-failed")).count();
    assert_eq!(turned_away, 0, "let in without a descriptor for the server:\n{}", process.log.text());
    process.stop();
}

/// Over a unix socket a confirmation brings a descriptor with it, on both ends: who has none for that waits as well.
#[test]
fn marks_beside_connections_are_reckoned_with() {
    let backend = Backend::echo(Listening::default());
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("second").display());
    let start = |service: &str| {
        let place = Place::new(&format!(
            "[global]\nlog = {{ target = \"stderr\" }}\nworkers = 1\nmax_connections = 20000\n\n[[service]]\n{service}\n"
        ));
        let mut process = place.start_under(&["prlimit", "--nofile=128:128"], &[]);
        process.wait_started();
        (process, place)
    };
    let (mut second, _place) = start(&format!(
        "name = \"out\"\naccept = {{ address = \"{socket}\", proxy_protocol = {{ confirm = true }} }}\n\
         connect = \"{}\"",
        backend.address()
    ));
    let (mut first, _place) = start(&format!(
        "name = \"web\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ address = \"{socket}\", send_proxy = {{ version = \"v2\", confirm = true }} }}"
    ));
    let address = first.log.address("web");
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let mut client = Peer::plain(address);
            client.send(b"x");
            client
        })
        .collect();
    // Whoever goes makes room for the next one.
    for (number, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.receive(1), b"x", "client {number}");
    }
    first.stop();
    second.stop();
}

/// Runs clients while accept4 fails as `inject` says, `failing` of them at once; `None` where tracing is impossible.
fn with_injection(rig: &Rig<u64>, inject: &str, clients: usize) -> Option<Strace> {
    let options = ["-e", "trace=accept4", "-e", inject];
    let strace = Strace::attach(rig.tunnel.pid(), true, &options)?;
    for number in 0..clients {
        let mut client = rig.client();
        client.send(b"x");
        assert_eq!(client.receive(1), b"x", "client {number}");
    }
    Some(strace)
}

#[test]
fn aborted_connections_are_passed_over() {
    // Row 67: ECONNABORTED and EPROTO were taken for the end of the listener.
    for error in ["ECONNABORTED", "EPROTO", "EINTR", "ENETDOWN", "EPERM"] {
        let rig = Rig::echo(Sides::Plain, "");
        let Some(strace) = with_injection(&rig, &format!("inject=accept4:error={error}:when=1+3"), 30) else {
            return;
        };
        assert!(strace.calls().iter().any(|call| call.contains(error)), "{error} was not injected");
        strace.detach();
    }
}

#[test]
fn when_the_kernel_runs_out_it_pauses_and_comes_back() {
    // Row 49: errno was overwritten before it was looked at, so the pause never came.
    for error in ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"] {
        let rig = Rig::echo(Sides::Plain, "");
        let inject = format!("inject=accept4:error={error}");
        let Some(strace) = Strace::attach(rig.tunnel.pid(), true, &["-e", "trace=accept4", "-e", &inject])
        else {
            return;
        };
        let mut client = rig.client();
        client.send(b"x");
        wait_for("the error", || strace.calls().iter().any(|call| call.contains(error)));
        observe_for(Duration::from_secs(1));
        let calls = strace.calls().len();
        assert!(calls < 50, "{error}: {calls} attempts in a second");
        let said = rig.tunnel.log_lines().iter().filter(|line| line.is("listener-paused")).count();
        assert!((1..20).contains(&said), "{error}: {said} lines about it:\n{}", rig.tunnel.log_text());
        strace.detach();
        let released = Instant::now();
        assert_eq!(client.receive(1), b"x");
        assert!(
            released.elapsed() < SERVED_WITHIN,
            "{error}: served {:?} after the release",
            released.elapsed()
        );
    }
}

#[test]
fn a_flood_of_clients_that_leave_at_once_delays_nobody() {
    // Row 59: the handshakes of clients long dead were computed one by one.
    let rig = Rig::echo(Sides::Terminate, "");
    let hello = crate::harness::hello(&TlsClient::new(&rig.pki));
    let address = rig.address();
    echo(&mut rig.client(), b"before");
    for _ in 0..full(5_000, 500) {
        let mut client = Peer::plain(address);
        client.send(&hello);
        client.reset();
    }
    let begin = Instant::now();
    let mut client = rig.client();
    echo(&mut client, b"legal");
    assert!(begin.elapsed() < SERVED_WITHIN, "the next legal client waited {:?}", begin.elapsed());
    drop(client);
    wait_up_to(Duration::from_secs(10), "the flood to be forgotten", || {
        rig.tunnel.log_lines().iter().filter(|line| line.is("listener-paused")).count()
            == rig.tunnel.log_lines().iter().filter(|line| line.is("listener-resumed")).count()
    });
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let rig = echoing(Sides::Plain, Options::default());
    let silent: Vec<_> = (0..full(2_000, 200)).map(|_| TcpStream::connect(rig.address()).unwrap()).collect();
    let begin = Instant::now();
    echo(&mut rig.client(), b"served");
    assert!(begin.elapsed() < SERVED_WITHIN, "served after {:?}", begin.elapsed());
    rig.tunnel.assert_rest();
    drop(silent);
}

#[test]
fn both_workers_work() {
    let rig = Rig::echo(Sides::Terminate, "");
    let before = crate::program::threads(rig.tunnel.pid(), "worker");
    assert_eq!(before.len(), 2, "workers = 2");
    wait_for("both workers to get connections", || {
        // At once: one after the other, they may all go to the worker that happens to be woken first.
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| echo(&mut rig.client(), b"x"));
            }
        });
        let after = crate::program::threads(rig.tunnel.pid(), "worker");
        // A handshake costs more than half a millisecond, a mere wake-up a few hundredths of that.
        before.iter().zip(&after).all(|(before, after)| after.1 - before.1 > 2_000_000)
    });
}

#[test]
fn connections_opened_one_after_the_other_are_shared_among_the_workers() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut held: Vec<_> = (0..100).map(|_| rig.client()).collect();
    let before = crate::program::threads(rig.tunnel.pid(), "worker");
    for _ in 0..20 {
        held.iter_mut().for_each(|client| echo(client, b"x"));
    }
    let after = crate::program::threads(rig.tunnel.pid(), "worker");
    let used: Vec<_> = before.iter().zip(&after).map(|(before, after)| after.1 - before.1).collect();
    let (least, all) = (used.iter().min().unwrap(), used.iter().sum::<u64>());
    assert!(least * 5 > all, "the work of 100 connections, in ns per worker: {used:?}");
}

#[test]
fn several_addresses_of_one_service_count_together() {
    let backend = Backend::echo(Listening::default());
    let addresses = [crate::program::free_address(), crate::program::free_address()];
    let services =
        plain_at("a", addresses[0], backend.address()) + &plain_at("b", addresses[1], backend.address());
    let tunnel = Tunnel::start_with(&services, Options::global("workers = 2\nmax_connections = 2"));
    let mut inside: Vec<_> = addresses.iter().map(|address| Peer::plain(*address)).collect();
    inside.iter_mut().for_each(|client| echo(client, b"x"));
    let mut outside: Vec<_> = addresses.iter().map(|address| Peer::plain(*address)).collect();
    outside.iter_mut().for_each(|client| client.send(b"y"));
    tunnel.wait_log("a listener to pause", |line| line.is("listener-paused"));
    tunnel.assert_rest();
    assert_eq!(backend.accepted(), 2);
    drop(inside);
    for mut client in outside {
        assert_eq!(client.receive(1), b"y");
    }
}
