// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted: per service and worker, written by that worker only, summed by whoever reads.
//!
//! The counters live in the [`Registry`], which outlives every plan: a reload finds them by name.

#![expect(
    clippy::disallowed_types,
    reason = "the one lock is taken at load and in dumps, never on the data path"
)]

use std::collections::HashMap;
#[expect(clippy::disallowed_types, reason = "taken at load and in dumps only, never on the data path")]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// The greatest number of workers: a cell is kept for each.
pub const MAX_WORKERS: usize = 128;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    Accepted,
    Closed,
    /// Connections that ended otherwise than by both sides' orderly ends.
    Failed,
    BytesFromClients,
    BytesToClients,
}

/// Every counter with the name it has in dumps, in the order of [`Counter`].
pub const COUNTERS: [(Counter, &str); 5] = [
    (Counter::Accepted, "accepted"),
    (Counter::Closed, "closed"),
    (Counter::Failed, "failed"),
    (Counter::BytesFromClients, "in"),
    (Counter::BytesToClients, "out"),
];

/// One worker's counters, alone on their cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell([AtomicU64; COUNTERS.len()]);

/// The counters of one service.
#[derive(Debug)]
pub struct ServiceStats {
    cells: Box<[Cell]>,
}

impl Default for ServiceStats {
    fn default() -> Self {
        Self { cells: (0..MAX_WORKERS).map(|_| Cell::default()).collect() }
    }
}

impl ServiceStats {
    /// Adds to `worker`'s own cell: no other thread writes it, so no atomic addition is needed.
    pub fn add(&self, worker: usize, counter: Counter, count: u64) {
        if let Some(cell) = self.cells.get(worker) {
            let cell = &cell.0[counter as usize];
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
        }
    }

    /// The sum over all workers.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.cells.iter().map(|cell| cell.0[counter as usize].load(Ordering::Relaxed)).sum()
    }
}

/// Everything that is counted, keyed by name, for the life of the process.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Arc<Mutex<HashMap<Box<str>, Arc<ServiceStats>>>>,
}

impl Registry {
    /// The counters of the service of that name, made when first asked for.
    pub fn service(&self, name: &str) -> Arc<ServiceStats> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(services.entry(name.into()).or_default())
    }

    /// Every service that ever was, with its counters.
    pub fn services(&self) -> Vec<(Box<str>, Arc<ServiceStats>)> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            services.iter().map(|(name, stats)| (name.clone(), Arc::clone(stats))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (counter, _)) in COUNTERS.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }

    #[test]
    fn sums_over_workers_and_survives_a_second_lookup() {
        let registry = Registry::default();
        registry.service("web").add(0, Counter::Accepted, 2);
        registry.service("web").add(5, Counter::Accepted, 3);
        registry.service("web").add(MAX_WORKERS, Counter::Accepted, 100);
        assert_eq!(registry.service("web").sum(Counter::Accepted), 5);
        assert_eq!(registry.service("mail").sum(Counter::Accepted), 0);
        assert_eq!(registry.services().len(), 2);
    }
}
