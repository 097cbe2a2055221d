// SPDX-License-Identifier: MIT OR Apache-2.0
//! The write-readiness backoff: for sinks that take a few bytes at a time.
//!
//! EPOLLOUT tells that *some* room is there. A sink that frees a little room at a time would have us write a little at
//! a time, with a wake-up for each. So a leg whose last write was blocked after a few bytes ([`super::Interest::choked`])
//! is not registered for EPOLLOUT (one that took nothing at all is: the kernel tells when that changes): it is woken by a delay that doubles from [`FIRST`] to [`LONGEST`] while nothing gets
//! better and is forgotten on progress. Handlers cannot tell the difference. See docs/timers.md.

use super::Key;
use super::list::{List, NodeRef};
use std::time::{Duration, Instant};

/// The first delay. Short enough not to be noticed, long enough for a reader to have run.
pub const FIRST: Duration = Duration::from_millis(1);

/// Delays do not double beyond it: the most a choked sink that recovers waits.
pub const LONGEST: Duration = Duration::from_millis(64);

/// Delays from `FIRST` to `LONGEST`, each twice the one before.
const STEPS: usize = 7;

/// Legs that wait for their delay.
#[derive(Debug, Default)]
pub struct Backoff {
    /// One queue per delay, so each is sorted by itself.
    queues: [List; STEPS],
    fired: u64,
}

/// How often in a row a leg was choked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience(u8);

impl Patience {
    /// The delay after so many failures in a row.
    pub fn delay(self) -> Duration {
        FIRST * (1 << self.step())
    }

    fn step(self) -> usize {
        usize::from(self.0).min(STEPS - 1)
    }
}

impl Backoff {
    /// Wakes the node's owner after its delay, and lengthens the next one.
    pub fn wait(&mut self, node: &NodeRef, patience: &mut Patience, now: Instant) {
        if node.is_linked() {
            return;
        }
        self.queues[patience.step()].push(node, now.checked_add(patience.delay()));
        patience.0 = patience.0.saturating_add(1);
    }

    /// Progress: the leg waits no more, and starts anew with the first delay.
    pub fn reset(&mut self, node: &NodeRef, patience: &mut Patience) {
        self.forget(node);
        *patience = Patience::default();
    }

    /// The leg is gone.
    pub fn forget(&mut self, node: &NodeRef) {
        if node.is_linked() {
            self.queues.iter_mut().any(|queue| queue.unlink(node));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.front()?.1).min()
    }

    /// Takes out one that is due, if there is any.
    pub fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let due = self.queues.iter_mut().find(|queue| match queue.front() {
            Some((_, Some(due))) => due <= now,
            _ => false,
        })?;
        self.fired += 1;
        due.pop()
    }

    /// How often a delay has ended since the start.
    pub fn fired(&self) -> u64 {
        self.fired
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;

    fn node() -> NodeRef {
        NodeRef::new(Key { index: 1, generation: 0 })
    }

    #[test]
    fn doubles_up_to_the_longest() {
        let (mut backoff, mut patience, node) = (Backoff::default(), Patience::default(), node());
        let mut now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..9 {
            backoff.wait(&node, &mut patience, now);
            let due = backoff.next().unwrap();
            assert_eq!(backoff.pop_due(due - Duration::from_micros(1)), None);
            assert!(backoff.pop_due(due).is_some());
            delays.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(backoff.fired(), 9);
    }

    #[test]
    fn progress_resets_it() {
        let (mut backoff, mut patience, node) = (Backoff::default(), Patience::default(), node());
        let now = Instant::now();
        for _ in 0..5 {
            backoff.wait(&node, &mut patience, now);
            backoff.pop_due(now + LONGEST);
        }
        assert!(patience.delay() > FIRST);
        backoff.wait(&node, &mut patience, now);
        backoff.reset(&node, &mut patience);
        assert_eq!((backoff.next(), patience.delay()), (None, FIRST));
    }

    #[test]
    fn nobody_waits_nothing_is_due() {
        let mut backoff = Backoff::default();
        assert_eq!((backoff.next(), backoff.pop_due(Instant::now())), (None, None));
    }
}
