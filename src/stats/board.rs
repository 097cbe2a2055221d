// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker shows of itself: whether it sleeps, and how its turns went.
//!
//! What it costs: one reading of the clock at the end of each turn (some 25 ns; the one at its beginning is made anyway)
//! and a dozen relaxed loads and stores to lines that no other thread writes. A worker that hangs is seen by `busy_since`,
//! which it wrote before.

use super::clock::Clock;
use super::histogram::{Distribution, Histogram, Scale};
use super::scope::{load, raise};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One worker's board. It alone writes.
#[derive(Debug, Default)]
pub struct Board {
    /// When the present turn began, in nanoseconds ([`Clock::nanos`]); 0: it sleeps.
    busy_since: AtomicU64,
    turns: AtomicU64,
    /// Nanoseconds, all turns together and the longest.
    busy: AtomicU64,
    longest: AtomicU64,
    connections: AtomicU64,
    most: AtomicU64,
    bookmarks: AtomicU64,
    panics: AtomicU64,
    /// It serves, or did so and ended.
    life: AtomicU64,
    turn: Histogram,
}

const SERVES: u64 = 1;
const ENDED: u64 = 2;

/// What a board says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub serves: bool,
    /// How long the present turn has lasted, in nanoseconds; none: it sleeps.
    pub busy_for: Option<u64>,
    /// Nanoseconds in turns since the start, the present one included.
    pub busy: u64,
    pub turns: u64,
    /// Nanoseconds.
    pub longest: u64,
    pub connections: u64,
    /// The most at once.
    pub most: u64,
    pub bookmarks: u64,
    pub panics: u64,
}

impl Board {
    /// The worker begins to serve.
    pub fn begin(&self) {
        self.life.store(SERVES, Ordering::Relaxed);
    }

    /// It serves no more.
    pub fn end(&self) {
        self.life.store(ENDED, Ordering::Relaxed);
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// A turn begins.
    pub fn wake(&self, clock: Clock, now: Instant) {
        self.busy_since.store(clock.nanos(now).max(1), Ordering::Relaxed);
    }

    /// The turn that began at `since` ends: what it leaves.
    pub fn sleep(&self, since: Instant, now: Instant, connections: usize, bookmarks: usize) {
        let took = now.saturating_duration_since(since);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        raise(&self.turns, 1);
        raise(&self.busy, nanos);
        self.turn.count(Scale::Short, took);
        let most = |cell: &AtomicU64, value: u64| {
            if value > load(cell) {
                cell.store(value, Ordering::Relaxed);
            }
        };
        most(&self.longest, nanos);
        most(&self.most, connections as u64);
        self.connections.store(connections as u64, Ordering::Relaxed);
        self.bookmarks.store(bookmarks as u64, Ordering::Relaxed);
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// It survived a panic.
    pub fn panicked(&self) {
        raise(&self.panics, 1);
    }

    /// What it says now.
    pub fn see(&self, clock: Clock, now: Instant) -> Seen {
        let since = load(&self.busy_since);
        let busy_for = (since > 0).then(|| clock.nanos(now).saturating_sub(since));
        Seen {
            serves: load(&self.life) == SERVES,
            busy_for,
            busy: load(&self.busy) + busy_for.unwrap_or(0),
            turns: load(&self.turns),
            longest: load(&self.longest).max(busy_for.unwrap_or(0)),
            connections: load(&self.connections),
            most: load(&self.most),
            bookmarks: load(&self.bookmarks),
            panics: load(&self.panics),
        }
    }

    /// How long its turns took.
    pub fn turns(&self) -> Distribution {
        let mut all = Distribution::new(Scale::Short);
        all.add(&self.turn);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "where time starts does not matter")]
    fn turns_add_up_and_a_long_one_is_seen_before_it_ends() {
        let (clock, board, start) = (Clock::default(), Board::default(), Instant::now());
        let after = |millis| start + Duration::from_millis(millis);
        board.begin();
        board.wake(clock, after(10));
        board.sleep(after(10), after(12), 5, 1);
        let seen = board.see(clock, after(20));
        assert!(seen.serves && seen.busy_for.is_none());
        assert_eq!((seen.turns, seen.busy, seen.longest), (1, 2_000_000, 2_000_000));
        assert_eq!((seen.connections, seen.most, seen.bookmarks), (5, 5, 1));
        board.wake(clock, after(30));
        let seen = board.see(clock, after(37));
        assert_eq!((seen.busy_for, seen.busy, seen.longest), (Some(7_000_000), 9_000_000, 7_000_000));
        board.sleep(after(30), after(40), 2, 0);
        board.end();
        let seen = board.see(clock, after(50));
        assert_eq!((seen.connections, seen.most, seen.busy, seen.serves), (2, 5, 12_000_000, false));
        assert_eq!(board.turns().count(), 2);
    }
}
