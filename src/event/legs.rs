// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which sockets a handler's legs have. Not here: the sockets (`event_loop.rs`).

use super::{Key, Leg};

/// The sockets of a handler's legs, by leg: two for nearly all.
#[derive(Debug, Default)]
pub(super) struct Legs {
    first: [Option<Key>; 2],
    #[expect(clippy::box_collection, reason = "nearly always absent: one word instead of three")]
    more: Option<Box<Vec<Option<Key>>>>,
}

impl Legs {
    pub(super) fn get(&self, leg: Leg) -> Option<Key> {
        let index = usize::from(leg.0);
        match self.first.get(index) {
            Some(place) => *place,
            None => *self.more.as_ref()?.get(index - self.first.len())?,
        }
    }

    pub(super) fn set(&mut self, leg: Leg, token: Option<Key>) {
        let index = usize::from(leg.0);
        if let Some(place) = self.first.get_mut(index) {
            *place = token;
            return;
        }
        let index = index - self.first.len();
        let more = self.more.get_or_insert_default();
        if token.is_some() && more.len() <= index {
            more.resize(index + 1, None);
        }
        if let Some(place) = more.get_mut(index) {
            *place = token;
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Key> {
        let more = self.more.iter().flat_map(|more| more.iter());
        self.first.iter().chain(more).copied().flatten()
    }
}
