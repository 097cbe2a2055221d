// SPDX-License-Identifier: MIT OR Apache-2.0
//! The services, with their routes, servers and rules.

use super::shapes::{failures, shares, timing, traffic};
use super::{ROUTES, View};
use crate::connection::plan::Plan;
use crate::control::model::{Check, Listener, Route, Rule, Server, Service};
use crate::policy::health::{Health, Outcome};
use crate::policy::marks::Admin;
use crate::policy::route_table::Match;
use crate::policy::service::{Peek, Route as Policy, RouteAction, Service as Served};
use crate::policy::upstream::{self, WEIGHT};
use crate::stats::tls::Sums;
use crate::stats::{Counter, Scope};
use crate::sys::time;

/// In the order of the configuration; then those that a reload removed, while they have connections.
pub(super) fn services(view: &View<'_>, listeners: &[Listener]) -> Vec<Service> {
    let plans = &view.running.plans;
    let mut all: Vec<_> = plans.iter().map(|plan| configured(view, plan, listeners)).collect();
    for (name, scope) in view.state.sources.registry.services() {
        let is_configured = plans.iter().any(|plan| plan.service.name == name);
        if !is_configured && scope.active() > 0 {
            let state = "removed".to_owned();
            all.push(Service { state, ..counted(view, &name, &scope) });
        }
    }
    all
}

fn configured(view: &View<'_>, plan: &Plan, listeners: &[Listener]) -> Service {
    let service = &plan.service;
    let own: Vec<_> = listeners.iter().filter(|listener| listener.service == *service.name).collect();
    let state = if !view.is_serving() {
        "draining"
    } else if !own.is_empty() && own.iter().all(|listener| listener.state == "paused") {
        "paused"
    } else {
        "up"
    };
    Service {
        mode: service.mode.to_owned(),
        state: state.to_owned(),
        listens_on: own.iter().map(|listener| listener.address.clone()).collect(),
        accepts_tls: service.terminates,
        connects_tls: service.routes.iter().any(|route| route.connect_tls.is_some()),
        routes: routes(view, service),
        routes_total: service.routes.len() as u64,
        rules: rules(view, service),
        ..counted(view, &service.name, &service.stats)
    }
}

/// What is counted of a service, and nothing else.
fn counted(view: &View<'_>, name: &str, scope: &Scope) -> Service {
    let mut sums = Sums::default();
    scope.add_shares(&mut sums);
    let collected = view.collected();
    let began = collected.meters.since(name).unwrap_or_else(|| view.clock.began());
    Service {
        name: name.to_owned(),
        uptime: (time::unix() - began).max(0.0),
        traffic: traffic(view, scope),
        handshakes: timing(&scope.handshakes()),
        connects: timing(&scope.connects()),
        lifetimes: timing(&scope.lifetimes()),
        limited: scope.sum(Counter::Limited),
        option_errors: scope.sum(Counter::OptionErrors),
        failures: failures(&scope.failures(), &collected.failures, Some(name)),
        tls: shares(scope.sum(Counter::Handshakes), scope.sum(Counter::Resumed), &sums),
        history: collected.meters.history_of(name),
        ..Service::default()
    }
}

fn routes(view: &View<'_>, service: &Served) -> Vec<Route> {
    let mut number = 0;
    let route = |(index, route): (usize, &Policy)| {
        let servers = route.upstream.servers.iter().map(|server| {
            number += 1;
            self::server(view, service, route, server, number)
        });
        let mut servers: Vec<_> = servers.collect();
        if let Some(requested) = &route.upstream.requested {
            number += 1;
            let name = format!("*:{}", requested.port_text());
            servers.push(Server { name, ..counted_of(view, service, route, &route.upstream.named, number) });
        }
        Route {
            name: route.name.to_string(),
            action: match route.action {
                RouteAction::Connect => "connect".to_owned(),
                RouteAction::Reject(_) => "reject".to_owned(),
            },
            takes: service.table.taken(index).map(takes).unwrap_or_default(),
            tls: tls(service, route).to_owned(),
            traffic: traffic(view, &route.stats),
            limited: route.stats.sum(Counter::Limited),
            balance: if route.upstream.servers.is_empty() {
                String::new()
            } else {
                route.upstream.balance.kind.word().to_owned()
            },
            waiting: route.upstream.waiting.len() as u64,
            servers,
        }
    };
    service.routes.iter().enumerate().take(ROUTES).map(route).collect()
}

