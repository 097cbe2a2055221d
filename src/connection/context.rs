// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker lends to every callback: the time, its buffers, its counters, its log.

use crate::channel::Buffers;
use crate::log::Log;
use crate::stream::tls::Ticket;
use std::collections::HashMap;
use std::time::Instant;

/// Sessions kept at most; beyond it all are forgotten, and the next handshakes are full ones.
const TICKETS: usize = 4096;

/// Which sessions a connection to a server may resume: the policy they were agreed under, the server, the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TicketKey {
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
    connections: u64,
    workers: u64,
}

impl Ctx {
    /// The context of worker `worker` of `workers`.
    pub fn new(worker: usize, workers: usize, log: Log, now: Instant) -> Self {
        let (buffers, tickets) = (Buffers::default(), HashMap::new());
        Self { now, worker, buffers, log, tickets, connections: 0, workers: workers as u64 }
    }

    /// A number no other connection of this process has.
    pub fn next_id(&mut self) -> u64 {
        self.connections += 1;
        self.connections * self.workers + self.worker as u64
    }

    /// The newest session with that server.
    pub fn ticket(&self, key: &TicketKey) -> Option<&Ticket> {
        self.tickets.get(key)
    }

    pub fn keep_ticket(&mut self, key: TicketKey, ticket: Ticket) {
        if self.tickets.len() >= TICKETS {
            self.tickets.clear();
        }
        self.tickets.insert(key, ticket);
    }
}
