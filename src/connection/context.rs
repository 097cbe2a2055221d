// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker lends to every callback: the time, its buffers, its counters, its log.

use crate::channel::Buffers;
use crate::log::Log;
use crate::stream::tls::Ticket;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Sessions kept at most; beyond it all are forgotten, and the next handshakes are full ones.
const TICKETS: usize = 4096;

/// Which sessions a connection to a server may resume: the policy they were agreed under, the server, the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TicketKey {
    /// The service, by the address of its counters, which outlive every reload.
    pub owner: usize,
    /// `ClientTls::id`: another after each reload, so nothing is resumed across a change of trust.
    pub policy: u64,
    pub server: u32,
    pub name: Option<Box<str>>,
}

/// The worker's context. Time is read once per turn by the worker; nobody below asks the clock.
#[derive(Debug)]
pub struct Ctx {
    pub now: Instant,
    /// Which worker this is, from 0.
    pub worker: usize,
    pub buffers: Buffers,
    pub log: Log,
    tickets: HashMap<TicketKey, Ticket>,
    /// The number of the next connection, over all workers and for the life of the process.
    ids: Arc<AtomicU64>,
}

impl Ctx {
    /// The context of worker `worker`; all share `ids`.
    pub fn new(worker: usize, ids: Arc<AtomicU64>, log: Log, now: Instant) -> Self {
        let (buffers, tickets) = (Buffers::default(), HashMap::new());
        Self { now, worker, buffers, log, tickets, ids }
    }

    /// A number no other connection of this process has.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The newest session with that server.
    pub fn ticket(&self, key: &TicketKey) -> Option<&Ticket> {
        self.tickets.get(key)
    }

    pub fn keep_ticket(&mut self, key: TicketKey, ticket: Ticket) {
        if !self.tickets.contains_key(&key) {
            // What was agreed before a reload can never be resumed, but would keep the old trust in memory.
            self.tickets.retain(|old, _| old.owner != key.owner || old.policy == key.policy);
            if self.tickets.len() >= TICKETS {
                self.tickets.clear();
            }
        }
        self.tickets.insert(key, ticket);
    }
}
