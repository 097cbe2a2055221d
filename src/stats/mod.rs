// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted, and how: written by the worker it happens in, summed by whoever reads.
//!
//! A [`Scope`] is what is counted of one thing (a service, a listener, a route, a server, a rule). Its cells are per worker,
//! alone on their cache lines, and written by plain loads and stores: no worker ever waits for another one's counting, and
//! a reader costs the writers at most a cache miss. What is not used has no cells. Scopes live in the [`Registry`], which
//! outlives every plan: a reload finds them by name. Not here: rates, shares and history, which readers make of it
//! (`control/collect/`).

pub mod board;
pub mod causes;
pub mod cells;
pub mod clock;
pub mod failures;
pub mod histogram;
mod pause;
pub mod registry;
pub mod scope;
pub mod tls;

pub use causes::Cause;
pub use cells::MAX_WORKERS;
pub use clock::Clock;
pub use pause::Pause;
pub use registry::{Kind, Registry};
pub use scope::{COUNTERS, Counter, Presence, Scope};

/// The counters of a service.
pub type ServiceStats = Scope;
