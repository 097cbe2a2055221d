// SPDX-License-Identifier: MIT OR Apache-2.0
//! From [`Settings`] to what the daemon serves: names resolved, files read, certificates loaded, services and plans
//! built.
//!
//! Invariants: everything is tried even after a failure, so that one run tells all; counters are asked for only once
//! nothing can fail any more, so that a refused configuration leaves no trace; what two routes have in common is
//! loaded once. It blocks: it runs on a task thread.

mod servers;

use super::address::{Resolver, overlap};
use super::networks::Reader;
use super::raw::At;
use super::report::{Place, Report};
use super::resolver::{Kept, first_answers};
use super::settings::{
    CheckSettings, ConnectSettings, Endpoint, HealthSettings, NetworkList, OutgoingSettings, RouteSettings,
    RuleSettings, ServiceSettings, Settings, Spread, Tls, TlsPlaces,
};
use super::via;
use super::{Bind, LoadContext, control, socket, socks};
use crate::policy::access::ControlSettings;
use crate::policy::balance::Balance;
use crate::policy::health::Passive;
use crate::policy::networks::Networks;
use crate::policy::outgoing::{Outgoing, Source};
use crate::policy::resolved;
use crate::policy::route_table::{Match, RouteTable, Tie};
use crate::policy::rules::{RuleSpec, Rules};
use crate::policy::service::{AcceptProxy, Monitor, Route, RouteAction, Service};
use crate::policy::socks::Users;
use crate::policy::tls_client::ClientTls;
use crate::policy::tls_server::ServerTls;
use crate::policy::tls_spec::{ClientTlsSpec, Problem, ServerTlsSpec};
use crate::policy::upstream::Upstream;
use crate::policy::via::Via;
use crate::policy::watch::{Question, Watch};
use crate::resolver;
use crate::stats::{Kind, Registry};
use crate::sys::address::Address;
use crate::sys::listening::ListenOptions;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the only route of a service that has none written.
const ROUTE: &str = "default";

/// What a configuration comes to.
pub(super) struct Loaded {
    pub(super) listeners: Vec<Bind>,
    pub(super) control: ControlSettings,
    pub(super) resolver: Arc<resolver::Resolver>,
    pub(super) names: Vec<Kept>,
}

/// Loads everything; `None` when the report has errors, from here or from before.
pub(super) fn load(settings: &Settings, context: &LoadContext, report: &mut Report) -> Option<Loaded> {
    let mut loader = Loader {
        // What was refused may be missing from a route, which then seems to take more than it does.
        compares_routes: !report.has_errors(),
        resolver: Resolver::default(),
        networks: Reader::default(),
        taken: Vec::new(),
        watches: Vec::new(),
        known: HashMap::new(),
        workers: settings.global.workers,
        context,
        report,
    };
    let all: Vec<Parts> = settings.services.iter().map(|service| loader.service(service)).collect();
    let watches = loader.watches;
    let control = control::load(&settings.control, report);
    if report.has_errors() {
        return None;
    }
    let resolver = context.resolver.get().next(settings.resolver.clone());
    let names = first_answers(&resolver, watches, report);
    let services = settings.services.iter().zip(all);
    let listeners = services.flat_map(|(settings, loaded)| bind(settings, loaded, context)).collect();
    context.marks.tidy();
    Some(Loaded { listeners, control, resolver, names })
}

/// What one service needs from the system.
struct Parts {
    accept: Vec<Address>,
    proxy_protocol: Option<AcceptProxy>,
    monitor: Option<Monitor>,
    users: Option<Users>,
    rules: Vec<RuleSpec>,
    routes: Vec<Route>,
    table: RouteTable,
    listen: ListenOptions,
}

