// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the log thread waits for lines, and how whoever logs wakes it.
//!
//! The thread is in one of three states, which it announces itself:
//!
//! * awake: it will look at the queue again before it sleeps, nobody needs to wake it;
//! * napping: for a few milliseconds after work, so that a stream of lines costs one wake-up per nap and not one
//!   per line; only a queue that fills up cuts a nap short;
//! * asleep: until it is woken, or until a time it has chosen; an idle log uses no CPU.
//!
//! No wake-up is lost. The producer does (1) push, (2) full fence, (3) read the state. The thread does (a) write
//! "asleep", (b) full fence, (c) look at the queue, (d) park. Of two full fences one comes first: if (2) comes first,
//! (c) sees the line and the thread does not park; if (b) comes first, (3) sees "asleep" and the producer unparks.
//! Between (c) and (d) the unpark is not lost either: it leaves a token that makes (d) return at once. The price of
//! a race is one needless turn of the thread.
//!
//! A producer takes no lock; it makes a system call (one futex wake) only for a thread that sleeps, and the
//! exchange of the state in [`Bell::wake`] lets only one of many producers make it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

const AWAKE: u8 = 0;
const NAPPING: u8 = 1;
const ASLEEP: u8 = 2;

/// Between any number of producers and one sleeper.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: AtomicU8,
    /// Set once by the sleeper, before its first sleep.
    sleeper: OnceLock<Thread>,
}

impl Bell {
    /// Makes the calling thread the sleeper.
    pub(super) fn attach(&self) {
        // A second call by the same thread changes nothing, and no other thread calls.
        _ = self.sleeper.set(thread::current());
    }

    /// To be called after a push: wakes the sleeper if it sleeps, and cuts its nap short if `urgent`.
    pub(super) fn ring(&self, urgent: impl FnOnce() -> bool) {
        fence(Ordering::SeqCst);
        match self.state.load(Ordering::Relaxed) {
            AWAKE => {}
            NAPPING if !urgent() => {}
            _ => self.wake(),
        }
    }

    /// To be called after leaving an order (not a line): wakes the sleeper whatever it waits for.
    pub(super) fn summon(&self) {
        fence(Ordering::SeqCst);
        self.state.store(AWAKE, Ordering::Relaxed);
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }

    fn wake(&self) {
        if self.state.swap(AWAKE, Ordering::Relaxed) != AWAKE {
            if let Some(sleeper) = self.sleeper.get() {
                sleeper.unpark();
            }
        }
    }

    /// Sleeps until woken, at most for `limit`; not at all unless `quiet` says that nothing is left to do.
    pub(super) fn sleep(&self, quiet: impl FnOnce() -> bool, limit: Option<Duration>) {
        self.rest(ASLEEP, quiet, limit);
    }

    /// Sleeps for `limit`, unless the queue gets `urgent` or an order comes.
    pub(super) fn nap(&self, urgent: impl FnOnce() -> bool, limit: Duration) {
        self.rest(NAPPING, || !urgent(), Some(limit));
    }

    /// Sleeps for `limit` whatever is pushed: only an order wakes. For a writer that cannot write.
    pub(super) fn pause(&self, limit: Duration) {
        thread::park_timeout(limit);
    }

