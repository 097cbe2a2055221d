// SPDX-License-Identifier: MIT OR Apache-2.0
//! How each kind of `balance` spreads connections over ten servers of which one is five times slower, through the real
//! program; and what a choice costs with few and many servers. Printed as tables in Markdown.
//!
//! `cargo bench --bench balance [-- SECONDS]`. Clients are 64 threads that connect, wait for the answer and connect again; a
//! server answers after 40 ms, the slow one after 200 ms, and any of them could serve all clients at once: the machine is
//! mostly idle, and what differs is only who is asked.
#![allow(clippy::disallowed_methods, reason = "a benchmark has no worker whose clock it could use")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop where it stands")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tunnel::policy::balance::{Balance, Kind, mix};
use tunnel::policy::marks::MarkBook;
use tunnel::policy::upstream::{Picked, Seeker, Server, Upstream};
use tunnel::sys::address::Address;

const SERVERS: usize = 10;
const CLIENTS: usize = 64;
const FAST: Duration = Duration::from_millis(40);
const SLOW: Duration = Duration::from_millis(200);
/// Seconds that each kind is measured for.
const SPAN: u64 = 5;
/// How often a choice is made to be timed.
const CHOICES: u32 = 2000;
const KINDS: [(&str, Kind); 5] = [
    ("roundrobin", Kind::RoundRobin),
    ("leastconn", Kind::LeastConn),
    ("random2", Kind::Random2),
    ("source", Kind::Source),
    ("first", Kind::First),
];

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SPAN);
    println!("\n## balance: {SERVERS} servers, one five times slower, {CLIENTS} clients, {seconds} s each\n");
    println!("| balance | per second | a fast server | the slow one | ms, median | ms, 99 % |");
    println!("|---|---|---|---|---|---|");
    for (name, _) in &KINDS[..3] {
        println!("{}", spread(name, Duration::from_secs(seconds)));
    }
    println!("\n## balance: nanoseconds for a choice\n");
    println!("| balance | 2 servers | 10 | 100 | 1000 | 10000 |");
    println!("|---|---|---|---|---|---|");
    for (name, kind) in KINDS {
        let costs = [2, 10, 100, 1000, 10_000].map(|servers| cost(kind, servers).to_string());
        println!("| {name} | {} |", costs.join(" | "));
    }
}

/// A row: what the servers got, and how long clients waited.
fn spread(balance: &str, span: Duration) -> String {
    let over = Arc::new(AtomicBool::new(false));
    let servers: Vec<(SocketAddr, Arc<AtomicU64>)> =
        (0..SERVERS).map(|number| serve(if number == 0 { SLOW } else { FAST })).collect();
    let (_tunnel, address, _place) = start(balance, &servers);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    let mut byte = [0];
                    TcpStream::connect(address).unwrap().read_exact(&mut byte).unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    thread::sleep(span);
    over.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    times.sort_unstable();
    let counts: Vec<u64> = servers.iter().map(|(_, count)| count.load(Ordering::Relaxed)).collect();
    let share = |count: u64| 100.0 * count as f64 / counts.iter().sum::<u64>() as f64;
    let fast = counts[1..].iter().map(|count| share(*count));
    let at = |hundredths: usize| times[times.len() * hundredths / 100].as_secs_f64() * 1000.0;
    let (least, most) = (fast.clone().fold(f64::MAX, f64::min), fast.fold(0.0, f64::max));
    format!(
        "| {balance} | {} | {least:.1} to {most:.1} % | {:.1} % | {:.1} | {:.1} |",
        times.len() as u64 / span.as_secs(),
        share(counts[0]),
        at(50),
        at(99)
    )
}

/// A server that takes so long for each answer, and how many it has given. It is there until the benchmark ends: clients must
/// not meet a server that goes.
fn serve(time: Duration) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                thread::sleep(time);
                if socket.unwrap().write_all(b"x").is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (address, count)
}

/// The real program, which does not outlive the benchmark.
struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The real program before these servers.
fn start(balance: &str, servers: &[(SocketAddr, Arc<AtomicU64>)]) -> (Tunnel, SocketAddr, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut text = format!(
        "[global]\nworkers = 2\nlog = {{ target = \"stderr\", level = \"error\" }}\n\
         [[service]]\nname = \"farm\"\naccept = \"{address}\"\nbalance = \"{balance}\"\n"
    );
    for (server, _) in servers {
        writeln!(text, "[[service.server]]\naddress = \"{server}\"").unwrap();
    }
    let file = place.path().join("tunnel.conf");
    std::fs::write(&file, text).unwrap();
    let program = env!("CARGO_BIN_EXE_tunnel");
    let child = Tunnel(Command::new(program).arg("-c").arg(&file).stdin(Stdio::null()).spawn().unwrap());
    while TcpStream::connect(address).is_err() {
        thread::yield_now();
    }
    (child, address, place)
}

/// Nanoseconds for one choice among so many servers, of which each has some connections.
fn cost(kind: Kind, servers: usize) -> u128 {
    let book = MarkBook::default();
    let server = |number: usize| {
        let name = format!("server-{number}");
        let address = Address::Inet(SocketAddr::from(([10, 0, 0, 1], 80)));
        let marks = Some(book.of("bench", "default", &name));
        Server { marks, ..Server::new(name.into(), address, None, Arc::default()) }
    };
    let upstream = Upstream {
        servers: (0..servers).map(server).collect(),
        balance: Balance::new(kind, std::iter::empty()),
        ..Upstream::default()
    };
    let begin = Instant::now();
    for number in 0..u64::from(CHOICES) {
        let seeker = Seeker { hash: mix(number), random: mix(!number), now: 1, tried: &[] };
        if let Picked::Server(place, held) = upstream.pick(&seeker) {
            black_box((place, held));
        }
    }
    begin.elapsed().as_nanos() / u128::from(CHOICES)
}
