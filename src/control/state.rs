// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the control thread lends to everybody who answers there: the time, where the figures come from, the listings
//! under way, the orders given to main.
//!
//! Invariants: every entry of a map belongs to a reader that is there, which takes it out when it goes or gives up; a
//! listing's number belongs to one reader or one lease, whatever cursors say.

use super::certificates::Certificates;
use super::collect::Collected;
use super::kept::Kept;
use super::listing::{Cursor, Listing};
use super::order::{Order, Orders};
use super::running::Running;
use super::stint::Stint;
use super::visits::Visits;
use crate::connection::guard::Limit;
use crate::connection::view::Wanted;
use crate::connection::walk::{Act, Page, Pages, Walk};
use crate::daemon::inbox::{Inboxes, Refused};
use crate::daemon::queue::Queue;
use crate::event::Key;
use crate::live::View;
use crate::log::Log;
use crate::policy::access::ControlSettings;
use crate::resolver::Current;
use crate::stats::Registry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the bookmark of a listing that was left off is kept for whoever goes on with it.
const LEASE: Duration = Duration::from_secs(30);

/// Leases at once; beyond it the oldest ends, which costs its holder a walk from the head.
const LEASES: usize = 512;

/// A worker from which nobody has heard for so long is stuck. It answers a walk after sixteen turns at most; this leaves it
/// a third of a second for each.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

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
    pub resolver: Current,
    /// How many workers there are.
    pub workers: usize,
}

/// The control thread's state.
#[derive(Debug)]
pub struct State {
    pub now: Instant,
    /// Who may do what, as it is in effect.
    pub settings: Arc<ControlSettings>,
    pub sources: Sources,
    /// Who waits for a page of which listing, and from which worker.
    listings: HashMap<u64, (Key, usize)>,
    /// Who waits for which order's outcome.
    orders: HashMap<u64, Key>,
    /// Listings nobody reads at the moment, the oldest first.
    leases: VecDeque<Lease>,
    /// When each worker last answered.
    heard: Box<[Instant]>,
    /// Bytes that wait in all readers' buffers.
    held: usize,
    next_number: u64,
    pub(super) stint: Stint,
    pub(super) certificates: Certificates,
    pub(super) collected: Collected,
    pub(super) kept: Kept,
}

/// A listing that was left off, for whoever goes on with it.
#[derive(Debug)]
struct Lease {
    until: Instant,
    /// Who holds its bookmark, and what tells it that the listing is over.
    worker: usize,
    walk: Walk,
}

impl State {
    pub fn new(sources: Sources, now: Instant) -> Self {
        let heard = vec![now; sources.workers].into();
        Self {
            now,
            settings: Arc::default(),
            sources,
            listings: HashMap::new(),
            orders: HashMap::new(),
            leases: VecDeque::new(),
            heard,
            held: 0,
            next_number: 1,
            stint: Stint::begin(),
            certificates: Certificates::default(),
            collected: Collected::new(now),
            kept: Kept::default(),
        }
    }

    /// A number nothing else has.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Begins a listing, or goes on with one. A cursor somebody made up leads to a listing of its own, which costs a walk
    /// from the head and ends early at worst.
    pub fn list(&mut self, from: Option<Cursor>, wanted: Wanted, act: Act, most: usize) -> Listing {
        let at = match from {
            Some(cursor) if self.take_up(cursor) => cursor,
            Some(cursor) => Cursor { listing: self.number(), ..cursor },
            None => {
                let below = self.sources.ids.load(Ordering::Relaxed);
                Cursor { listing: self.number(), worker: 0, after: 0, below }
            }
        };
        Listing::new(at, self.sources.workers, wanted, act, most)
    }

    /// Takes over the lease that ends just there, if there is one.
    fn take_up(&mut self, cursor: Cursor) -> bool {
        let place = self.leases.iter().position(|Lease { worker, walk, .. }| {
            let Cursor { listing, after, below, .. } = cursor;
            (walk.listing, *worker, walk.after, walk.below) == (listing, cursor.worker, after, below)
        });
        place.and_then(|place| self.leases.remove(place)).is_some()
    }

    /// Asks a worker for the listing's next page.
    pub fn ask(&mut self, reader: Key, listing: &Listing) -> Asked {
        let Some((worker, walk)) = listing.next() else { return Asked::Through };
        let number = walk.listing;
        match self.sources.inboxes.push_walk(worker, walk) {
            Ok(()) => {}
            Err(Refused::Full) => return Asked::Refused,
            Err(Refused::Ended) => return Asked::Ended,
        }
        self.sources.queue.bell(worker).signal();
        self.listings.insert(number, (reader, worker));
        Asked::Waiting
    }

    /// Who waits for that page; nobody, if it comes too late.
    pub fn waits_for_page(&mut self, page: &Page) -> Option<Key> {
        if let Some(heard) = self.heard.get_mut(page.worker) {
            *heard = self.now;
        }
        let (reader, worker) = *self.listings.get(&page.listing)?;
        (worker == page.worker).then(|| {
            self.listings.remove(&page.listing);
            reader
        })
    }

    /// Whether that worker has answered anybody lately: then it is not stuck, but has much to do.
    pub fn is_heard_of(&self, worker: usize) -> bool {
        self.heard.get(worker).is_some_and(|heard| self.now.saturating_duration_since(*heard) < SILENCE)
    }

    /// A listing is left off, for whoever may go on with it.
    pub fn leave(&mut self, listing: &Listing) {
        self.listings.remove(&listing.number());
        let Some((worker, walk)) = listing.forget() else { return };
        self.leases.push_back(Lease { until: self.now + LEASE, worker, walk });
        self.end_leases();
    }

    /// A listing is over for good, or its worker is no longer waited for.
    pub fn drop_listing(&mut self, listing: &Listing) {
        self.listings.remove(&listing.number());
        if let Some((worker, walk)) = listing.forget() {
            self.tell(worker, walk);
        }
    }

    /// When the next lease ends.
    pub fn next_lease(&self) -> Option<Instant> {
        self.leases.front().map(|lease| lease.until)
    }

    /// Ends the leases that are over.
    pub fn end_leases(&mut self) {
        while self.leases.front().is_some_and(|lease| lease.until <= self.now || self.leases.len() > LEASES) {
            if let Some(Lease { worker, walk, .. }) = self.leases.pop_front() {
                self.tell(worker, walk);
            }
        }
    }

    /// A reader's buffers have grown or shrunk.
    pub(super) fn hold(&mut self, before: usize, now: usize) {
        self.held = (self.held + now).saturating_sub(before);
    }

    /// Bytes that wait for all readers; what several are given counts once.
    pub fn held(&self) -> usize {
        self.held + self.kept.held()
    }

    fn tell(&self, worker: usize, walk: Walk) {
        // A bookmark that stays because there is no room for this is pushed out by younger ones.
        if self.sources.inboxes.push_walk(worker, walk).is_ok() {
            self.sources.queue.bell(worker).signal();
        }
    }

    /// Gives main an order for `reader`; its number, or nothing when too many wait.
    pub fn order(&mut self, reader: Key, order: Order) -> Option<u64> {
        let number = self.number();
        self.sources.orders.give(number, order).then(|| {
            self.orders.insert(number, reader);
            number
        })
    }

    /// Nobody waits for that order's outcome any more.
    pub fn drop_order(&mut self, order: u64) {
        self.orders.remove(&order);
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
    /// It is there no more, nor are its connections.
    Ended,
}
