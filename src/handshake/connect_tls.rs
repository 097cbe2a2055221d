// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS as client, towards the server.

use super::{For, Progress, Step};
use crate::connection::context::{Ctx, TicketKey};
use crate::connection::pair::Pair;
use crate::error::{Break, Flaw, Reason, Side};
use crate::policy::service::Service;
use crate::stream::tls::{Handshake, Session};
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
        Handshake::Done => Ok(Progress::Done),
        Handshake::Wait => Ok(Progress::Wait(For { side: Side::Server, read: true, patience })),
        Handshake::Failed(how) => Err(failed(how)),
    }
}

/// A session for this server, resuming the newest one there is.
fn session(pair: &Pair, service: &Service, ctx: &Ctx) -> Result<Session, Reason> {
    let failed = |text: String| Reason::Handshake(Side::Server, Flaw::Other, text.into());
    let route = &service.routes[pair.facts.route];
    let Some(policy) = &route.connect_tls else { return Err(failed("no TLS is configured".to_owned())) };
    let name = pair.chosen(service).and_then(|server| server.tls_name.as_deref());
    let mut session = policy.session(ctx.worker, name).map_err(|error| failed(error.to_string()))?;
    if let Some(ticket) = ticket_key(pair, service).and_then(|key| ctx.ticket(&key)) {
        ticket.offer(&mut session).map_err(|error| failed(error.to_string()))?;
    }
    Ok(session)
}

/// Under which key sessions with this connection's server are kept; none where it speaks no TLS.
pub fn ticket_key(pair: &Pair, service: &Service) -> Option<TicketKey> {
    let route = service.routes.get(pair.facts.route)?;
    let policy = route.connect_tls.as_ref()?.id();
    let name = pair.chosen(service)?.tls_name.clone();
    let owner = Arc::as_ptr(&service.stats).addr();
    Some(TicketKey { owner, policy, server: pair.facts.server, name })
}

fn failed(how: Break) -> Reason {
    match how {
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
