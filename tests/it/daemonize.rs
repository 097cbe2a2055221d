// SPDX-License-Identifier: MIT OR Apache-2.0
//! `-D`: the parent's exit status tells whether the daemon serves, and the daemon is one in every respect.

use crate::harness::{Backend, Listening, Peer, wait_for};
use crate::program::{Place, Stranger, echo, free_address, plain, plain_at};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};

const START: &[&str] = &["-D", "-c", "tunnel.conf", "-p", "tunnel.pid"];

/// A service at `address` whose log is the file `log` beside the configuration.
fn place(address: SocketAddr, server: SocketAddr) -> Place {
    let log = "[global]\nworkers = 2\nlog = { target = \"file:log\" }\n\n";
    Place::new(&format!("{log}{}", plain_at("web", address, server)))
}

#[test]
fn when_the_parent_ends_the_daemon_serves() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let place = place(address, backend.address());
    for _ in 0..5 {
        let parent = place.run(START).expect(0);
        assert_eq!((parent.out.as_str(), parent.err.as_str()), ("", ""));
        // At once: nothing is waited for.
        let mut client = Peer::plain(address);
        let daemon = Stranger::from_pid_file(&place.path("tunnel.pid"));
        echo(&mut client, b"served");
        drop(client);
        daemon.signal(Signal::SIGTERM);
        daemon.wait_gone();
        assert!(!place.path("tunnel.pid").exists(), "the pid file was left behind");
    }
    let lines = place.log("log").lines();
    for event in ["started", "stopped"] {
        assert_eq!(lines.iter().filter(|line| line.is(event)).count(), 5, "{event}");
    }
}

#[test]
fn the_daemon_holds_nothing_of_where_it_came_from() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let place = place(address, backend.address());
    place.run(START).expect(0);
    let daemon = Stranger::from_pid_file(&place.path("tunnel.pid"));
    let proc = format!("/proc/{}", daemon.0);
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("{proc}/fd/{fd}")).unwrap().to_str(), Some("/dev/null"), "fd {fd}");
    }
    assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap().to_str(), Some("/"));
    let stat = fs::read_to_string(format!("{proc}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // proc(5): state, ppid, pgrp, session, tty_nr.
    let own_session = nix::unistd::getsid(None).unwrap().to_string();
    assert_ne!(fields[3], own_session, "still in the session of whoever started it");
    assert_eq!(fields[4], "0", "it has a controlling terminal");
    // Every worker thread is there: the fork came before them.
    assert!(crate::program::threads(daemon.0, "worker").len() == 2);
    // Relative paths mean the same as before it went to "/", also at a reload.
    daemon.signal(Signal::SIGHUP);
    place.log("log").wait_event("reload-done");
    echo(&mut Peer::plain(address), b"served");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_gone();
}

#[test]
fn a_port_in_use_is_the_parents_exit_status() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = place(address, free_address());
    let parent = place.run(START).expect(69);
    assert!(parent.err.contains(&address.to_string()), "{}", parent.err);
    assert!(!place.path("tunnel.pid").exists());
}

#[test]
fn a_broken_configuration_is_the_parents_exit_status() {
    let place = Place::new("[global]\nworkrs = 2\n");
    let parent = place.run(START).expect(78);
    assert!(parent.err.contains("tunnel.conf:2:1: error: "), "{}", parent.err);
    assert!(!place.path("tunnel.pid").exists());
}

#[test]
fn a_second_daemon_fails_and_the_first_goes_on() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let place = place(address, backend.address());
    place.run(START).expect(0);
    let daemon = Stranger::from_pid_file(&place.path("tunnel.pid"));
    place.run(START).expect(69);
    let still = fs::read_to_string(place.path("tunnel.pid")).expect("the first one's pid file is gone");
    assert_eq!(still.trim(), daemon.0.to_string());
    echo(&mut Peer::plain(address), b"served");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_gone();
}

#[test]
fn a_pid_file_that_cannot_be_written_ends_the_start() {
    let place = Place::new(&plain("web", free_address()));
    let parent = place.run(&["-D", "-c", "tunnel.conf", "-p", "no/such/folder/tunnel.pid"]).expect(73);
    assert!(parent.err.contains("tunnel.pid"), "{}", parent.err);
}

#[test]
fn a_log_to_stderr_is_not_lost_silently() {
    // stderr is /dev/null for a daemon: either it is refused, or warned about.
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let place = place(address, backend.address());
    let text = fs::read_to_string(place.path("tunnel.conf")).unwrap().replace("file:log", "stderr");
    place.write("tunnel.conf", text);
    let parent = place.run(START);
    let daemon =
        place.path("tunnel.pid").exists().then(|| Stranger::from_pid_file(&place.path("tunnel.pid")));
    assert!(parent.err.contains("stderr"), "{parent:?}");
    if let Some(daemon) = daemon {
        daemon.signal(Signal::SIGTERM);
        wait_for("the daemon to end", || !daemon.is_alive());
    }
}
