// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listing of connections: worker after worker, a page at a time, only as fast as its reader takes it.
//!
//! Not here: the walk itself, which happens in the workers (`connection/walk.rs`).

use super::answer::End;
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::{Act, Page, Walk};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Connections per page at most: what a worker makes at once for one reader.
const PAGE: usize = 64;

/// A place in a listing, which can be written down and taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Under that number the worker keeps a bookmark, for as long as the lease lasts.
    pub listing: u64,
    pub worker: usize,
    /// Told up to that number.
    pub after: u64,
    /// What came since the listing began is not told.
    pub below: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.listing, self.worker, self.after, self.below)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (listing, worker, after, below) = (number()?, number()?, number()?, number()?);
        let worker = usize::try_from(worker).map_err(|_| ())?;
        if parts.next().is_some() { Err(()) } else { Ok(Self { listing, worker, after, below }) }
    }
}

/// A listing under way.
#[derive(Debug)]
pub struct Listing {
    at: Cursor,
    workers: usize,
    wanted: Arc<Wanted>,
    act: Act,
    left: usize,
    end: End,
}

impl Listing {
    /// A listing of at most `most` connections from `at` on.
    pub fn new(at: Cursor, workers: usize, wanted: Wanted, act: Act, most: usize) -> Self {
        Self { at, workers, wanted: Arc::new(wanted), act, left: most, end: End::default() }
    }

    pub fn number(&self) -> u64 {
        self.at.listing
    }

    /// What to ask which worker next; nothing when it is through.
    pub fn next(&self) -> Option<(usize, Walk)> {
        let over = self.left == 0 || self.at.worker >= self.workers;
        (!over).then(|| (self.at.worker, self.walk(self.left.min(PAGE))))
    }

    /// Takes a page; the connections on it. One that is not of this listing's worker came too late.
    pub fn take(&mut self, page: Page) -> Vec<ConnectionView> {
        if page.worker != self.at.worker {
            return Vec::new();
        }
        self.at.after = page.after;
        self.left -= page.connections.len().min(self.left);
        self.end.told += page.connections.len();
        if page.end {
            self.next_worker();
        }
        page.connections
    }

    /// The worker has not answered in time: what is left of it will be missing.
    pub fn pass_over(&mut self) {
        self.end.silent.push(self.at.worker);
        self.next_worker();
    }

    fn next_worker(&mut self) {
        self.at.worker += 1;
        self.at.after = 0;
    }

    /// How it ended.
    pub fn end(&self) -> End {
        let more = self.at.worker < self.workers;
        End { next: more.then_some(self.at), ..self.end.clone() }
    }

    /// What tells the worker that the listing is over, if one may hold a bookmark for it.
    pub fn forget(&self) -> Option<(usize, Walk)> {
        (self.at.worker < self.workers).then(|| (self.at.worker, self.walk(0)))
    }

    fn walk(&self, most: usize) -> Walk {
        let Cursor { listing, after, below, .. } = self.at;
        Walk { listing, after, below, most, wanted: Arc::clone(&self.wanted), act: self.act }
    }
}
