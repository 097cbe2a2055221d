// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long the control thread works at a stretch, and how long it rests after that.
//!
//! A worker that wakes up on the processor where the control thread is at work waits for it to be interrupted, which the
//! scheduler does when it sees fit, and that is milliseconds later (sched(7)). So the control thread gives way of its own
//! accord: after each stint it sleeps three times as long as that took. What asks it, however many they are, has a quarter
//! of one processor at most, in pieces that the traffic does not feel.

use std::thread;
use std::time::{Duration, Instant};

/// How long it works at a stretch: some twenty connections written down.
const STINT: Duration = Duration::from_micros(50);

/// How many times as long it rests.
const REST: u32 = 3;

/// The longest rest: a stint looks long when others had the processor meanwhile.
const LONGEST: Duration = Duration::from_millis(2);

/// The stint that the control thread is at.
#[derive(Debug)]
pub(super) struct Stint {
    begun: Instant,
}

impl Stint {
    /// Begins one, after the thread has slept for reasons of its own.
    pub(super) fn begin() -> Self {
        Self { begun: clock() }
    }

    /// Rests, if it has lasted long enough. To be called wherever a piece of work is done that may be one of many.
    pub(super) fn rest(&mut self) {
        let worked = clock().saturating_duration_since(self.begun);
        if worked >= STINT {
            thread::sleep((worked * REST).min(LONGEST));
            *self = Self::begin();
        }
    }
}

fn clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is this thread's own work, not when things happen"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_for_long_rests_for_longer() {
        let mut stint = Stint::begin();
        let begun = clock();
        let mut worked = Duration::ZERO;
        while worked < Duration::from_millis(5) {
            let piece = clock();
            while clock() - piece < STINT {}
            worked += clock() - piece;
            stint.rest();
        }
        let rested = clock() - begun - worked;
        assert!(rested >= worked, "{rested:?} for {worked:?}");
    }
}
