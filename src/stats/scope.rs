// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted of one thing, and who is there at the moment.
//!
//! Invariants: a cell is written by its worker only, so a counter needs no atomic addition; a [`Presence`] is one that is
//! there, and gone when it is dropped, wherever that happens. Nothing has memory of its own before it is used: an idle
//! scope is 24 bytes, so a route that nobody takes costs next to nothing. What happens in a scope also happens in the one
//! above it, if there is one: what comes to a listener comes to its service.
//!
//! What counting costs: three dependent loads to a cell that its worker alone writes, a load and a store there. The
//! connections of a busy worker share a few such cells, which stay in its first cache. Only `enter` and leaving write what
//! all threads write, once per connection each.

use super::causes::{CAUSES, Cause};
use super::cells::{Cells, Padded};
use super::histogram::{Distribution, Histogram, Scale};
use super::pause::Pause;
use super::tls::{Agreed, Shares};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Connections that came: taken by a worker, sent to a route, connected with a server.
    Accepted,
    Closed,
    /// Connections that ended otherwise than by both sides' orderly ends.
    Failed,
    /// Payload, those of live connections as of their last turn.
    BytesFromClients,
    BytesToClients,
    /// TLS handshakes with clients that were completed, and those of them that resumed a session.
    Handshakes,
    Resumed,
    /// Connections to servers that were made, and attempts that failed.
    Connects,
    ConnectErrors,
    /// Connections that a rule refused.
    Matched,
    /// Connections that a `limit` of the service or the route left no room for.
    Limited,
    /// Options of sockets towards servers that could not be set, by connection and option.
    OptionErrors,
}

/// Every counter with the name it has in dumps, in the order of [`Counter`].
pub const COUNTERS: [(Counter, &str); 12] = [
    (Counter::Accepted, "accepted"),
    (Counter::Closed, "closed"),
    (Counter::Failed, "failed"),
    (Counter::BytesFromClients, "in"),
    (Counter::BytesToClients, "out"),
    (Counter::Handshakes, "handshakes"),
    (Counter::Resumed, "resumed"),
    (Counter::Connects, "connects"),
    (Counter::ConnectErrors, "connect_errors"),
    (Counter::Matched, "matched"),
    (Counter::Limited, "limited"),
    (Counter::OptionErrors, "option_errors"),
];

/// Adds to what no other thread writes.
pub(super) fn raise(cell: &AtomicU64, count: u64) {
    cell.store(load(cell).wrapping_add(count), Ordering::Relaxed);
}

pub(super) fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

/// What is counted of one thing.
#[derive(Debug, Default)]
pub struct Scope {
    above: Option<Arc<Self>>,
    used: OnceLock<Box<Used>>,
}

/// The memory of a scope that is used.
#[derive(Debug, Default)]
struct Used {
    crowd: Padded<Crowd>,
    counts: Cells<[AtomicU64; COUNTERS.len()]>,
    connects: Cells<Histogram>,
    detail: Cells<Detail>,
}

/// Who is there: written by all threads.
#[derive(Debug, Default)]
struct Crowd {
    active: AtomicU64,
    peak: AtomicU64,
    /// When somebody came last ([`super::Clock::at`]).
    last: AtomicU64,
    /// Of a listener: why it is paused, by number.
    pause: AtomicU8,
}

/// One worker's part of what is counted of services only.
#[derive(Debug)]
struct Detail {
    causes: [AtomicU64; CAUSES.len()],
    handshakes: Histogram,
    lifetimes: Histogram,
    shares: Shares,
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            causes: std::array::from_fn(|_| AtomicU64::new(0)),
            handshakes: Histogram::default(),
            lifetimes: Histogram::default(),
            shares: Shares::default(),
        }
    }
}

impl Scope {
    /// One within another: what happens here happens there, too.
    pub fn within(above: Arc<Self>) -> Self {
        Self { above: Some(above), used: OnceLock::new() }
    }

