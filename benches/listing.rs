// SPDX-License-Identifier: MIT OR Apache-2.0
//! What listing connections costs the traffic: how long small requests take through the tunnel while 200 readers list its
//! connections, half of them a byte a second, and how long they take while nobody does. Both by turns in the same run, so
//! that whatever else the machine does is shared; printed as a table in Markdown, with the workers' turns of each part.
//!
//! `cargo bench --bench listing [-- CONNECTIONS [SECONDS]]`. The readers are a process of their own with the lowest claim to
//! the processor: what they do with what they read is not the tunnel's.
#![allow(clippy::disallowed_methods, reason = "a benchmark has no worker whose clock it could use")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop where it stands")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Connections that are there to be listed: about as many as have a place where a process may have 20,000 descriptors.
const CONNECTIONS: usize = 9_500;
/// Connections that ask, one after the other.
const ASKING: usize = 32;
const READERS: usize = 200;
/// How often each part is measured.
const ROUNDS: usize = 8;
/// Seconds of each part.
const SPAN: u64 = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, socket] = &arguments[..] {
        if word == "readers" {
            return read(Path::new(socket));
        }
    }
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse::<usize>().ok());
    let connections = numbers.next().unwrap_or(CONNECTIONS);
    let span = Duration::from_secs(numbers.next().map_or(SPAN, |seconds| seconds as u64));
    measure(connections, span);
}

/// One part of a round.
struct Part {
    /// Latencies in microseconds, sorted.
    latencies: Vec<u64>,
    turns: Turns,
    /// MiB of listings that were read.
    listed: u64,
}

/// The workers' turns so far, by the upper bound of their duration in microseconds.
#[derive(Clone, Default)]
struct Turns {
    buckets: Vec<(u64, u64)>,
    /// The longest ever, in microseconds.
    longest: u64,
}

fn measure(connections: usize, span: Duration) {
    let tunnel = Running::start();
    let idle: Vec<TcpStream> = (0..connections).map(|_| tunnel.connect()).collect();
    let mut asking: Vec<TcpStream> = (0..ASKING).map(|_| tunnel.connect()).collect();
    // Warm: everybody has been served once.
    ask(&mut asking, span);
    println!("\n## listing: latency with and without {READERS} readers of {connections} connections\n");
    println!(
        "| round | readers | requests | p50 µs | p99 µs | p99.9 µs | turns p99 ≤ µs | longest ever µs | MiB listed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut parts: [Vec<Part>; 2] = Default::default();
    for round in 1..=ROUNDS {
        for (readers, measured) in parts.iter_mut().enumerate() {
            let part = tunnel.part(&mut asking, span, readers == 1);
            println!("| {round} | {} | {}", if readers == 1 { READERS } else { 0 }, part.row());
            measured.push(part);
        }
    }
    for (what, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
        let medians = parts
            .each_ref()
            .map(|parts| median(parts.iter().map(|part| quantile(&part.latencies, percent)).collect()));
        println!("\nmedian {what}: {} µs without readers, {} µs with", medians[0], medians[1]);
    }
    drop(idle);
}

/// Small requests on one connection after the other; how long each took.
fn ask(asking: &mut [TcpStream], span: Duration) -> Vec<u64> {
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    while begin.elapsed() < span {
        for stream in &mut *asking {
            let sent = Instant::now();
            stream.write_all(&[b'?'; 64]).unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            latencies.push(u64::try_from(sent.elapsed().as_micros()).unwrap());
        }
    }
    latencies.sort_unstable();
    latencies
}

fn quantile(sorted: &[u64], percent: f64) -> u64 {
    let place = (sorted.len() as f64 * percent / 100.0).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    sorted[(place as usize).clamp(1, sorted.len()) - 1]
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    quantile(&numbers, 50.0)
}

impl Part {
    fn row(&self) -> String {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| quantile(&self.latencies, percent));
        let Turns { longest, .. } = self.turns;
        let turns = self.turns.quantile(0.99);
        format!("{} | {p50} | {p99} | {p999} | {turns} | {longest} | {} |", self.latencies.len(), self.listed)
    }
}

