// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that wait because every server of their route is full: a bounded line, first come first served.
//!
//! Who waits stands in the line with the address under which its worker finds it. Whoever leaves a server calls the next one.
//! A call may reach nobody, because its connection has gone or found a place by itself, or one who cannot use what is free,
//! because it has failed there; then it is passed on, so that no place stays empty while somebody waits. Invariants: the line is bounded; who waits is counted for as long as it has its
//! [`Ticket`]. Not here: how long one waits (`handshake/connect.rs`), how a call reaches a worker (`daemon/inbox.rs`).

use crate::event::Key;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The line of one route.
#[derive(Debug, Default)]
pub struct Waiting {
    /// None where no server can be full.
    line: Option<ArrayQueue<Caller>>,
    /// Who really waits: some in the line may have gone.
    waiting: AtomicUsize,
    /// How long one waits at most.
    pub patience: Duration,
}

/// Where to find one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub worker: usize,
    pub key: Key,
    /// The connection's number: a worker that was replaced gives out its keys anew.
    pub id: u64,
}

/// One connection's standing in the line, until it is dropped.
#[derive(Debug)]
pub struct Ticket(Arc<Waiting>);

impl Waiting {
    /// A line for `length` connections.
    pub fn new(length: usize, patience: Duration) -> Self {
        let line = (length > 0).then(|| ArrayQueue::new(length));
        Self { line, waiting: AtomicUsize::new(0), patience }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stands at the end of the line; nothing: it is full. Look once more for a place after it, for one may have become free
    /// meanwhile.
    pub fn join(self: &Arc<Self>, caller: Caller) -> Option<Ticket> {
        let line = self.line.as_ref()?;
        // Counted first: who leaves a server from now on calls.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket(Arc::clone(self));
        self.tidy(line);
        line.push(caller).is_ok().then_some(ticket)
    }

    /// Stands at the end of the line again, after a call that led to nothing; false if the line is full.
    pub fn join_again(&self, caller: Caller) -> bool {
        self.line.as_ref().is_some_and(|line| line.push(caller).is_ok())
    }

    /// Takes out those who gave up long ago, when nobody else is in the line.
    fn tidy(&self, line: &ArrayQueue<Caller>) {
        if line.is_full() && self.len() <= 1 {
            while line.pop().is_some() {}
        }
    }

    /// The next one is to be called, if somebody waits.
    pub fn next(&self) -> Option<Caller> {
        if self.is_empty() {
            return None;
        }
        self.line.as_ref()?.pop()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: u64) -> Caller {
        Caller { worker: 0, key: Key { index: 0, generation: 0 }, id }
    }

    #[test]
    fn first_come_first_served_and_no_more_than_there_is_room_for() {
        let waiting = Arc::new(Waiting::new(2, Duration::ZERO));
        assert_eq!(waiting.next(), None);
        let (first, second) = (waiting.join(caller(1)).unwrap(), waiting.join(caller(2)).unwrap());
        assert!(waiting.join(caller(3)).is_none());
        assert_eq!((waiting.len(), waiting.next().unwrap().id), (2, 1));
        drop(first);
        // It was called in vain, and stands at the end again.
        assert!(waiting.join_again(caller(3)));
        assert_eq!((waiting.next().unwrap().id, waiting.len()), (2, 1));
        drop(second);
        assert!(waiting.is_empty() && waiting.next().is_none(), "the third has no ticket");
    }

    #[test]
    fn a_line_of_those_who_gave_up_is_no_line() {
        let waiting = Arc::new(Waiting::new(2, Duration::ZERO));
        for id in 0..10 {
            assert!(waiting.join(caller(id)).is_some(), "{id}");
        }
        assert!(waiting.is_empty());
    }

    #[test]
    fn without_a_line_nobody_waits() {
        assert!(Arc::new(Waiting::default()).join(caller(1)).is_none());
    }
}
