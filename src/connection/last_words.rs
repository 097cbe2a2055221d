// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is told of a connection when it has ended: one line, one more if it failed, its counters, its TLS session.

use super::context::Ctx;
use super::pair::Pair;
use crate::error::{Reason, Side};
use crate::handshake::connect_tls::ticket_key;
use crate::log::{Level, Line};
use crate::policy::service::Service;
use crate::stats::failures::Failure;
use crate::stats::{Cause, Counter};
use crate::stream::tls::TlsStream;
use std::fmt;
use std::time::Duration;

/// The connection that is spoken of.
pub(super) struct Subject<'c> {
    pub(super) pair: &'c mut Pair,
    pub(super) service: &'c Service,
    /// What it is doing.
    pub(super) doing: &'static str,
}

/// Tells of a connection that ended for `reason`.
pub(super) fn say(mut subject: Subject<'_>, reason: &Reason, ctx: &mut Ctx) {
    count(&subject, reason, ctx);
    if matches!(reason.failure(), Some("handshake-failed")) {
        subject.pair.facts.judged.handshake_failed(ctx.now);
    }
    tell_end(&mut subject, reason, ctx);
    keep_session(&mut subject, ctx);
}

/// Tells of a live connection, in a dump of state.
pub(super) fn describe(pair: &Pair, service: &Service, doing: &'static str, ctx: &Ctx) {
    let Pair { facts, up, down, .. } = pair;
    ctx.log
        .line(Level::Notice, "state")
        .field("id", facts.id)
        .field("worker", ctx.worker)
        .field("service", &service.name)
        .field("client", pair.source())
        .field("doing", doing)
        .field("age", Millis(ctx.now.saturating_duration_since(facts.accepted)))
        .field("in", up.read())
        .field("out", down.written())
        .field("held_up", up.held())
        .field("held_down", down.held())
        .send();
}

fn count(subject: &Subject<'_>, reason: &Reason, ctx: &Ctx) {
    let (stays, worker, cause) = (&subject.pair.stays, ctx.worker, Cause::of(reason));
    for stats in stays.scopes() {
        stats.add(worker, Counter::Closed, 1);
    }
    if let Some(stats) = stays.service() {
        stats.lived(worker, ctx.now.saturating_duration_since(subject.pair.facts.accepted));
        if let Some(cause) = cause {
            stats.fail(worker, cause);
        }
    }
    if cause.is_some() {
        for stays in [&stays.route, &stays.server].into_iter().flatten() {
            stays.scope().add(worker, Counter::Failed, 1);
        }
    }
}

/// Tells of a failure that deserves a line of its own.
pub(super) fn tell_failure(subject: &Subject<'_>, reason: &Reason, ctx: &Ctx) {
    let Some(event) = reason.failure() else { return };
    note(subject, reason, ctx);
    let level = if matches!(reason, Reason::Panic) { Level::Error } else { Level::Warning };
    let service = &*subject.service.name;
    let mut line = ctx
        .log
        .failure(level, event, service)
        .field("id", subject.pair.facts.id)
        .field("service", service)
        .field("client", subject.pair.source())
        .field("while", subject.doing)
        .field("reason", reason.word());
    if let Some(detail) = reason.detail() {
        line = line.field("error", detail);
    }
    line.send();
}

/// Notes it for whoever asks for the last failures: those that deserve a line, so that the few that matter are not lost
/// among clients that go without a word.
fn note(subject: &Subject<'_>, reason: &Reason, ctx: &Ctx) {
    let Some(cause) = Cause::of(reason) else { return };
    let Subject { pair, service, doing } = subject;
    let facts = &pair.facts;
    let route = if facts.picked { service.routes.get(facts.route) } else { None };
    let tried = facts.picked && pair.server.is_some();
    let server = if tried { pair.chosen(service).and_then(|server| pair.address_of(server)) } else { None };
    ctx.stats.failures().note(Failure {
        at: ctx.at(),
        worker: ctx.worker,
        id: facts.id,
        service: service.name.clone(),
        route: route.map(|route| route.name.clone()).unwrap_or_default(),
        client: pair.source().to_string().into(),
        name: facts.server_name.clone().unwrap_or_default(),
        server: server.map(|address| address.to_string()).unwrap_or_default().into(),
        cause,
        doing,
        text: reason.detail().unwrap_or_default().into(),
    });
}

