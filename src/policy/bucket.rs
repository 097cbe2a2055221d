// SPDX-License-Identifier: MIT OR Apache-2.0
//! Leaky buckets: so many per so long, counted in one number without a lock.
//!
//! A bucket that holds `most` and leaks them evenly over `per` is kept as the time at which it will be empty: the
//! "theoretical arrival time" of the generic cell rate algorithm (ITU-T I.371). Each event moves that time on by `per / most`;
//! an event conforms if the time is then no more than `per` away. Relaxed suffices everywhere: it is one number, and nothing
//! else is read by it.
//!
//! No clock: time is nanoseconds since a moment of the caller's choice. Not here: who is counted (track.rs, limit.rs), and
//! who waits for what (bandwidth.rs).

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// "100/10s": so many per so long, enforced as a leaky bucket that holds `most` and leaks them evenly over `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub most: u64,
    pub per: Duration,
}

impl Rate {
    /// The time in which `count` events leak away, rounded down, so that `most` of them always fit; at least a nanosecond.
    pub fn cost(self, count: u64) -> u64 {
        let (per, most) = (self.window(), self.most.max(1));
        let exact = match per.checked_mul(count) {
            Some(product) => product / most,
            None => u64::try_from(u128::from(per) * u128::from(count) / u128::from(most)).unwrap_or(u64::MAX),
        };
        exact.max(1)
    }

    /// `per`, in nanoseconds.
    pub fn window(self) -> u64 {
        u64::try_from(self.per.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How full a bucket is: when it will be empty.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Charges one event, unless it would go beyond the rate: then it answers false and charges nothing.
    pub fn admit(&self, rate: Rate, now: u64) -> bool {
        let (cost, most) = (rate.cost(1), rate.window());
        let next = |empty_at: u64| {
            let after = empty_at.max(now).saturating_add(cost);
            (after - now <= most).then_some(after)
        };
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Charges `count` events, however far beyond the rate that is; when the last of them conforms.
    pub fn charge(&self, rate: Rate, count: u64, now: u64) -> u64 {
        let cost = rate.cost(count);
        let next = |empty_at: u64| Some(empty_at.max(now).saturating_add(cost));
        let before = self.0.fetch_update(Relaxed, Relaxed, next).unwrap_or_else(|same| same);
        before.max(now).saturating_add(cost).saturating_sub(rate.window())
    }

    /// Takes back what `count` events were charged.
    pub fn take_back(&self, rate: Rate, count: u64) {
        let cost = rate.cost(count);
        let _always_some = self.0.fetch_update(Relaxed, Relaxed, |at| Some(at.saturating_sub(cost)));
    }

    /// Whether `more` further events would be beyond the rate; with 0, whether those charged already are.
    pub fn is_beyond(&self, rate: Rate, more: u64, now: u64) -> bool {
        let level = self.0.load(Relaxed).saturating_sub(now);
        level.saturating_add(if more > 0 { rate.cost(more) } else { 0 }) > rate.window()
    }

    /// Whether all has leaked away.
    pub fn is_empty(&self, now: u64) -> bool {
        self.0.load(Relaxed) <= now
    }
}

/// A bucket with its rate and its own beginning of time.
#[derive(Debug)]
pub struct Bucket {
    pub rate: Rate,
    level: Level,
    /// When time begins: at the first use.
    epoch: OnceLock<Instant>,
}

impl Bucket {
    pub fn new(rate: Rate) -> Self {
        Self { rate, level: Level::default(), epoch: OnceLock::new() }
    }

    /// As [`Level::admit`].
    pub fn admit(&self, now: Instant) -> bool {
        self.level.admit(self.rate, self.time(now))
    }

    /// Charges `count` events; how long from now the last of them conforms.
    pub fn reserve(&self, count: u64, now: Instant) -> Duration {
        let time = self.time(now);
        Duration::from_nanos(self.level.charge(self.rate, count, time).saturating_sub(time))
    }

    /// As [`Level::take_back`]; of none, nothing.
    pub fn take_back(&self, count: u64) {
        if count > 0 {
            self.level.take_back(self.rate, count);
        }
    }

    /// Nanoseconds since the first use; 584 years fit.
    fn time(&self, now: Instant) -> u64 {
        let epoch = self.epoch.get_or_init(|| now);
        u64::try_from(now.saturating_duration_since(*epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;

    const RATE: Rate = Rate { most: 1000, per: Duration::from_secs(1) };

    #[test]
    fn reservations_queue_up_and_what_is_taken_back_moves_the_next_ahead() {
        let (bucket, now) = (Bucket::new(RATE), Instant::now());
        assert_eq!(bucket.reserve(1000, now), Duration::ZERO, "it begins empty");
        assert_eq!(bucket.reserve(100, now), Duration::from_millis(100));
        assert_eq!(bucket.reserve(100, now), Duration::from_millis(200));
        bucket.take_back(100);
        bucket.take_back(0);
        assert_eq!(bucket.reserve(50, now), Duration::from_millis(150));
        assert_eq!(bucket.reserve(50, now + Duration::from_millis(150)), Duration::from_millis(50));
    }

    #[test]
    fn what_leaks_away_is_no_credit_beyond_the_bucket() {
        let (bucket, now) = (Bucket::new(RATE), Instant::now());
        bucket.reserve(1, now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(bucket.reserve(1000, later), Duration::ZERO);
        assert_eq!(bucket.reserve(1, later), Duration::from_millis(1));
        assert!(!bucket.admit(later));
        assert!(bucket.admit(later + Duration::from_millis(3)));
    }
}
