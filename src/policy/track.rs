// SPDX-License-Identifier: MIT OR Apache-2.0
//! What sources have done lately: a bounded table per rule, shared by all workers without a lock.

use std::time::Duration;

/// "100/10s": so many per so long, enforced as a leaky bucket that holds `most` and leaks them evenly over `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub most: u64,
    pub per: Duration,
}

/// What one source may do; what is not named is not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections.
    pub rate: Option<Rate>,
    /// Failed handshakes.
    pub handshake_failures: Option<Rate>,
    /// Payload bytes, both directions together.
    pub bytes: Option<Rate>,
    /// What counts as one source: this many leading bits of an address.
    pub v4_prefix: u8,
    pub v6_prefix: u8,
    /// The most sources tracked at once.
    pub sources: usize,
}
