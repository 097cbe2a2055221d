// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS as client, towards the server.

use super::{For, Progress, Step};
use crate::connection::context::{Ctx, TicketKey};
use crate::connection::pair::Pair;
use crate::error::{Blame, Break, Flaw, Reason, Side};
use crate::policy::service::Service;
use crate::policy::tls_client::FromClient;
use crate::stream::tls::{Handshake, Session};
use std::io;
use std::sync::Arc;

pub const STEP: Step = Step { name: "the TLS handshake with the server", run, expired };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    if pair.facts.stays_clear {
        return Ok(Progress::Done);
    }
    let mut patience = None;
    if pair.server.as_mut().is_some_and(|end| end.stream.as_tls().is_none()) {
        let session = session(pair, service, ctx)?;
        let Some(server) = pair.server.as_mut() else { return Ok(Progress::Done) };
        server.stream.start_tls(session).map_err(failed)?;
        patience = Some(service.timeouts.handshake);
    }
    let Some(tls) = pair.server.as_mut().and_then(|end| end.stream.as_tls()) else {
        return Ok(Progress::Done);
    };
    match tls.handshake(&mut ctx.buffers.scratch) {
        Handshake::Done => check_protocol(pair, service),
        Handshake::Wait => Ok(Progress::Wait(For { side: Side::Server, read: true, patience })),
        Handshake::Failed(how) => Err(failed(how)),
    }
}

/// A session for this server, resuming the newest one there is.
fn session(pair: &mut Pair, service: &Service, ctx: &Ctx) -> Result<Session, Reason> {
    let failed = |text: String| Reason::System(io::Error::other(text));
    let route = &service.routes[pair.facts.route];
    let Some(policy) = &route.connect_tls else { return Err(failed("no TLS is configured".to_owned())) };
    let protocol = protocol(pair);
    let client = FromClient { name: pair.facts.server_name.as_deref(), protocol: protocol.as_deref() };
    let name = pair.chosen(service).and_then(|server| server.tls_name.as_deref());
    let mut session = policy
        .session_for(ctx.worker, name, policy.wanted(client))
        .map_err(|error| failed(error.to_string()))?;
    if let Some(ticket) = ticket_key(pair, service).and_then(|key| ctx.ticket(&key)) {
        ticket.offer(&mut session).map_err(|error| failed(error.to_string()))?;
    }
    Ok(session)
}

/// The protocol that was agreed on with the client, by us or by the tunnel before us.
fn protocol(pair: &mut Pair) -> Option<Box<[u8]>> {
    match pair.client.stream.as_tls() {
        Some(tls) => tls.alpn().map(Into::into),
        None => pair.facts.header.as_ref().and_then(|header| header.tlvs.alpn.clone()),
    }
}

/// A server that was asked for the client's protocol must have agreed: the client speaks it already.
fn check_protocol(pair: &mut Pair, service: &Service) -> Result<Progress, Reason> {
    let protocol = protocol(pair);
    let policy = service.routes.get(pair.facts.route).and_then(|route| route.connect_tls.as_ref());
    let client = FromClient { name: None, protocol: protocol.as_deref() };
    let Some(wanted) = policy.and_then(|policy| policy.wanted(client).protocol) else {
        return Ok(Progress::Done);
    };
    let agreed = pair.server.as_mut().and_then(|end| end.stream.as_tls()?.alpn());
    if agreed == Some(wanted) {
        return Ok(Progress::Done);
    }
    let text = format!("the server did not agree on \"{}\", which the client speaks", wanted.escape_ascii());
    Err(Reason::Handshake(Side::Server, Flaw::NoSharedAlpn, text.into()))
}

/// What a handshake that failed so is due to: a server that was asked for what the client asks for answers for that as well.
pub(super) fn due_to(pair: &Pair, service: &Service, flaw: Flaw) -> Blame {
    let policy = service.routes.get(pair.facts.route).and_then(|route| route.connect_tls.as_ref());
    let protocol = pair.facts.alpn.first().map(|protocol| &**protocol);
    let client = FromClient { name: pair.facts.server_name.as_deref(), protocol };
    let wanted = policy.map(|policy| policy.wanted(client)).unwrap_or_default();
    match flaw {
        Flaw::NoSharedAlpn | Flaw::Alert if wanted.name.is_some() || wanted.protocol.is_some() => {
            Blame::Client
        }
        // Which certificate it shows goes by the name.
        Flaw::WrongName
        | Flaw::WrongKey
        | Flaw::UnknownCa
        | Flaw::CertificateExpired
        | Flaw::CertificateRevoked
        | Flaw::BadCertificate
            if wanted.name.is_some() =>
        {
            Blame::Nobody
        }
        _ => Blame::Server,
    }
}

/// Under which key sessions with this connection's server are kept; none where it speaks no TLS.
pub fn ticket_key(pair: &Pair, service: &Service) -> Option<TicketKey> {
    let route = service.routes.get(pair.facts.route)?;
    let policy = route.connect_tls.as_ref()?;
    let client = FromClient { name: pair.facts.server_name.as_deref(), protocol: None };
    let asked = policy.wanted(client).name.map(Into::into);
    let name = pair.chosen(service)?.tls_name.clone();
    let owner = Arc::as_ptr(&service.stats).addr();
    let (route, server) = (pair.facts.route, pair.facts.server);
    Some(TicketKey { owner, policy: policy.id(), route, server, name, asked })
}

fn failed(how: Break) -> Reason {
    match how {
        Break::Tls(flaw @ Flaw::WrongKey, _) => {
            Reason::Handshake(Side::Server, flaw, "the server's key is none of those in `pin`".into())
        }
        Break::Tls(flaw, text) => Reason::Handshake(Side::Server, flaw, text),
        Break::Truncated => {
            let text = "the server closed in the middle of the handshake";
            Reason::Handshake(Side::Server, Flaw::Closed, text.into())
        }
        other => Reason::broken(Side::Server, other),
    }
}

fn expired(_: &mut Pair, _: &Service, _: &mut Ctx) -> Option<Reason> {
    Some(Reason::HandshakeTimeout(Side::Server))
}