fn tls(service: &Served, route: &Policy) -> &'static str {
    match route.accept_tls {
        Some(_) => "terminated",
        None if service.peek == Peek::Tls => "passed through",
        None => "none",
    }
}

/// What a route takes, each condition a word or two.
fn takes(route: &Match) -> Vec<String> {
    let mut takes: Vec<String> = route.names.iter().map(ToString::to_string).collect();
    takes.extend(route.alpn.iter().map(|protocol| format!("alpn {}", protocol.escape_ascii())));
    if let Some(networks) = &route.source {
        takes.extend(networks.written().iter().map(|network| format!("source {network}")));
    }
    if route.fallback.no_name {
        takes.push("fallback no-name".to_owned());
    }
    if route.fallback.unknown_name {
        takes.push("fallback unknown-name".to_owned());
    }
    takes
}

fn server(
    view: &View<'_>,
    service: &Served,
    route: &Policy,
    server: &upstream::Server,
    number: u32,
) -> Server {
    let shown = counted_of(view, service, route, &server.stats, number);
    let (name, address) = (server.name.to_string(), server.place.to_string());
    let Some(marks) = &server.marks else { return Server { name, address, ..shown } };
    let shown = seen(view, server, &marks.health, shown);
    // Without an address nothing else can be said of it.
    let state = if server.place.is_known() { shown.state } else { "unresolved".to_owned() };
    Server {
        name,
        address,
        state,
        admin: marks.admin().name().to_owned(),
        weight: server.weight().into(),
        initial_weight: server.weight.into(),
        backup: server.backup,
        max_connections: if server.max_connections == u32::MAX { 0 } else { server.max_connections.into() },
        // Whatever changed last: what the operator says or what was seen.
        since: marks.since().max(shown.since),
        ..shown
    }
}

/// What checks and connections have seen of a server.
fn seen(view: &View<'_>, server: &upstream::Server, health: &Health, shown: Server) -> Server {
    let now = view.clock.at(view.state.now);
    let counted = health.counted(now);
    let limits = server.check.as_ref().map(|check| check.limits);
    let check = |outcome: Outcome| Check {
        at: view.clock.unix(outcome.at),
        ok: outcome.is_ok(),
        status: outcome.status.word().to_owned(),
        took: outcome.took.as_secs_f64(),
        text: outcome.text.into_owned(),
    };
    Server {
        state: health.word(now).to_owned(),
        since: view.clock.unix(health.changed()).max(shown.since),
        checks: health.outcomes().into_iter().map(check).collect(),
        check: server.check.as_ref().map(|check| check.protocol.name.to_owned()).unwrap_or_default(),
        watched: health.is_watched(),
        rise: limits.map_or(0, |limits| limits.rise.into()),
        fall: limits.map_or(0, |limits| limits.fall.into()),
        streak: health.streak().into(),
        checked: counted.checks,
        check_failures: counted.failed,
        downs: counted.downs,
        pauses: counted.pauses,
        downtime: counted.down.as_secs_f64(),
        ..shown
    }
}

/// What is counted of a server.
fn counted_of(view: &View<'_>, service: &Served, route: &Policy, stats: &Scope, number: u32) -> Server {
    let collected = view.collected();
    let (last_error_at, last_error) = collected.meters.last_error(stats);
    Server {
        service: service.name.to_string(),
        route: route.name.to_string(),
        admin: Admin::Ready.name().to_owned(),
        state: "unchecked".to_owned(),
        since: collected.meters.since(&service.name).unwrap_or_else(|| view.clock.began()),
        weight: WEIGHT.into(),
        initial_weight: WEIGHT.into(),
        number,
        traffic: traffic(view, stats),
        connects: timing(&stats.connects()),
        connect_errors: stats.sum(Counter::ConnectErrors),
        last_error_at,
        last_error: last_error.to_owned(),
        ..Server::default()
    }
}

fn rules(view: &View<'_>, service: &Served) -> Vec<Rule> {
    let stats = service.rule_stats.iter().map(|scope| scope.sum(Counter::Matched));
    let specs = service.rules.specs().iter().zip(stats).enumerate();
    let rule = |(index, (spec, matched)): (usize, (&crate::policy::rules::RuleSpec, u64))| {
        let table = service.rules.table(index);
        Rule {
            name: spec.name.to_string(),
            action: spec.action.word().to_owned(),
            matched,
            tracked: table.map_or(0, |table| table.tracked(view.state.now) as u64),
            capacity: table.map_or(0, |table| table.capacity() as u64),
        }
    };
    specs.map(rule).collect()
}
