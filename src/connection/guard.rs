// SPDX-License-Identifier: MIT OR Apache-2.0
//! The count of connections at once, and its limit: a guard travels with each connection and lets go when it drops.
//!
//! A connection that is let in has a descriptor for its server, and for what else it takes: there are no more places than the limit on descriptors
//! allows, whatever the configuration says. Who comes beyond waits in the backlog instead of being reset.

use crate::sys::eventfd::EventFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Descriptors a connection takes at least, towards the client and the server. Pipes come on top where there are some to
/// spare.
pub const DESCRIPTORS: u64 = 2;

/// How many connections there may be, and are.
#[derive(Debug)]
pub struct Limit {
    most: AtomicUsize,
    /// As configured.
    wanted: AtomicUsize,
    /// Descriptors that are not connections'.
    own: AtomicU64,
    /// Descriptors of each connection, at most.
    each: AtomicU64,
    /// Readers of the control interface that these leave room for.
    readers: AtomicUsize,
    active: AtomicUsize,
    /// The most at once.
    peak: AtomicUsize,
    /// The main thread has stopped accepting until there is room.
    waiting: AtomicBool,
    /// Wakes the main thread when there is.
    room: EventFd,
}

impl Limit {
    /// Without any place yet; `room` is signalled when a connection ends while the main thread waits.
    pub fn new(room: EventFd) -> Self {
        Self {
            most: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            own: AtomicU64::new(0),
            each: AtomicU64::new(DESCRIPTORS),
            readers: AtomicUsize::new(usize::MAX),
            active: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            room,
        }
    }

    /// Gives `wanted` places, where the process itself needs `own` descriptors and a connection `each`. Those above the
    /// limit stay.
    pub fn want(&self, wanted: usize, own: u64, each: u64) {
        self.each.store(each, Ordering::Relaxed);
        self.wanted.store(wanted, Ordering::Relaxed);
        self.own.store(own, Ordering::Relaxed);
    }

    /// So many readers are among the process's own descriptors.
    pub fn want_readers(&self, readers: usize) {
        self.readers.store(readers, Ordering::Relaxed);
    }

    /// How many readers there may be, as far as descriptors go.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// Gives the places that so many descriptors allow, at most those wanted; how many that are. At least one.
    pub fn fit(&self, descriptors: u64) -> usize {
        let left = descriptors.saturating_sub(self.own.load(Ordering::Relaxed));
        let left = left / self.each.load(Ordering::Relaxed).max(DESCRIPTORS);
        let most =
            self.wanted.load(Ordering::Relaxed).min(usize::try_from(left).unwrap_or(usize::MAX)).max(1);
        self.most.store(most, Ordering::Relaxed);
        most
    }

    /// Whether there are as many places as wanted.
    pub fn fits(&self) -> bool {
        self.most.load(Ordering::Relaxed) >= self.wanted.load(Ordering::Relaxed)
    }

    /// The descriptors that all wanted places need.
    pub fn needs(&self) -> u64 {
        let wanted = self.wanted.load(Ordering::Relaxed) as u64;
        self.own.load(Ordering::Relaxed) + wanted * self.each.load(Ordering::Relaxed)
    }

    /// A place, if there is one. Only the main thread asks.
    pub fn enter(self: &Arc<Self>) -> Option<Guard> {
        if self.active.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            // Announce that we wait before looking again, or the last one to leave might not see it.
            self.waiting.store(true, Ordering::SeqCst);
            if self.active.load(Ordering::SeqCst) >= self.most.load(Ordering::Relaxed) {
                return None;
            }
        }
        self.active.fetch_add(1, Ordering::SeqCst);
        Some(Guard(Arc::clone(self)))
    }

    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// The most there were at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub fn places(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Readable when a connection ended while somebody waited.
    pub fn room(&self) -> &EventFd {
        &self.room
    }
}

#[cfg(test)]
impl Limit {
    /// With so many places, for a process that needs ten descriptors.
    pub fn of(places: usize) -> Arc<Self> {
        let limit = Self::new(EventFd::new().unwrap());
        limit.want(places, 10, DESCRIPTORS);
        assert_eq!(limit.fit(limit.needs()), places);
        Arc::new(limit)
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Guard(Arc<Limit>);

impl Guard {
    /// A connection has come for it, which may be more than there ever were at once. Only the main thread says so.
    pub fn is_taken(&self) {
        let active = self.0.active();
        if active > self.0.peak.load(Ordering::Relaxed) {
            self.0.peak.store(active, Ordering::Relaxed);
        }
    }

    /// Whether at least half of all places are free or taken by it.
    pub fn leaves_room(&self) -> bool {
        self.0.active() <= self.0.most.load(Ordering::Relaxed).div_ceil(2)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) && self.0.waiting.swap(false, Ordering::SeqCst) {
            self.0.room.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_descriptors_for_both_sides() {
        let limit = Limit::of(100);
        for (descriptors, places) in [(1000, 100), (210, 100), (209, 99), (13, 1), (0, 1), (u64::MAX, 100)] {
            assert_eq!(limit.fit(descriptors), places, "{descriptors}");
            assert_eq!(limit.fits(), places == 100, "{descriptors}");
        }
    }

    #[test]
    fn there_are_fewer_places_where_each_takes_more() {
        let limit = Limit::of(100);
        limit.want(100, 10, 3);
        assert_eq!((limit.needs(), limit.fit(309), limit.fit(310)), (310, 99, 100));
    }

    #[test]
    fn the_limit_holds_and_room_is_told_once() {
        let limit = Limit::of(2);
        let first = limit.enter().unwrap();
        assert!(first.leaves_room());
        let second = limit.enter().unwrap();
        assert!(!first.leaves_room());
        first.is_taken();
        assert!(limit.enter().is_none());
        drop(first);
        assert!(limit.room().drain(), "the main thread waited");
        let third = limit.enter().unwrap();
        drop((second, third));
        assert!(!limit.room().drain(), "nobody waited");
        assert_eq!((limit.active(), limit.peak()), (0, 2));
        let unused = Limit::of(2).enter().unwrap();
        assert_eq!(unused.0.peak(), 0, "nobody came for it");
    }
}
