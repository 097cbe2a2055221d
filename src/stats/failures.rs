// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last failures, on their way from the workers to whoever keeps them: a bounded ring without a lock.
//!
//! Where nothing fails nothing is paid. When nobody takes them, or they come too fast, the oldest go.

use super::causes::Cause;
use super::scope::Scope;
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// How many may wait: what a worker may produce between two looks, which are a second apart.
const CAPACITY: usize = 1024;

/// A connection that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When ([`super::Clock::at`]).
    pub at: u64,
    pub worker: usize,
    /// The connection's number.
    pub id: u64,
    pub service: Box<str>,
    /// Empty: none was picked.
    pub route: Box<str>,
    pub client: Box<str>,
    /// The name it asked for.
    pub name: Box<str>,
    pub server: Box<str>,
    pub cause: Cause,
    /// "reading the ClientHello".
    pub doing: &'static str,
    /// What there is to say beyond the cause.
    pub text: Box<str>,
}

/// A server that could not be connected to, whether or not another one could.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The server's.
    pub stats: Arc<Scope>,
    /// When ([`super::Clock::at`]).
    pub at: u64,
    pub text: Box<str>,
}

/// The ring.
#[derive(Debug)]
pub struct Ring<T>(ArrayQueue<T>);

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self(ArrayQueue::new(CAPACITY))
    }
}

impl<T> Ring<T> {
    /// Notes one; the oldest goes for it if there is no room.
    pub fn note(&self, one: T) {
        drop(self.0.force_push(one));
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<T> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let ring = Ring::default();
        let failure = |id| Failure {
            at: id,
            worker: 0,
            id,
            service: "web".into(),
            route: "".into(),
            client: "192.0.2.1:1".into(),
            name: "".into(),
            server: "".into(),
            cause: Cause::NotTls,
            doing: "reading the ClientHello",
            text: "".into(),
        };
        let more = CAPACITY as u64 + 10;
        (0..more).for_each(|id| ring.note(failure(id)));
        let ids: Vec<_> = std::iter::from_fn(|| ring.take()).map(|failure| failure.id).collect();
        assert_eq!(ids, (10..more).collect::<Vec<_>>());
    }
}
