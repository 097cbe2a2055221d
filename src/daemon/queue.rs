// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hand-off of accepted sockets: main pushes, workers pull. Bounded and lock-free; when it is full, main stops
//! accepting and the kernel's backlog absorbs.
//!
//! A worker is woken only if one sleeps: it announces itself *before* it looks at the queue for the last time, main pushes
//! *before* it looks for sleepers, both with sequentially consistent order, so one of them sees the other.

use crate::connection::guard::Guard;
use crate::connection::plan::Plan;
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
    pub at: Instant,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    items: ArrayQueue<Accepted>,
    sleepers: AtomicUsize,
    /// Readable when there is work and somebody slept. In every worker's epoll set, exclusively: one is woken.
    wake: EventFd,
    /// Main waits for room.
    stalled: AtomicBool,
}

impl Queue {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            items: ArrayQueue::new(CAPACITY),
            sleepers: AtomicUsize::new(0),
            wake: EventFd::new()?,
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

    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake.signal();
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

    /// Announces that this worker is about to sleep; false if there is work after all. Follow it with
    /// [`Self::awake`].
    pub fn doze(&self) -> bool {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.items.is_empty()
    }

    pub fn awake(&self) {
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// The descriptor that wakes a worker.
    pub fn bell(&self) -> &EventFd {
        &self.wake
    }

    /// A worker that was woken took its batch: wakes another if there is more.
    pub fn pass_on(&self) {
        if !self.items.is_empty() {
            self.wake_one();
        }
    }
}
