// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listing that is being written to its reader.

use super::answer::Format;
use super::listing::Listing;
use super::state::State;
use super::stint::Stint;
use crate::connection::walk::Page;

/// How often a worker that is late with a page is waited for anew, if it answers others meanwhile: a minute in all.
const PATIENCE: u32 = 11;

#[derive(Debug)]
pub(super) struct Underway {
    pub(super) listing: Listing,
    pub(super) format: Box<dyn Format>,
    /// A page was asked for.
    pub(super) waiting: bool,
    /// How often the worker was waited for anew.
    pub(super) late: u32,
}

impl Underway {
    pub(super) fn take(&mut self, page: Page, out: &mut Vec<u8>, stint: &mut Stint) {
        for connection in self.listing.take(page) {
            self.format.row(&connection, out);
            stint.rest();
        }
        self.waiting = false;
    }

    /// The worker has not answered in time.
    pub(super) fn pass_over(&mut self, state: &mut State) {
        if state.is_heard_of(self.listing.worker()) && self.late < PATIENCE {
            self.late += 1;
            return;
        }
        state.drop_listing(&self.listing);
        self.listing.pass_over();
        self.waiting = false;
    }
}
