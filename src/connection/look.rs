// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection as it is now, put into words for whoever lists connections.
//!
//! Not here: which are listed and when (`walk.rs`), what the words are for (`view.rs`).

use super::connection::{Connection, Phase};
use super::context::Ctx;
use super::pair::Pair;
use super::view::{ConnectionView, STATES, TlsView};
use crate::channel::Flow;
use crate::error::Side;
use crate::stream::tls::TlsStream;
use std::time::Instant;

impl Connection {
    pub fn id(&self) -> u64 {
        self.pair.facts.id
    }

    /// What can be seen of it.
    pub fn view(&mut self, ctx: &Ctx) -> ConnectionView {
        let (state, doing, waits_for) = (self.state(), self.activity(), self.waits_for());
        let (pair, service) = (&mut self.pair, &self.plan.service);
        let facts = &pair.facts;
        let route = if facts.picked { service.routes.get(facts.route) } else { None };
        let server = if pair.attempt.is_some() || facts.connect_time.is_some() {
            pair.chosen(service).map(|server| server.address.to_string())
        } else {
            None
        };
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
            age: since(facts.accepted, ctx.now),
            handshake: facts.shaken.map(|shaken| since(facts.accepted, shaken)),
            connect: facts.connect_time.map(|time| time.as_secs_f64()),
            bytes_in: pair.up.read(),
            bytes_out: pair.down.written(),
            buffered_in: pair.up.held() as u64,
            buffered_out: pair.down.held() as u64,
            ..ConnectionView::default()
        };
        look_at_tls(pair, &mut view);
        view
    }

    /// One of [`STATES`].
    fn state(&self) -> &'static str {
        let Pair { facts, up, down, attempt, .. } = &self.pair;
        let number = match &self.phase {
            Phase::Handshake(_) if facts.connect_time.is_some() => 5,
            Phase::Handshake(_) if attempt.is_some() => 4,
            Phase::Handshake(_) if facts.picked => 2,
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
                None => "a name",
            },
            Phase::Relay | Phase::Ending(_) => "either side",
            Phase::Tarpit(_) => "time",
        }
    }
}

fn look_at_tls(pair: &mut Pair, view: &mut ConnectionView) {
    if let Some(tls) = pair.client.stream.as_tls() {
        view.alpn = tls.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned()).unwrap_or_default();
        view.client_tls = tls_view(tls);
    }
    view.server_tls = pair.server.as_mut().and_then(|end| end.stream.as_tls()).and_then(|tls| tls_view(tls));
}

/// Nothing, while the handshake has not agreed on anything.
fn tls_view(tls: &TlsStream) -> Option<TlsView> {
    tls.cipher().map(|cipher| TlsView {
        version: tls.version().to_owned(),
        cipher: cipher.to_owned(),
        group: String::new(),
        resumed: tls.resumed(),
    })
}

fn since(then: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}
