// SPDX-License-Identifier: MIT OR Apache-2.0
//! A value that is swapped whole while others read it.
//!
//! A reader looks at a generation number, which costs one relaxed load; the lock is taken only when that has changed. So no
//! reader ever waits for a writer that is at work: what is to be published is built before the lock is taken.

#![expect(
    clippy::disallowed_types,
    reason = "the lock is held for the copy of an Arc, once per change and reader"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The value as it is now.
#[derive(Debug, Default)]
pub struct Live<T> {
    value: Mutex<Arc<T>>,
    generation: AtomicU64,
}

impl<T> Live<T> {
    /// Replaces the value; readers see it at their next look.
    pub fn set(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// One reader's view of a [`Live`].
#[derive(Clone, Debug)]
pub struct View<T> {
    live: Arc<Live<T>>,
    seen: u64,
    value: Arc<T>,
}

impl<T> View<T> {
    pub fn new(live: Arc<Live<T>>) -> Self {
        // The number is read first: a change in between is seen at the next look.
        let seen = live.generation.load(Ordering::Acquire);
        let value = Arc::clone(&live.value.lock().unwrap_or_else(PoisonError::into_inner));
        Self { live, seen, value }
    }

    /// The value as it is now, shared.
    pub fn share(&mut self) -> Arc<T> {
        self.get();
        Arc::clone(&self.value)
    }

    /// The value.
    pub fn get(&mut self) -> &T {
        if self.live.generation.load(Ordering::Acquire) != self.seen {
            *self = Self::new(Arc::clone(&self.live));
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_sees_the_newest_value() {
        let live = Arc::new(Live::<u32>::default());
        let (mut first, mut second) = (View::new(Arc::clone(&live)), View::new(Arc::clone(&live)));
        assert_eq!((*first.get(), *second.get()), (0, 0));
        live.set(7);
        live.set(8);
        assert_eq!((*first.get(), *second.get()), (8, 8));
    }
}
