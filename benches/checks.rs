// SPDX-License-Identifier: MIT OR Apache-2.0
//! What checking servers costs: the CPU time of the thread that checks, per check and as a share of one core, for many
//! servers that are well. They are addresses of 127.0.0.0/8 behind one listener of ours, so what the kernel does for the
//! servers' half of each connection stands on the same bill: a plain loop that connects and resets shows how much that is. Beside them haproxy with the same servers, where it is installed.
//!
//! `cargo bench --bench checks [-- SERVERS [SECONDS]]`; a table in Markdown.
#![allow(clippy::disallowed_methods, reason = "a benchmark has no worker whose clock it could use")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop where it stands")]

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket};
use nix::sys::time::TimeVal;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
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
struct Program(Child);

impl Drop for Program {
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
    let port = serve();
    let rate = f64::from(servers) / INTERVAL;
    bare(servers, port).row("nothing but connect and reset", servers, rate);
    for check in ["{ kind = \"tcp\" }", "{ kind = \"send\", send = \"x\" }"] {
        tunnel(check, servers, port, span).row(check, servers, rate);
    }
    match haproxy(servers, port, span) {
        Ok(cost) => cost.row("haproxy, `check inter 2s`", servers, rate),
        Err(error) => println!("\nhaproxy was passed over: {error}"),
    }
}

/// CPU time of one check, in microseconds.
struct Cost {
    user: f64,
    kernel: f64,
}

impl Cost {
    /// Of a thread or process that checks, by its directory in /proc, at `rate`.
    fn of(place: &Path, rate: f64, span: Duration) -> Self {
        let (before, began) = (ticks(place), Instant::now());
        thread::sleep(span);
        let (after, took) = (ticks(place), began.elapsed().as_secs_f64());
        let each = |ticks: f64| ticks / TICKS / (rate * took) * 1e6;
        Self { user: each(after.0 - before.0), kernel: each(after.1 - before.1) }
    }

    fn row(&self, check: &str, servers: u32, rate: f64) {
        let Self { user, kernel } = self;
        let share = (user + kernel) * rate / 1e4;
        println!("| {check} | {servers} | {rate} | {user:.1} | {kernel:.1} | {share:.1} % |");
    }
}

/// A listener on every address. Whoever says something is answered; those who only knock never come here.
fn serve() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut byte = [0; 16];
            if socket.read(&mut byte).is_ok_and(|count| count > 0) {
                let _it_may_have_gone = socket.write_all(b"y");
            }
        }
    });
    port
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + number)
}

/// Connects to each server once and resets the connection.
fn bare(servers: u32, port: u16) -> Cost {
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
        let micros = |time: TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
        (micros(usage.user_time()), micros(usage.system_time()))
    };
    let reset = libc::linger { l_onoff: 1, l_linger: 0 };
    let before = spent();
    for number in 0..servers {
        let one = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&one, Linger, &reset).unwrap();
        connect(one.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address(number), port))).unwrap();
    }
    let after = spent();
    let each = |micros: f64| micros / f64::from(servers);
    Cost { user: each(after.0 - before.0), kernel: each(after.1 - before.1) }
}

fn tunnel(check: &str, servers: u32, port: u16, span: Duration) -> Cost {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tunnel.conf");
    fs::write(&config, configuration(check, servers, port)).unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tunnel"));
    let command =
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let tunnel = Program(command.spawn().unwrap());
    thread::sleep(SETTLE);
    let tasks = fs::read_dir(format!("/proc/{}/task", tunnel.0.id())).unwrap().flatten();
    let is_it = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "checks\n");
    let checks = tasks.map(|task| task.path()).find(is_it).expect("the tunnel checks");
    let cost = Cost::of(&checks, f64::from(servers) / INTERVAL, span);
    let down = fs::read_to_string(dir.path().join("log")).unwrap().matches("server-down").count();
    assert_eq!(down, 0, "servers were found down");
    cost
}

/// # Errors
/// It is not installed, or does not start.
fn haproxy(servers: u32, port: u16, span: Duration) -> io::Result<Cost> {
    // It takes no port 0.
    let own = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut text = format!(
        "global\n maxconn 100\n nbthread 1\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 5s\n timeout server \
         5s\nlisten a\n bind {own}\n"
    );
    for number in 0..servers {
        writeln!(text, " server s{number} {}:{port} check inter 2s", address(number)).unwrap();
    }
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("haproxy.cfg");
    fs::write(&config, text)?;
    // Debian has it where only root looks.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("haproxy");
    let command = command.env("PATH", path).arg("-db").arg("-f").arg(&config);
    let mut peer = Program(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    // It spreads its first checks over the interval, too.
    thread::sleep(SETTLE);
    let place = PathBuf::from(format!("/proc/{}", peer.0.id()));
    let cost = Cost::of(&place, f64::from(servers) / INTERVAL, span);
    match peer.0.try_wait()? {
        None => Ok(cost),
        Some(status) => Err(io::Error::other(format!("it ended: {status}"))),
    }
}

fn configuration(check: &str, servers: u32, port: u16) -> String {
    let mut text = format!(
        "[global]\nworkers = 1\nmax_connections = 100\nlog = {{ target = \"stderr\" }}\n[[service]]\nname = \"a\"\n\
         accept = \"127.0.0.1:0\"\ncheck = {check}\n"
    );
    for number in 0..servers {
        writeln!(text, "[[service.server]]\naddress = \"{}:{port}\"", address(number)).unwrap();
    }
    text
}

/// What a thread or process has used so far, in ticks: user, kernel (proc(5), /proc/pid/task/tid/stat).
fn ticks(place: &Path) -> (f64, f64) {
    let stat = fs::read_to_string(place.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let field = |index: usize| fields[index].parse::<f64>().unwrap();
    (field(11), field(12))
}
