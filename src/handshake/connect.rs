// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connects to the first server of the route that answers, in their order.

use super::{For, Progress, Step};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Reason, Side};
use crate::policy::service::Service;
use crate::policy::upstream::Server;
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::sys::socket::{Connecting, Socket};
use std::io;

pub const STEP: Step = Step { name: "connecting to the server", run, expired };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let servers = &service.routes[pair.facts.route].upstream.servers;
    while let Some(server) = servers.get(pair.attempt.server) {
        let begins = pair.attempt.since.is_none();
        match attempt(pair, server, ctx) {
            Ok(Connecting::Connected) => {
                pair.facts.connect_time = pair.attempt.since.map(|since| ctx.now - since);
                return Ok(Progress::Done);
            }
            Ok(Connecting::InProgress) => {
                let patience = begins.then_some(service.timeouts.connect);
                return Ok(Progress::Wait(For { side: Side::Server, read: false, patience }));
            }
            Err(error) => next(pair, format!("{}: {error}", server.name)),
        }
    }
    let nobody = || "no server is configured".to_owned();
    Err(Reason::Connect(pair.attempt.failure.take().unwrap_or_else(nobody)))
}

/// Begins an attempt, or asks how the pending one stands.
fn attempt(pair: &mut Pair, server: &Server, ctx: &mut Ctx) -> io::Result<Connecting> {
    if pair.attempt.since.is_some() {
        if let Some(socket) = pair.server.as_ref().and_then(|end| end.stream.socket()) {
            return socket.connect_again(&server.address);
        }
    }
    let (socket, mut state) = Socket::connect(&server.address)?;
    pair.attempt.since = Some(ctx.now);
    if state == Connecting::InProgress {
        // On this machine and in most racks it is established by now: asking once spares two turns through epoll.
        state = socket.connect_again(&server.address)?;
    }
    pair.attempt.sockets = pair.attempt.sockets.wrapping_add(1);
    pair.server = Some(Endpoint::new(Stream::raw(socket), pair.attempt.sockets));
    Ok(state)
}

/// Gives this server up.
fn next(pair: &mut Pair, failure: String) {
    pair.server = None;
    pair.attempt.since = None;
    pair.attempt.server += 1;
    pair.attempt.failure = Some(failure);
}

/// The attempt took too long: the next server, if there is one.
fn expired(pair: &mut Pair, service: &Service) -> Option<Reason> {
    let servers = &service.routes[pair.facts.route].upstream.servers;
    let name = servers.get(pair.attempt.server).map_or("", |server| &server.name);
    next(pair, format!("{name}: no answer in time"));
    if pair.attempt.server < servers.len() { None } else { Some(Reason::ConnectTimeout) }
}
