// SPDX-License-Identifier: MIT OR Apache-2.0
//! The servers of a `connect`: where each is, what it is checked by, how one of them is chosen.
//!
//! Invariant: whoever asks the same for as many servers shares what is answered. Not here: the first answers
//! (`resolver.rs`), marks and counters, which are asked for once nothing can fail any more (`load.rs`).

use super::super::address::Target;
use super::super::raw::At;
use super::super::settings::{
    CheckSettings, ConnectSettings, EXPAND, Endpoint, QUEUE_LENGTH, QUEUE_TIMEOUT, ServerSettings, Spread,
};
use super::super::via::destination;
use super::Loader;
use crate::policy::balance::Balance;
use crate::policy::check::CheckSpec;
use crate::policy::health::Passive;
use crate::policy::resolved::{self, Resolved};
use crate::policy::target::Requested;
use crate::policy::upstream::{Server, Upstream};
use crate::policy::waiting::Bounds;
use crate::policy::watch::Question;
use crate::wire::checks::Talk;
use std::sync::Arc;

impl Loader<'_> {
    /// How servers of `connect` are checked.
    pub(super) fn check(
        &mut self,
        written: &At<Option<CheckSettings>>,
        connect: &ConnectSettings,
    ) -> Option<Arc<CheckSpec>> {
        let CheckSettings { spec, tls } = written.value.as_ref()?;
        // What is wrong is said once, though several routes may inherit it.
        let has_tls = connect.tls.is_some() && connect.starttls.is_none();
        if let (Some(true), false) = (tls, has_tls) {
            let lacks = if connect.tls.is_some() { "asks for it first (`starttls`)" } else { "has no `tls`" };
            self.report
                .error(written.place, format!("a check within TLS, where `connect` {lacks}"))
                .help("take another kind of check, as in check = \"tcp\"");
        }
        if connect.via.is_some() {
            self.report
                .error(written.place, "`check` where `connect` goes through a `proxy`")
                .help("leave it out: checks go straight to the servers");
        }
        if connect.addresses.iter().any(|endpoint| matches!(endpoint.target, Target::Requested(_))) {
            self.report
                .error(written.place, "`check` where the client names the server")
                .help("leave it out: such servers are not known before");
        }
        let is_tcp = matches!(spec.protocol.talk, Talk::Connect);
        Some(Arc::new(CheckSpec { tls: tls.unwrap_or(has_tls && !is_tcp), ..spec.clone() }))
    }

    pub(super) fn servers(
        &mut self,
        connect: &ConnectSettings,
        check: Option<&Arc<CheckSpec>>,
    ) -> Vec<Server> {
        let server_name = connect.tls.as_ref().and_then(|tls| tls.spec.server_name.clone());
        let mut own = |written: &ServerSettings| match &written.check {
            Some(own) => self.check(own, connect),
            None => check.cloned(),
        };
        let own: Vec<_> = connect.servers.iter().map(&mut own).collect();
        let mut found = |endpoint: &Endpoint, name: &str, expand: Option<At<usize>>| -> Vec<Server> {
            let tls_name = server_name.clone().or_else(|| endpoint.target.host());
            let tls_name: Option<Box<str>> = tls_name.as_deref().map(Into::into);
            // Through a proxy it is the proxy that is connected to, and asked for the server by name.
            let via = connect.via.as_ref();
            let destination = via.and_then(|_| destination(&endpoint.target, &endpoint.text.value).ok());
            let server = |(name, place): (Box<str>, _)| Server {
                destination: destination.clone(),
                ..Server::new(name, place, tls_name.clone(), Arc::default())
            };
            let reached = via.map_or(endpoint, |via| &via.endpoint);
            self.places(reached, name, expand.map(|at| at.value)).into_iter().map(server).collect()
        };
        let listed = connect
            .addresses
            .iter()
            .flat_map(|endpoint| found(endpoint, &endpoint.text.value, connect.expand));
        let mut servers: Vec<Server> =
            listed.map(|server| Server { check: check.cloned(), ..server }).collect();
        for (written, check) in connect.servers.iter().zip(own) {
            let found = found(&written.endpoint, &written.name.value, written.expand);
            servers.extend(found.into_iter().map(|server| Server {
                weight: written.weight,
                backup: written.backup,
                max_connections: written.max_connections.unwrap_or(u32::MAX),
                slow_start: written.slow_start.unwrap_or_default(),
                check: check.clone(),
                ..server
            }));
        }
        servers
    }

    /// The places of a server, with the names of each. What may change is looked after from now on.
    fn places(
        &mut self,
        endpoint: &Endpoint,
        name: &str,
        expand: Option<usize>,
    ) -> Vec<(Box<str>, resolved::Place)> {
        let Some(question) = endpoint.target.question() else {
            let addresses = self.resolve(endpoint).unwrap_or_default().into_iter();
            return addresses.map(|address| (name.into(), address.into())).collect();
        };
        let parts = expand.or_else(|| matches!(question, Question::Service(_)).then_some(EXPAND));
        let known = self.known.entry((question, parts.unwrap_or(1)));
        let watch = known.or_insert_with_key(|(question, places)| {
            let watch = self.context.watches.next(question, *places);
            self.watches.push((Arc::clone(&watch), endpoint.text.place));
            watch
        });
        let named = |(number, place): (usize, &Arc<Resolved>)| {
            let name = if parts.is_some() { format!("{name}#{number}").into() } else { name.into() };
            (name, resolved::Place::Named(Arc::clone(place)))
        };
        (1..).zip(&watch.places).map(named).collect()
    }

    pub(super) fn requested(&mut self, connect: &ConnectSettings) -> Option<Requested> {
        let port = connect.addresses.iter().find_map(|endpoint| match endpoint.target {
            Target::Requested(port) => Some(port),
            _ => None,
        })?;
        let allow = self.networks(connect.allow.as_ref()).unwrap_or_default();
        let (names, ports) = (connect.names.clone().into(), connect.ports.clone().into());
        Some(Requested { port, allow, names, ports })
    }
}

/// The servers of a route, and how they are chosen from. Whoever can be full has a line before it.
pub(super) fn upstream(servers: Box<[Server]>, requested: Option<Requested>, spread: Spread) -> Upstream {
    let bounded = servers.iter().any(|server| server.max_connections != u32::MAX);
    let length = if bounded { spread.queue_length.unwrap_or(QUEUE_LENGTH) } else { 0 };
    let patience = spread.queue_timeout.unwrap_or(QUEUE_TIMEOUT);
    let attempts =
        spread.retries.and_then(|retries| u32::try_from(retries).ok()).map_or(u32::MAX, |more| more + 1);
    Upstream {
        servers,
        balance: Balance::new(spread.balance.unwrap_or_default(), std::iter::empty()),
        attempts,
        waiting: Arc::default(),
        queue: Bounds { length, patience },
        passive: Passive::default(),
        requested,
        named: Arc::default(),
    }
}
