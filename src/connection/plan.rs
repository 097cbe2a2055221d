// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the connections of a listener do: a service, the steps composed from what it has configured, and a relay.
//!
//! The *front* belongs to the listener and ends with the choice of a route; each route has a *back*. A plan is never
//! changed: a reload makes another, and live connections keep theirs.

use super::relay::{Duplex, Relay};
use crate::handshake::{Step, accept_tls, connect, connect_tls, peek_hello, pick_route};
use crate::policy::service::{Route, Service};

/// A recipe for connections.
#[derive(Debug)]
pub struct Plan {
    pub service: Service,
    pub front: Box<[Step]>,
    /// By route, as in the service.
    pub backs: Box<[Box<[Step]>]>,
    pub relay: &'static dyn Relay,
}

impl Plan {
    /// A plan that relays to the servers of its routes.
    pub fn relay(service: Service) -> Self {
        let back = |route: &Route| {
            let mut steps = Vec::new();
            steps.extend(route.accept_tls.as_ref().map(|_| accept_tls::STEP));
            steps.push(connect::STEP);
            steps.extend(route.connect_tls.as_ref().map(|_| connect_tls::STEP));
            steps.into_boxed_slice()
        };
        Self::compose(service, back, &Duplex)
    }

    /// A plan whose relay answers by itself and connects nowhere.
    pub fn answer(service: Service, relay: &'static dyn Relay) -> Self {
        let back = |route: &Route| route.accept_tls.iter().map(|_| accept_tls::STEP).collect();
        Self::compose(service, back, relay)
    }

    fn compose(service: Service, back: impl Fn(&Route) -> Box<[Step]>, relay: &'static dyn Relay) -> Self {
        let mut front = Vec::new();
        if service.routes.iter().any(|route| route.accept_tls.is_some()) {
            front.push(peek_hello::STEP);
        }
        front.push(pick_route::STEP);
        let backs = service.routes.iter().map(back).collect();
        Self { service, front: front.into(), backs, relay }
    }

    /// The steps of the front, or of a route's back.
    pub fn steps(&self, in_back: bool, route: usize) -> &[Step] {
        if in_back { self.backs.get(route).map_or(&[], |steps| &**steps) } else { &self.front }
    }

    /// Whether clients are known to speak first, so that the kernel may hold a connection back until they do.
    pub fn client_speaks_first(&self) -> bool {
        self.front.len() > 1
    }
}