    /// It, and those above it.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.above.as_deref())
    }

    fn used(&self) -> &Used {
        self.used.get_or_init(Box::default)
    }

    /// Whether anything was ever counted here.
    pub fn is_used(&self) -> bool {
        self.used.get().is_some()
    }

    /// Adds to the cell of `worker`, which calls this.
    pub fn add(&self, worker: usize, counter: Counter, count: u64) {
        for scope in self.chain() {
            if let Some(cell) = scope.used().counts.own(worker) {
                raise(&cell[counter as usize], count);
            }
        }
    }

    /// Adds payload both ways.
    pub fn add_bytes(&self, worker: usize, from_clients: u64, to_clients: u64) {
        for scope in self.chain() {
            if let Some(cell) = scope.used().counts.own(worker) {
                raise(&cell[Counter::BytesFromClients as usize], from_clients);
                raise(&cell[Counter::BytesToClients as usize], to_clients);
            }
        }
    }

    /// Counts a failure.
    pub fn fail(&self, worker: usize, cause: Cause) {
        self.add(worker, Counter::Failed, 1);
        self.note(worker, |detail| raise(&detail.causes[cause as usize], 1));
    }

    /// Counts a TLS handshake with a client that is complete, `time` after it was accepted.
    pub fn shaken(&self, worker: usize, time: Duration, agreed: &Agreed<'_>) {
        self.add(worker, Counter::Handshakes, 1);
        if agreed.resumed {
            self.add(worker, Counter::Resumed, 1);
        }
        self.note(worker, |detail| {
            detail.handshakes.count(Scale::Short, time);
            detail.shares.count(agreed);
        });
    }

    /// Counts a connection to a server that took `time` to be made.
    pub fn connected(&self, worker: usize, time: Duration) {
        self.add(worker, Counter::Connects, 1);
        for scope in self.chain() {
            if let Some(histogram) = scope.used().connects.own(worker) {
                histogram.count(Scale::Short, time);
            }
        }
    }

    /// Counts a connection that lived for `time`.
    pub fn lived(&self, worker: usize, time: Duration) {
        self.note(worker, |detail| detail.lifetimes.count(Scale::Long, time));
    }

    /// Writes what is counted of services: at the top of the chain.
    fn note(&self, worker: usize, count: impl FnOnce(&Detail)) {
        let top = self.chain().last().unwrap_or(self);
        if let Some(detail) = top.used().detail.own(worker) {
            count(detail);
        }
    }

    /// The sum over all workers.
    pub fn sum(&self, counter: Counter) -> u64 {
        let Some(used) = self.used.get() else { return 0 };
        used.counts.iter().map(|cell| load(&cell[counter as usize])).sum()
    }

    /// What one worker has counted.
    pub fn of(&self, worker: usize, counter: Counter) -> u64 {
        let cell = self.used.get().and_then(|used| used.counts.get(worker));
        cell.map_or(0, |cell| load(&cell[counter as usize]))
    }

    /// Who is there now.
    pub fn active(&self) -> u64 {
        self.used.get().map_or(0, |used| load(&used.crowd.0.active))
    }

    /// The most at once.
    pub fn peak(&self) -> u64 {
        self.used.get().map_or(0, |used| load(&used.crowd.0.peak))
    }

    /// When somebody came last ([`super::Clock::unix`]); 0: never.
    pub fn last(&self) -> u64 {
        self.used.get().map_or(0, |used| load(&used.crowd.0.last))
    }

    /// Of a listener: whether and why it is paused from now on.
    pub fn pause(&self, pause: Option<Pause>) {
        let number = pause.map_or(0, |pause| pause as u8);
        self.used().crowd.0.pause.store(number, Ordering::Relaxed);
    }

    /// Why it is paused.
    pub fn paused(&self) -> Option<Pause> {
        Pause::from_number(self.used.get()?.crowd.0.pause.load(Ordering::Relaxed))
    }

    /// Failures by cause, in the order of [`CAUSES`].
    pub fn failures(&self) -> [u64; CAUSES.len()] {
        let mut sums = [0; CAUSES.len()];
        for detail in self.used.get().into_iter().flat_map(|used| used.detail.iter()) {
            for (sum, count) in sums.iter_mut().zip(&detail.causes) {
                *sum += load(count);
            }
        }
        sums
    }

    pub fn handshakes(&self) -> Distribution {
        let mut all = Distribution::new(Scale::Short);
        self.each_detail(|detail| all.add(&detail.handshakes));
        all
    }

    pub fn connects(&self) -> Distribution {
        let mut all = Distribution::new(Scale::Short);
        for histogram in self.used.get().into_iter().flat_map(|used| used.connects.iter()) {
            all.add(histogram);
        }
        all
    }

    pub fn lifetimes(&self) -> Distribution {
        let mut all = Distribution::new(Scale::Long);
        self.each_detail(|detail| all.add(&detail.lifetimes));
        all
    }

    /// What was agreed on with clients.
    pub fn add_shares(&self, sums: &mut super::tls::Sums) {
        self.each_detail(|detail| sums.add(&detail.shares));
    }

    fn each_detail(&self, mut each: impl FnMut(&Detail)) {
        for detail in self.used.get().into_iter().flat_map(|used| used.detail.iter()) {
            each(detail);
        }
    }
}

