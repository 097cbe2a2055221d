// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnel`: a TLS tunnel daemon for Linux.
//!
//! The modules in the order of their layers, lowest first; each may use those above it and none below
//! (`tests/layers.rs` holds it to that). docs/ARCHITECTURE.md is the map.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tunnel::daemon::{Options, Tunnel};
//! Tunnel::new(Options::new("/etc/tunnel/tunnel.conf"))?.serve_forever()?;
//! # Ok(())
//! # }
//! ```

// The kernel and the foreign functions; the only folder with `unsafe`.
pub mod sys;
// Formats on the wire: no I/O, no time.
pub mod wire;
// How connections end; what is counted; the log.
pub mod error;
pub mod live;
pub mod log;
pub mod stats;
// The event layer: who waits for what, and is told.
pub mod event;
// The data layer: streams, and the channels between them.
pub mod channel;
pub mod stream;
// What the configuration promised.
pub mod policy;
// From names to addresses.
pub mod resolver;
// A connection: its pair, its steps, its life.
pub mod connection;
pub mod handshake;
// What services do.
pub mod mode;
// The configuration file.
pub mod config;
// Who finds out which servers are well.
pub mod checks;
// Who looks, and what is shown.
pub mod control;
// The threads: main, workers, tasks.
pub mod daemon;
// The command line, and what the program says of itself.
pub mod args;
pub mod explain;
pub mod version;
