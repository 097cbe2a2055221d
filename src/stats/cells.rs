// SPDX-License-Identifier: MIT OR Apache-2.0
//! A value per worker, alone on its cache lines, made when its worker first wants it.
//!
//! Invariants: a cell never moves and is never freed before the whole, so a reference to it is good for as long; finding
//! one takes no lock; what no worker has used costs the 192 bytes of the table. The cells stand in chunks of 1, 1, 2, 4, …
//! 64, so a machine with two workers has two, and one with more has at most twice what it needs.

use std::array;
use std::sync::OnceLock;

/// The greatest number of workers.
pub const MAX_WORKERS: usize = 1 << (CHUNKS - 1);

const CHUNKS: usize = 8;

/// Two cache lines: the processors of today fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

/// The cells of all workers.
#[derive(Debug)]
pub struct Cells<T>([OnceLock<Box<[Padded<T>]>>; CHUNKS]);

impl<T> Default for Cells<T> {
    fn default() -> Self {
        Self(array::from_fn(|_| OnceLock::new()))
    }
}

/// Worker 0 is alone, then come chunks of 1, 2, 4, …: the chunk of a worker, and its place there.
fn place(worker: usize) -> (usize, usize) {
    match worker.checked_ilog2() {
        None => (0, 0),
        Some(log) => (log as usize + 1, worker - (1 << log)),
    }
}

/// The worker a chunk begins with; the chunk is as large, and at least one.
fn first(chunk: usize) -> usize {
    (1 << chunk) >> 1
}

impl<T: Default> Cells<T> {
    /// The cell of `worker`, for that worker to write; none beyond [`MAX_WORKERS`].
    pub fn own(&self, worker: usize) -> Option<&T> {
        let (chunk, at) = place(worker);
        let cells = self.0.get(chunk)?;
        let cells = cells.get_or_init(|| (0..first(chunk).max(1)).map(|_| Padded::default()).collect());
        cells.get(at).map(|cell| &cell.0)
    }
}

impl<T> Cells<T> {
    /// The cell of `worker`, if it has one.
    pub fn get(&self, worker: usize) -> Option<&T> {
        let (chunk, at) = place(worker);
        self.0.get(chunk)?.get()?.get(at).map(|cell| &cell.0)
    }

    /// All there are.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(OnceLock::get).flatten().map(|cell| &cell.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::ptr;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn every_worker_has_a_cell_of_its_own_and_keeps_it() {
        let cells = Cells::<AtomicU64>::default();
        let places: HashSet<_> =
            (0..MAX_WORKERS).map(|worker| ptr::from_ref(cells.own(worker).unwrap())).collect();
        assert_eq!(places.len(), MAX_WORKERS);
        assert!(places.iter().all(|place| place.addr() % 128 == 0));
        for worker in 0..MAX_WORKERS {
            assert!(places.contains(&ptr::from_ref(cells.own(worker).unwrap())), "{worker}");
            assert!(cells.get(worker).is_some());
        }
        assert!(cells.own(MAX_WORKERS).is_none() && cells.get(usize::MAX).is_none());
        assert_eq!(cells.iter().count(), MAX_WORKERS);
    }

    #[test]
    fn only_what_is_used_is_there() {
        let cells = Cells::<AtomicU64>::default();
        assert_eq!(cells.iter().count(), 0);
        cells.own(5).unwrap().store(7, Ordering::Relaxed);
        assert_eq!(cells.iter().count(), 4, "workers 4 to 7");
        assert!(cells.get(3).is_none() && cells.get(8).is_none());
        assert_eq!(cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum::<u64>(), 7);
        assert!(size_of::<Cells<AtomicU64>>() <= 192);
    }
}
