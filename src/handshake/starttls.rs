// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes a side that begins in clear to TLS, and sees to it that the client is greeted exactly once.
//!
//! Towards the client in the front, ahead of the ClientHello; towards the server behind its connect. Where we greet the
//! client in clear, the server's own greeting is taken in behind its connect ([`SWALLOW`]); where the server's was taken
//! in on the way to TLS and the client was not greeted by us, it is now ([`GREET`]).
//!
//! Invariants: a step's state is the exchange in the pair, taken out while it runs and put back only to wait, so that
//! after any failure there is none; of what was read in clear nothing is left when TLS begins, or the connection ends.
//!
//! Not here: what is said (`wire/starttls/`).

use super::peek_hello::tls_is_done;
use super::{For, Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Carried, Pair, Stage, Talk};
use crate::error::{Break, Reason, Side};
use crate::policy::service::Service;
use crate::stream::endpoint::Endpoint;
use crate::stream::{Got, Sink, Source};
use crate::wire::starttls::mysql::Ways;
use crate::wire::starttls::{self, Exchange, Fault, Names, Opening, Outcome, Protocol, UNIT};

/// Towards the client.
pub const CLIENT: Step = Step { name: "STARTTLS with the client", run: serve, expired: client_too_slow };

/// Towards the server.
pub const SERVER: Step = Step { name: "STARTTLS with the server", run: ask, expired };

/// Answers a client without TLS that asks for it, where only the server's side has TLS.
pub const PLAIN: Step = Step { name: "declining encryption", run: plain, expired: client_too_slow };

/// Takes in the greeting of the server, since the client had ours.
pub const SWALLOW: Step = Step { name: "reading the server's greeting", run: swallow, expired };

/// Greets the client, since the server's greeting was taken in.
pub const GREET: Step = Step { name: "greeting the client", run: greet, expired: client_too_slow };

/// Reads per turn: one that sends byte by byte comes back for the rest.
const READS: usize = 8;

fn serve(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(protocol) = service.starttls else { return Ok(Progress::Done) };
    if tls_is_done(pair, service) || pair.client.stream.as_raw().is_none() {
        return Ok(Progress::Done);
    }
    let talk = pair.talk.take();
    let talk = talk.unwrap_or_else(|| begin(Exchange::serve(protocol, names(&pair.client, None))));
    match hold(pair, Side::Client, talk, ctx)? {
        Held::Waits { read } => Ok(Progress::Wait(For { side: Side::Client, read, patience: None })),
        Held::Over { declined: None, .. } => {
            pair.facts.tls_begun = true;
            Ok(Progress::Done)
        }
        Held::Over { declined: Some(text), .. } => Err(Reason::Starttls(Side::Client, text)),
    }
}

fn plain(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let policy = service.routes[pair.facts.route].starttls;
    if pair.client.stream.as_raw().is_none() {
        return Ok(Progress::Done);
    }
    let begins = pair.talk.is_none();
    let talk = pair.talk.take();
    let talk = talk.or_else(|| Exchange::plain(policy?.protocol).map(begin));
    let Some(talk) = talk else { return Ok(Progress::Done) };
    match hold(pair, Side::Client, talk, ctx)? {
        Held::Waits { read } => {
            let patience = begins.then_some(service.timeouts.handshake);
            Ok(Progress::Wait(For { side: Side::Client, read, patience }))
        }
        Held::Over { declined: None, .. } => Ok(Progress::Done),
        Held::Over { declined: Some(text), .. } => Err(Reason::Starttls(Side::Client, text)),
    }
}

