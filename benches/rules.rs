// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a rule with limits costs a connection when its table tracks 100,000 sources: finding the source or a place for it,
//! counting it, the rate, the end. Printed in nanoseconds of CPU time per connection, as a table in Markdown.
//!
//! The sources come in an order that no cache can guess, so what is measured is mostly memory that is far away.
#![allow(clippy::disallowed_methods, reason = "a benchmark has no worker whose clock it could use")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use tunnel::policy::bucket::Rate;
use tunnel::policy::rules::{Action, Judgement, Known, RuleSpec, RuleState, Rules, Stage};
use tunnel::policy::track::{Limits, Tables};

const SOURCES: u32 = 100_000;
/// Connections that are measured, by each thread.
const CONNECTIONS: u32 = 1_000_000;
/// Of so many runs the best counts.
const RUNS: u32 = 5;
/// New sources that find both of their buckets full when the table holds all that it is made for: about one in a million.
const UNLUCKY: u32 = 20;
/// The promise: nanoseconds for a connection.
const MOST: u64 = 3000;

fn main() -> ExitCode {
    println!("\n## rules: the cost of a connection in a table that tracks {SOURCES} sources\n");
    println!("| its source | threads | ns per connection | at most |");
    println!("|---|---|---|---|");
    let mut kept = true;
    for (what, beyond) in [("tracked", 0), ("new", SOURCES)] {
        for threads in [1, 2] {
            let cost = (0..RUNS).map(|_| measure(threads, beyond)).min().unwrap_or_default();
            println!("| {what} | {threads} | {cost} | {MOST} |");
            kept &= cost <= MOST;
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nanoseconds per connection, of `threads` that work at the same time on sources from number `first` on.
fn measure(threads: u32, first: u32) -> u64 {
    let rules = Rules::new([rule()], "bench", &Tables::default());
    let now = Instant::now();
    // Every source holds its place, so those that are new have to look for one.
    let tracked: Vec<RuleState> = (0..SOURCES).filter_map(|number| connect(&rules, number, now)).collect();
    assert!(tracked.len() >= (SOURCES - UNLUCKY) as usize, "{} sources have a place", tracked.len());
    let cost = thread::scope(|scope| {
        let one = |thread: u32| {
            let rules = &rules;
            scope.spawn(move || {
                let begin = cpu_time();
                let mut number = thread * 7919;
                let mut refused = 0;
                for _ in 0..CONNECTIONS {
                    // A full cycle over all sources in steps far apart.
                    number = (number + 61_803) % SOURCES;
                    refused += u32::from(connect(rules, first + number, Instant::now()).is_none());
                }
                assert!(refused <= UNLUCKY, "{refused} of {CONNECTIONS} found no place");
                (cpu_time() - begin) / u64::from(CONNECTIONS)
            })
        };
        let running: Vec<_> = (0..threads).map(one).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(u64::MAX)).max().unwrap_or(u64::MAX)
    });
    drop(tracked);
    cost
}

/// One connection, until it is dropped; none if it was refused.
fn connect(rules: &Rules, number: u32, now: Instant) -> Option<RuleState> {
    let source = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let known = Known { source: Some(source), ..Known::default() };
    let mut state = RuleState::default();
    (rules.judge(&mut state, Stage::Source, &known, now) == Judgement::GoOn).then_some(state)
}

/// Nanoseconds that this thread has been running (proc_pid_schedstat(5)): what else the machine does is not counted.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn rule() -> RuleSpec {
    let limits = Limits {
        connections: Some(20),
        // A nanosecond for a connection: it is counted, and forgotten when the next one comes.
        rate: Some(Rate { most: 1_000_000_000, per: Duration::from_secs(1) }),
        handshake_failures: None,
        bytes: None,
        v4_prefix: 32,
        v6_prefix: 64,
        sources: SOURCES as usize,
    };
    RuleSpec {
        name: "flood".into(),
        source: None,
        names: None,
        alpn: None,
        certificate: None,
        limits: Some(limits),
        action: Action::Reject(None),
    }
}