/// What is remembered while everything is loaded.
struct Loader<'a> {
    compares_routes: bool,
    resolver: Resolver,
    networks: Reader,
    /// The addresses that are listened on so far, and whether those of IPv6 are for nothing else.
    taken: Vec<(Address, bool, Place)>,
    /// The names that servers are reached by, each where it is written.
    watches: Vec<(Arc<Watch>, Place)>,
    /// The same by what is asked and for how many places: whoever asks the same shares what is answered.
    known: HashMap<(Question, usize), Arc<Watch>>,
    workers: usize,
    context: &'a LoadContext,
    report: &'a mut Report,
}

/// TLS that routes of one service have in common; nothing where loading failed.
struct Common<'s> {
    shared: Option<(&'s ServerTlsSpec, Option<Arc<ServerTls>>)>,
    clients: HashMap<&'s ClientTlsSpec, Option<Arc<ClientTls>>>,
    /// Of the service's own `connect`.
    outgoing: Option<Arc<Outgoing>>,
}

/// What a route says of checks and pauses, and what its service says of those.
#[derive(Clone, Copy)]
struct Health<'s> {
    own: &'s HealthSettings,
    inherited: Option<&'s HealthSettings>,
}

impl<'s> Health<'s> {
    fn both(self) -> impl Iterator<Item = &'s HealthSettings> {
        [Some(self.own), self.inherited].into_iter().flatten()
    }

    fn check(self) -> Option<&'s At<Option<CheckSettings>>> {
        self.both().find_map(|health| health.check.as_ref())
    }

    fn passive(self) -> Passive {
        self.both().find_map(|health| health.passive).unwrap_or_default()
    }
}

