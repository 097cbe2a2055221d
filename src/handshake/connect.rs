// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chooses a server of the route and connects to it; to the next one if that fails, here or in a later step.
//!
//! Invariants: no server is tried twice for one connection; whoever counts among a server's connections counts there until it
//! leaves, and then calls the next one who waits. While every server is full the connection stands in the route's line. Not
//! here: which server is preferred (`policy/balance.rs`), in what order who waits is served (`policy/waiting.rs`).

use super::{For, Progress, Step, connect_tls, race};
use crate::connection::context::{Call, Ctx};
use crate::connection::pair::{Attempt, Pair};
use crate::error::{Blame, Reason, Side};
use crate::policy::balance::{self, Kind};
use crate::policy::health::{self, Change, Told};
use crate::policy::marks::Marks;
use crate::policy::resolved::Place;
use crate::policy::service::Service;
use crate::policy::upstream::{Picked, Seeker, Server, Upstream};
use crate::policy::waiting::Caller;
use crate::stats::failures::Missed;
use crate::stats::{Counter, Presence};
use crate::sys::address::Address;
use crate::sys::outgoing::is_our_lack;
use crate::sys::socket::{Connecting, Socket};
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub const STEP: Step = Step { name: "connecting to the server", run, expired };

/// The failure of a server that keeps silent.
const LATE: &str = "no answer in time";

/// The failure where no server was even tried.
const TAKEN_OUT: &str = "every server is taken out";

/// The text where nobody took them out.
const WEIGHTLESS: &str = "no server has a weight above 0";

/// The failure where no server's name could be resolved yet.
const UNRESOLVED: &str = "no address is known of any server";

/// How often one who waits in the line looks by itself: a server may have come back, which calls nobody.
const LOOK: Duration = Duration::from_secs(1);

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let mut tried = pair.attempt.take().unwrap_or_default();
    loop {
        if tried.since.is_none() {
            if let Some(patience) = choose(pair, service, &mut tried, ctx)? {
                pair.attempt = Some(tried);
                return Ok(Progress::Ask(patience));
            }
        }
        let targets = pair.targets.clone();
        let Some(server) = pair.facts.chosen(targets.as_deref(), service) else {
            return Err(Reason::Connect(tried.failure.unwrap_or_else(|| "no server is configured".into())));
        };
        let begins = tried.since.is_none();
        match attempt(pair, &mut tried, server, service, ctx) {
            Ok(Connecting::Connected) => {
                let time = tried.since.take().map_or(Duration::ZERO, |since| ctx.now - since);
                race::end(pair, &mut tried);
                pair.facts.connect_time = Some(time);
                count(pair, server, time, ctx);
                pair.attempt = Some(tried);
                return Ok(Progress::Done);
            }
            Ok(Connecting::InProgress) => {
                let patience = match &mut tried.race {
                    Some(race) => race::patience(race, service.timeouts.connect),
                    None => begins.then_some(service.timeouts.connect),
                };
                pair.attempt = Some(tried);
                return Ok(Progress::Wait(For { side: Side::Server, read: false, patience }));
            }
            Err(error) => {
                pair.facts.failed = Some(error.kind());
                if !is_our_lack(&error) {
                    blame(pair, service, &error.to_string(), ctx);
                }
                give_up(pair, service, &mut tried, &error.to_string(), ctx);
            }
        }
    }
}

/// Chooses the server to be tried; how long to wait, if the choice must wait.
///
/// # Errors
/// There is none.
fn choose(
    pair: &mut Pair,
    service: &Service,
    tried: &mut Attempt,
    ctx: &mut Ctx,
) -> Result<Option<Duration>, Reason> {
    let Some(upstream) = upstream(pair, service) else { return Ok(None) };
    let failed = |tried: &mut Attempt, what: &str| {
        Reason::Connect(tried.failure.take().unwrap_or_else(|| what.into()))
    };
    if tried.tried.len() as u64 >= u64::from(upstream.attempts) {
        return Err(failed(tried, TAKEN_OUT));
    }
    if pair.targets.is_some() {
        pair.facts.server = u32::try_from(tried.tried.len()).unwrap_or(u32::MAX);
        return Ok(None);
    }
    // Who comes now stands behind those who wait, and who waits takes no place before it is called.
    let called = tried.called.take();
    let was_called = called.is_some();
    // What is free when its time is over is for it: those who came before it have left.
    let is_over = tried.waits.as_ref().is_some_and(|(_, until)| *until <= ctx.now);
    let is_next = was_called || is_over || tried.waits.is_none() && upstream.waiting.is_empty();
    let picked = if is_next { pick(pair, upstream, tried, ctx) } else { Picked::Full };
    if let (Some(call), Picked::Full | Picked::Nobody) = (called, &picked) {
        call.pass_on(&*ctx.asks);
    }
    match picked {
        Picked::Server(place, held) => {
            (pair.facts.server, pair.held) = (place, held);
            tried.waits = None;
            Ok(None)
        }
        Picked::Nobody if upstream.servers.iter().any(|server| server.place.is_known()) => {
            let weightless = upstream.servers.iter().all(|server| server.weight() == 0);
            Err(failed(tried, if weightless { WEIGHTLESS } else { TAKEN_OUT }))
        }
        Picked::Nobody => Err(failed(tried, UNRESOLVED)),
        Picked::Full => stand_in_line(pair, upstream, tried, was_called, ctx),
    }
}

