// SPDX-License-Identifier: MIT OR Apache-2.0
//! From [`Settings`] to what the daemon serves: names resolved, certificates loaded, services and plans built.
//!
//! Invariants: everything is tried even after a failure, so that one run tells all; counters are asked for only once
//! nothing can fail any more, so that a refused configuration leaves no trace. It blocks: it runs on a task thread.

use super::address::{Resolver, overlap};
use super::report::{Place, Report};
use super::settings::{Endpoint, ServiceSettings, Settings, Tls, TlsPlaces};
use super::{Bind, LoadContext};
use crate::policy::route_table::{Match, RouteTable};
use crate::policy::rules::Rules;
use crate::policy::service::{Peek, Route, RouteAction, Service};
use crate::policy::tls_client::ClientTls;
use crate::policy::tls_server::ServerTls;
use crate::policy::tls_spec::{ClientTlsSpec, Problem};
use crate::policy::upstream::{Server, Upstream};
use crate::sys::address::Address;
use std::sync::Arc;

/// The name of a service's only route, until services have several.
const ROUTE: &str = "default";

/// What one service needs from the system.
struct Loaded {
    accept: Vec<Address>,
    servers: Vec<Server>,
    accept_tls: Option<ServerTls>,
    connect_tls: Option<ClientTls>,
}

/// Loads everything; `None` when the report has errors, from here or from before.
pub(super) fn load(settings: &Settings, context: &LoadContext, report: &mut Report) -> Option<Vec<Bind>> {
    let mut resolver = Resolver::default();
    let mut taken = Vec::new();
    let mut all = Vec::new();
    for service in &settings.services {
        all.push(Loaded {
            accept: listen_on(&service.accept, &mut resolver, &mut taken, report),
            servers: servers(service, &mut resolver, report),
            accept_tls: load_accept_tls(service, settings.global.workers, context, report),
            connect_tls: load_connect_tls(service, settings.global.workers, report),
        });
    }
    if report.has_errors() {
        return None;
    }
    let services = settings.services.iter().zip(all);
    Some(services.flat_map(|(settings, loaded)| bind(settings, loaded, context)).collect())
}

/// The addresses of `endpoints`, none of which may be taken already.
fn listen_on(
    endpoints: &[Endpoint],
    resolver: &mut Resolver,
    taken: &mut Vec<(Address, Place)>,
    report: &mut Report,
) -> Vec<Address> {
    let mut addresses = Vec::new();
    for endpoint in endpoints {
        let Some(found) = resolve(endpoint, resolver, report) else { continue };
        for address in found {
            match taken.iter().find(|(other, _)| overlap(&address, other)) {
                Some((other, place)) if *other == address => {
                    let finding =
                        report.error(endpoint.text.place, format!("{address} is listened on twice"));
                    finding.note(*place, "it is taken here");
                }
                Some((other, place)) => {
                    let message = format!("{address} cannot be listened on beside {other}");
                    report.error(endpoint.text.place, message).note(*place, "that one is here");
                }
                None => {
                    taken.push((address.clone(), endpoint.text.place));
                    addresses.push(address);
                }
            }
        }
    }
    addresses
}

fn servers(service: &ServiceSettings, resolver: &mut Resolver, report: &mut Report) -> Vec<Server> {
    let server_name = service.connect_tls.as_ref().and_then(|tls| tls.spec.server_name.clone());
    let mut servers = Vec::new();
    for endpoint in &service.connect {
        let tls_name = server_name.clone().or_else(|| endpoint.target.host());
        let found = resolve(endpoint, resolver, report).unwrap_or_default();
        servers.extend(found.into_iter().map(|address| Server {
            name: endpoint.text.value.as_str().into(),
            address,
            tls_name: tls_name.as_deref().map(Into::into),
        }));
    }
    servers
}

fn resolve(endpoint: &Endpoint, resolver: &mut Resolver, report: &mut Report) -> Option<Vec<Address>> {
    match resolver.resolve(&endpoint.target) {
        Ok(addresses) => Some(addresses),
        Err(complaint) => {
            report.complain(endpoint.text.place, complaint);
            None
        }
    }
}

fn load_accept_tls(
    service: &ServiceSettings,
    workers: usize,
    context: &LoadContext,
    report: &mut Report,
) -> Option<ServerTls> {
    let Tls { spec, places } = service.accept_tls.as_ref()?;
    let identity = format!("{}/{ROUTE}", service.name);
    let loaded = ServerTls::load(spec, &identity, &context.secret, workers);
    loaded.map_err(|problems| blame(problems, places, report)).ok()
}

fn load_connect_tls(service: &ServiceSettings, workers: usize, report: &mut Report) -> Option<ClientTls> {
    let Tls { spec, places }: &Tls<ClientTlsSpec> = service.connect_tls.as_ref()?;
    ClientTls::load(spec, workers).map_err(|problems| blame(problems, places, report)).ok()
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
fn bind(settings: &ServiceSettings, loaded: Loaded, context: &LoadContext) -> Vec<Bind> {
    let route = Route {
        name: ROUTE.into(),
        action: RouteAction::Connect,
        accept_tls: loaded.accept_tls.map(Arc::new),
        upstream: Upstream { servers: loaded.servers.into(), requested: None },
        connect_tls: loaded.connect_tls.map(Arc::new),
        send_proxy: None,
    };
    let peek = if route.accept_tls.is_some() { Peek::Tls } else { Peek::None };
    let service = Service {
        name: settings.name.as_str().into(),
        timeouts: settings.timeouts,
        buffer: settings.buffer,
        truncation: settings.truncation,
        proxy_protocol: None,
        monitor: None,
        rules: Rules::default(),
        peek,
        routes: Box::new([route]),
        table: RouteTable::build(&[Match { ..Match::default() }]).unwrap_or_default(),
        stats: context.registry.service(&settings.name),
    };
    let plan = Arc::new((settings.mode.plan)(service));
    let bind = |address| Bind { address, plan: Arc::clone(&plan) };
    loaded.accept.into_iter().map(bind).collect()
}
