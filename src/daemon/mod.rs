// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads: main accepts, workers carry, task threads do what may block.

#[expect(clippy::module_inception, reason = "the file is named after the program it is")]
pub mod daemon;
pub mod inbox;
mod interface;
pub mod keeper;
pub mod listener;
pub mod queue;
pub mod reload;
mod room;
pub mod start;
pub mod tasks;
pub mod worker;

pub use daemon::{Tunnel, check};
pub use start::{Options, StartError};