/// One that is there; it leaves when it is dropped.
#[derive(Debug)]
pub struct Presence(Arc<Scope>);

impl Presence {
    /// Somebody comes, at that moment ([`super::Clock::at`]).
    pub fn enter(scope: &Arc<Scope>, at: u64) -> Self {
        for scope in scope.chain() {
            let crowd = &scope.used().crowd.0;
            let active = crowd.active.fetch_add(1, Ordering::Relaxed) + 1;
            if active > load(&crowd.peak) {
                crowd.peak.fetch_max(active, Ordering::Relaxed);
            }
            crowd.last.store(at, Ordering::Relaxed);
        }
        Self(Arc::clone(scope))
    }

    /// Where it is.
    pub fn scope(&self) -> &Scope {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        for scope in self.0.chain() {
            scope.used().crowd.0.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::MAX_WORKERS;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (counter, _)) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }

    #[test]
    fn sums_over_workers() {
        let scope = Scope::default();
        assert!(!scope.is_used());
        scope.add(0, Counter::Accepted, 2);
        scope.add(5, Counter::Accepted, 3);
        scope.add(MAX_WORKERS, Counter::Accepted, 100);
        assert_eq!(scope.sum(Counter::Accepted), 5);
        assert_eq!((scope.of(5, Counter::Accepted), scope.of(6, Counter::Accepted)), (3, 0));
        assert_eq!(scope.sum(Counter::Closed), 0);
    }

    #[test]
    fn what_happens_in_a_listener_happens_in_its_service() {
        let service = Arc::new(Scope::default());
        let (first, second) = (Scope::within(Arc::clone(&service)), Scope::within(Arc::clone(&service)));
        first.add_bytes(0, 3, 4);
        second.add_bytes(1, 30, 40);
        second.fail(1, Cause::NotTls);
        assert_eq!((first.sum(Counter::BytesFromClients), first.sum(Counter::BytesToClients)), (3, 4));
        assert_eq!(service.sum(Counter::BytesToClients), 44);
        assert_eq!((first.sum(Counter::Failed), second.sum(Counter::Failed)), (0, 1));
        assert_eq!(service.failures()[Cause::NotTls as usize], 1);
        assert_eq!(second.failures()[Cause::NotTls as usize], 0, "kept for services only");
    }

    #[test]
    fn who_comes_is_there_until_it_goes() {
        let service = Arc::new(Scope::default());
        let listener = Arc::new(Scope::within(Arc::clone(&service)));
        let (first, second) = (Presence::enter(&listener, 7), Presence::enter(&listener, 9));
        drop(first);
        let third = Presence::enter(&service, 11);
        assert_eq!((listener.active(), listener.peak(), listener.last()), (1, 2, 9));
        assert_eq!((service.active(), service.peak(), service.last()), (2, 2, 11));
        drop((second, third));
        assert_eq!((listener.active(), service.active(), service.peak()), (0, 0, 2));
        for pause in [Some(Pause::Limit), Some(Pause::System), None] {
            listener.pause(pause);
            assert_eq!((listener.paused(), service.paused()), (pause, None));
        }
    }

    #[test]
    fn an_unused_scope_is_small() {
        assert!(size_of::<Scope>() <= 24, "{}", size_of::<Scope>());
        assert_eq!(size_of::<Option<Presence>>(), 8);
    }
}
