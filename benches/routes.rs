// SPDX-License-Identifier: MIT OR Apache-2.0
//! What finding a route costs, with ten routes and with 100,000: nanoseconds per lookup of an exact name, of names under
//! a suffix, of a name nobody has, and of sources. See docs/benchmarks.md.
//!
//! Not here: what a connection costs beside it (`benches/peers`, scenario `sni-route`).

#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;
use tunnel::policy::hostname::Pattern;
use tunnel::policy::networks::Networks;
use tunnel::policy::route_table::{Match, Query, RouteTable};

/// Lookups of one figure, and how many figures there are of each; the smallest counts, being the least disturbed.
const LOOKUPS: usize = 200_000;
const ROUNDS: usize = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Case {
    Exact,
    Suffix,
    /// Eight labels under a suffix: the longest walk that anybody means.
    DeepSuffix,
    Unknown,
    /// One name, by where the client comes from.
    Source,
}

const CASES: [(Case, &str); 5] = [
    (Case::Exact, "exact name"),
    (Case::Suffix, "name under a suffix"),
    (Case::DeepSuffix, "name of eight labels under a suffix"),
    (Case::Unknown, "unknown name"),
    (Case::Source, "one name, a network of the source"),
];

fn main() {
    let mut out = String::from("| lookup | 10 routes, ns | 100,000 routes, ns |\n|---|---|---|\n");
    for (case, what) in CASES {
        let cost = [10, 100_000].map(|routes| measure(case, routes));
        writeln!(out, "| {what} | {:.0} | {:.0} |", cost[0], cost[1]).expect("a string takes it");
    }
    print!("{out}");
}

/// A table of `count` routes, and what is asked of it.
fn table(case: Case, count: u32) -> RouteTable {
    let named =
        |text: String| Match { names: vec![Pattern::name(&text).expect("a name")], ..Match::default() };
    let route = |n: u32| match case {
        Case::Exact | Case::Unknown => named(format!("host{n}.example.org")),
        Case::Suffix | Case::DeepSuffix => named(format!("*.zone{n}.example.org")),
        Case::Source => {
            let network =
                format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255).parse().expect("a network");
            Match { source: Some(Networks::new([network])), ..named("a.example.org".to_owned()) }
        }
    };
    let routes: Vec<Match> = (0..count).map(route).collect();
    RouteTable::build(&routes).expect("no ties")
}

/// Nanoseconds per lookup, over names spread across the table.
fn measure(case: Case, routes: u32) -> f64 {
    let table = table(case, routes);
    let asked: Vec<(String, [u8; 4])> = (0..1000_u32)
        .map(|n| {
            let n = n.wrapping_mul(7919) % routes;
            let name = match case {
                Case::Exact => format!("host{n}.example.org"),
                Case::Suffix => format!("www.zone{n}.example.org"),
                Case::DeepSuffix => format!("a.b.c.d.e.zone{n}.example.org"),
                Case::Unknown => format!("other{n}.example.org"),
                Case::Source => "a.example.org".to_owned(),
            };
            let [_, b, c, d] = n.to_be_bytes();
            (name, [10, b, c, d])
        })
        .collect();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for (name, source) in asked.iter().cycle().take(LOOKUPS) {
            let query = Query { name: Some(name), alpn: &[], source: Some((*source).into()) };
            let found = table.find(black_box(&query));
            assert_eq!(found.is_ok(), !matches!(case, Case::Unknown));
            black_box(found).ok();
        }
        let each =
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(LOOKUPS).unwrap_or(u32::MAX));
        best = best.min(each);
    }
    best
}
