// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection as it is now, put into words for whoever lists connections.
//!
//! Not here: which are listed and when (`walk.rs`), what the words are for (`view.rs`).

use super::connection::{Connection, Phase};
use super::context::Ctx;
use super::last_words;
use super::pair::{Facts, Pair, Resolve};
use super::view::{ConnectionView, STATES, TlsView};
use crate::channel::Flow;
use crate::error::Side;
use crate::log::escaped;
use crate::stream::tls::TlsStream;
use std::time::{Duration, Instant};

impl Connection {
    pub fn id(&self) -> u64 {
        self.pair.facts.id
    }

    /// What it is doing, for dumps and for the lines that tell of failures.
    pub fn activity(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake(cursor) => {
                let steps = self.plan.steps(cursor.in_back, self.pair.facts.route);
                cursor.step(steps).map_or("starting", |step| step.name)
            }
            Phase::Relay => match (self.pair.up.flow(), self.pair.down.flow()) {
                (Flow::Open, Flow::Open) => "relaying",
                (_, Flow::Open) => "relaying after the client's end",
                (Flow::Open, _) => "relaying after the server's end",
                _ => "delivering the last bytes",
            },
            Phase::Ending(ending) => ending.activity(),
            Phase::Tarpit(_) => "held by a rule",
        }
    }

    /// Whether it only waits in a tarpit: nobody is served by that.
    pub fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Tarpit(_))
    }

    /// Tells its state to the log.
    pub fn dump(&self, ctx: &Ctx) {
        last_words::describe(&self.pair, &self.plan.service, self.activity(), ctx);
    }

    /// What can be seen of it.
    pub fn view(&mut self, ctx: &Ctx) -> ConnectionView {
        let (state, doing, waits_for) = (self.state(), self.activity(), self.waits_for());
        let (pair, service) = (&mut self.pair, &self.plan.service);
        let facts = &pair.facts;
        let route = if facts.picked { service.routes.get(facts.route) } else { None };
        let tries = pair.attempt.as_ref().is_some_and(|attempt| attempt.since.is_some());
        let server = if tries || facts.connect_time.is_some() {
            pair.chosen(service).and_then(|server| Some(pair.address_of(server)?.to_string()))
        } else {
            None
        };
        let at = ctx.at();
        let [rate_in, rate_out] = self.pace.rates(at);
        let mut view = ConnectionView {
            id: facts.id,
            worker: ctx.worker as u64,
            state: state.to_owned(),
            doing: doing.to_owned(),
            waits_for: waits_for.to_owned(),
            service: service.name.to_string(),
            route: route.map(|route| route.name.to_string()).unwrap_or_default(),
            client: pair.source().to_string(),
            via: facts.header.as_ref().map(|_| facts.client.to_string()).unwrap_or_default(),
            server: server.unwrap_or_default(),
            name: facts.server_name.as_deref().unwrap_or_default().to_owned(),
            client_cn: common_name(facts),
            age: since(facts.accepted, ctx.now),
            idle: self.pace.idle(at),
            queued_for: Duration::from_micros(facts.queued.into()).as_secs_f64(),
            handshake: facts.shaken.map(|shaken| since(facts.accepted, shaken)),
            resolve: facts.resolve.map(|resolve| resolved_in(resolve, ctx)),
            connect: facts.connect_time.map(|time| time.as_secs_f64()),
            relay: (self.relayed > 0).then(|| millis(ctx.stamp().wrapping_sub(self.relayed))),
            bytes_in: pair.up.read(),
            bytes_out: pair.down.written(),
            rate_in,
            rate_out,
            buffered_in: pair.up.held() as u64,
            buffered_out: pair.down.held() as u64,
            ..ConnectionView::default()
        };
        look_at_tls(pair, &mut view);
        view
    }

    /// One of [`STATES`].
    fn state(&self) -> &'static str {
        let Pair { facts, up, down, attempt, answer, .. } = &self.pair;
        let asks = matches!(facts.resolve, Some(Resolve::Asked(_))) && answer.is_none();
        let number = match &self.phase {
            Phase::Handshake(_) if facts.connect_time.is_some() => 5,
            Phase::Handshake(_) if attempt.is_some() || matches!(facts.resolve, Some(Resolve::Took(_))) => 4,
            Phase::Handshake(_) if asks => 3,
            Phase::Handshake(_) if facts.picked || facts.server_name.is_some() => 2,
            Phase::Handshake(_) | Phase::Tarpit(_) => 1,
            Phase::Relay => match (up.flow(), down.flow()) {
                (Flow::Open, Flow::Open) => 5,
                (_, Flow::Open) => 6,
                (Flow::Open, _) => 7,
                _ => 8,
            },
            Phase::Ending(_) => 8,
        };
        STATES[number]
    }

    fn waits_for(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake(cursor) => match cursor.waits {
                Some((Side::Client, _)) => "the client",
                Some((Side::Server, _)) => "the server",
                None if self.pair.attempt.is_some() => "a server with room",
                None => "a name",
            },
            Phase::Relay | Phase::Ending(_) => {
                let waits = |side| {
                    let interest = self.interest_in(side);
                    interest.read || interest.write || interest.choked
                };
                match (waits(Side::Client), waits(Side::Server)) {
                    (true, true) => "either side",
                    (true, false) => "the client",
                    (false, true) => "the server",
                    (false, false) => "time",
                }
            }
            Phase::Tarpit(_) => "time",
        }
    }
}

/// The name in the client's certificate, as we or the tunnel before us learnt it.
fn common_name(facts: &Facts) -> String {
    let certificate = facts.tls.as_deref().and_then(|tls| tls.certificate.as_ref());
    let name = certificate.and_then(|certificate| certificate.common_name.as_deref());
    name.map(|name| escaped(name.as_bytes())).unwrap_or_default()
}

fn resolved_in(resolve: Resolve, ctx: &Ctx) -> f64 {
    match resolve {
        Resolve::Asked(at) => millis(ctx.stamp().wrapping_sub(at)),
        Resolve::Took(time) => millis(time),
    }
}

fn millis(count: u32) -> f64 {
    Duration::from_millis(count.into()).as_secs_f64()
}

/// The protocol agreed on, by us or by the tunnel before us; else those that the client offers.
fn alpn(pair: &mut Pair) -> String {
    let told = pair.facts.tls.as_deref().and_then(|tls| tls.alpn.clone());
    let agreed = pair.client.stream.as_tls().and_then(|tls| tls.alpn().map(Box::from)).or(told);
    match agreed {
        Some(protocol) => escaped(&protocol),
        None => pair.facts.alpn.iter().map(|protocol| escaped(protocol)).collect::<Vec<_>>().join(","),
    }
}

fn look_at_tls(pair: &mut Pair, view: &mut ConnectionView) {
    view.alpn = alpn(pair);
    view.client_tls = pair.client.stream.as_tls().and_then(|tls| tls_view(tls));
    view.server_tls = pair.server.as_mut().and_then(|end| end.stream.as_tls()).and_then(|tls| tls_view(tls));
}

/// Nothing, while the handshake has not agreed on anything.
fn tls_view(tls: &TlsStream) -> Option<TlsView> {
    tls.cipher().map(|cipher| TlsView {
        version: tls.version().to_owned(),
        cipher: cipher.to_owned(),
        group: tls.group().to_owned(),
        resumed: tls.resumed(),
    })
}

fn since(then: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}
