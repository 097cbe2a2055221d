// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the control thread lends to everybody who answers there: the time, where the figures come from, the listings
//! under way, the orders given to main.

use super::certificates::Certificates;
use super::listing::{Cursor, Listing};
use super::order::{Order, Orders};
use super::running::Running;
use super::visits::Visits;
use crate::connection::guard::Limit;
use crate::connection::view::Wanted;
use crate::connection::walk::{Act, Pages, Walk};
use crate::daemon::inbox::Inboxes;
use crate::daemon::queue::Queue;
use crate::event::Key;
use crate::live::View;
use crate::log::Log;
use crate::stats::Registry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the bookmark of a listing that was left off is kept for whoever goes on with it.
const LEASE: Duration = Duration::from_secs(30);

/// Leases at once; beyond it the oldest ends, which costs its holder a walk from the head.
const LEASES: usize = 512;

/// Where everything that is shown comes from.
#[derive(Debug)]
pub struct Sources {
    pub registry: Registry,
    pub limit: Arc<Limit>,
    pub queue: Arc<Queue>,
    pub inboxes: Arc<Inboxes>,
    pub pages: Arc<Pages>,
    pub orders: Arc<Orders>,
    pub visits: Arc<Visits>,
    /// The number of the next connection.
    pub ids: Arc<AtomicU64>,
    pub running: View<Running>,
    pub log: Log,
    /// How many workers there are.
    pub workers: usize,
}

/// The control thread's state.
#[derive(Debug)]
pub struct State {
    pub now: Instant,
    pub sources: Sources,
    /// Who waits for which listing's page, and for which order's outcome.
    listings: HashMap<u64, Key>,
    orders: HashMap<u64, Key>,
    /// Listings nobody reads at the moment, with where they stopped and until when their bookmarks are kept.
    leases: VecDeque<(Instant, u64, usize, Walk)>,
    next_number: u64,
    pub(super) certificates: Certificates,
}

impl State {
    pub fn new(sources: Sources, now: Instant) -> Self {
        Self {
            now,
            sources,
            listings: HashMap::new(),
            orders: HashMap::new(),
            leases: VecDeque::new(),
            next_number: 1,
            certificates: Certificates::default(),
        }
    }

    /// A number nothing else has.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Begins a listing, or goes on with one. A cursor somebody made up leads to a listing that ends early at worst.
    pub fn list(&mut self, from: Option<Cursor>, wanted: Wanted, act: Act, most: usize) -> Listing {
        let at = match from {
            Some(cursor) => {
                self.leases.retain(|(_, listing, ..)| *listing != cursor.listing);
                cursor
            }
            None => {
                let below = self.sources.ids.load(Ordering::Relaxed);
                Cursor { listing: self.number(), worker: 0, after: 0, below }
            }
        };
        Listing::new(at, self.sources.workers, wanted, act, most)
    }

    /// Asks a worker for the listing's next page; false when the listing is through, or the worker has too much to do.
    pub fn ask(&mut self, reader: Key, listing: &Listing) -> Asked {
        let Some((worker, walk)) = listing.next() else { return Asked::Through };
        let number = walk.listing;
        if !self.sources.inboxes.push_walk(worker, walk) {
            return Asked::Refused;
        }
        self.sources.queue.bell(worker).signal();
        self.listings.insert(number, reader);
        Asked::Waiting
    }

    /// Who waits for that listing's page.
    pub fn waits_for_page(&mut self, listing: u64) -> Option<Key> {
        self.listings.remove(&listing)
    }

    /// A listing is left off, for whoever may go on with it.
    pub fn leave(&mut self, listing: &Listing) {
        self.listings.remove(&listing.number());
        let Some((worker, walk)) = listing.forget() else { return };
        self.leases.push_back((self.now + LEASE, walk.listing, worker, walk));
        self.end_leases();
    }

    /// A listing is over for good.
    pub fn drop_listing(&mut self, listing: &Listing) {
        self.listings.remove(&listing.number());
        if let Some((worker, walk)) = listing.forget() {
            self.tell(worker, walk);
        }
    }

    /// When the next lease ends.
    pub fn next_lease(&self) -> Option<Instant> {
        self.leases.front().map(|lease| lease.0)
    }

    /// Ends the leases that are over.
    pub fn end_leases(&mut self) {
        while self.leases.front().is_some_and(|lease| lease.0 <= self.now || self.leases.len() > LEASES) {
            if let Some((_, _, worker, walk)) = self.leases.pop_front() {
                self.tell(worker, walk);
            }
        }
    }

    fn tell(&self, worker: usize, walk: Walk) {
        // A bookmark that stays because there is no room for this is pushed out by younger ones.
        if self.sources.inboxes.push_walk(worker, walk) {
            self.sources.queue.bell(worker).signal();
        }
    }

    /// Gives main an order for `reader`; false when too many wait.
    pub fn order(&mut self, reader: Key, order: Order) -> bool {
        let number = self.number();
        let given = self.sources.orders.give(number, order);
        if given {
            self.orders.insert(number, reader);
        }
        given
    }

    /// Who waits for that order's outcome.
    pub fn waits_for_outcome(&mut self, order: u64) -> Option<Key> {
        self.orders.remove(&order)
    }

    /// What main has published last.
    pub fn running(&mut self) -> Arc<Running> {
        self.sources.running.share()
    }
}

/// What became of a question to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Waiting,
    /// There is nothing left to ask.
    Through,
    /// It cannot be asked now.
    Refused,
}
