// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of signals in tunnel(8), apart from TERM and INT (`shutdown`) and what HUP does (`reload`).

use crate::harness::{End, Rig, Sides, full, wait_for};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

#[test]
fn quit_dumps_the_state_and_ends_at_once() {
    let mut rig = Rig::echo(Sides::Terminate, "");
    let mut clients: Vec<_> = (0..3).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(b"x");
        client.receive(1);
    }
    let begin = Instant::now();
    rig.tunnel.signal(Signal::SIGQUIT);
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0), "{}", rig.tunnel.log_text());
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    let lines = rig.tunnel.log_lines();
    let state: Vec<_> = lines.iter().filter(|line| line.is("state")).collect();
    assert!(!state.is_empty(), "no state was dumped:\n{}", rig.tunnel.log_text());
    let sum = |key: &str| -> u64 {
        let numbers = state.iter().filter_map(|line| line.get(key).parse::<u64>().ok());
        numbers.max().unwrap_or_default()
    };
    assert_eq!(sum("connections"), 3, "the dump does not count the connections:\n{}", rig.tunnel.log_text());
    let closed = lines.iter().filter(|line| line.is("connection-closed"));
    assert_eq!(closed.filter(|line| line.get("reason") == "stopped").count(), 3);
    for mut client in clients {
        let (_, end) = client.receive_all();
        assert!(end.is_broken(), "the client saw {end:?}");
    }
}

#[test]
fn quit_ends_a_drain() {
    let mut rig = Rig::echo(Sides::Plain, "");
    let mut client = rig.client();
    client.send(b"x");
    client.receive(1);
    rig.tunnel.signal(Signal::SIGTERM);
    rig.tunnel.wait_log("stopping", |line| line.is("stopping"));
    rig.tunnel.signal(Signal::SIGQUIT);
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0));
    assert!(rig.tunnel.log_lines().iter().any(|line| line.is("state")), "no state was dumped");
}

#[test]
fn a_storm_of_signals_changes_nothing() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut old = rig.client();
    for round in 0..full(2_000, 200) {
        rig.tunnel.signal(Signal::SIGHUP);
        rig.tunnel.signal(Signal::SIGUSR1);
        if round % 20 == 0 {
            old.send(b"in the storm");
            assert_eq!(old.receive(12), b"in the storm");
        }
    }
    rig.tunnel.wait_log("a reload", |line| line.is("reload-done"));
    let mut new = rig.client();
    for client in [&mut old, &mut new] {
        client.send(b"after the storm");
        assert_eq!(client.receive(15), b"after the storm");
        client.half_close();
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    }
    let lines = rig.tunnel.log_lines();
    assert!(!lines.iter().any(|line| line.is("reload-failed")), "{}", rig.tunnel.log_text());
    // The last signal is answered too: as many reloads end as begin.
    let count = |event: &str| rig.tunnel.log_lines().iter().filter(|line| line.is(event)).count();
    wait_for("the reloads to end", || count("reload-started") == count("reload-done"));
}

#[test]
fn signals_that_mean_nothing_to_us_do_not_kill() {
    let rig = Rig::echo(Sides::Plain, "");
    let mut client = rig.client();
    for signal in [Signal::SIGUSR2, Signal::SIGPIPE, Signal::SIGWINCH, Signal::SIGURG, Signal::SIGCHLD] {
        rig.tunnel.signal(signal);
        client.send(b"alive");
        assert_eq!(client.receive(5), b"alive", "after {signal}");
    }
}

#[test]
fn stopped_and_continued_it_goes_on() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut client = rig.client();
    for _ in 0..3 {
        rig.tunnel.signal(Signal::SIGSTOP);
        client.send(b"while it sleeps");
        rig.tunnel.signal(Signal::SIGCONT);
        assert_eq!(client.receive(15), b"while it sleeps");
    }
}
