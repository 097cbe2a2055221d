// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the connections of a listener do: a service, the steps composed from what it has configured, and a relay.
//!
//! The *front* belongs to the listener and ends with the choice of a route; each route has a *back*. A plan is never
//! changed: a reload makes another, and live connections keep theirs.

use super::relay::{Duplex, Relay};
use crate::handshake::{
    Step, accept_tls, answer, check_peer, confirm, connect, connect_tls, limits, login, peek_hello,
    peek_host, pick_route, recv_proxy, reply, resolve, rules, send_proxy, socks, starttls, via_proxy, visit,
};
use crate::policy::rules::Stage;
use crate::policy::service::{Others, Peek, Route, Service};
use crate::wire::starttls::{Opening, Protocol};
use std::iter;
use std::sync::Arc;

/// A recipe for connections.
#[derive(Debug)]
pub struct Plan {
    pub service: Service,
    pub front: Box<[Step]>,
    /// By route, as in the service. Many routes have the same steps and share the list.
    pub backs: Box<[Arc<[Step]>]>,
    pub relay: &'static dyn Relay,
}

impl Plan {
    /// A plan that relays to the servers of its routes.
    pub fn relay(service: Service) -> Self {
        let served = service.starttls;
        Self::compose(service, |route| towards_server(route, served), &Duplex)
    }

    /// As [`Self::relay`], and the client says by SOCKS or CONNECT where to.
    pub fn socks(service: Service) -> Self {
        let asked = |route: &Route| [vec![socks::STEP], towards_server(route, None)].concat();
        Self::compose(service, asked, &Duplex)
    }

    /// A plan whose relay answers by itself and connects nowhere.
    pub fn answer(service: Service, relay: &'static dyn Relay) -> Self {
        Self::compose(service, |_| Vec::new(), relay)
    }

    /// A plan that leads to the control interface.
    pub fn control(service: Service) -> Self {
        Self::compose(service, |_| vec![visit::STEP], &Duplex)
    }

    fn compose(
        service: Service,
        towards_server: impl Fn(&Route) -> Vec<Step>,
        relay: &'static dyn Relay,
    ) -> Self {
        let mut known: Vec<Arc<[Step]>> = Vec::new();
        let back = |route: &Route| {
            let mut steps = towards_client(&service, route);
            steps.extend(towards_server(route));
            steps.extend(service.rules.wants(Stage::Relay).then_some(rules::RELAY));
            let confirms = service.proxy_protocol.as_ref().is_some_and(|proxy| proxy.confirm);
            let asked = route.upstream.requested.as_ref().is_some_and(|requested| requested.port.is_none());
            steps.extend((confirms || asked).then_some(answer::STEP));
            // Who waits for that answer says nothing before, and must not hear anything else.
            steps.extend(first_words(&service, route));
            let names = |steps: &[Step]| steps.iter().map(|step| step.name).collect::<Vec<_>>();
            match known.iter().find(|list| names(list) == names(&steps)) {
                Some(list) => Arc::clone(list),
                None => {
                    known.push(steps.into());
                    Arc::clone(&known[known.len() - 1])
                }
            }
        };
        let backs = service.routes.iter().map(back).collect();
        Self { front: front(&service), backs, service, relay }
    }

    /// The steps of the front, or of a route's back.
    pub fn steps(&self, in_back: bool, route: usize) -> &[Step] {
        if in_back { self.backs.get(route).map_or(&[], |steps| &**steps) } else { &self.front }
    }

    /// Whether clients are known to speak first, so that the kernel may hold a connection back until they do.
    pub fn client_speaks_first(&self) -> bool {
        let Service { monitor, proxy_protocol, peek, starttls, .. } = &self.service;
        let sends_header = proxy_protocol.as_ref().is_some_and(|proxy| proxy.others == Others::Reject);
        let is_greeted = starttls.is_some_and(|protocol| !matches!(protocol.opening, Opening::Client));
        monitor.is_none() && (sends_header || *peek != Peek::None && !is_greeted)
    }
}

/// The steps before a route is known. Monitors come before everything else, so that they need speak neither PROXY nor
/// TLS; the rules are judged as soon as a fact is there.
fn front(service: &Service) -> Box<[Step]> {
    let judged = |stage, step| service.rules.wants(stage).then_some(step);
    let proxy = service.proxy_protocol.as_ref();
    let peek = match service.peek {
        Peek::None => None,
        Peek::Tls => Some(peek_hello::STEP),
        Peek::Http => Some(peek_host::STEP),
    };
    iter::empty()
        .chain(service.monitor.as_ref().map(|_| reply::STEP))
        .chain(service.quota.as_ref().map(|_| limits::SERVICE))
        .chain(proxy.and_then(|_| judged(Stage::Peer, rules::PEER)))
        .chain(proxy.map(|_| recv_proxy::STEP))
        .chain(judged(Stage::Source, rules::SOURCE))
        .chain(service.starttls.map(|_| starttls::CLIENT))
        .chain(peek)
        .chain(judged(Stage::Name, rules::NAME))
        .chain([pick_route::STEP])
        .collect()
}

/// What a route's back begins with.
fn towards_client(service: &Service, route: &Route) -> Vec<Step> {
    let tls = route.accept_tls.as_ref().map(|_| [accept_tls::STEP, check_peer::STEP]);
    let judged = service.rules.wants(Stage::Certificate).then_some(rules::CERTIFICATE);
    let limit = route.quota.as_ref().map(|_| limits::ROUTE);
    limit.into_iter().chain(tls.into_iter().flatten()).chain(judged).collect()
}

/// The steps of a route's way to its server. `served`: what the client was taken to TLS by, in the server's stead.
fn towards_server(route: &Route, served: Option<&Protocol>) -> Vec<Step> {
    let asks = route.starttls.map(|asks| asks.protocol);
    let spoken = asks.or(served);
    let logs_in = spoken.is_some_and(|protocol| matches!(protocol.opening, Opening::Login));
    iter::empty()
        .chain(route.upstream.requested.as_ref().map(|_| resolve::STEP))
        .chain([connect::STEP])
        .chain(route.via.as_ref().map(|_| via_proxy::STEP))
        .chain(route.send_proxy.map(|_| send_proxy::STEP))
        .chain(asks.map(|_| starttls::SERVER))
        .chain((asks.is_some() && logs_in).then_some(login::UP_TO_TLS))
        .chain(route.connect_tls.as_ref().map(|_| connect_tls::STEP))
        .chain(route.send_proxy.filter(|send| send.confirm).map(|_| confirm::AWAIT))
        .chain((served.is_some() && asks.is_none()).then_some(starttls::SWALLOW))
        .chain(logs_in.then_some(login::TO_ITS_END))
        .collect()
}

/// What is said with a client that knows nothing of STARTTLS with the server.
fn first_words(service: &Service, route: &Route) -> impl Iterator<Item = Step> + use<> {
    let unaware = route.starttls.is_some() && service.starttls.is_none();
    let plain = (unaware && route.accept_tls.is_none()).then_some(starttls::PLAIN);
    plain.into_iter().chain(unaware.then_some(starttls::GREET))
}
