// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a worker lends to every callback: the time, its buffers, its counters, its log, and a way to ask the task
//! threads.

use crate::channel::Buffers;
use crate::event::Key;
use crate::live::View;
use crate::log::Log;
use crate::policy::balance::mix;
use crate::policy::upstream::Room;
use crate::policy::waiting::{Caller, Waiting};
use crate::stats::{Clock, Registry};
use crate::stream::tls::Ticket;
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use std::collections::HashMap;
use std::net::SocketAddr;
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
    /// By their places in the service.
    pub route: usize,
    pub server: u32,
    /// As it was verified, and as it was asked for where that is the client's.
    pub name: Option<Box<str>>,
    pub asked: Option<Box<str>>,
}

/// What a connection has done on a task thread, because it may block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks: the answer goes to that worker, and to nobody if the connection has gone.
    pub worker: usize,
    pub key: Key,
    pub id: u64,
    /// The addresses of this host, with that port.
    pub host: Box<str>,
    pub port: u16,
    /// When who asks gives up.
    pub until: Instant,
}

/// What it is told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The connection that is meant: a worker that was replaced gives out its keys anew.
    pub id: u64,
    pub told: Told,
}

/// What a connection may be told.
#[derive(Clone, Debug)]
pub enum Told {
    /// Addresses, at least one, or why there are none.
    Found(Result<Box<[SocketAddr]>, Box<str>>),
    /// It stood in a line, and may look for a server again.
    Turn(Call),
}

/// The task threads, as a connection sees them.
pub trait Ask: std::fmt::Debug + Send + Sync {
    /// Queues a question; false when too many wait already.
    fn ask(&self, question: Question) -> bool;

    /// Calls one who waits; false when too much waits for its worker.
    fn call(&self, caller: Caller, call: &Call) -> bool;
}

/// A call to those who wait in a line, one after the other, until one has what it is for.
#[derive(Clone, Debug)]
pub struct Call {
    line: Arc<Waiting>,
    /// What was seen when it began; nothing: a server was left, though no newcomer would find it.
    room: Option<Room>,
    /// How many more may be called in vain: nobody twice.
    more: usize,
}

impl Call {
    pub fn new(line: &Arc<Waiting>, room: Option<Room>) -> Self {
        Self { line: Arc::clone(line), room, more: line.len() }
    }

    /// Calls whoever is next in the line, if anybody waits there. Who is reached and does not wait any more does the same.
    pub fn next(&self, asks: &dyn Ask) {
        while let Some(caller) = self.line.next() {
            if asks.call(caller, self) {
                return;
            }
        }
    }

    /// Who was called cannot use the room there is, for example because it has failed at that server: another one may.
    pub fn pass_on(mut self, asks: &dyn Ask) {
        self.more = self.more.saturating_sub(1);
        if self.more > 0 && self.room.as_ref().is_some_and(Room::is_left) {
            self.next(asks);
        }
    }
}

/// Who comes to the control interface through a service.
#[derive(Debug)]
pub struct Visit {
    /// The end of a socket pair behind which the client is.
    pub socket: Socket,
    /// Where it comes from, in words.
    pub client: String,
    /// Of the certificate that it has proved to have.
    pub common_name: Option<Box<str>>,
    /// The name that TLS was agreed on for.
    pub asked_for: Option<Box<str>>,
    /// TLS was agreed on for this connection.
    pub tls: bool,
    /// It came over a unix socket, from nobody else.
    pub local: bool,
}

/// The control interface, as a connection sees it.
pub trait Receive: std::fmt::Debug + Send + Sync {
    /// Takes a visit in; false when too many wait already.
    fn receive(&self, visit: Visit) -> bool;
}

/// The addresses we listen on, with the names of the services.
pub type OwnAddresses = Vec<(Address, Box<str>)>;

/// The worker's context. Time is read once per turn by the worker; nobody below asks the clock.
#[derive(Debug)]
pub struct Ctx {
    pub now: Instant,
    /// Which worker this is, from 0.
    pub worker: usize,
    pub buffers: Buffers,
    pub log: Log,
    pub asks: Arc<dyn Ask>,
    pub receives: Arc<dyn Receive>,
    pub own: View<OwnAddresses>,
    /// What is counted, and what its moments are counted from.
    pub stats: Registry,
    pub clock: Clock,
    /// Connections that a tarpit holds.
    pub tarpitted: usize,
    tickets: HashMap<TicketKey, Ticket>,
    /// The number of the next connection, over all workers and for the life of the process.
    ids: Arc<AtomicU64>,
    process: u64,
    random: u64,
}

/// What the contexts of all workers have in common.
#[derive(Clone, Debug)]
pub struct Common {
    pub ids: Arc<AtomicU64>,
    /// A random number that other processes do not have.
    pub process: u64,
    pub log: Log,
    pub asks: Arc<dyn Ask>,
    pub receives: Arc<dyn Receive>,
    pub own: View<OwnAddresses>,
    pub stats: Registry,
}

#[cfg(test)]
impl Common {
    /// Of a worker alone in the world, with nobody to ask.
    pub(crate) fn alone(log: Log) -> Self {
        #[derive(Debug)]
        struct Nobody;
        impl Ask for Nobody {
            fn ask(&self, _: Question) -> bool {
                false
            }
            fn call(&self, _: Caller, _: &Call) -> bool {
                false
            }
        }
        impl Receive for Nobody {
            fn receive(&self, _: Visit) -> bool {
                false
            }
        }
        Self {
            ids: Arc::default(),
            process: 1,
            log,
            asks: Arc::new(Nobody),
            receives: Arc::new(Nobody),
            own: View::new(Arc::default()),
            stats: Registry::default(),
        }
    }
}

impl Ctx {
    /// The context of worker `worker`, with what all workers share.
    pub fn new(worker: usize, common: Common, now: Instant) -> Self {
        let Common { ids, process, log, asks, receives, own, stats } = common;
        let (buffers, tickets, clock) = (Buffers::default(), HashMap::new(), stats.clock());
        Self {
            now,
            worker,
            buffers,
            log,
            asks,
            receives,
            own,
            stats,
            clock,
            tarpitted: 0,
            tickets,
            ids,
            process,
            random: mix(process ^ mix(worker as u64)),
        }
    }

    /// The time as statistics keep it.
    pub fn at(&self) -> u64 {
        self.clock.at(self.now)
    }

    /// Its low bits, for differences.
    pub fn stamp(&self) -> u32 {
        u32::try_from(self.at() & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// 64 bits nobody needs to keep secret.
    pub fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        mix(self.random)
    }

    /// A number no other connection of this process has.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The same made unique beyond this process: by a random number of its own in front.
    pub fn unique_id(&self, id: u64) -> [u8; 16] {
        (u128::from(self.process) << 64 | u128::from(id)).to_be_bytes()
    }

    /// The newest session with that server.
    pub fn ticket(&self, key: &TicketKey) -> Option<&Ticket> {
        self.tickets.get(key)
    }

    /// Keeps the newest session with a server. Policies of its service below `since` are from before the last reload.
    pub fn keep_ticket(&mut self, key: TicketKey, ticket: Ticket, since: u64) {
        if !self.tickets.contains_key(&key) {
            // What was agreed before a reload can never be resumed, but would keep the old trust in memory.
            self.tickets.retain(|old, _| old.owner != key.owner || old.policy >= since);
            if self.tickets.len() >= TICKETS {
                self.tickets.clear();
            }
        }
        self.tickets.insert(key, ticket);
    }
}