impl Loader<'_> {
    fn service(&mut self, service: &ServiceSettings) -> Parts {
        let shared = service.shared_tls();
        // No route is called like this: names of routes are not empty and stand behind a slash.
        let shared = shared.map(|tls| (&tls.spec, self.server_tls(tls, &service.name)));
        let outgoing = service.connect.as_ref().and_then(|connect| self.outgoing(connect));
        let mut common = Common { shared, clients: HashMap::new(), outgoing };
        let routes = if service.routes.is_empty() {
            let health = Health { own: &service.health, inherited: None };
            let upstream = self.upstream(service.connect.as_ref(), service.spread, health, &mut common);
            let accept_tls = common.shared.as_ref().and_then(|(_, tls)| tls.clone());
            let via = self.via(service.connect.as_ref());
            let outgoing = common.outgoing.take();
            let route = route(ROUTE, RouteAction::Connect, accept_tls, service.connect.as_ref(), upstream);
            vec![Route { via, outgoing, ..route }]
        } else {
            service.routes.iter().map(|written| self.route(service, written, &mut common)).collect()
        };
        Parts {
            listen: socket::load_listen(&service.socket, self.report),
            accept: self.listen_on(&service.accept, service.socket.options.v6only == Some(true)),
            proxy_protocol: service.proxy_protocol.as_ref().map(|proxy| AcceptProxy {
                from: self.networks(proxy.from.as_ref()).unwrap_or_default(),
                others: proxy.others,
                confirm: proxy.confirm,
            }),
            monitor: self.monitor(service),
            users: self.users(service),
            rules: service.rules.iter().map(|rule| self.rule(rule)).collect(),
            routes,
            table: self.table(service),
        }
    }

    fn route<'s>(
        &mut self,
        service: &'s ServiceSettings,
        written: &'s RouteSettings,
        common: &mut Common<'s>,
    ) -> Route {
        if let RouteAction::Reject(_) = written.action {
            return route(&written.name, written.action.clone(), None, None, (Upstream::default(), None));
        }
        let accept_tls = match (&written.tls, &common.shared) {
            (None, Some((_, shared))) => shared.clone(),
            (Some(own), Some((spec, shared))) if own.spec == **spec => shared.clone(),
            (Some(own), _) => self.server_tls(own, &format!("{}/{}", service.name, written.name)),
            (None, None) => None,
        };
        let connect = written.connect.as_ref().or(service.connect.as_ref());
        let health = Health { own: &written.health, inherited: Some(&service.health) };
        let upstream = self.upstream(connect, written.spread.or(service.spread), health, common);
        let via = self.via(connect);
        let outgoing = match &written.connect {
            Some(own) => self.outgoing(own),
            None => common.outgoing.clone(),
        };
        Route { via, outgoing, ..route(&written.name, RouteAction::Connect, accept_tls, connect, upstream) }
    }

    fn via(&mut self, connect: Option<&ConnectSettings>) -> Option<Arc<Via>> {
        via::load(connect?.via.as_ref()?, self.report).map(Arc::new)
    }

    /// How sockets towards the servers of a `connect` are opened, if not as usual.
    fn outgoing(&mut self, connect: &ConnectSettings) -> Option<Arc<Outgoing>> {
        let OutgoingSettings { sources, socket, place } = connect.outgoing.as_ref()?;
        let sources: Box<[Source]> = sources.iter().map(|source| source.value).collect();
        socket::probe(socket, sources.contains(&Source::Client), *place, self.report);
        Some(Arc::new(Outgoing::new(socket.clone(), sources)))
    }

    /// The servers of a `connect` and the TLS towards them.
    fn upstream<'s>(
        &mut self,
        connect: Option<&'s ConnectSettings>,
        spread: Spread,
        health: Health<'_>,
        common: &mut Common<'s>,
    ) -> (Upstream, Option<Arc<ClientTls>>) {
        let Some(connect) = connect else { return (Upstream::default(), None) };
        let check = health.check().and_then(|check| self.check(check, connect));
        let (servers, requested) = (self.servers(connect, check.as_ref()).into(), self.requested(connect));
        let upstream =
            Upstream { passive: health.passive(), ..servers::upstream(servers, requested, spread) };
        let Some(Tls { spec, places }) = &connect.tls else { return (upstream, None) };
        let tls = common.clients.entry(spec).or_insert_with(|| {
            let loaded = ClientTls::load(spec, self.workers);
            loaded.map(Arc::new).map_err(|problems| blame(problems, places, self.report)).ok()
        });
        (upstream, tls.clone())
    }

    fn server_tls(&mut self, tls: &Tls<ServerTlsSpec>, identity: &str) -> Option<Arc<ServerTls>> {
        let loaded = ServerTls::load(&tls.spec, identity, &self.context.secret, self.workers);
        loaded.map(Arc::new).map_err(|problems| blame(problems, &tls.places, self.report)).ok()
    }

    fn monitor(&mut self, service: &ServiceSettings) -> Option<Monitor> {
        if let Some(reply) = &service.reply {
            return Some(Monitor { source: None, reply: reply.clone() });
        }
        let monitor = service.monitor.as_ref()?;
        Some(Monitor { source: self.networks(Some(&monitor.source)), reply: monitor.reply.clone() })
    }

    fn users(&mut self, service: &ServiceSettings) -> Option<Users> {
        let file = service.socks.as_ref()?;
        socks::load(&file.value, file.place, self.report)
    }

    fn rule(&mut self, rule: &RuleSettings) -> RuleSpec {
        RuleSpec {
            name: rule.name.as_str().into(),
            source: self.networks(rule.source.as_ref()),
            names: (!rule.sni.is_empty()).then(|| rule.sni.patterns.clone()),
            alpn: (!rule.alpn.is_empty()).then(|| protocols(&rule.alpn)),
            certificate: rule.certificate.clone(),
            limits: rule.limits,
            action: rule.action.clone(),
        }
    }

    /// Who goes where; two routes that would take the same client are reported.
    fn table(&mut self, service: &ServiceSettings) -> RouteTable {
        if !self.compares_routes {
            return RouteTable::default();
        }
        let mut matches: Vec<Match> = service.routes.iter().map(|route| self.matches(route)).collect();
        if matches.is_empty() {
            matches.push(Match::default());
        }
        RouteTable::build(&matches).unwrap_or_else(|ties| {
            for tie in ties {
                tell_tie(service, &tie, self.report);
            }
            RouteTable::default()
        })
    }

    fn matches(&mut self, route: &RouteSettings) -> Match {
        let names = if route.sni.is_empty() { &route.host } else { &route.sni };
        Match {
            names: names.patterns.clone(),
            alpn: protocols(&route.alpn),
            source: self.networks(route.source.as_ref()),
            fallback: route.fallback.value,
        }
    }

    fn networks(&mut self, list: Option<&NetworkList>) -> Option<Networks> {
        list.map(|list| self.networks.load(list, self.report))
    }

    /// The addresses of `endpoints`, none of which may be taken already.
    fn listen_on(&mut self, endpoints: &[Endpoint], only_v6: bool) -> Vec<Address> {
        let mut addresses = Vec::new();
        for endpoint in endpoints {
            let Some(found) = self.resolve(endpoint) else { continue };
            for address in found {
                let apart = |other: &Address, other_only_v6: bool| {
                    let is_v4 = |address: &Address| matches!(address.ip(), Some(IpAddr::V4(_)));
                    only_v6 && is_v4(other) || other_only_v6 && is_v4(&address)
                };
                let mut others = self.taken.iter();
                match others.find(|(other, only_v6, _)| overlap(&address, other) && !apart(other, *only_v6)) {
                    Some((other, _, place)) if *other == address => {
                        let finding =
                            self.report.error(endpoint.text.place, format!("{address} is listened on twice"));
                        finding.note(*place, "it is taken here");
                    }
                    Some((other, _, place)) => {
                        let message = format!("{address} cannot be listened on beside {other}");
                        self.report.error(endpoint.text.place, message).note(*place, "that one is here");
                    }
                    None => {
                        self.taken.push((address.clone(), only_v6, endpoint.text.place));
                        addresses.push(address);
                    }
                }
            }
        }
        addresses
    }

    fn resolve(&mut self, endpoint: &Endpoint) -> Option<Vec<Address>> {
        match self.resolver.resolve(&endpoint.target) {
            Ok(addresses) => Some(addresses),
            Err(complaint) => {
                self.report.complain(endpoint.text.place, complaint);
                None
            }
        }
    }
}

