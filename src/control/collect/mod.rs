// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the sources to a [`Snapshot`]: sums over workers, rates, history, the last failures.
//!
//! Invariants: nothing here is waited for by anybody but readers; what is kept is bounded, whatever the configuration and
//! the peers do; making snapshots, and large answers of them, takes an eighth of the thread's time at most, however many
//! readers ask the same.
//!
//! Not here: the counting itself (`stats/`), what readers make of a snapshot.

mod failures;
mod listeners;
mod meters;
mod process;
mod services;
mod shapes;
mod workers;

use super::kept::{Body, Shared};
use super::model::{Certificate, Failure, Snapshot};
use super::problems::problems;
use super::running::{Life, Running};
use super::state::State;
use crate::stats::Clock;
use crate::sys::{process as system, time};
use failures::Failures;
use meters::Meters;
use std::sync::Arc;
use std::time::{Duration, Instant};
use workers::Loads;

/// The share of time that may be spent on making snapshots: one in so many.
const SHARE: u32 = 8;

/// How much work may be ahead of its share: who asks now and then always gets a new one.
const AHEAD: Duration = Duration::from_millis(250);

/// How old one may become that is shown although there is no time for another.
const OLDEST: Duration = Duration::from_secs(1);

/// Routes of a service that are shown and measured.
const ROUTES: usize = 1000;

/// What is remembered from one look to the next.
#[derive(Debug)]
pub(in crate::control) struct Collected {
    meters: Meters,
    loads: Loads,
    failures: Failures,
    /// The last snapshot.
    last: Option<Last>,
    /// When the work that was done so far has had its share of time.
    paid: Instant,
    /// Looked up once: these do not change.
    user: String,
    node: String,
    /// When the last tick was.
    ticked: Instant,
}

/// A snapshot that is kept, for as long as main publishes nothing else.
#[derive(Debug)]
struct Last {
    made: Instant,
    running: Arc<Running>,
    snapshot: Arc<Snapshot>,
}

/// What every part of a snapshot is made from.
struct View<'a> {
    state: &'a State,
    running: &'a Running,
    clock: Clock,
}

impl View<'_> {
    fn collected(&self) -> &Collected {
        &self.state.collected
    }

    fn is_serving(&self) -> bool {
        self.running.life == Life::Serving
    }
}

impl Collected {
    pub(in crate::control) fn new(now: Instant) -> Self {
        Self {
            meters: Meters::default(),
            loads: Loads::default(),
            failures: Failures::default(),
            last: None,
            paid: now,
            user: system::user(),
            node: system::host_name(),
            ticked: now,
        }
    }
}

impl State {
    /// Everything but the connections, as it is now, or was a moment ago.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if let Some(snapshot) = self.shown() {
            return snapshot;
        }
        let (running, made, began) = (self.running(), clock(), time::thread_cpu());
        let snapshot = Arc::new(self.collect(&running));
        self.spend(time::thread_cpu().saturating_sub(began));
        self.collected.last = Some(Last { made, running, snapshot: Arc::clone(&snapshot) });
        snapshot
    }

    /// The last snapshot, if it is to be shown once more: there was no time for another one.
    fn shown(&mut self) -> Option<Arc<Snapshot>> {
        let (running, now) = (self.running(), clock());
        let last = self.collected.last.as_ref()?;
        let is_good = self.collected.paid > now + AHEAD * SHARE
            && now.saturating_duration_since(last.made) < OLDEST
            && Arc::ptr_eq(&last.running, &running);
        is_good.then(|| Arc::clone(&last.snapshot))
    }

    /// Accounts for work that readers had done.
    fn spend(&mut self, took: Duration) {
        let paid = self.collected.paid.max(clock());
        self.collected.paid = paid + took * SHARE;
    }

    /// What `question` was answered, if the answer would be made of the same snapshot now.
    pub(super) fn kept(&mut self, question: &str) -> Option<Body> {
        let shown = self.shown()?;
        self.kept.find(&shown, question)
    }

    /// Keeps a large answer, whose making `took` that long, for others who ask the same.
    pub(super) fn keep(
        &mut self,
        question: String,
        media: &'static str,
        body: Vec<u8>,
        took: Duration,
    ) -> Arc<Shared> {
        self.spend(took);
        let of = self.collected.last.as_ref().map(|last| Arc::clone(&last.snapshot));
        self.kept.keep(of.unwrap_or_default(), question, media, body)
    }

    /// Something was changed through us: whoever asks next shall see it.
    pub fn changed(&mut self) {
        self.collected.last = None;
    }

    fn collect(&mut self, running: &Running) -> Snapshot {
        self.take_failures();
        let (certificates, certificates_total) = (self.certificates(), self.certificates.total());
        let view = View { state: self, running, clock: self.sources.registry.clock() };
        let listeners = listeners::listeners(&view);
        let services = services::services(&view, &listeners);
        let mut snapshot = Snapshot {
            at: time::unix(),
            process: process::process(&view, &listeners),
            workers: workers::workers(&view),
            services,
            listeners,
            certificates,
            certificates_total,
        };
        snapshot.process.problems = problems(&snapshot);
        snapshot
    }

    /// The last failures, the newest first.
    pub fn failures(&mut self) -> Vec<Failure> {
        self.take_failures();
        self.collected.failures.newest().cloned().collect()
    }

    fn take_failures(&mut self) {
        self.collected.failures.take(&self.sources.registry);
        self.collected.meters.take_missed(&self.sources.registry);
    }

    /// The certificates alone, as in a snapshot.
    pub fn certificates(&mut self) -> Vec<Certificate> {
        let running = self.running();
        self.certificates.look(&running)
    }

    /// The configuration in effect, as `tunnel -T` shows it.
    pub fn effective(&mut self) -> Arc<str> {
        Arc::clone(&self.running().effective)
    }

    /// Once a second: rates, history, what was noted meanwhile.
    pub fn tick(&mut self) {
        if self.shown().is_none() {
            self.kept.forget();
        }
        let running = self.running();
        self.take_failures();
        let now = self.now;
        let elapsed = now.saturating_duration_since(self.collected.ticked).as_secs_f64();
        // A clock that has hardly moved makes no rate.
        if elapsed < 0.1 {
            return;
        }
        self.collected.ticked = now;
        let Self { collected: Collected { meters, loads, .. }, sources, .. } = self;
        meters.tick(sources, &running, elapsed);
        loads.tick(sources, now, elapsed);
    }
}

/// Looks at the clock around the making of a snapshot, which may take long.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "measures its own work, on the control thread only")]
    Instant::now()
}