fn ask(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(policy) = service.routes[pair.facts.route].starttls else { return Ok(Progress::Done) };
    let begins = pair.talk.is_none();
    if begins {
        pair.facts.stays_clear = false;
        let name = pair.chosen(service).and_then(|server| server.tls_name.clone());
        let Some(server) = &pair.server else { return Ok(Progress::Done) };
        pair.talk = Some(begin(Exchange::ask(policy.protocol, names(server, name))));
    }
    let Some(talk) = pair.talk.take() else { return Ok(Progress::Done) };
    match hold(pair, Side::Server, talk, ctx)? {
        Held::Waits { read } => {
            let patience = begins.then_some(service.timeouts.handshake);
            Ok(Progress::Wait(For { side: Side::Server, read, patience }))
        }
        Held::Over { declined: Some(text), .. }
            if !(policy.opportunistic && policy.protocol.may_stay_clear) =>
        {
            Err(Reason::Starttls(Side::Server, text))
        }
        Held::Over { declined, kept } => {
            pair.facts.stays_clear = declined.is_some();
            log_in(
                pair,
                policy.protocol,
                Ways { is_served: service.starttls.is_some(), asks: declined.is_none() },
                kept,
            );
            Ok(Progress::Done)
        }
    }
}

fn swallow(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let begins = pair.talk.is_none();
    let talk = match pair.talk.take() {
        Some(talk) => talk,
        None => match service.starttls.and_then(Exchange::greeting) {
            Some(exchange) => begin(exchange),
            None => return Ok(Progress::Done),
        },
    };
    match hold(pair, Side::Server, talk, ctx)? {
        Held::Waits { read } => {
            let patience = begins.then_some(service.timeouts.handshake);
            Ok(Progress::Wait(For { side: Side::Server, read, patience }))
        }
        Held::Over { declined: None, kept } => {
            if let Some(protocol) = service.starttls {
                log_in(pair, protocol, Ways { is_served: true, asks: false }, kept);
            }
            Ok(Progress::Done)
        }
        Held::Over { declined: Some(text), .. } => Err(Reason::Starttls(Side::Server, text)),
    }
}

/// Where the server has begun with a part of the login: the login comes next.
fn log_in(pair: &mut Pair, protocol: &Protocol, ways: Ways, challenge: Vec<u8>) {
    if matches!(protocol.opening, Opening::Login) {
        // A client of ours had its challenge.
        let packet = if ways.is_served { Vec::new() } else { challenge };
        let carried = Carried { stage: Stage::Challenge, packet, rest: Vec::new(), count: 0, ways, shift: 0 };
        pair.login = Some(Box::new(carried));
    }
}

fn greet(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(policy) = service.routes[pair.facts.route].starttls else { return Ok(Progress::Done) };
    let greeting = starttls::greeting(policy.protocol, names(&pair.client, None));
    if greeting.is_empty() {
        return Ok(Progress::Done);
    }
    // What the kernel does not take now leaves as residue, ahead of what the server says.
    let put = match pair.client.stream.as_raw() {
        Some(raw) => {
            raw.begin_with(greeting);
            pair.client.flush()
        }
        None => pair.client.write(&greeting, &mut ctx.buffers.scratch),
    };
    match put.then {
        Sink::Broken(how) => Err(Reason::broken(Side::Client, how)),
        Sink::Room | Sink::Full | Sink::NeedsInput => Ok(Progress::Done),
    }
}

fn expired(pair: &mut Pair, _: &Service, _: &mut Ctx) -> Option<Reason> {
    pair.talk = None;
    Some(Reason::HandshakeTimeout(Side::Server))
}

pub(super) fn begin(exchange: Exchange) -> Box<Talk> {
    Box::new(Talk { exchange, input: Vec::new(), outcome: None })
}

/// What we and the other side are called.
fn names(end: &Endpoint, server: Option<Box<str>>) -> Names {
    let own = end.stream.socket().and_then(|socket| socket.local_address().ok());
    Names { own: own.and_then(|address| address.ip()).map(|ip| ip.to_canonical()), server }
}

/// How an exchange stands after a turn.
pub(super) enum Held {
    /// For the other side: for its words, or for room to say ours.
    Waits { read: bool },
    /// Agreed, or declined with these words; what was kept of what it said.
    Over { declined: Option<Box<str>>, kept: Vec<u8> },
}

