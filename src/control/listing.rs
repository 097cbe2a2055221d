// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listing of connections: worker after worker, a page at a time, only as fast as its reader takes it.
//!
//! Invariants: at most one page is asked for at a time, and a worker that was passed over is not asked again, so listing and
//! worker together tell which question a page answers. What a cursor says is a wish: nothing in it is trusted.
//! Not here: the walk itself, which happens in the workers (`connection/walk.rs`).

use super::answer::End;
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::{Act, Page, Walk};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Connections per page at most: what a worker makes at once for one reader.
pub(super) const PAGE: usize = 64;

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

    /// Its number: no other listing that is under way or leased has it.
    pub fn number(&self) -> u64 {
        self.at.listing
    }

    /// The worker whose turn it is.
    pub fn worker(&self) -> usize {
        self.at.worker
    }

    /// What to ask which worker next; nothing when it is through.
    pub fn next(&self) -> Option<(usize, Walk)> {
        let over = self.left == 0 || self.at.worker >= self.workers;
        (!over).then(|| (self.at.worker, self.walk(self.left.min(PAGE))))
    }

    /// Takes a page; the connections on it. One that is not of the worker whose turn it is came too late.
    pub fn take(&mut self, page: Page) -> Vec<ConnectionView> {
        if page.listing != self.at.listing || page.worker != self.at.worker {
            return Vec::new();
        }
        self.at.after = page.after;
        self.left = self.left.saturating_sub(page.connections.len());
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

    /// The worker has ended, and its connections with it.
    pub fn skip(&mut self) {
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
        let Cursor { listing, mut after, mut below, .. } = self.at;
        if let Some(id) = self.wanted.id {
            // Whoever has one connection in mind need not have all the others looked at.
            after = after.max(id.saturating_sub(1));
            below = below.min(id.saturating_add(1));
        }
        Walk { listing, after, below, most, wanted: Arc::clone(&self.wanted), act: self.act }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Result<Cursor, ()> {
        text.parse()
    }

    fn page(listing: u64, worker: usize, rows: usize, after: u64, end: bool) -> Page {
        Page { listing, worker, connections: vec![ConnectionView::default(); rows], after, end }
    }

    fn listing(workers: usize, most: usize) -> Listing {
        let at = Cursor { listing: 7, worker: 0, after: 0, below: 100 };
        Listing::new(at, workers, Wanted::default(), Act::Look, most)
    }

    #[test]
    fn a_cursor_survives_being_written_down() {
        let at = Cursor { listing: 1, worker: 2, after: u64::MAX, below: 0 };
        assert_eq!(cursor(&at.to_string()), Ok(at));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", "-", "1-2-3", "1-2-3-4-5", "1-2-3-x", "1-2-3-18446744073709551616", "1--2-3-4", "\0-1-2-3"]
        {
            assert_eq!(cursor(text), Err(()), "{text}");
        }
    }

    #[test]
    fn worker_after_worker_until_all_are_through() {
        let mut listing = listing(2, usize::MAX);
        assert_eq!(listing.next().map(|(worker, walk)| (worker, walk.after, walk.most)), Some((0, 0, PAGE)));
        assert_eq!(listing.take(page(7, 0, 3, 30, false)).len(), 3);
        assert_eq!(listing.next().map(|(worker, walk)| (worker, walk.after)), Some((0, 30)));
        listing.take(page(7, 0, 0, 30, true));
        assert_eq!(listing.next().map(|(worker, walk)| (worker, walk.after)), Some((1, 0)));
        listing.take(page(7, 1, 2, 40, true));
        assert!(listing.next().is_none() && listing.forget().is_none());
        assert_eq!(listing.end(), End { next: None, told: 5, silent: vec![] });
    }

    #[test]
    fn one_that_has_told_enough_says_where_to_go_on() {
        let mut listing = listing(2, 5);
        assert_eq!(listing.next().map(|(_, walk)| walk.most), Some(5));
        listing.take(page(7, 0, 5, 30, false));
        assert!(listing.next().is_none());
        assert_eq!(listing.end().next, Some(Cursor { listing: 7, worker: 0, after: 30, below: 100 }));
        assert_eq!(listing.forget().map(|(worker, walk)| (worker, walk.most)), Some((0, 0)));
    }

    #[test]
    fn a_page_that_comes_too_late_changes_nothing() {
        let mut listing = listing(3, usize::MAX);
        listing.pass_over();
        assert!(listing.take(page(7, 0, 3, 30, true)).is_empty());
        assert!(listing.take(page(8, 1, 3, 30, true)).is_empty());
        assert_eq!((listing.worker(), listing.end().told), (1, 0));
        listing.skip();
        listing.take(page(7, 2, 0, 0, true));
        assert_eq!(listing.end().silent, [0], "one that has ended is not silent");
    }

    #[test]
    fn a_cursor_that_was_made_up_ends_at_once() {
        for worker in [3, usize::MAX] {
            let at = Cursor { listing: 1, worker, after: u64::MAX, below: u64::MAX };
            let listing = Listing::new(at, 3, Wanted::default(), Act::Close, 10);
            assert!(listing.next().is_none() && listing.forget().is_none());
            assert_eq!(listing.end(), End::default());
        }
    }

    #[test]
    fn one_connection_alone_is_sought_by_its_number() {
        for (id, expected) in [(50, (49, 51)), (0, (0, 1)), (u64::MAX, (u64::MAX - 1, 100))] {
            let at = Cursor { listing: 1, worker: 0, after: 0, below: 100 };
            let wanted = Wanted { id: Some(id), ..Wanted::default() };
            let walk = Listing::new(at, 1, wanted, Act::Look, 1).next().unwrap().1;
            assert_eq!((walk.after, walk.below), expected);
        }
    }
}