fn tell_end(subject: &mut Subject<'_>, reason: &Reason, ctx: &Ctx) {
    // A monitor asks every few seconds, for ever.
    let level = if matches!(reason, Reason::Replied) { Level::Debug } else { Level::Info };
    let line = ctx.log.line(level, "connection-closed");
    if !line.is_wanted() {
        return;
    }
    let mut line =
        who(line.field("id", subject.pair.facts.id).field("service", &subject.service.name), subject);
    line = with_tls(line, subject.pair);
    let Pair { facts, up, down, .. } = &*subject.pair;
    if let Some(shaken) = facts.shaken {
        line = line.field("t_handshake", Millis(shaken.saturating_duration_since(facts.accepted)));
    }
    if let Some(time) = facts.connect_time {
        line = line.field("t_connect", Millis(time));
    }
    line = line
        .field("t_total", Millis(ctx.now.saturating_duration_since(facts.accepted)))
        .field("in", up.read())
        .field("out", down.written())
        .field("reason", reason.word());
    if let Reason::Rule(rule, _) = reason {
        line = line.field("rule", rule);
    }
    line.send();
}

/// Who was connected with whom, and what the client asked for.
fn who<'l>(line: Line<'l>, subject: &Subject<'_>) -> Line<'l> {
    let Subject { pair, service, .. } = subject;
    let facts = &pair.facts;
    let mut line = line.field("client", pair.source());
    if facts.header.is_some() {
        line = line.field("via", &facts.client);
    }
    // A service with one route needs not tell which it was; and without one the first was never picked.
    if service.routes.len() > 1 && facts.picked {
        line = line.field("route", &service.routes[facts.route].name);
    }
    if let (Some(server), Some(_)) = (pair.chosen(service), facts.connect_time) {
        line = match pair.address_of(server) {
            Some(address) => line.field("server", address),
            None => line,
        };
        if let Some(destination) = &server.destination {
            line = line.field("target", destination);
        }
    }
    match (&facts.server_name, facts.asked_port) {
        (Some(name), Some(port)) => line.field("target", format_args!("{name}:{port}")),
        (Some(name), None) => line.field("sni", name),
        (None, _) => line,
    }
}

/// TLS on either side: of the client's as we agreed on it, or as the tunnel before us did.
fn with_tls<'l>(mut line: Line<'l>, pair: &mut Pair) -> Line<'l> {
    let told = pair.facts.tls.as_deref();
    if let Some(tls) = pair.client.stream.as_tls() {
        if let Some(alpn) = tls.alpn() {
            line = line.bytes("alpn", alpn);
        }
        // None while the handshake has not agreed on anything.
        if let Some(cipher) = tls.cipher() {
            line = line.field("tls", tls.version()).field("cipher", cipher);
            line = line.field("resumed", yes(tls.resumed()));
        }
    } else if let Some(tls) = told {
        if let Some(alpn) = &tls.alpn {
            line = line.bytes("alpn", alpn);
        }
        line = line.field("tls", &tls.version).field("cipher", &tls.cipher);
    }
    if let Some(name) = told.and_then(|tls| tls.certificate.as_ref()?.common_name.as_deref()) {
        line = line.bytes("client_cn", name.as_bytes());
    }
    if let Some(tls) = pair.server.as_mut().and_then(|end| end.stream.as_tls()) {
        line = line.field("server_tls", tls.version()).field("server_resumed", yes(tls.resumed()));
    }
    line
}

/// Keeps the session with the server for the next connection to it.
fn keep_session(subject: &mut Subject<'_>, ctx: &mut Ctx) {
    let Some(key) = ticket_key(subject.pair, subject.service) else { return };
    let server = subject.pair.endpoint_mut(Side::Server);
    let ticket = server.and_then(|end| end.stream.as_tls()).and_then(TlsStream::take_ticket);
    if let Some(ticket) = ticket {
        ctx.keep_ticket(key, ticket, subject.service.client_tls_since);
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// Milliseconds with three decimals.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals() {
        assert_eq!(Millis(Duration::from_micros(1_042)).to_string(), "1.042");
        assert_eq!(Millis(Duration::from_nanos(999)).to_string(), "0.000");
    }
}