/// Takes the exchange with `side` as far as it goes; it is put back into the pair to wait.
///
/// # Errors
/// The side broke, or does not behave.
pub(super) fn hold(pair: &mut Pair, side: Side, mut talk: Box<Talk>, ctx: &mut Ctx) -> Result<Held, Reason> {
    let mut reads = 0;
    loop {
        let Some(end) = pair.endpoint_mut(side) else { return Ok(over(None, &mut talk)) };
        let all_said = say(end, &mut talk, ctx).map_err(|how| broken(side, how))?;
        match talk.outcome.take() {
            // What ends the connection need not have arrived before it does.
            Some(Outcome::Failed(fault)) => return Err(failed(side, fault)),
            outcome if !all_said => {
                talk.outcome = outcome;
                pair.talk = Some(talk);
                return Ok(Held::Waits { read: false });
            }
            Some(Outcome::Agreed) => return Ok(over(None, &mut talk)),
            Some(Outcome::Declined(text)) => return Ok(over(Some(text), &mut talk)),
            Some(Outcome::More) | None => {}
        }
        let known = known(end, &talk);
        if known > 0 {
            if let Some(outcome) = hear(end, &mut talk) {
                talk.outcome = Some(outcome);
                continue;
            }
            if !talk.exchange.say().is_empty() {
                continue;
            }
        }
        // Only here, with everything heard: what the last read took is nothing that epoll would tell of again.
        match end.stream.is_tls() {
            false if reads == READS => {
                pair.talk = Some(talk);
                return Ok(Held::Waits { read: true });
            }
            // Nor of what the TLS library holds.
            true if reads == UNIT => {
                return Err(Reason::Starttls(side, "a greeting that is too long".into()));
            }
            _ => {}
        }
        reads += 1;
        let got = read(end, &mut talk, ctx);
        match got.then {
            _ if got.bytes > 0 => {}
            Source::Empty | Source::More => {
                pair.talk = Some(talk);
                return Ok(Held::Waits { read: true });
            }
            Source::Shut => return Err(Reason::Starttls(side, "it closed in the middle".into())),
            Source::Broken(how) => return Err(broken(side, how)),
        }
    }
}

fn over(declined: Option<Box<str>>, talk: &mut Talk) -> Held {
    Held::Over { declined, kept: talk.exchange.kept() }
}

/// Sends what is to be said, behind a PROXY header that may still wait; whether all has left.
fn say(end: &mut Endpoint, talk: &mut Talk, ctx: &mut Ctx) -> Result<bool, Break> {
    let words = talk.exchange.say();
    let put = if words.is_empty() { end.flush() } else { end.write(words, &mut ctx.buffers.scratch) };
    if !words.is_empty() {
        words.drain(..put.bytes.min(words.len()));
    }
    match put.then {
        Sink::Broken(how) => Err(how),
        _ => Ok(words.is_empty() && end.stream.residue() == 0),
    }
}

/// Bytes that were read and not heard.
fn known(end: &mut Endpoint, talk: &Talk) -> usize {
    end.stream.as_raw().map_or(talk.input.len(), |raw| raw.early().len())
}

/// Shows the exchange what was read; what it is done with is consumed. Nothing: it goes on.
fn hear(end: &mut Endpoint, talk: &mut Talk) -> Option<Outcome> {
    let outcome = match end.stream.as_raw() {
        Some(raw) => {
            let (taken, outcome) = talk.exchange.hear(raw.early());
            raw.consume(taken);
            outcome
        }
        None => {
            let (taken, outcome) = talk.exchange.hear(&talk.input);
            talk.input.drain(..taken);
            outcome
        }
    };
    (outcome != Outcome::More).then_some(outcome)
}

/// Reads once: in clear what there is, up to a unit, which the next reader finds if it is not for us. Out of TLS one byte
/// at a time, since nothing can be given back: a greeting is short.
fn read(end: &mut Endpoint, talk: &mut Talk, ctx: &mut Ctx) -> Got {
    let (plain, scratch) = ctx.buffers.plain_and_scratch();
    if let Some(raw) = end.stream.as_raw() {
        return raw.read_early(&mut plain[..UNIT]);
    }
    let got = end.read(&mut plain[..1], scratch);
    talk.input.extend_from_slice(&plain[..got.bytes]);
    got
}

fn broken(side: Side, how: Break) -> Reason {
    Reason::broken(side, how)
}

fn failed(side: Side, fault: Fault) -> Reason {
    match fault {
        Fault::Injected(bytes) => Reason::Injected(side, bytes),
        Fault::Broken(text) => Reason::Starttls(side, text),
    }
}
