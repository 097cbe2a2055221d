// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks of servers: one thread with an event loop, of the same make as the workers', for all of them.
//!
//! `target` what is checked, and for whom; `probe` one check on its way; `thread` who begins them in time and tells what they
//! came to. What is asked and understood is in `wire/checks/`, what follows for a server in `policy/health.rs`.

mod probe;
mod target;
mod thread;

pub use target::{Target, targets};
pub use thread::Checks;
