// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS as server: the socket moves into a session made from the context that the hello chose.

use super::{For, Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Break, Flaw, Reason, Side};
use crate::policy::service::{Service, Truncation};
use crate::stats::tls::Agreed;
use crate::stream::tls::{Handshake, TlsStream};
use crate::wire::client_hello;

pub const STEP: Step = Step { name: "the TLS handshake with the client", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let route = &service.routes[pair.facts.route];
    let Some(policy) = &route.accept_tls else { return Ok(Progress::Done) };
    if pair.client.stream.as_tls().is_none() {
        let session = policy
            .session(pair.facts.server_name.as_deref(), &route.name, ctx.worker)
            .map_err(|error| Reason::Handshake(Side::Client, Flaw::Other, error.to_string().into()))?;
        pair.client.stream.start_tls(session).map_err(failed)?;
    }
    let Some(tls) = pair.client.stream.as_tls() else { return Ok(Progress::Done) };
    match tls.handshake(&mut ctx.buffers.scratch) {
        Handshake::Wait => Ok(Progress::Wait(For { side: Side::Client, read: true, patience: None })),
        Handshake::Failed(how) => Err(failed(how)),
        Handshake::Done
            if !same_name(tls, pair.facts.server_name.as_deref()) || !was_offered(tls, &pair.facts.alpn) =>
        {
            Err(Reason::NameChanged)
        }
        Handshake::Done => {
            if service.truncation == Truncation::Close {
                tls.forgive_truncation();
            }
            pair.facts.shaken = Some(ctx.now);
            let agreed = Agreed {
                version: tls.version(),
                cipher: tls.cipher().unwrap_or_default(),
                group: tls.group(),
                resumed: tls.resumed(),
            };
            if let Some(stats) = pair.stays.service() {
                let time = ctx.now.saturating_duration_since(pair.facts.accepted);
                stats.shaken(ctx.worker, time, &agreed);
            }
            Ok(Progress::Done)
        }
    }
}

fn failed(how: Break) -> Reason {
    match how {
        Break::Tls(flaw, text) => Reason::Handshake(Side::Client, flaw, text),
        Break::Truncated => {
            let text = "the client closed in the middle of the handshake";
            Reason::Handshake(Side::Client, Flaw::Closed, text.into())
        }
        other => Reason::broken(Side::Client, other),
    }
}

/// Whether the name in the library's hands is the one that was routed: two parsers, one opinion.
fn same_name(tls: &TlsStream, routed: Option<&str>) -> bool {
    match (tls.server_name(), routed) {
        (None, None) => true,
        (Some(seen), Some(routed)) => client_hello::is_same_name(seen, routed),
        // In a TLS 1.2 resumption the library answers from the session, which has no name where nobody asked for one to
        // be kept. The ticket could be opened, so the session was agreed under this very policy.
        (None, Some(_)) => tls.resumed(),
        _ => false,
    }
}

/// Whether the protocol that was agreed on stands in the hello that was judged: after a HelloRetryRequest the library reads
/// another one, which may offer others.
fn was_offered(tls: &TlsStream, offered: &[Box<[u8]>]) -> bool {
    tls.alpn().is_none_or(|agreed| offered.iter().any(|protocol| **protocol == *agreed))
}
