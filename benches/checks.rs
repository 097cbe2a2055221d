// SPDX-License-Identifier: MIT OR Apache-2.0
//! What checking servers costs: the CPU time of the thread that checks, per check and as a share of one core, for many
//! servers that are well. They are addresses of 127.0.0.0/8 behind one listener of ours, so what the kernel does for the
//! servers' half of each connection stands on the same bill.
//!
//! `cargo bench --bench checks [-- SERVERS [SECONDS]]`; a table in Markdown.
#![allow(clippy::disallowed_methods, reason = "a benchmark has no worker whose clock it could use")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop where it stands")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Servers, each checked every two seconds.
const SERVERS: u32 = 10_000;
const INTERVAL: f64 = 2.0;
/// Seconds that are measured.
const SPAN: u64 = 20;
/// Seconds until every server was checked and their times have spread.
const SETTLE: Duration = Duration::from_secs(5);
/// Clock ticks per second in /proc (proc(5), USER_HZ).
const TICKS: f64 = 100.0;
/// The first address, 127.1.0.1.
const FIRST: u32 = 0x7f01_0001;

/// Ends with whoever started it.
struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}

fn main() {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mut numbers = arguments.filter_map(|argument| argument.parse::<u32>().ok());
    let servers = numbers.next().unwrap_or(SERVERS);
    let span = Duration::from_secs(numbers.next().map_or(SPAN, u64::from));
    println!("| check | servers | checks a second | user, µs each | kernel, µs each | share of a core |");
    println!("|---|---|---|---|---|---|");
    for check in ["{ kind = \"tcp\" }", "{ kind = \"send\", send = \"x\" }"] {
        measure(check, servers, span);
    }
}

fn measure(check: &str, servers: u32, span: Duration) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Whoever says something is answered; those who only knock never come here.
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut byte = [0; 16];
            if socket.read(&mut byte).is_ok_and(|count| count > 0) {
                let _it_may_have_gone = socket.write_all(b"y");
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tunnel.conf");
    fs::write(&config, configuration(check, servers, port)).unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunnel"));
    let command =
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let tunnel = Tunnel(command.spawn().unwrap());
    thread::sleep(SETTLE);
    let (before, began) = (cpu(tunnel.0.id()), Instant::now());
    thread::sleep(span);
    let (after, took) = (cpu(tunnel.0.id()), began.elapsed().as_secs_f64());
    let down = fs::read_to_string(dir.path().join("log")).unwrap().matches("server-down").count();
    assert_eq!(down, 0, "servers were found down");
    let rate = f64::from(servers) / INTERVAL;
    let each = |ticks: f64| ticks / TICKS / (rate * took) * 1e6;
    let (user, kernel) = (after.0 - before.0, after.1 - before.1);
    println!(
        "| {check} | {servers} | {rate} | {:.1} | {:.1} | {:.1} % |",
        each(user),
        each(kernel),
        (user + kernel) / TICKS / took * 100.0
    );
}

fn configuration(check: &str, servers: u32, port: u16) -> String {
    let mut text = format!(
        "[global]\nworkers = 1\nmax_connections = 100\nlog = {{ target = \"stderr\" }}\n[[service]]\nname = \"a\"\n\
         accept = \"127.0.0.1:0\"\ncheck = {check}\n"
    );
    for number in 0..servers {
        let address = Ipv4Addr::from(FIRST + number);
        writeln!(text, "[[service.server]]\naddress = \"{address}:{port}\"").unwrap();
    }
    text
}

/// What the thread that checks has used so far, in ticks: user, kernel (proc(5), /proc/pid/task/tid/stat).
fn cpu(pid: u32) -> (f64, f64) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    let checks = tasks.map(|task| task.path()).find(|task| read(task, "comm").trim() == "checks");
    let stat = read(&checks.expect("the tunnel checks"), "stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let field = |index: usize| fields[index].parse::<f64>().unwrap();
    (field(11), field(12))
}
