// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the control interface has main do, and what came of it.

use crate::log::Level;
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::sync::Arc;

/// Orders that may wait for main.
const CAPACITY: usize = 256;

/// Outcomes that may wait for the control thread: above the number of readers, each of which waits for one.
const OUTCOMES: usize = 1024;

/// Something only main can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Load the configuration anew; the outcome comes when it is in effect or refused.
    Reload,
    /// Stop accepting and let the connections end.
    Drain,
    /// Lines from that level on are logged.
    LogLevel(Level),
    /// Open the log anew.
    ReopenLogs,
}

/// What came of it: a line to show, or why it was not done.
pub type Outcome = Result<String, String>;

/// Between the control thread and main.
#[derive(Debug)]
pub struct Orders {
    orders: ArrayQueue<(u64, Order)>,
    outcomes: ArrayQueue<(u64, Outcome)>,
    /// Main's.
    bell: EventFd,
    /// The control thread's.
    answered: Arc<EventFd>,
}

impl Orders {
    /// # Errors
    /// When the system has no descriptor to give.
    pub fn new(answered: Arc<EventFd>) -> io::Result<Self> {
        Ok(Self {
            orders: ArrayQueue::new(CAPACITY),
            outcomes: ArrayQueue::new(OUTCOMES),
            bell: EventFd::new()?,
            answered,
        })
    }

    /// Gives an order under a number of its own; false when too many wait.
    pub fn give(&self, number: u64, order: Order) -> bool {
        let given = self.orders.push((number, order)).is_ok();
        if given {
            self.bell.signal();
        }
        given
    }

    /// Readable in main when there are orders.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// The oldest order; main's.
    pub fn take(&self) -> Option<(u64, Order)> {
        self.orders.pop()
    }

    /// Tells what came of an order; main's.
    pub fn answer(&self, number: u64, outcome: Outcome) {
        // There are no more outcomes than orders that somebody waits for; one that nobody waits for may be lost.
        if self.outcomes.push((number, outcome)).is_ok() {
            self.answered.signal();
        }
    }

    /// The oldest outcome; the control thread's.
    pub fn outcome(&self) -> Option<(u64, Outcome)> {
        self.outcomes.pop()
    }
}
