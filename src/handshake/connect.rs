// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connects to the first server of the route that answers, in their order.

use super::{For, Progress, Step, open_socket};
use crate::connection::context::Ctx;
use crate::connection::pair::{Attempt, Pair};
use crate::error::{Reason, Side};
use crate::policy::service::Service;
use crate::policy::upstream::Server;
use crate::stats::failures::Missed;
use crate::stats::{Counter, Presence};
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::sys::socket::Connecting;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub const STEP: Step = Step { name: "connecting to the server", run, expired };

/// The failure of a server that keeps silent.
const LATE: &str = "no answer in time";

/// The failure where no server was even tried.
const TAKEN_OUT: &str = "every server is taken out";

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let mut tried = pair.attempt.take().unwrap_or_default();
    let targets = pair.targets.clone();
    while let Some(server) = pair.facts.chosen(targets.as_deref(), service) {
        let begins = tried.since.is_none();
        if begins && !server.takes_new() {
            pass_over(pair, &mut tried);
            continue;
        }
        match attempt(pair, &mut tried, server, service, ctx) {
            Ok(Connecting::Connected) => {
                let time = tried.since.map_or(Duration::ZERO, |since| ctx.now - since);
                pair.facts.connect_time = Some(time);
                count(pair, server, time, ctx);
                return Ok(Progress::Done);
            }
            Ok(Connecting::InProgress) => {
                pair.attempt = Some(tried);
                let patience = begins.then_some(service.timeouts.connect);
                return Ok(Progress::Wait(For { side: Side::Server, read: false, patience }));
            }
            Err(error) => {
                count_failure(pair, server, &error.to_string(), ctx);
                next(pair, &mut tried, format!("{}: {error}", server.name));
            }
        }
    }
    Err(Reason::Connect(tried.failure.unwrap_or_else(|| "no server is configured".into())))
}

/// Begins an attempt, or asks how the pending one stands.
fn attempt(
    pair: &mut Pair,
    tried: &mut Attempt,
    server: &Server,
    service: &Service,
    ctx: &Ctx,
) -> io::Result<Connecting> {
    if tried.since.is_some() {
        if let Some(socket) = pair.server.as_ref().and_then(|end| end.stream.socket()) {
            return socket.connect_again(&server.address);
        }
    }
    let (socket, mut state) = open_socket::open(pair, service, &server.address, ctx)?;
    tried.since = Some(ctx.now);
    if state == Connecting::InProgress {
        // On this machine and in most racks it is established by now: asking once spares two turns through epoll.
        state = socket.connect_again(&server.address)?;
    }
    tried.sockets = tried.sockets.wrapping_add(1);
    pair.server = Some(Endpoint::new(Stream::raw(socket), tried.sockets));
    Ok(state)
}

/// Leaves out a server that the operator has taken out. What others answered says more of a failure than that.
fn pass_over(pair: &mut Pair, tried: &mut Attempt) {
    pair.facts.server += 1;
    tried.failure.get_or_insert_with(|| TAKEN_OUT.into());
}

/// Counts that `server` was reached.
fn count(pair: &mut Pair, server: &Server, time: Duration, ctx: &Ctx) {
    server.stats.add(ctx.worker, Counter::Accepted, 1);
    pair.stays.server = Some(Presence::enter(&server.stats, ctx.at()));
    for stats in [pair.stays.service(), Some(&server.stats)].into_iter().flatten() {
        stats.connected(ctx.worker, time);
    }
}

/// Counts that it was not.
fn count_failure(pair: &Pair, server: &Server, why: &str, ctx: &Ctx) {
    for stats in [pair.stays.service(), Some(&server.stats)].into_iter().flatten() {
        stats.add(ctx.worker, Counter::ConnectErrors, 1);
    }
    let stats = Arc::clone(&server.stats);
    ctx.stats.missed().note(Missed { stats, at: ctx.at(), text: why.into() });
}

/// Gives this server up.
fn next(pair: &mut Pair, tried: &mut Attempt, failure: String) {
    pair.server = None;
    pair.facts.server += 1;
    tried.since = None;
    tried.failure = Some(failure.into());
}

/// The attempt took too long: the next server, if there is one.
fn expired(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Option<Reason> {
    let mut tried = pair.attempt.take().unwrap_or_default();
    let server = pair.chosen(service);
    if let Some(server) = server {
        count_failure(pair, server, LATE, ctx);
    }
    let name = server.map_or("", |server| &server.name);
    let failure = format!("{name}: {LATE}");
    next(pair, &mut tried, failure);
    pair.attempt = Some(tried);
    if pair.chosen(service).is_some() { None } else { Some(Reason::ConnectTimeout) }
}