impl Turns {
    /// Those that came after `before`.
    fn since(&self, before: &Self) -> Self {
        let earlier =
            |bound: u64| before.buckets.iter().find(|bucket| bucket.0 == bound).map_or(0, |bucket| bucket.1);
        let buckets = self.buckets.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
        Self { buckets, longest: self.longest }
    }

    /// The bound below which so great a share of them was. The counts are cumulative.
    fn quantile(&self, share: f64) -> u64 {
        let all = self.buckets.last().map_or(0, |bucket| bucket.1);
        let enough = |bucket: &&(u64, u64)| bucket.1 as f64 >= all as f64 * share;
        self.buckets.iter().find(enough).map_or(0, |bucket| bucket.0)
    }
}

/// The tunnel, with a control socket and a service that echoes.
struct Running {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "[global]\nworkers = 2\nmax_connections = 15000\nlog = {{ target = \"stderr\", level = \"notice\" }}\n\
             [control]\nsocket = \"{}\"\n\
             [[service]]\nname = \"echo\"\naccept = \"127.0.0.1:0\"\nmode = \"demo\"\n",
            directory.path().join("control").display()
        );
        let file = directory.path().join("tunnel.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tunnel"));
        let mut child = command.arg("-c").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the tunnel starts").unwrap();
            if let Some((_, rest)) = line.split_once("address=").filter(|_| line.contains("event=listening"))
            {
                break rest.split(' ').next().unwrap().trim_matches('"').parse().unwrap();
            }
        };
        // It must not write to a pipe that nobody reads.
        thread::spawn(move || lines.for_each(drop));
        Self { child, directory, address }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// A connection that a worker has.
    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    }

    /// Measures for so long, with or without readers.
    fn part(&self, asking: &mut [TcpStream], span: Duration, readers: bool) -> Part {
        let crowd = readers.then(|| Readers::start(&self.socket()));
        let before = self.turns();
        let latencies = ask(asking, span);
        let turns = self.turns().since(&before);
        Part { latencies, turns, listed: crowd.map_or(0, Readers::end) }
    }

    fn turns(&self) -> Turns {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(b"show workers json\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let mut turns = Turns::default();
        let workers = answer.as_array().or_else(|| answer["workers"].as_array()).unwrap();
        for worker in workers {
            turns.longest = turns.longest.max(micros(&worker["longest"]));
            for (at, bucket) in worker["turn"]["buckets"].as_array().into_iter().flatten().enumerate() {
                if turns.buckets.len() <= at {
                    turns.buckets.push((micros(&bucket["le"]), 0));
                }
                turns.buckets[at].1 += bucket["count"].as_u64().unwrap();
            }
        }
        turns
    }
}

/// Seconds as whole microseconds; what has no bound is as large as can be.
fn micros(seconds: &Value) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "spans of minutes at most")]
    seconds.as_f64().map_or(u64::MAX, |seconds| (seconds * 1e6).round() as u64)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The process of those who list.
struct Readers(Child);

impl Readers {
    /// Starts them.
    fn start(socket: &Path) -> Self {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe().unwrap()).arg("readers").arg(socket);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Ends them; how many MiB they read.
    fn end(mut self) -> u64 {
        drop(self.0.stdin.take());
        let mut read = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut read).unwrap();
        self.0.wait().unwrap();
        read.trim().parse().unwrap()
    }
}

/// The readers: half of them list again and again, half read a byte a second; until standard input ends.
fn read(socket: &Path) {
    let listed = Arc::new(AtomicU64::new(0));
    for number in 0..READERS {
        let (socket, listed) = (socket.to_owned(), Arc::clone(&listed));
        thread::spawn(move || {
            loop {
                let Ok(mut stream) = UnixStream::connect(&socket) else { return };
                if stream.write_all(b"show connections json\n").is_err() {
                    continue;
                }
                let slow = number % 2 == 0;
                let mut buffer = vec![0; if slow { 1 } else { 64 << 10 }];
                while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                    listed.fetch_add(bytes as u64, Ordering::Relaxed);
                    if slow {
                        thread::sleep(Duration::from_secs(1));
                    }
                }
            }
        });
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    println!("{}", listed.load(Ordering::Relaxed) >> 20);
}
