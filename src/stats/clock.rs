// SPDX-License-Identifier: MIT OR Apache-2.0
//! Moments that fit an atomic: milliseconds since the process began to count, taken from clock readings that there are
//! anyway.

use crate::sys::time;
use std::time::{Duration, Instant};

/// Where moments are counted from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// The same, in seconds since 1970.
    unix: f64,
}

impl Default for Clock {
    fn default() -> Self {
        #[expect(clippy::disallowed_methods, reason = "once per process: what all moments are counted from")]
        let start = Instant::now();
        Self { start, unix: time::unix() }
    }
}

impl Clock {
    /// Milliseconds from the start until `now`, and one more: 0 is for "never".
    pub fn at(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX - 1) + 1
    }

    /// That moment in seconds since 1970; 0 for "never".
    pub fn unix(&self, at: u64) -> f64 {
        if at == 0 { 0.0 } else { self.unix + Duration::from_millis(at - 1).as_secs_f64() }
    }

    /// When the process began to count, in seconds since 1970.
    pub fn began(&self) -> f64 {
        self.unix
    }

    /// Nanoseconds from the start until `now`.
    pub fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_as_times_of_day() {
        let clock = Clock::default();
        let later = clock.at(clock.start + Duration::from_millis(1500));
        assert_eq!(later, 1501);
        assert!((clock.unix(later) - clock.began() - 1.5).abs() < 1e-3);
        assert!(clock.unix(0).abs() < f64::EPSILON);
        assert_eq!(clock.nanos(clock.start + Duration::from_nanos(7)), 7);
    }
}
