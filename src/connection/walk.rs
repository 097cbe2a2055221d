// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listing connections: who lists asks a worker for a page, the worker puts a bookmark into its list of connections, walks
//! on from it a few connections per turn, and answers with what it found.
//!
//! Invariants: connections come and go around a bookmark at no cost; a turn does a bounded part of the walks, whatever is
//! asked and by however many; every connection that is there from the first page to the last is told exactly once, because
//! their numbers grow along the list. A walk that takes its worker many turns is answered with what there is by then,
//! so that who asked can tell a long way from a worker that is stuck. A bookmark that was lost (a worker was replaced, a lease
//! ran out) costs one walk from the head, in the same slices. Not here: who asks (`control/listing.rs`).

use super::connection::Connection;
use super::context::Ctx;
use super::view::{ConnectionView, Wanted};
use crate::error::Reason;
use crate::event::Key;
use crate::event::event_loop::{Bookmark, Loop, Passed};
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::sync::Arc;

/// Connections put into words per turn, over all listings: each costs a few microseconds.
pub(super) const SLICE: usize = 16;

/// Places of the list passed per turn, over all listings: what was told before and other bookmarks count, too. A place
/// costs some ten nanoseconds, a hundred where it is not in the cache.
pub(super) const STEPS: usize = 256;

/// Turns a walk may take part in before it is answered with what it has found.
pub(super) const TURNS: usize = 16;

/// Walks taken up per turn. Each is looked for among those that are there.
pub const BEGINNINGS: usize = 8;

/// Walks at work at once; others wait until there is room. Above the number of readers.
pub(super) const ACTIVE: usize = 1024;

/// Bookmarks that wait for their reader; beyond it the oldest goes, and its listing seeks anew. Above the number of readers
/// and leases.
pub(super) const RESTING: usize = 1024;

/// Pages that may wait for whoever lists: above the number of readers, each of which waits for one.
const PAGES: usize = 4096;

/// What a worker is asked.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Which listing it is; its bookmark is kept under that number.
    pub listing: u64,
    /// Connections up to that number have been told.
    pub after: u64,
    /// From that number on they came after the listing began.
    pub below: u64,
    /// How many are told at most; 0: the listing is over, its bookmark goes.
    pub most: usize,
    pub wanted: Arc<Wanted>,
    /// What is done with those that are found.
    pub act: Act,
}

/// What is done with the connections a walk finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are told.
    Look,
    /// They are closed, too.
    Close,
}

/// What it answers.
#[derive(Debug)]
pub struct Page {
    pub listing: u64,
    pub worker: usize,
    pub connections: Vec<ConnectionView>,
    /// Where to go on: what `after` of the next walk is.
    pub after: u64,
    /// There are no more.
    pub end: bool,
}

impl Page {
    /// What a worker that has no connections any more answers.
    pub fn last(walk: &Walk, worker: usize) -> Self {
        Self { listing: walk.listing, worker, connections: Vec::new(), after: walk.after, end: true }
    }
}

/// Where workers put their pages, and the bell they ring.
#[derive(Debug)]
pub struct Pages {
    queue: ArrayQueue<Page>,
    bell: Arc<EventFd>,
}

impl Pages {
    pub fn new(bell: Arc<EventFd>) -> Self {
        Self { queue: ArrayQueue::new(PAGES), bell }
    }

    /// The oldest page.
    pub fn pop(&self) -> Option<Page> {
        self.queue.pop()
    }

    /// Puts a page there, and rings.
    pub fn push(&self, page: Page) {
        // Should it be full, who lists passes this worker over at its deadline.
        if self.queue.push(page).is_ok() {
            self.bell.signal();
        }
    }
}

/// A worker's listings.
#[derive(Debug, Default)]
pub struct Walks {
    /// Those that are at work; at most one per listing.
    active: VecDeque<Walking>,
    /// Those that wait for their reader, the oldest first; at most one per listing.
    resting: VecDeque<Resting>,
}

#[derive(Debug)]
struct Walking {
    walk: Walk,
    bookmark: Bookmark,
    found: Vec<ConnectionView>,
    /// In which it had a share.
    turns: usize,
}

#[derive(Debug)]
struct Resting {
    listing: u64,
    /// How far it has come.
    after: u64,
    bookmark: Bookmark,
}

/// What is left of a turn's share.
#[derive(Debug)]
struct Share {
    looks: usize,
    steps: usize,
}

impl Share {
    fn is_left(&self) -> bool {
        self.looks > 0 && self.steps > 0
    }
}

