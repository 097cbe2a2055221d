// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can only be seen over time: rates over the last second, and the history of the last five minutes.
//!
//! A scope has a meter from its first use on, for as long as it is shown: of a service with a hundred thousand routes, the
//! first thousand. A history costs 60 samples of 40 bytes, for the process and each service.

use super::ROUTES;
use crate::connection::plan::Plan;
use crate::control::model::History;
use crate::control::running::Running;
use crate::control::state::Sources;
use crate::stats::failures::Missed;
use crate::stats::{Counter, Registry, Scope};
use crate::sys::time;
use std::collections::{HashMap, VecDeque};
use std::ptr;
use std::sync::Arc;

/// Samples of a history, and ticks from one to the next.
const SAMPLES: usize = 60;
const STEP: u32 = 5;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// By the address of the scope, which the meter keeps alive.
    meters: HashMap<usize, Meter>,
    /// The last error of servers that could not be reached: when (seconds since 1970), and which.
    missed: HashMap<usize, (f64, Box<str>)>,
    all: Rates,
    before: Totals,
    history: Samples,
    /// By service.
    services: HashMap<Box<str>, Samples>,
    /// Which tick it is.
    tick: u32,
    /// The time since the last sample, and when that was.
    since_sample: f64,
    sampled_at: f64,
}

#[derive(Debug)]
struct Meter {
    scope: Arc<Scope>,
    before: Totals,
    rates: Rates,
    /// In which tick it was seen last.
    seen: u32,
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) connections: f64,
    /// The highest of those.
    pub(super) peak: f64,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) connections: u64,
    pub(super) failures: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Totals {
    pub(super) fn of(scope: &Scope) -> Self {
        Self {
            connections: scope.sum(Counter::Accepted),
            failures: scope.sum(Counter::Failed),
            bytes_in: scope.sum(Counter::BytesFromClients),
            bytes_out: scope.sum(Counter::BytesToClients),
        }
    }

    /// What one worker has its part in.
    pub(super) fn of_worker(scope: &Scope, worker: usize) -> Self {
        Self {
            connections: scope.of(worker, Counter::Accepted),
            failures: scope.of(worker, Counter::Failed),
            bytes_in: scope.of(worker, Counter::BytesFromClients),
            bytes_out: scope.of(worker, Counter::BytesToClients),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            failures: self.failures + other.failures,
            bytes_in: self.bytes_in.wrapping_add(other.bytes_in),
            bytes_out: self.bytes_out.wrapping_add(other.bytes_out),
        }
    }
}

/// Per second, of what grew from `before` to `now`.
#[expect(clippy::cast_precision_loss, reason = "a rate of sixteen digits is enough")]
fn per_second(now: u64, before: u64, elapsed: f64) -> f64 {
    now.saturating_sub(before) as f64 / elapsed
}

impl Rates {
    /// After `elapsed` seconds in which `before` became `now`.
    pub(super) fn update(&mut self, now: Totals, before: Totals, elapsed: f64) {
        self.connections = per_second(now.connections, before.connections, elapsed);
        self.peak = self.peak.max(self.connections);
        self.bytes_in = per_second(now.bytes_in, before.bytes_in, elapsed);
        self.bytes_out = per_second(now.bytes_out, before.bytes_out, elapsed);
    }
}

/// The samples of a history, the oldest first.
#[derive(Debug, Default)]
struct Samples {
    before: Totals,
    samples: VecDeque<Sample>,
    /// When it began, if not with the process.
    since: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    connections: f64,
    failures: f64,
    bytes_in: f64,
    bytes_out: f64,
    active: u64,
}

impl Samples {
    fn take(&mut self, now: Totals, active: u64, elapsed: f64) {
        let before = std::mem::replace(&mut self.before, now);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            connections: per_second(now.connections, before.connections, elapsed),
            failures: per_second(now.failures, before.failures, elapsed),
            bytes_in: per_second(now.bytes_in, before.bytes_in, elapsed),
            bytes_out: per_second(now.bytes_out, before.bytes_out, elapsed),
            active,
        });
    }

    fn show(&self, last: f64) -> History {
        let all = |value: fn(&Sample) -> f64| self.samples.iter().map(value).collect();
        History {
            step: f64::from(STEP),
            last,
            connections: all(|sample| sample.connections),
            failures: all(|sample| sample.failures),
            bytes_in: all(|sample| sample.bytes_in),
            bytes_out: all(|sample| sample.bytes_out),
            active: self.samples.iter().map(|sample| sample.active).collect(),
        }
    }
}

impl Meters {
    /// The rates of a scope; none where it was never used, or is not shown.
    pub(super) fn rates(&self, scope: &Scope) -> Rates {
        self.meters.get(&ptr::from_ref(scope).addr()).map_or_else(Rates::default, |meter| meter.rates)
    }

    /// Takes what the workers have noted of servers that they could not reach.
    pub(super) fn take_missed(&mut self, registry: &Registry) {
        while let Some(Missed { stats, at, text }) = registry.missed().take() {
            self.missed.insert(Arc::as_ptr(&stats).addr(), (registry.clock().unix(at), text));
        }
    }

