// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon as a whole: what all services have counted, and how it stands.

use super::View;
use super::shapes::{failures, shares, timing};
use crate::control::model::{Listener, Names, Process, Reload, Traffic};
use crate::control::running::Life;
use crate::resolver::Resolver;
use crate::stats::causes::CAUSES;
use crate::stats::histogram::{Distribution, Scale};
use crate::stats::tls::Sums;
use crate::stats::{Counter, Scope};
use crate::sys::{openssl, time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sums over all services that ever were: nothing is counted twice, so nothing can disagree.
struct All {
    services: Vec<(Box<str>, Arc<Scope>)>,
}

impl All {
    fn sum(&self, counter: Counter) -> u64 {
        self.services.iter().map(|(_, scope)| scope.sum(counter)).sum()
    }

    fn times(&self, scale: Scale, of: impl Fn(&Scope) -> Distribution) -> Distribution {
        let mut all = Distribution::new(scale);
        self.services.iter().for_each(|(_, scope)| all.join(&of(scope)));
        all
    }

    fn failures(&self) -> [u64; CAUSES.len()] {
        let mut sums = [0; CAUSES.len()];
        for (_, scope) in &self.services {
            for (sum, count) in sums.iter_mut().zip(scope.failures()) {
                *sum += count;
            }
        }
        sums
    }

    fn shares(&self) -> Sums {
        let mut sums = Sums::default();
        self.services.iter().for_each(|(_, scope)| scope.add_shares(&mut sums));
        sums
    }

    fn traffic(&self, view: &View<'_>) -> Traffic {
        let (limit, rates) = (&view.state.sources.limit, view.collected().meters.all());
        let last = self.services.iter().map(|(_, scope)| scope.last()).max().unwrap_or(0);
        Traffic {
            active: limit.active() as u64,
            peak: limit.peak() as u64,
            total: self.sum(Counter::Accepted),
            failed: self.sum(Counter::Failed),
            rate: rates.connections,
            peak_rate: rates.peak,
            bytes_in: self.sum(Counter::BytesFromClients),
            bytes_out: self.sum(Counter::BytesToClients),
            rate_in: rates.bytes_in,
            rate_out: rates.bytes_out,
            last: view.clock.unix(last),
        }
    }
}

pub(super) fn process(view: &View<'_>, listeners: &[Listener]) -> Process {
    let (sources, running, collected) = (&view.state.sources, view.running, view.collected());
    let all = All { services: sources.registry.services() };
    let not_ready = not_ready(view, listeners);
    let handshakes = all.sum(Counter::Handshakes);
    Process {
        name: "tunnel".to_owned(),
        version: env!("TUNNEL_VERSION").to_owned(),
        commit: env!("TUNNEL_COMMIT").to_owned(),
        tls_library: openssl::library_version().to_owned(),
        pid: std::process::id(),
        user: collected.user.clone(),
        node: collected.node.clone(),
        state: state(running.life).to_owned(),
        ready: not_ready.is_empty(),
        not_ready,
        started: view.clock.began(),
        uptime: (time::unix() - view.clock.began()).max(0.0),
        config: running.config.clone(),
        reload: reload(view),
        max_connections: running.max_connections as u64,
        places: sources.limit.places() as u64,
        open_files: running.open_files,
        queued: sources.queue.len() as u64,
        log_lost: sources.log.lost(),
        log_level: running.log_level.to_owned(),
        traffic: all.traffic(view),
        handshakes: timing(&all.times(Scale::Short, Scope::handshakes)),
        connects: timing(&all.times(Scale::Short, Scope::connects)),
        lifetimes: timing(&all.times(Scale::Long, Scope::lifetimes)),
        failures: failures(&all.failures(), &collected.failures, None),
        tls: shares(handshakes, all.sum(Counter::Resumed), &all.shares()),
        names: names(&sources.resolver.get()),
        history: collected.meters.history(),
        problems: Vec::new(),
    }
}

fn names(resolver: &Resolver) -> Names {
    let counts = resolver.counts();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Names {
        kept: resolver.kept() as u64,
        hits: read(&counts.hits),
        misses: read(&counts.misses),
        no_names: read(&counts.no_names),
        unanswered: read(&counts.unanswered),
        queries: read(&counts.queries),
        failed_tries: read(&counts.failed_tries),
    }
}

fn state(life: Life) -> &'static str {
    match life {
        Life::Serving => "serving",
        Life::Draining => "draining",
        Life::Stopping => "stopping",
    }
}

/// Why new clients should not be sent here.
fn not_ready(view: &View<'_>, listeners: &[Listener]) -> Vec<String> {
    if !view.is_serving() {
        return vec![format!("the daemon is {}", state(view.running.life))];
    }
    let paused = listeners.iter().filter(|listener| listener.state == "paused");
    paused.map(|listener| format!("{} is paused: {}", listener.address, listener.reason)).collect()
}

fn reload(view: &View<'_>) -> Reload {
    let running = view.running;
    Reload {
        applied: running.applied,
        refused: running.refused,
        last: running.last_load,
        ok: running.last_ok,
        messages: running.messages.to_vec(),
        in_effect_since: running.in_effect_since,
    }
}
