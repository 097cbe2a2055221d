// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-off of accepted sockets: main pushes, workers pull. Bounded and lock-free; when it is full, main stops
//! accepting and the kernel's backlog absorbs.
//!
//! A worker is woken only if it sleeps, and of several the one with the fewest connections: a worker announces itself
//! *before* it looks at the queue for the last time, main pushes *before* it looks for sleepers, both with sequentially
//! consistent order, so one of them sees the other.

use crate::connection::guard::Guard;
use crate::connection::plan::Plan;
use crate::stats::Presence;
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::socket::Socket;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::Instant;

/// Accepted sockets that may wait for a worker.
const CAPACITY: usize = 1024;

/// A socket on its way from main to a worker.
#[derive(Debug)]
pub struct Accepted {
    pub socket: Socket,
    pub client: Address,
    pub plan: Arc<Plan>,
    pub guard: Guard,
    /// At its listener, and so in its service.
    pub stays: Presence,
    pub at: Instant,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    items: ArrayQueue<Accepted>,
    /// By worker.
    bells: Box<[Bell]>,
    /// How many of them are asleep.
    sleepers: AtomicUsize,
    /// Main waits for room.
    stalled: AtomicBool,
}

/// How one worker is woken. Alone on its cache lines: its worker writes it every time it falls asleep.
#[derive(Debug)]
#[repr(align(128))]
struct Bell {
    /// In that worker's epoll set.
    event: EventFd,
    asleep: AtomicBool,
    /// How many connections it had when it fell asleep.
    load: AtomicUsize,
}

impl Queue {
    /// A queue for so many workers.
    ///
    /// # Errors
    /// When the system has no descriptors to give.
    pub fn new(workers: usize) -> io::Result<Self> {
        let bell = || {
            let (asleep, load) = (AtomicBool::new(false), AtomicUsize::new(0));
            Ok(Bell { event: EventFd::new()?, asleep, load })
        };
        Ok(Self {
            items: ArrayQueue::new(CAPACITY),
            bells: (0..workers).map(|_| bell()).collect::<io::Result<_>>()?,
            sleepers: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
        })
    }

    /// Whether a push would fail now. Asks to be told of room if so: see [`Self::pop`].
    pub fn is_full(&self) -> bool {
        if !self.items.is_full() {
            return false;
        }
        self.stalled.store(true, Ordering::SeqCst);
        self.items.is_full()
    }

    /// Hands a socket over; gives it back when the queue is full.
    ///
    /// # Errors
    /// The socket itself.
    pub fn push(&self, accepted: Accepted) -> Result<(), Accepted> {
        self.items.push(accepted)?;
        self.wake_one();
        Ok(())
    }

    /// Wakes the sleeper with the fewest connections, if anybody sleeps.
    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        let asleep = self.bells.iter().filter(|bell| bell.asleep.load(Ordering::SeqCst));
        if let Some(bell) = asleep.min_by_key(|bell| bell.load.load(Ordering::Relaxed)) {
            bell.event.signal();
        }
    }

    /// The oldest socket, and whether main waits for the room it leaves.
    pub fn pop(&self) -> Option<(Accepted, bool)> {
        let accepted = self.items.pop()?;
        let told = self.stalled.load(Ordering::SeqCst) && self.stalled.swap(false, Ordering::SeqCst);
        Some((accepted, told))
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Announces that worker `number`, which has `load` connections, is about to sleep; false if there is work after
    /// all. Follow it with [`Self::awake`].
    pub fn doze(&self, number: usize, load: usize) -> bool {
        let bell = &self.bells[number];
        bell.load.store(load, Ordering::Relaxed);
        bell.asleep.store(true, Ordering::SeqCst);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.items.is_empty()
    }

    pub fn awake(&self, number: usize) {
        self.bells[number].asleep.store(false, Ordering::SeqCst);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// The descriptor that wakes worker `number`.
    pub fn bell(&self, number: usize) -> &EventFd {
        &self.bells[number].event
    }

    /// A worker that was woken took its batch: wakes another if there is more.
    pub fn pass_on(&self) {
        if !self.items.is_empty() {
            self.wake_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_sleepers_the_one_with_the_least_to_do_is_woken() {
        let queue = Queue::new(3).unwrap();
        assert!(queue.doze(0, 7));
        assert!(queue.doze(2, 3));
        queue.wake_one();
        assert!(!queue.bell(0).drain() && !queue.bell(1).drain());
        assert!(queue.bell(2).drain());
        queue.awake(2);
        queue.wake_one();
        assert!(queue.bell(0).drain());
        queue.awake(0);
        queue.wake_one();
        assert!((0..3).all(|number| !queue.bell(number).drain()), "nobody sleeps");
    }
}
