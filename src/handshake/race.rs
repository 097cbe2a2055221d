// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reaches one server by whichever of its addresses answers first (RFC 8305, "happy eyeballs").
//!
//! The addresses are begun in their order, each a while after the one before, or at once when one has failed; whoever is
//! established first is the server, and the others go. Invariants: no more than two are tried at once, and where a third is
//! begun the eldest goes; so every address has twice the delay at least, and the last ones the time of a connect. Not here:
//! the order of the addresses (`resolver/order.rs`), what becomes of a server none of whose addresses answers
//! (`connect.rs`).

use super::open_socket;
use crate::connection::context::Ctx;
use crate::connection::pair::{Attempt, Pair, Race};
use crate::policy::resolved::Resolved;
use crate::policy::service::Service;
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::sys::address::Address;
use crate::sys::socket::Connecting;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long an address has before the next one is begun (RFC 8305 section 5, Connection Attempt Delay).
const DELAY: Duration = Duration::from_millis(250);

/// Begins with the first address, or asks how the pending ones stand, and goes on from those that failed.
///
/// # Errors
/// The last address's, when none is left.
pub(super) fn advance(
    pair: &mut Pair,
    tried: &mut Attempt,
    resolved: &Resolved,
    service: &Service,
    ctx: &Ctx,
) -> io::Result<Connecting> {
    let mut race = match tried.race.take() {
        Some(race) => race,
        None => {
            tried.since = Some(ctx.now);
            let addresses = resolved.addresses();
            Box::new(Race { addresses, begun: 0, first: None, rival: None, fresh: false })
        }
    };
    let mut last = io::Error::other("no address is known");
    let (mut state, mut one_failed) = (Connecting::InProgress, false);
    if let (Some(end), Some(address)) = (&pair.server, race.first) {
        match ask(end, address) {
            Ok(asked) => state = asked,
            Err(error) => {
                (last, one_failed) = (error, true);
                (pair.server, race.first) = (None, None);
            }
        }
    }
    if state == Connecting::InProgress {
        match pair.rival.as_deref().zip(race.rival).map(|(end, address)| ask(end, address)) {
            Some(Ok(Connecting::Connected)) => {
                promote(pair, &mut race);
                state = Connecting::Connected;
            }
            Some(Err(error)) => {
                (last, one_failed) = (error, true);
                (pair.rival, race.rival) = (None, None);
            }
            Some(Ok(Connecting::InProgress)) | None => {}
        }
    }
    if state == Connecting::InProgress && pair.server.is_none() {
        promote(pair, &mut race);
    }
    while state == Connecting::InProgress && pair.server.is_none() {
        let Some(address) = next(&mut race) else { return Err(last) };
        match begin(pair, tried, &Address::Inet(address), false, service, ctx) {
            Ok((end, begun)) => {
                (pair.server, race.first, race.fresh) = (Some(end), Some(address), true);
                state = begun;
            }
            Err(error) => last = error,
        }
    }
    if state == Connecting::InProgress && one_failed && race.begun < race.addresses.len() {
        begin_rival(pair, tried, &mut race, service, ctx);
    }
    pair.facts.address = race.first;
    tried.race = Some(race);
    Ok(state)
}

/// The present address has had its time: begins the next one beside it, if there is one.
pub(super) fn begin_another(pair: &mut Pair, tried: &mut Attempt, service: &Service, ctx: &Ctx) -> bool {
    let Some(mut race) = tried.race.take() else { return false };
    if race.begun >= race.addresses.len() {
        tried.race = Some(race);
        return false;
    }
    // The elder of two has had its time twice.
    if pair.rival.is_some() {
        promote(pair, &mut race);
    }
    begin_rival(pair, tried, &mut race, service, ctx);
    tried.race = Some(race);
    true
}

/// Begins the next address beside the one that is tried. Whoever cannot be tried at all is passed over; where that are all,
/// so is the server when its time is over.
fn begin_rival(pair: &mut Pair, tried: &mut Attempt, race: &mut Race, service: &Service, ctx: &Ctx) {
    let is_odd = pair.server.as_ref().and_then(Endpoint::watched).is_some_and(|it| it.serial % 2 == 1);
    while pair.rival.is_none() {
        let Some(address) = next(race) else { break };
        if let Ok((end, _)) = begin(pair, tried, &Address::Inet(address), !is_odd, service, ctx) {
            (pair.rival, race.rival, pair.raced) = (Some(Box::new(end)), Some(address), true);
        }
    }
    race.fresh = true;
}

/// For how long to wait, if that has changed: until the next address is begun, or for the last ones `connect`.
pub(super) fn patience(race: &mut Race, connect: Duration) -> Option<Duration> {
    let patience = if race.begun < race.addresses.len() { DELAY.min(connect) } else { connect };
    std::mem::take(&mut race.fresh).then_some(patience)
}

/// The race is over: whoever is not the server goes.
pub(super) fn end(pair: &mut Pair, tried: &mut Attempt) {
    (pair.rival, tried.race) = (None, None);
}

/// Begins to connect; `odd`: beside a socket with an even serial number, from which it must differ.
pub(super) fn begin(
    pair: &Pair,
    tried: &mut Attempt,
    address: &Address,
    odd: bool,
    service: &Service,
    ctx: &Ctx,
) -> io::Result<(Endpoint, Connecting)> {
    let (socket, mut state) = open_socket::open(pair, service, address, ctx)?;
    if state == Connecting::InProgress {
        // On this machine and in most racks it is established by now: asking once spares two turns through epoll.
        state = socket.connect_again(address)?;
    }
    tried.sockets = tried.sockets.wrapping_add(2);
    let serial = (tried.sockets & !1) | u16::from(odd);
    Ok((Endpoint::new(Stream::raw(socket), serial), state))
}

fn ask(end: &Endpoint, address: SocketAddr) -> io::Result<Connecting> {
    let socket = end.stream.socket().ok_or(io::ErrorKind::NotConnected)?;
    socket.connect_again(&Address::Inet(address))
}

/// The rival takes the server's place.
fn promote(pair: &mut Pair, race: &mut Race) {
    pair.server = pair.rival.take().map(|rival| *rival);
    race.first = race.rival.take();
}

fn next(race: &mut Race) -> Option<SocketAddr> {
    let address = race.addresses.get(race.begun).copied()?;
    race.begun += 1;
    Some(address)
}
