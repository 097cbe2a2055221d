// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how many connections and readers there is room within the limit on descriptors.

use super::daemon::Tunnel;
use crate::checks::{self, Checks};
use crate::config::{Bind, Config};
use crate::connection::guard::DESCRIPTORS;
use crate::control::thread::READERS;
use crate::log::Level;
use crate::mode;
use crate::policy::service::{Route, Service};
use crate::sys::address::Address;

/// Descriptors of the process itself: standard streams, the log, signals, bells, and files while they are loaded.
const OWN_DESCRIPTORS: usize = 24;

/// Descriptors of a worker: its epoll, its bells, a pipe.
const WORKER_DESCRIPTORS: usize = 4;

/// The control interface's own: its socket and its HTTP listener.
const CONTROL_LISTENERS: usize = 2;

/// One descriptor in so many is for readers of the control interface, up to all it can have, but for so many at least.
const READERS_SHARE: u64 = 8;

const FEWEST_READERS: usize = 64;

impl Tunnel {
    /// Gives the places that are wanted, or as many as this limit on descriptors allows, and tells if those are fewer.
    pub(super) fn make_room(&self, config: &Config, descriptors: u64) {
        let limit = &self.shared.limit;
        let checks = Checks::descriptors(&checks::targets(&config.plans()));
        let mut own =
            OWN_DESCRIPTORS + self.global.workers * WORKER_DESCRIPTORS + config.listeners.len() + checks;
        if is_asked(config) {
            let readers = readers(descriptors.saturating_sub(own as u64));
            limit.want_readers(readers);
            own += CONTROL_LISTENERS + readers;
        }
        let each = config.listeners.iter().map(descriptors_of).max().unwrap_or(DESCRIPTORS);
        limit.want(config.global.max_connections, own as u64, each);
        let places = limit.fit(descriptors);
        if places < config.global.max_connections {
            let line = self.ctx.log.line(Level::Warning, "config-warning");
            let text = format!(
                "max_connections = {} may need {} descriptors, and the limit is {descriptors}, which is enough for \
                 {places}: raise it (LimitNOFILE, ulimit -n) or lower max_connections",
                config.global.max_connections,
                limit.needs()
            );
            line.field("warning", text).send();
        }
    }
}

/// The descriptors of a connection that comes in there: over unix sockets a confirmation brings a mark with it, which stays.
fn descriptors_of(bind: &Bind) -> u64 {
    let Service { proxy_protocol, routes, .. } = &bind.plan.service;
    let is_unix = |address: &Address| !matches!(address, Address::Inet(_));
    let gives = proxy_protocol.as_ref().is_some_and(|proxy| proxy.confirm) && is_unix(&bind.address);
    let leads_there =
        |route: &Route| route.upstream.servers.iter().any(|it| it.place.all().iter().any(is_unix));
    let takes = |route: &Route| route.send_proxy.is_some_and(|send| send.confirm) && leads_there(route);
    DESCRIPTORS + u64::from(gives) + u64::from(routes.iter().any(takes))
}

/// Whether anybody can ask the control interface.
fn is_asked(config: &Config) -> bool {
    let leads_there = |bind: &Bind| bind.plan.service.mode == mode::control::MODE.name;
    config.control.socket.is_some()
        || config.control.http.is_some()
        || config.listeners.iter().any(leads_there)
}

/// The readers there may be where the process has so many descriptors beside its own: all of them, unless clients would go
/// short.
fn readers(descriptors: u64) -> usize {
    let share = usize::try_from(descriptors / READERS_SHARE).unwrap_or(READERS);
    share.clamp(FEWEST_READERS, READERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_as_many_as_the_descriptors_allow() {
        for (descriptors, expected) in
            [(0, 64), (100, 64), (512, 64), (1000, 125), (4096, 512), (u64::MAX, 512)]
        {
            assert_eq!(readers(descriptors), expected, "{descriptors}");
        }
    }
}
