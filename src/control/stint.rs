// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long the control thread works at a stretch, and how long it rests after that.
//!
//! A worker that wakes up on the processor where the control thread is at work waits for it to be interrupted, which the
//! scheduler does when it sees fit, and that is milliseconds later (sched(7)). So the control thread gives way of its own
//! accord: after each stint it sleeps three times as long as that took. What asks it, however many they are, has a quarter
//! of one processor at most. Connections are written down in pieces that the traffic does not feel; the figures of a
//! configuration with thousands of routes are one piece, which is as long as it takes, and so is the rest after it.

use crate::sys::time;
use std::thread;
use std::time::{Duration, Instant};

/// How long it works at a stretch: some twenty connections written down.
const STINT: Duration = Duration::from_micros(50);

/// How many times as long it rests.
const REST: u32 = 3;

/// The longest rest, whatever went before: readers wait meanwhile.
const LONGEST: Duration = Duration::from_millis(500);

/// How long a turn may go on with one reader that asks for more and more.
const TURN: Duration = Duration::from_millis(5);

/// The stint that the control thread is at, and the turn it is part of.
#[derive(Debug)]
pub(super) struct Stint {
    turn: Instant,
    begun: Instant,
    /// The processor's time that the thread had had then.
    had: Duration,
}

impl Stint {
    /// Begins one, and a turn with it, after the thread has slept for reasons of its own.
    pub(super) fn begin() -> Self {
        let now = clock();
        Self { turn: now, begun: now, had: time::thread_cpu() }
    }

    /// Rests, if it has lasted long enough. To be called wherever a piece of work is done that may be one of many.
    pub(super) fn rest(&mut self) {
        if clock().saturating_duration_since(self.begun) < STINT {
            return;
        }
        // It looks long when others had the processor meanwhile: then that was the rest.
        let worked = time::thread_cpu().saturating_sub(self.had);
        if worked >= STINT {
            thread::sleep((worked * REST).min(LONGEST));
        }
        *self = Self { turn: self.turn, ..Self::begin() };
    }

    /// Whether the turn has lasted so long that others should have theirs.
    pub(super) fn is_long(&self) -> bool {
        clock().saturating_duration_since(self.turn) >= TURN
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

    #[test]
    fn one_long_piece_is_followed_by_a_rest_as_long_as_it_deserves() {
        let mut stint = Stint::begin();
        let before = time::thread_cpu();
        while time::thread_cpu() - before < Duration::from_millis(20) {}
        let rests = clock();
        stint.rest();
        let rested = clock() - rests;
        assert!(rested >= Duration::from_millis(60), "{rested:?} for 20 ms");
        assert!(stint.is_long(), "a turn does not begin anew by resting");
    }
}
