// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a rule with limits costs a connection when its table tracks 100,000 sources: finding the source and counting it,
//! the rate, the end. Printed in nanoseconds per connection, as a table in Markdown.
//!
//! The sources come in an order that no cache can guess, so what is measured is mostly memory that is far away.
#![expect(clippy::print_stdout, reason = "the figures are for whoever runs the benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::disallowed_macros, reason = "the figures are for whoever runs the benchmark")]

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};
use tunnel::policy::rules::{Action, Judgement, Known, RuleSpec, RuleState, Rules, Stage};
use tunnel::policy::track::{Limits, Rate, Tables};

const SOURCES: u32 = 100_000;
/// Connections that are measured, by each thread.
const CONNECTIONS: u32 = 1_000_000;
/// The promise: nanoseconds for a connection.
const MOST: u128 = 3000;

fn main() {
    println!("\n## rules: the cost of a connection in a table of {SOURCES} sources\n");
    println!("| threads | ns per connection | at most |");
    println!("|---|---|---|");
    let slow = [1, 2].into_iter().filter(|threads| {
        let cost = (0..5).map(|_| measure(*threads)).min().unwrap_or_default();
        println!("| {threads} | {cost} | {MOST} |");
        cost > MOST
    });
    if slow.count() > 0 {
        println!("\nslower than promised");
        std::process::exit(1);
    }
}

/// Nanoseconds per connection, of `threads` that work at the same time.
fn measure(threads: u32) -> u128 {
    let rules = Rules::new([rule()], "bench", &Tables::default());
    let start = Instant::now();
    // Every source is known and remembered: none of the places that are looked at is free.
    for number in 0..SOURCES {
        connect(&rules, number, start);
    }
    thread::scope(|scope| {
        let one = |thread: u32| {
            let rules = &rules;
            scope.spawn(move || {
                let begin = Instant::now();
                let mut number = thread * 7919;
                for _ in 0..CONNECTIONS {
                    // A full cycle over all sources in steps far apart.
                    number = (number + 61_803) % SOURCES;
                    connect(rules, number, start);
                }
                begin.elapsed().as_nanos() / u128::from(CONNECTIONS)
            })
        };
        let running: Vec<_> = (0..threads).map(one).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or(u128::MAX)
    })
}

/// One connection, from its first rule to its end.
fn connect(rules: &Rules, number: u32, now: Instant) {
    let source = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let known = Known { source: Some(source), ..Known::default() };
    let mut state = RuleState::default();
    assert_eq!(rules.judge(&mut state, Stage::Source, &known, now), Judgement::GoOn);
}

fn rule() -> RuleSpec {
    let day = Duration::from_secs(86_400);
    let limits = Limits {
        connections: Some(20),
        rate: Some(Rate { most: 1_000_000, per: day }),
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
