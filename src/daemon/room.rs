// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how many connections and readers there is room within the limit on descriptors.

use super::daemon::Tunnel;
use crate::checks::{self, Checks};
use crate::config::{Bind, Config};
use crate::control::thread::READERS;
use crate::log::Level;
use crate::mode;

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
        limit.want(config.global.max_connections, own as u64);
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
