// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of servers against real ones: each goes up, falls, hangs and comes back, and each change is one line.

use crate::harness::{
    Backend, BlackHole, Options, Peer, Pki, Program, Tunnel, echo, free_address, openssl_server, wait_for,
};
use crate::program::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Quick, so that tests are; and patient enough for a machine that is busy.
const QUICK: &str = "interval = \"200ms\", timeout = \"200ms\", rise = 2, fall = 3";

/// A service that checks one server by `check`.
fn service(server: SocketAddr, check: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"a\"\naccept = \"127.0.0.1:0\"\nconnect = {{ address = \"{server}\"{more} }}\n\
         check = {{ {check}, {QUICK} }}\n"
    )
}

/// Lines of changes so far, as "up", "down" and so on.
fn changes(tunnel: &Tunnel) -> Vec<String> {
    let lines = tunnel.log_lines();
    let words = lines.iter().filter_map(|line| line.get("event").strip_prefix("server-").map(str::to_owned));
    words.collect()
}
