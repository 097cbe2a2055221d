// SPDX-License-Identifier: MIT OR Apache-2.0
//! The count of connections at once, and its limit: a guard travels with each connection and lets go when it drops.

use crate::sys::eventfd::EventFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many connections there may be, and are.
#[derive(Debug)]
pub struct Limit {
    most: AtomicUsize,
    active: AtomicUsize,
    /// The main thread has stopped accepting until there is room.
    waiting: AtomicBool,
    /// Wakes the main thread when there is.
    room: EventFd,
}

impl Limit {
    /// `room` is signalled when a connection ends while the main thread waits.
    pub fn new(most: usize, room: EventFd) -> Self {
        let (active, waiting) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { most: AtomicUsize::new(most), active, waiting, room }
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

    /// A reload may change it; those above it stay.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Readable when a connection ended while somebody waited.
    pub fn room(&self) -> &EventFd {
        &self.room
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Guard(Arc<Limit>);

impl Guard {
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
    fn the_limit_holds_and_room_is_told_once() {
        let limit = Arc::new(Limit::new(2, EventFd::new().unwrap()));
        let first = limit.enter().unwrap();
        assert!(first.leaves_room());
        let second = limit.enter().unwrap();
        assert!(!first.leaves_room());
        assert!(limit.enter().is_none());
        drop(first);
        assert!(limit.room().drain(), "the main thread waited");
        let third = limit.enter().unwrap();
        drop((second, third));
        assert!(!limit.room().drain(), "nobody waited");
        assert_eq!(limit.active(), 0);
    }
}
