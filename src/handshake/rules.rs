// SPDX-License-Identifier: MIT OR Apache-2.0
//! Judges the service's rules, as far as the facts of the moment allow: one step for each stage.
//!
//! Not here: what the rules say (policy/rules.rs), and what becomes of a connection that one refuses (connection/).

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Facts, Pair};
use crate::error::{Reason, Refusal};
use crate::policy::rules::{Judgement, Known, Stage};
use crate::policy::service::Service;
use crate::stats::Counter;

/// Of the peer's own address, in front of its PROXY header.
pub const PEER: Step = step(|pair, service, ctx| run(Stage::Peer, pair, service, ctx));

/// Of the client's address.
pub const SOURCE: Step = step(|pair, service, ctx| run(Stage::Source, pair, service, ctx));

/// Of the name and the protocols it asks for: behind whatever reads them.
pub const NAME: Step = step(|pair, service, ctx| run(Stage::Name, pair, service, ctx));

/// Of its certificate: behind the TLS handshake, in front of the connect, also where no TLS is terminated.
pub const CERTIFICATE: Step = step(|pair, service, ctx| run(Stage::Certificate, pair, service, ctx));

/// Of the bytes its source has moved: behind everything else.
pub const RELAY: Step = step(|pair, service, ctx| run(Stage::Relay, pair, service, ctx));

const fn step(run: fn(&mut Pair, &Service, &mut Ctx) -> Result<Progress, Reason>) -> Step {
    Step { name: "judging the rules", run, expired: client_too_slow }
}

fn run(stage: Stage, pair: &mut Pair, service: &Service, ctx: &Ctx) -> Result<Progress, Reason> {
    let source = if stage == Stage::Peer { pair.facts.client.ip() } else { pair.source().ip() };
    let Facts { server_name, alpn, tls, judged, .. } = &mut pair.facts;
    let known = Known {
        source,
        name: server_name.as_deref(),
        alpn,
        // One that was not verified says nothing; only a tunnel before us lets such clients through.
        certificate: tls.as_deref().filter(|tls| tls.verify == 0).and_then(|tls| tls.certificate.as_ref()),
    };
    obey(service, service.rules.judge(judged, stage, &known, ctx.now), ctx)?;
    Ok(Progress::Done)
}

/// Tells the rules that the relay has moved `bytes` more, both ways together.
///
/// # Errors
/// A rule ends the connection.
pub fn charge(pair: &mut Pair, service: &Service, bytes: u64, ctx: &Ctx) -> Result<(), Reason> {
    obey(service, service.rules.charge(&mut pair.facts.judged, bytes, ctx.now), ctx)
}

fn obey(service: &Service, judgement: Judgement, ctx: &Ctx) -> Result<(), Reason> {
    let Judgement::Refused(at) = judgement else { return Ok(()) };
    let rule = &service.rules.specs()[at];
    for stats in [Some(&service.stats), service.rule_stats.get(at)].into_iter().flatten() {
        stats.add(ctx.worker, Counter::Matched, 1);
    }
    Err(Reason::Rule(rule.name.clone(), rule.action.refusal().unwrap_or(Refusal::Reject)))
}