/// A route of what was loaded for it; `connect` is where it goes.
fn route(
    name: &str,
    action: RouteAction,
    accept_tls: Option<Arc<ServerTls>>,
    connect: Option<&ConnectSettings>,
    (upstream, connect_tls): (Upstream, Option<Arc<ClientTls>>),
) -> Route {
    let send_proxy = connect.and_then(|connect| connect.send_proxy);
    let starttls = connect.and_then(|connect| connect.starttls).map(|asks| asks.value);
    let stats = Arc::default();
    Route {
        name: name.into(),
        action,
        accept_tls,
        upstream,
        connect_tls,
        via: None,
        starttls,
        send_proxy,
        quota: None,
        stats,
        outgoing: None,
    }
}

fn protocols(names: &[String]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}

/// Reports two routes that would take the same client at both places, as near as they can be found.
fn tell_tie(service: &ServiceSettings, tie: &Tie, report: &mut Report) {
    let place = |index: usize| {
        let route = service.routes.get(index)?;
        let names = if route.sni.is_empty() { &route.host } else { &route.sni };
        let written = names.names.iter().chain(&names.regexes).zip(&names.patterns);
        let mut tied = written.filter(|(_, pattern)| tie.what.starts_with(&format!("\"{pattern}\"")));
        let named = tied.next().map(|(written, _)| written);
        let fallback = tie.what.starts_with("fallback").then_some(route.fallback.place);
        Some((route, named.map(|name| name.place).or(fallback).unwrap_or(route.place)))
    };
    if let (Some((first, first_place)), Some((second, second_place))) = (place(tie.first), place(tie.second))
    {
        let message = format!(
            "routes {:?} and {:?} would take the same clients: {}",
            first.name, second.name, tie.what
        );
        report
            .error(second_place, message)
            .note(first_place, format!("route {:?} takes them here", first.name))
            .help("tell them apart by name, `alpn` or `source`");
    }
}