/// Where a walk stands after its part of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walked {
    /// The turn's share is used up.
    SoFar,
    /// The page is to be answered; there may be more.
    Page,
    /// There are no more.
    Through,
}

impl Walks {
    /// Whether a turn has something to do for listings.
    pub fn at_work(&self) -> bool {
        !self.active.is_empty()
    }

    /// Whether another walk can be taken up.
    pub fn has_room(&self) -> bool {
        self.active.len() < ACTIVE
    }

    /// How many bookmarks stand in the list.
    pub fn bookmarks(&self) -> usize {
        self.active.len() + self.resting.len()
    }

    /// Takes up a walk, or forgets the listing.
    pub fn begin(&mut self, walk: Walk, connections: &mut Loop<Box<Connection>>) {
        // Whoever asks anew does not wait for the answer to what it asked before.
        if let Some(place) = self.active.iter().position(|walking| walking.walk.listing == walk.listing) {
            if let Some(walking) = self.active.remove(place) {
                connections.take_bookmark(walking.bookmark);
            }
        }
        let place = self.resting.iter().position(|resting| resting.listing == walk.listing);
        let rested = place.and_then(|place| self.resting.remove(place));
        let bookmark = match rested {
            Some(Resting { after, bookmark, .. }) if after == walk.after && walk.most > 0 => Some(bookmark),
            Some(Resting { bookmark, .. }) => {
                connections.take_bookmark(bookmark);
                None
            }
            None => None,
        };
        if walk.most > 0 {
            let bookmark = bookmark.unwrap_or_else(|| connections.bookmark());
            self.active.push_back(Walking { walk, bookmark, found: Vec::new(), turns: 0 });
        }
    }

    /// One turn's share: walks on, one listing after the other, and answers those that have something to answer.
    pub fn advance(&mut self, connections: &mut Loop<Box<Connection>>, ctx: &mut Ctx, pages: &Pages) {
        let mut share = Share { looks: SLICE, steps: STEPS };
        while share.is_left() {
            let Some(mut walking) = self.active.pop_front() else { return };
            let walked = walking.go(&mut share, connections, ctx);
            if walked == Walked::SoFar {
                // The next turn begins with another one.
                self.active.push_back(walking);
            } else {
                self.answer(walking, walked == Walked::Through, connections, ctx.worker, pages);
            }
        }
    }

    fn answer(
        &mut self,
        walking: Walking,
        end: bool,
        connections: &mut Loop<Box<Connection>>,
        worker: usize,
        pages: &Pages,
    ) {
        let Walking { walk: Walk { listing, after, .. }, bookmark, found, .. } = walking;
        if end {
            connections.take_bookmark(bookmark);
        } else {
            self.resting.push_back(Resting { listing, after, bookmark });
        }
        if self.resting.len() > RESTING {
            if let Some(oldest) = self.resting.pop_front() {
                connections.take_bookmark(oldest.bookmark);
            }
        }
        pages.push(Page { listing, worker, connections: found, after, end });
    }

    /// The worker ends, and its list with it: whoever waits is answered with what was found.
    pub fn finish(self, worker: usize, pages: &Pages) {
        for Walking { walk, found, .. } in self.active {
            pages.push(Page { connections: found, ..Page::last(&walk, worker) });
        }
    }
}

impl Walking {
    /// Walks for as long as the share lasts.
    fn go(&mut self, share: &mut Share, connections: &mut Loop<Box<Connection>>, ctx: &mut Ctx) -> Walked {
        self.turns += 1;
        while share.is_left() {
            share.steps -= 1;
            let key = match connections.pass(&self.bookmark) {
                None => return Walked::Through,
                Some(Passed::Bookmark) => continue,
                Some(Passed::Handler(key)) => key,
            };
            let Some(id) = connections.get(key).map(|connection| connection.id()) else { continue };
            if id >= self.walk.below {
                return Walked::Through;
            }
            if id <= self.walk.after {
                continue;
            }
            share.looks -= 1;
            self.walk.after = id;
            self.look(key, connections, ctx);
            if self.found.len() >= self.walk.most {
                return Walked::Page;
            }
        }
        if self.turns >= TURNS { Walked::Page } else { Walked::SoFar }
    }

    /// Looks at one connection, and does what is to be done with it.
    fn look(&mut self, key: Key, connections: &mut Loop<Box<Connection>>, ctx: &mut Ctx) {
        let Some(view) = connections.look(key, ctx, |connection, ctx| connection.view(ctx)) else { return };
        if !self.walk.wanted.takes(&view) {
            return;
        }
        self.found.push(view);
        if self.walk.act == Act::Close {
            connections.close(key, Reason::Killed, ctx);
        }
    }
}