    fn rest(&self, state: u8, quiet: impl FnOnce() -> bool, limit: Option<Duration>) {
        self.state.store(state, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if quiet() {
            match limit {
                Some(limit) => thread::park_timeout(limit),
                None => thread::park(),
            }
        }
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.state.load(Ordering::SeqCst) == ASLEEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_queue::ArrayQueue;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    /// A sleeper that takes numbers from a queue until told to end; without a limit to its sleep, so that a lost
    /// wake-up leaves it there for ever.
    struct Rig {
        bell: Arc<Bell>,
        queue: Arc<ArrayQueue<u64>>,
        taken: Arc<AtomicU64>,
        turns: Arc<AtomicU64>,
        end: Arc<AtomicBool>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl Rig {
        fn new() -> Self {
            let bell = Arc::new(Bell::default());
            let queue = Arc::new(ArrayQueue::new(64));
            let taken = Arc::new(AtomicU64::new(0));
            let turns = Arc::new(AtomicU64::new(0));
            let end = Arc::new(AtomicBool::new(false));
            let parts = (Arc::clone(&bell), Arc::clone(&queue), Arc::clone(&taken));
            let (counter, stop) = (Arc::clone(&turns), Arc::clone(&end));
            let thread = thread::spawn(move || {
                let (bell, queue, taken) = parts;
                bell.attach();
                while !stop.load(Ordering::Relaxed) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    while queue.pop().is_some() {
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                    bell.sleep(|| queue.is_empty() && !stop.load(Ordering::Relaxed), None);
                }
            });
            Self { bell, queue, taken, turns, end, thread: Some(thread) }
        }

        fn send(&self, number: u64) {
            while self.queue.push(number).is_err() {
                thread::yield_now();
            }
            self.bell.ring(|| false);
        }

        fn wait(&self, condition: impl Fn(&Self) -> bool) {
            crate::log::tests::wait_for(|| condition(self));
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.end.store(true, Ordering::Relaxed);
            self.bell.summon();
            self.thread.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn no_wake_up_is_lost_when_each_line_meets_the_sleeper_going_to_sleep() {
        let rig = Rig::new();
        for number in 0..20_000_u64 {
            rig.send(number);
            // Meets the sleeper at every point of its way to sleep: each round waits a little longer.
            for _ in 0..number % 97 {
                std::hint::spin_loop();
            }
            rig.wait(|rig| rig.taken.load(Ordering::SeqCst) == number + 1);
        }
    }

    #[test]
    fn no_wake_up_is_lost_among_several_producers() {
        let rig = Rig::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|number| rig.send(number)));
            }
        });
        rig.wait(|rig| rig.taken.load(Ordering::SeqCst) == 80_000);
    }

    #[test]
    fn a_push_between_the_last_look_and_the_parking_is_not_slept_through() {
        let sleeper = thread::spawn(|| {
            let bell = Bell::default();
            bell.attach();
            let queue = ArrayQueue::new(1);
            // The interleaving a race would have to hit, made by hand: the look finds nothing, then comes the push.
            let look = || {
                let quiet = queue.is_empty();
                queue.push(0).unwrap();
                bell.ring(|| false);
                quiet
            };
            bell.sleep(look, None);
        });
        crate::log::tests::wait_for(|| sleeper.is_finished());
        sleeper.join().unwrap();
    }

    #[test]
    fn an_idle_sleeper_takes_no_turn() {
        let rig = Rig::new();
        rig.send(0);
        rig.wait(|rig| rig.taken.load(Ordering::SeqCst) == 1 && rig.bell.is_asleep());
        let before = rig.turns.load(Ordering::SeqCst);
        rig.send(1);
        rig.wait(|rig| rig.taken.load(Ordering::SeqCst) == 2 && rig.bell.is_asleep());
        // One turn for the line; a second if the wake-up raced with the last look at the queue.
        let turns = rig.turns.load(Ordering::SeqCst) - before;
        assert!((1..=2).contains(&turns), "{turns}");
    }

    #[test]
    fn a_nap_is_cut_short_only_when_urgent_or_ordered() {
        let bell = Arc::new(Bell::default());
        bell.attach();
        let ringer = Arc::clone(&bell);
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let thread = thread::spawn(move || {
            while ringer.state.load(Ordering::SeqCst) != NAPPING {
                thread::yield_now();
            }
            ringer.ring(|| {
                count.fetch_add(1, Ordering::SeqCst);
                false
            });
            assert_eq!(ringer.state.load(Ordering::SeqCst), NAPPING, "not urgent: it goes on napping");
            ringer.ring(|| true);
        });
        // An hour: the test hangs if the urgent ring does not end the nap.
        while asked.load(Ordering::SeqCst) == 0 {
            bell.nap(|| false, Duration::from_secs(3600));
        }
        thread.join().unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
