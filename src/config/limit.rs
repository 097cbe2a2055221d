// SPDX-License-Identifier: MIT OR Apache-2.0
//! `limit` of a service, and of a route: what all their connections together may do, and what one of them may.
//!
//! Not here: the `limit` of a rule, which is about one source (`rule.rs`).

use super::raw::{Fields, Node};
use super::report::Report;
use super::tables::{self, Table};
use super::values::Counted;
use crate::policy::bucket::Rate;
use crate::policy::quota::{QuotaSpec, Ways};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What `max_connections` may be.
const CONNECTIONS: RangeInclusive<usize> = 1..=10_000_000;

/// How many new connections a rate may allow.
const EVENTS: RangeInclusive<u64> = 1..=1_000_000_000;

/// How many bytes a bandwidth may allow.
const BYTES: RangeInclusive<u64> = 1..=1 << 50;

/// What a rate may be counted over.
const PERIODS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// What `lifetime` may be.
const LIFETIMES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(365 * 86_400);

/// Reads `limit`.
pub(super) fn check(node: Node<'_>, report: &mut Report) -> Option<QuotaSpec> {
    let fields = node.fields(&tables::SERVICE_LIMIT, report)?;
    if tables::SERVICE_LIMIT.keys.iter().all(|key| fields.lacks(key)) {
        let finding = report.missing(fields.place, "`limit` without a limit");
        finding.help(
            "write one or more of max_connections = 1000, rate = \"100/1s\", bandwidth = { down = \"10MiB/1s\" }, \
             lifetime = \"1h\"",
        );
        return None;
    }
    let most = fields.get("max_connections").and_then(|node| node.integer(CONNECTIONS, report));
    let rate = fields.get("rate").and_then(|node| node.rate(Counted::Events, &EVENTS, &PERIODS, report));
    let (lifetime, lifetime_jitter) = check_lifetime(fields, report);
    Some(QuotaSpec {
        max_connections: most.and_then(|most| u64::try_from(most).ok()),
        rate,
        bandwidth: check_bandwidth(fields.get("bandwidth"), &tables::BANDWIDTH, report),
        connection_bandwidth: check_bandwidth(
            fields.get("connection_bandwidth"),
            &tables::CONNECTION_BANDWIDTH,
            report,
        ),
        lifetime,
        lifetime_jitter,
    })
}

fn check_lifetime(fields: Fields<'_>, report: &mut Report) -> (Option<Duration>, Duration) {
    let lifetime = fields.get("lifetime").and_then(|node| node.duration(LIFETIMES, report));
    let Some(node) = fields.get("lifetime_jitter") else { return (lifetime, Duration::ZERO) };
    let jitter = node.duration(Duration::ZERO..=*LIFETIMES.end(), report).unwrap_or_default();
    if fields.lacks("lifetime") {
        report
            .error(node.place, "`lifetime_jitter` without `lifetime`")
            .help("add, for example, lifetime = \"1h\"");
    } else if lifetime.is_some_and(|lifetime| jitter >= lifetime) {
        report
            .error(node.place, "`lifetime_jitter` must be shorter than `lifetime`")
            .help("it says by how much sooner, at most, a connection ends");
    }
    (lifetime, jitter)
}

fn check_bandwidth(node: Option<Node<'_>>, table: &'static Table, report: &mut Report) -> Ways<Option<Rate>> {
    let Some(fields) = node.and_then(|node| node.fields(table, report)) else { return Ways::default() };
    if fields.is_empty() {
        let key = node.map_or("", |node| node.key);
        let finding = report.missing(fields.place, format!("`{key}` without a direction"));
        finding.help("write up = \"10MiB/1s\" (from clients), down = \"10MiB/1s\" (to them), or both");
    }
    let mut way = |key| fields.get(key).and_then(|node| node.rate(Counted::Bytes, &BYTES, &PERIODS, report));
    Ways { up: way("up"), down: way("down") }
}
