// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lets a connection in where the service, or its route, has a `limit`: before anything is read of it, and before anything is
//! done for a route. Its place stays with it until it has gone.
//!
//! Who is refused is told at once: where it is to begin with TLS by the alert internal_error, which RFC 8446 section 6.2 has
//! for what has nothing to do with the peer, such as want of memory. Not here: what is counted (`policy/quota.rs`), limits of
//! one source (`handshake/rules.rs`).

use super::alert::Alert;
use super::peek_hello::tls_is_done;
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Excess, Reason};
use crate::policy::quota::Quota;
use crate::policy::service::{Peek, Service};
use crate::stats::Counter;

/// Behind monitors, ahead of everything else.
pub const SERVICE: Step = step(service);

/// The beginning of a route's back.
pub const ROUTE: Step = step(route);

const fn step(run: fn(&mut Pair, &Service, &mut Ctx) -> Result<Progress, Reason>) -> Step {
    Step { name: "finding a place", run, expired: client_too_slow }
}

fn service(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(quota) = &service.quota else { return Ok(Progress::Done) };
    enter(quota, pair, ctx).map_err(|excess| {
        if let Some(stats) = pair.stays.service() {
            stats.add(ctx.worker, Counter::Limited, 1);
        }
        // Nothing was read: what it will say is known by the configuration alone. Who begins in clear expects no alert.
        if service.peek == Peek::Tls && service.starttls.is_none() {
            pair.client.write(&Alert::InternalError.record(), &mut ctx.buffers.scratch);
        }
        Reason::Limit(excess, None)
    })
}

fn route(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let route = &service.routes[pair.facts.route];
    let Some(quota) = &route.quota else { return Ok(Progress::Done) };
    enter(quota, pair, ctx).map_err(|excess| {
        for stats in [pair.stays.service(), Some(&route.stats)].into_iter().flatten() {
            stats.add(ctx.worker, Counter::Limited, 1);
        }
        if service.peek == Peek::Tls && !tls_is_done(pair, service) {
            Alert::InternalError.tell(pair, ctx);
        }
        Reason::Limit(excess, Some(route.name.clone()))
    })
}

fn enter(quota: &Quota, pair: &mut Pair, ctx: &Ctx) -> Result<Progress, Excess> {
    let place = quota.admit(ctx.now)?;
    pair.bounds.get_or_insert_default().places.push(place);
    Ok(Progress::Done)
}