fn pick(pair: &Pair, upstream: &Upstream, tried: &Attempt, ctx: &mut Ctx) -> Picked {
    let hash = match (upstream.balance.kind, &pair.facts.server_name) {
        (Kind::Sni, Some(name)) => balance::hash(name.as_bytes()),
        (Kind::Sni | Kind::Source, _) => hash_of(&pair.source()),
        _ => 0,
    };
    let (random, now) = (ctx.random(), ctx.at());
    upstream.pick(&Seeker { hash, random, now, tried: &tried.tried })
}

/// The same for all connections of a client: without its port.
fn hash_of(client: &Address) -> u64 {
    match client {
        Address::Inet(address) => match address.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => balance::hash(&ip.octets()),
            std::net::IpAddr::V6(ip) => balance::hash(&ip.octets()),
        },
        other => balance::hash(other.to_string().as_bytes()),
    }
}

/// Waits until a place becomes free; at the end of the line again, if it `was_called` in vain.
fn stand_in_line(
    pair: &Pair,
    upstream: &Upstream,
    tried: &mut Attempt,
    was_called: bool,
    ctx: &Ctx,
) -> Result<Option<Duration>, Reason> {
    let line = &upstream.waiting;
    let full = |what: &str| Reason::ServersFull(what.into());
    let until = match &tried.waits {
        Some((ticket, until)) => {
            if *until <= ctx.now {
                return Err(full("none became free in time"));
            }
            if was_called {
                ticket.stand();
            }
            *until
        }
        None => {
            let Some(key) = pair.key else { return Err(full("nobody could be called")) };
            let caller = Caller { worker: ctx.worker, key, id: pair.facts.id };
            let joined = line.join(caller, upstream.queue.length);
            let Some(ticket) = joined else { return Err(full("too many wait already")) };
            let until = ctx.now + upstream.queue.patience;
            tried.waits = Some((ticket, until));
            until
        }
    };
    // One may have left just before we stood in the line, or a server may have come back: nobody was called for that.
    // Only who is called takes anything of a server.
    if let Some(room) = upstream.room(&tried.tried, ctx.at()) {
        Call::new(line, Some(room)).next(&*ctx.asks);
    }
    Ok(Some(LOOK.min(until.saturating_duration_since(ctx.now))))
}

/// It was called from the line; false: it does not stand there any more.
pub fn hear_call(pair: &mut Pair, call: &Call) -> bool {
    let waits = pair.attempt.as_mut().filter(|tried| tried.waits.is_some());
    waits.map(|tried| tried.called = Some(call.clone())).is_some()
}

/// Begins an attempt, or asks how the pending one stands.
fn attempt(
    pair: &mut Pair,
    tried: &mut Attempt,
    server: &Server,
    service: &Service,
    ctx: &Ctx,
) -> io::Result<Connecting> {
    let address = match &server.place {
        Place::Fixed(address) => address,
        Place::Named(resolved) => return race::advance(pair, tried, resolved, service, ctx),
    };
    if tried.since.is_some() {
        if let Some(socket) = pair.server.as_ref().and_then(|end| end.stream.socket()) {
            return socket.connect_again(address);
        }
    }
    tried.since = Some(ctx.now);
    let (end, state) = race::begin(pair, tried, address, false, service, ctx)?;
    pair.server = Some(end);
    Ok(state)
}

/// Counts that `server` was reached.
fn count(pair: &mut Pair, server: &Server, time: Duration, ctx: &Ctx) {
    server.stats.add(ctx.worker, Counter::Accepted, 1);
    pair.stays.server = Some(Presence::enter(&server.stats, ctx.at()));
    for stats in [pair.stays.service(), Some(&server.stats)].into_iter().flatten() {
        stats.connected(ctx.worker, time);
    }
}

/// A connection with the server is all there, TLS included: it is well, as far as connections can tell. Of one that waits for
/// our first bytes (`fast_open`) nothing is known yet.
pub fn succeeded(pair: &Pair, service: &Service, ctx: &Ctx) {
    let socket = pair.server.as_ref().and_then(|server| server.stream.socket());
    let route = service.routes.get(pair.facts.route);
    let is_lazy = route.and_then(|route| route.outgoing.as_ref()).is_some_and(|out| out.socket.fast_open);
    if is_lazy && socket.is_some_and(Socket::awaits_bytes) {
        return;
    }
    note(pair, service, "", ctx, |marks| marks.health.connected(ctx.at()));
}

/// Notes that the server failed, for `why`.
fn blame(pair: &Pair, service: &Service, why: &str, ctx: &Ctx) {
    let Some(upstream) = upstream(pair, service) else { return };
    note(pair, service, why, ctx, |marks| marks.health.failed(ctx.at(), pair.facts.id, &upstream.passive));
}

