// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that wait because every server of their route is full: a bounded line, first come first served.
//!
//! Who waits stands in the line with the address under which its worker finds it. Whoever leaves a server calls the next one.
//! A call may reach nobody, because its connection has gone or found a place by itself, or one who cannot use what is free,
//! because it has failed there; then it is passed on, so that no place stays empty while somebody waits. The line belongs to
//! the route's name, as the servers' marks do ([`super::marks::MarkBook`]): those of an older configuration leave, and
//! wait, beside those of the present one.
//!
//! Invariants: who waits is counted for as long as it has its [`Ticket`], and stands in the line once at most; those are
//! bounded, and so are those who have given up, whom the line forgets only when it comes to them. Not here: how long one
//! waits (`handshake/connect.rs`), how a call reaches a worker (`daemon/inbox.rs`).

use crate::event::Key;
use crossbeam_queue::SegQueue;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How many times as many as may wait the line may hold, those counted who have given up.
const SLACK: usize = 2;

/// `queue`: how many may wait, and each for how long at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// 0 where no server can be full.
    pub length: usize,
    pub patience: Duration,
}

/// The line of one route.
#[derive(Debug, Default)]
pub struct Waiting {
    line: SegQueue<Standing>,
    /// Who really waits: some in the line may have gone.
    waiting: AtomicUsize,
}

/// Where to find one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub worker: usize,
    pub key: Key,
    /// The connection's number: a worker that was replaced gives out its keys anew.
    pub id: u64,
}

/// One in the line.
#[derive(Debug)]
struct Standing {
    caller: Caller,
    /// Gone with its ticket.
    waits: Weak<()>,
}

impl Standing {
    fn waits(&self) -> bool {
        self.waits.strong_count() > 0
    }
}

/// One connection's standing in the line, until it is dropped.
#[derive(Debug)]
pub struct Ticket {
    line: Arc<Waiting>,
    caller: Caller,
    waits: Arc<()>,
}

impl Waiting {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stands at the end of the line; nothing: `length` wait already. Look once more for a place after it, for one may have
    /// become free meanwhile.
    pub fn join(self: &Arc<Self>, caller: Caller, length: usize) -> Option<Ticket> {
        // Counted first: who leaves a server from now on calls.
        let enter = |waiting| (waiting < length).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter).ok()?;
        if self.line.len() >= length.saturating_mul(SLACK) {
            self.tidy();
        }
        let ticket = Ticket { line: Arc::clone(self), caller, waits: Arc::default() };
        ticket.stand();
        Some(ticket)
    }

    /// Takes out those who gave up, by going round once: that is due when as many have joined as may wait.
    fn tidy(&self) {
        for _ in 0..self.line.len() {
            match self.line.pop() {
                Some(first) if first.waits() => self.line.push(first),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The next one is to be called, if somebody waits.
    pub fn next(&self) -> Option<Caller> {
        if self.is_empty() {
            return None;
        }
        loop {
            let first = self.line.pop()?;
            if first.waits() {
                return Some(first.caller);
            }
        }
    }
}

impl Ticket {
    /// Stands at the end of the line, for the first time or after a call that led to nothing. Look for a place after it.
    pub fn stand(&self) {
        self.line.line.push(Standing { caller: self.caller, waits: Arc::downgrade(&self.waits) });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Ordering::SeqCst);
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
        let waiting = Arc::new(Waiting::default());
        assert_eq!(waiting.next(), None);
        let (first, second) = (waiting.join(caller(1), 2).unwrap(), waiting.join(caller(2), 2).unwrap());
        assert!(waiting.join(caller(3), 2).is_none());
        assert_eq!((waiting.len(), waiting.next().unwrap().id), (2, 1));
        // It was called in vain, and stands at the end again.
        first.stand();
        assert_eq!((waiting.next().unwrap().id, waiting.next().unwrap().id), (2, 1));
        second.stand();
        drop((first, second));
        assert!(waiting.is_empty() && waiting.next().is_none(), "who has gone is not called");
    }

    #[test]
    fn those_who_gave_up_take_nobodys_place_and_are_forgotten() {
        let waiting = Arc::new(Waiting::default());
        let first = waiting.join(caller(0), 3).unwrap();
        let mut second = waiting.join(caller(1), 3).unwrap();
        for id in 2..1000 {
            let next = waiting.join(caller(id), 3).unwrap_or_else(|| panic!("{id}: two wait"));
            assert!(waiting.line.len() <= 3 * SLACK, "{id}");
            drop(std::mem::replace(&mut second, next));
        }
        assert_eq!(waiting.len(), 2);
        assert_eq!(
            [waiting.next(), waiting.next(), waiting.next()],
            [Some(caller(0)), Some(caller(999)), None]
        );
        drop((first, second));
    }

    #[test]
    fn without_a_line_nobody_waits() {
        assert!(Arc::new(Waiting::default()).join(caller(1), Bounds::default().length).is_none());
    }
}