    /// When a server could not be reached the last time, and why.
    pub(super) fn last_error(&self, scope: &Scope) -> (f64, &str) {
        self.missed.get(&ptr::from_ref(scope).addr()).map_or((0.0, ""), |(at, text)| (*at, text))
    }

    /// Those of the whole process.
    pub(super) fn all(&self) -> Rates {
        self.all
    }

    /// The history of the whole process.
    pub(super) fn history(&self) -> History {
        self.history.show(self.sampled_at)
    }

    /// When a service was first seen, in seconds since 1970; none: with the start.
    pub(super) fn since(&self, service: &str) -> Option<f64> {
        self.services.get(service)?.since
    }

    /// That of a service.
    pub(super) fn history_of(&self, service: &str) -> History {
        let none = Samples::default();
        self.services.get(service).unwrap_or(&none).show(self.sampled_at)
    }

    /// Measures everything that is shown, `elapsed` seconds after the last time.
    pub(super) fn tick(&mut self, sources: &Sources, running: &Running, elapsed: f64) {
        self.tick = self.tick.wrapping_add(1);
        self.since_sample += elapsed;
        let samples = self.tick % STEP == 0;
        let services = sources.registry.services();
        let mut all = Totals::default();
        for (name, scope) in &services {
            let totals = Totals::of(scope);
            all = all.plus(totals);
            self.measure(scope, elapsed);
            self.follow(name, totals);
            if samples {
                self.sample(name, totals, scope.active());
            }
        }
        self.all.update(all, self.before, elapsed);
        self.before = all;
        for plan in running.plans.iter() {
            self.measure_routes(plan, elapsed);
        }
        for listening in running.listeners.iter() {
            self.measure(&listening.stats, elapsed);
        }
        let tick = self.tick;
        self.meters.retain(|_, meter| meter.seen == tick);
        let meters = &self.meters;
        self.missed.retain(|scope, _| meters.contains_key(scope));
        if samples {
            self.history.take(all, sources.limit.active() as u64, self.since_sample);
            self.since_sample = 0.0;
            self.sampled_at = time::unix();
        }
    }

    /// Begins the history of a service that is new. Services are never forgotten, nor are their totals.
    fn follow(&mut self, service: &str, totals: Totals) {
        if !self.services.contains_key(service) {
            let since = (self.tick > 1).then(time::unix);
            self.services.insert(service.into(), Samples { before: totals, since, ..Samples::default() });
        }
    }

    fn sample(&mut self, service: &str, totals: Totals, active: u64) {
        if let Some(samples) = self.services.get_mut(service) {
            samples.take(totals, active, self.since_sample);
        }
    }

    fn measure_routes(&mut self, plan: &Plan, elapsed: f64) {
        for route in plan.service.routes.iter().take(ROUTES) {
            self.measure(&route.stats, elapsed);
            for server in &route.upstream.servers {
                self.measure(&server.stats, elapsed);
            }
            self.measure(&route.upstream.named, elapsed);
        }
    }

    fn measure(&mut self, scope: &Arc<Scope>, elapsed: f64) {
        if !scope.is_used() {
            return;
        }
        let meter = self.meters.entry(Arc::as_ptr(scope).addr()).or_insert_with(|| Meter {
            scope: Arc::clone(scope),
            before: Totals::default(),
            rates: Rates::default(),
            seen: 0,
        });
        let totals = Totals::of(&meter.scope);
        let first = meter.seen == 0;
        // What was counted before there was a meter came at an unknown time, most of it before the last tick.
        if !first {
            meter.rates.update(totals, meter.before, elapsed);
        }
        meter.before = totals;
        meter.seen = self.tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_measures_from_its_second_tick_on() {
        let (mut meters, scope) = (Meters { tick: 1, ..Meters::default() }, Arc::new(Scope::default()));
        meters.measure(&scope, 1.0);
        assert!(meters.meters.is_empty(), "nothing was counted yet");
        scope.add(0, Counter::Accepted, 1000);
        meters.measure(&scope, 1.0);
        assert_eq!(meters.rates(&scope), Rates::default());
        scope.add(3, Counter::Accepted, 10);
        scope.add_bytes(0, 500, 5);
        meters.measure(&scope, 2.0);
        let rates = Rates { connections: 5.0, peak: 5.0, bytes_in: 250.0, bytes_out: 2.5 };
        assert_eq!(meters.rates(&scope), rates);
        meters.measure(&scope, 1.0);
        assert_eq!(meters.rates(&scope), Rates { peak: 5.0, ..Rates::default() });
    }

    #[test]
    fn a_history_keeps_five_minutes() {
        let mut samples = Samples::default();
        for number in 1..=100_u64 {
            let totals = Totals { connections: number * 10, bytes_out: number * 5, ..Totals::default() };
            samples.take(totals, number, 5.0);
        }
        let history = samples.show(7.0);
        assert_eq!(history.active, (41..=100).collect::<Vec<_>>());
        assert!(history.connections.iter().all(|rate| (*rate - 2.0).abs() < 1e-9));
        assert_eq!((history.bytes_out.len(), history.failures.len()), (60, 60));
        assert!((history.step * 60.0 - 300.0).abs() < 1e-9);
    }
}
