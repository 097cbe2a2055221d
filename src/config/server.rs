// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[[service.server]]` and `[[service.route.server]]`, each one server with what is to be known of it; and how several are
//! chosen from: `balance`, `queue`, `retries`.
//!
//! Not here: the short list in `connect` (`side.rs`), choosing itself (`policy/balance.rs`).

use super::address::{Purpose, Target};
use super::health;
use super::raw::{At, Fields, Node};
use super::report::{Place, Report};
use super::resolver;
use super::settings::{Endpoint, ServerSettings, Spread};
use super::tables::{self, Table};
use crate::policy::balance::Kind;
use crate::policy::marks::HEAVIEST;
use crate::policy::upstream::WEIGHT;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::slice;
use std::time::Duration;

/// Servers of one route: each choice looks at all of them.
const SERVERS: usize = 10_000;

/// What `weight` may be: 0 takes nobody.
const WEIGHTS: RangeInclusive<usize> = 0..=HEAVIEST as usize;

/// What `max_connections` may be.
const CONNECTIONS: RangeInclusive<usize> = 1..=10_000_000;

/// What `slow_start` may be.
const RAMPS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// How many may wait for a server: each is a connection that is open.
const LENGTHS: RangeInclusive<usize> = 0..=1_000_000;

/// How long one may wait for a server.
const WAITS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// Attempts after the first.
const RETRIES: RangeInclusive<usize> = 0..=1000;

/// Reads the servers at `fields`, which have tables of that kind.
pub(super) fn check(
    fields: Fields<'_>,
    title: &'static str,
    table: &'static Table,
    directory: &Path,
    report: &mut Report,
) -> Vec<ServerSettings> {
    let Some(node) = fields.get("server") else { return Vec::new() };
    let servers = node.tables(title, table, report).unwrap_or_default();
    if servers.len() > SERVERS {
        report.error(node.place, format!("{} servers; a route can have {SERVERS}", servers.len()));
        return Vec::new();
    }
    let mut names: HashMap<String, Place> = HashMap::new();
    let servers = servers.iter().filter_map(|fields| check_one(*fields, directory, report));
    let servers: Vec<ServerSettings> = servers.collect();
    for server in &servers {
        if let Some(first) = names.insert(server.name.value.clone(), server.name.place) {
            let message = format!("a second server with the name {:?}", server.name.value);
            report
                .error(server.name.place, message)
                .note(first, "the first is here")
                .help("give one of them a `name` of its own");
        }
    }
    servers
}

fn check_one(fields: Fields<'_>, directory: &Path, report: &mut Report) -> Option<ServerSettings> {
    let Some(node) = fields.get("address") else {
        if fields.lacks("address") {
            let finding = report.missing(fields.place, "a server without `address`");
            finding.help("add, for example, address = \"10.0.0.1:8080\"");
        }
        return None;
    };
    let text = node.string(report)?;
    let target = match Target::parse(text.value, Purpose::Connect, directory) {
        Ok(Target::Requested(_)) => {
            let message =
                format!("{:?} is no server: it stands for the one that the client asks for", text.value);
            report.error(text.place, message).help("write it in `connect`, alone");
            return None;
        }
        Ok(target) => target,
        Err(complaint) => {
            report.complain(text.place, complaint);
            return None;
        }
    };
    let integer = |key, bounds: RangeInclusive<usize>, report: &mut Report| {
        fields.get(key).and_then(|node| node.integer(bounds, report))
    };
    let weight = integer("weight", WEIGHTS, report).and_then(|weight| u16::try_from(weight).ok());
    let most = integer("max_connections", CONNECTIONS, report).and_then(|most| u32::try_from(most).ok());
    let backup = fields.get("backup").and_then(|node| node.boolean(report));
    let slow_start = fields.get("slow_start").and_then(|node| node.duration(RAMPS, report));
    let endpoint = Endpoint { text: At { value: text.value.to_owned(), place: text.place }, target };
    let expand = fields.get("expand");
    let expand = expand.and_then(|node| resolver::check_expand(node, slice::from_ref(&endpoint), report));
    Some(ServerSettings {
        name: check_name(fields, text, report)?,
        endpoint,
        expand,
        weight: weight.unwrap_or(WEIGHT),
        backup: backup.unwrap_or_default(),
        max_connections: most,
        slow_start,
        check: fields.get("check").and_then(|node| health::check_check(node, report)),
    })
}

/// What it is called: as written, else as its address.
fn check_name(fields: Fields<'_>, address: At<&str>, report: &mut Report) -> Option<At<String>> {
    let Some(node) = fields.get("name") else {
        return Some(At { value: address.value.to_owned(), place: address.place });
    };
    let name = node.string(report)?;
    if !super::names::is_name(name.value, "") {
        report
            .error(name.place, format!("{:?} cannot be the name of a server", name.value))
            .help("letters, digits, `-`, `_` and `.`: it stands in logs and statistics");
        return None;
    }
    Some(At { value: name.value.to_owned(), place: name.place })
}

/// Reads how servers are chosen from, as far as `fields` say.
pub(super) fn check_spread(fields: Fields<'_>, report: &mut Report) -> Spread {
    let mut spread = Spread {
        balance: fields.get("balance").and_then(|node| node.choice(&Kind::ALL, report)),
        retries: fields.get("retries").and_then(|node| node.integer(RETRIES, report)),
        ..Spread::default()
    };
    if let Some(fields) = fields.get("queue").and_then(|node| check_queue(node, report)) {
        spread.queue_length = fields.get("length").and_then(|node| node.integer(LENGTHS, report));
        spread.queue_timeout = fields.get("timeout").and_then(|node| node.duration(WAITS, report));
    }
    spread
}

fn check_queue<'t>(node: Node<'t>, report: &mut Report) -> Option<Fields<'t>> {
    let fields = node.fields(&tables::QUEUE, report)?;
    if fields.is_empty() {
        report
            .missing(fields.place, "`queue` says nothing")
            .help("write length = 100, timeout = \"10s\" or both");
    }
    Some(fields)
}