/// Reports what went wrong in loading at the places that named it.
fn blame(problems: Vec<Problem>, places: &TlsPlaces, report: &mut Report) {
    for problem in problems {
        let finding = report.error(places.of(&problem), problem.message);
        if let Some(help) = problem.help {
            finding.help(help);
        }
    }
}

/// One plan for the service, shared by all its addresses.
fn bind(settings: &ServiceSettings, mut loaded: Parts, context: &LoadContext) -> Vec<Bind> {
    for route in &mut loaded.routes {
        for server in &mut route.upstream.servers {
            server.marks = Some(context.marks.of(&settings.name, &route.name, &server.name));
        }
        let upstream = &mut route.upstream;
        if upstream.queue.length > 0 {
            upstream.waiting = context.marks.line_of(&settings.name, &route.name);
        }
        let turns = upstream.servers.iter().filter_map(|server| Some(server.marks.as_ref()?.turn()));
        upstream.balance = Balance::new(upstream.balance.kind, turns);
    }
    find_stats(&settings.name, &mut loaded.routes, &context.registry);
    for (route, written) in loaded.routes.iter_mut().zip(&settings.routes) {
        let quota = |limit| Box::new(context.quotas.find(&settings.name, Some(&route.name), limit));
        route.quota = written.limit.map(quota);
    }
    let rule_stats = |rule: &RuleSpec| context.registry.scope(Kind::Rule, &[&settings.name, &rule.name]);
    let rule_stats = loaded.rules.iter().map(rule_stats).collect();
    let service = Service {
        name: settings.name.as_str().into(),
        mode: settings.mode.name,
        timeouts: settings.timeouts,
        buffer: settings.buffer,
        truncation: settings.truncation,
        proxy_protocol: loaded.proxy_protocol,
        monitor: loaded.monitor,
        users: loaded.users,
        starttls: settings.starttls.map(|protocol| protocol.value),
        quota: settings.limit.map(|limit| context.quotas.find(&settings.name, None, limit)),
        rules: Rules::new(loaded.rules, &settings.name, &context.tables),
        peek: settings.peek,
        client_tls_since: loaded
            .routes
            .iter()
            .filter_map(|route| Some(route.connect_tls.as_ref()?.id()))
            .min()
            .unwrap_or_default(),
        terminates: loaded.routes.iter().any(|route| route.accept_tls.is_some()),
        routes: loaded.routes.into(),
        table: loaded.table,
        stats: context.registry.service(&settings.name),
        rule_stats,
    };
    let plan = Arc::new((settings.mode.plan)(service));
    let options = Arc::new(loaded.listen);
    let bind = |address| Bind { address, plan: Arc::clone(&plan), options: Arc::clone(&options) };
    loaded.accept.into_iter().map(bind).collect()
}

/// What is counted of routes and servers is found again by their names.
fn find_stats(service: &str, routes: &mut [Route], registry: &Registry) {
    for route in routes {
        route.stats = registry.scope(Kind::Route, &[service, &route.name]);
        for server in &mut route.upstream.servers {
            let address = match &server.place {
                resolved::Place::Fixed(address) => address.to_string(),
                // Its addresses come and go; what is counted stays.
                resolved::Place::Named(_) => String::new(),
            };
            server.stats = registry.scope(Kind::Server, &[service, &route.name, &server.name, &address]);
        }
        if route.upstream.requested.is_some() {
            route.upstream.named = registry.scope(Kind::Server, &[service, &route.name]);
        }
    }
}
