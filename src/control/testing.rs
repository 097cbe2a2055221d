// SPDX-License-Identifier: MIT OR Apache-2.0
//! For unit tests: a state whose daemon is only sources, with no worker that answers.

use super::order::Orders;
use super::state::{Sources, State};
use super::visits::Visits;
use crate::connection::guard::Limit;
use crate::connection::walk::Pages;
use crate::daemon::inbox::Inboxes;
use crate::daemon::queue::Queue;
use crate::live::View;
use crate::log::{Level, Log};
use crate::resolver::Current;
use crate::stats::Registry;
use crate::sys::eventfd::EventFd;
use std::sync::Arc;
use std::time::Instant;

/// The sources of a control thread that `bell` wakes, with so many workers that never answer by themselves.
pub(crate) fn sources(workers: usize, bell: Arc<EventFd>) -> Sources {
    let (log, _) = Log::to_memory(Level::Info);
    Sources {
        registry: Registry::default(),
        limit: Arc::new(Limit::new(EventFd::new().unwrap())),
        queue: Arc::new(Queue::new(workers).unwrap()),
        inboxes: Arc::new(Inboxes::new(workers)),
        pages: Arc::new(Pages::new(Arc::clone(&bell))),
        orders: Arc::new(Orders::new(Arc::clone(&bell)).unwrap()),
        visits: Arc::new(Visits::new(bell)),
        ids: Arc::default(),
        running: View::new(Arc::default()),
        log,
        resolver: Current::default(),
        workers,
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no clock of their own")]
pub(crate) fn state() -> State {
    State::new(sources(1, Arc::new(EventFd::new().unwrap())), Instant::now())
}
