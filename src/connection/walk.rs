// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listing connections: who lists asks a worker for a page, the worker puts a bookmark into its list of connections, walks
//! on from it a few connections per turn, and answers with what it found.
//!
//! Invariants: connections come and go around a bookmark at no cost; a turn walks a bounded number of them, whatever is
//! asked; every connection that is there from the first page to the last is told exactly once, because their numbers grow
//! along the list. A bookmark that was lost (a worker was replaced, a lease ran out) costs one walk from the head, in
//! the same slices. Not here: who asks (`control/listing.rs`).

use super::connection::Connection;
use super::context::Ctx;
use super::view::{ConnectionView, Wanted};
use crate::error::Reason;
use crate::event::event_loop::{Bookmark, Loop};
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::collections::VecDeque;
use std::sync::Arc;

/// Connections a worker looks at per turn, over all listings.
const SLICE: usize = 32;

/// Bookmarks a worker holds; beyond it the oldest goes, and its listing seeks anew.
const BOOKMARKS: usize = 1024;

/// Pages that may wait for whoever lists: more than it has listings.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
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

    pub fn pop(&self) -> Option<Page> {
        self.queue.pop()
    }

    fn push(&self, page: Page) {
        // Should it be full, who lists passes this worker over at its deadline.
        if self.queue.push(page).is_ok() {
            self.bell.signal();
        }
    }
}

/// A worker's listings.
#[derive(Debug, Default)]
pub struct Walks {
    /// Those that are at work.
    active: VecDeque<Walking>,
    /// Those that wait for their reader, the oldest first.
    resting: VecDeque<Resting>,
}

#[derive(Debug)]
struct Walking {
    walk: Walk,
    bookmark: Bookmark,
    found: Vec<ConnectionView>,
}

#[derive(Debug)]
struct Resting {
    listing: u64,
    /// How far it has come.
    after: u64,
    bookmark: Bookmark,
}

impl Walks {
    /// Whether a turn has something to do for listings.
    pub fn at_work(&self) -> bool {
        !self.active.is_empty()
    }

    /// How many bookmarks stand in the list.
    pub fn bookmarks(&self) -> usize {
        self.active.len() + self.resting.len()
    }

    /// Takes up a walk.
    pub fn begin(&mut self, walk: Walk, connections: &mut Loop<Box<Connection>>) {
        let place = self.resting.iter().position(|resting| resting.listing == walk.listing);
        let rested = place.and_then(|place| self.resting.remove(place));
        // Somebody may come twice with the same listing: one that has gone further is of no use to it.
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
            self.active.push_back(Walking { walk, bookmark, found: Vec::new() });
        }
    }

    /// One turn's share: walks on, one listing after the other, and answers those that are through.
    pub fn advance(&mut self, connections: &mut Loop<Box<Connection>>, ctx: &mut Ctx, pages: &Pages) {
        let mut left = SLICE;
        while left > 0 {
            let Some(mut walking) = self.active.pop_front() else { return };
            match walking.go(&mut left, connections, ctx) {
                None => self.active.push_front(walking),
                Some(end) => self.answer(walking, end, connections, ctx.worker, pages),
            }
        }
        // The next turn begins with another one.
        self.active.rotate_left(usize::from(self.active.len() > 1));
    }

    fn answer(
        &mut self,
        walking: Walking,
        end: bool,
        connections: &mut Loop<Box<Connection>>,
        worker: usize,
        pages: &Pages,
    ) {
        let Walking { walk: Walk { listing, after, .. }, bookmark, found } = walking;
        if end {
            connections.take_bookmark(bookmark);
        } else {
            self.resting.push_back(Resting { listing, after, bookmark });
        }
        if self.resting.len() > BOOKMARKS {
            if let Some(oldest) = self.resting.pop_front() {
                connections.take_bookmark(oldest.bookmark);
            }
        }
        pages.push(Page { listing, worker, connections: found, after, end });
    }
}

impl Walking {
    /// Walks until its page is full or the list is through, which is told; nothing: until there was no more `left`.
    fn go(
        &mut self,
        left: &mut usize,
        connections: &mut Loop<Box<Connection>>,
        ctx: &mut Ctx,
    ) -> Option<bool> {
        while *left > 0 {
            *left -= 1;
            let Some(key) = connections.pass(&self.bookmark) else { return Some(true) };
            let Some(connection) = connections.get_mut(key) else { continue };
            let id = connection.id();
            if id >= self.walk.below {
                return Some(true);
            }
            if id <= self.walk.after {
                continue;
            }
            self.walk.after = id;
            let view = connection.view(ctx);
            if !self.walk.wanted.takes(&view) {
                continue;
            }
            self.found.push(view);
            if self.walk.act == Act::Close {
                connections.close(key, Reason::Killed, ctx);
            }
            if self.found.len() >= self.walk.most {
                return Some(false);
            }
        }
        None
    }
}