/// Tells the health of the server what was met, and the log, if that changes it.
fn note(pair: &Pair, service: &Service, why: &str, ctx: &Ctx, tell: impl FnOnce(&Marks) -> Option<Change>) {
    let Some(server) = pair.chosen(service) else { return };
    let Some(marks) = &server.marks else { return };
    let (Some(change), Some(route)) = (tell(marks), service.routes.get(pair.facts.route)) else { return };
    if change == Change::Resumed {
        marks.rise(ctx.at());
    }
    let (service, left) = (&*service.name, route.upstream.left(ctx.at()));
    health::tell(&ctx.log, change, Told { service, route: &route.name, server: &server.name, why, left });
}

/// This server is not reached: the next one, if there is one.
fn give_up(pair: &mut Pair, service: &Service, tried: &mut Attempt, why: &str, ctx: &Ctx) {
    if let Some(server) = pair.chosen(service) {
        for stats in [pair.stays.service(), Some(&server.stats)].into_iter().flatten() {
            stats.add(ctx.worker, Counter::ConnectErrors, 1);
        }
        let stats = Arc::clone(&server.stats);
        ctx.stats.missed().note(Missed { stats, at: ctx.at(), text: why.into() });
        // Of a proxy on the way it is the one that was not reached.
        let via = service.routes.get(pair.facts.route).and_then(|route| route.via.as_ref());
        tried.failure = Some(match via {
            Some(via) => format!("the proxy {} on the way to {}: {why}", via.name, server.name).into(),
            None => format!("{}: {why}", server.name).into(),
        });
    }
    tried.tried.push(pair.facts.server);
    tried.since = None;
    race::end(pair, tried);
    pair.server = None;
    pair.stays.server = None;
    pair.facts.connect_time = None;
    leave(pair, service, ctx);
}

/// The attempt took too long, or the line.
fn expired(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Option<Reason> {
    let mut tried = pair.attempt.take().unwrap_or_default();
    // Who waits looks for itself, and sees there whether its time is over.
    let only_looks = tried.since.is_none();
    if !only_looks && race::begin_another(pair, &mut tried, service, ctx) {
        pair.attempt = Some(tried);
        return None;
    }
    if !only_looks {
        blame(pair, service, LATE, ctx);
        give_up(pair, service, &mut tried, LATE, ctx);
    }
    let is_over = !only_looks && !is_there_another(pair, service, tried.tried.len());
    pair.attempt = Some(tried);
    is_over.then_some(Reason::ConnectTimeout)
}

/// Whether there is a server that was not tried, be it one that serves or not.
fn is_there_another(pair: &Pair, service: &Service, tried: usize) -> bool {
    let Some(upstream) = upstream(pair, service) else { return false };
    let servers = pair.targets.as_ref().map_or(upstream.servers.len(), |targets| targets.len());
    tried < servers && (tried as u64) < u64::from(upstream.attempts)
}

/// A step after this one failed. Where another server may do better, this one is given up; nothing of what the client says has
/// gone anywhere yet.
pub fn may_try_another(pair: &mut Pair, service: &Service, reason: &Reason, ctx: &mut Ctx) -> bool {
    let why = reason.detail().unwrap_or_else(|| reason.word().to_owned());
    match due_to(pair, service, reason) {
        Blame::Server => blame(pair, service, &why, ctx),
        Blame::Nobody => {}
        Blame::Client => return false,
    }
    let Some(mut tried) = pair.attempt.take() else { return false };
    // This one is yet to be counted.
    // Of a login the client has this server's challenge, which no other knows.
    let another = pair.login.is_none() && is_there_another(pair, service, tried.tried.len() + 1);
    if another {
        give_up(pair, service, &mut tried, &why, ctx);
    }
    pair.attempt = Some(tried);
    another
}

/// What the failure of a step after this one is due to.
pub(super) fn due_to(pair: &Pair, service: &Service, reason: &Reason) -> Blame {
    match reason {
        Reason::Unconfirmed(blame, _) => *blame,
        Reason::Handshake(Side::Server, flaw, _) => connect_tls::due_to(pair, service, *flaw),
        Reason::HandshakeTimeout(Side::Server)
        | Reason::Via(_)
        | Reason::Starttls(Side::Server, _)
        | Reason::Injected(Side::Server, _)
        | Reason::Reset(Side::Server)
        | Reason::Gone(Side::Server)
        | Reason::Truncated(Side::Server)
        | Reason::TlsBroken(Side::Server, ..) => Blame::Server,
        _ => Blame::Client,
    }
}

/// Leaves the server, and calls the next one who waits for one.
pub fn leave(pair: &mut Pair, service: &Service, ctx: &Ctx) {
    if pair.held.take().is_some() {
        if let Some(upstream) = upstream(pair, service).filter(|upstream| !upstream.waiting.is_empty()) {
            Call::new(&upstream.waiting, upstream.room(&[], ctx.at())).next(&*ctx.asks);
        }
    }
}

fn upstream<'s>(pair: &Pair, service: &'s Service) -> Option<&'s Upstream> {
    service.routes.get(pair.facts.route).map(|route| &route.upstream)
}
