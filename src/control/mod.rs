// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control interface: everything can be seen, and nothing is stopped by looking.
//!
//! One thread with an event loop of its own serves whoever asks (`thread.rs`, `reader.rs`): by commands on a unix socket
//! (`command/`), by HTTP (`http/`), or through a service of mode "control". What there is to see is made into plain values
//! first (`model.rs`, by `collect.rs`), and only then put into a format. Connections are listed worker by worker, as fast as
//! the reader takes them (`listing.rs`). What changes something is an order to main (`order.rs`).

pub mod answer;
pub mod bind;
pub mod certificates;
mod collect;
pub mod command;
pub mod http;
pub mod kept;
pub mod listing;
pub mod metrics;
pub mod model;
mod note;
pub mod order;
mod output;
pub mod page;
pub mod problems;
pub mod reader;
pub mod running;
pub mod state;
mod stint;
#[cfg(test)]
mod testing;
pub mod thread;
mod underway;
pub mod visits;

pub use thread::Control;
