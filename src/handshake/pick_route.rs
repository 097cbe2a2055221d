// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chooses the route by what is known of the client; the cursor goes on with its back. Whom no route takes is told so,
//! in TLS by an alert, and reaches no server.

use super::alert::Alert;
use super::peek_hello::tls_is_done;
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::policy::route_table::{Miss, Query};
use crate::policy::service::{Peek, RouteAction, Service};
use crate::stats::{Counter, Presence};

pub const STEP: Step = Step { name: "picking a route", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let facts = &pair.facts;
    let query = Query { name: facts.server_name.as_deref(), alpn: &facts.alpn, source: pair.source().ip() };
    let route = match service.table.find(&query) {
        Ok(route) => route,
        Err(miss) => {
            let why = explain(miss, query.name);
            refuse(pair, service, b"", ctx);
            return Err(Reason::NoRoute(why));
        }
    };
    pair.facts.route = route;
    pair.facts.picked = true;
    let route = &service.routes[route];
    route.stats.add(ctx.worker, Counter::Accepted, 1);
    pair.stays.route = Some(Presence::enter(&route.stats, ctx.at()));
    if let RouteAction::Reject(reply) = &route.action {
        refuse(pair, service, reply.as_ref().map_or(b"", |reply| &reply.bytes), ctx);
        return Err(Reason::RouteRejects(route.name.clone()));
    }
    Ok(Progress::Done)
}

fn explain(miss: Miss, name: Option<&str>) -> Box<str> {
    match (miss, name) {
        (Miss::UnknownName, Some(name)) => format!("no route for the name {name:?}").into(),
        _ => "the client asked for no name".into(),
    }
}

/// Tells a client that spoke TLS with an alert, another with `reply`.
fn refuse(pair: &mut Pair, service: &Service, reply: &[u8], ctx: &mut Ctx) {
    let tls = service.peek == Peek::Tls && !tls_is_done(pair, service);
    if tls && Alert::UnrecognizedName.tell(pair, ctx) {
        return;
    }
    if !reply.is_empty() {
        pair.client.write(reply, &mut ctx.buffers.scratch);
    }
}
