// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub: the checked configuration.

use crate::connection::plan::Plan;
use crate::log::Settings;
use crate::sys::address::Address;
use std::sync::Arc;
use std::time::Duration;

/// A configuration file that was read, checked and loaded with everything it names. Immutable.
#[derive(Debug)]
pub struct Config {
    pub global: Global,
    pub listeners: Vec<Bind>,
    /// Warnings found on the way, one text each ("FILE:LINE:COL: warning: …").
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct Global {
    /// Worker threads.
    pub workers: usize,
    /// Connections at once, over all listeners.
    pub max_connections: usize,
    pub log: Settings,
    /// How long a drain may last before everything is closed.
    pub shutdown_timeout: Duration,
}

/// One listening address and what happens to its connections.
#[derive(Clone, Debug)]
pub struct Bind {
    pub address: Address,
    /// Whether the client is known to speak first (TLS on accept), so that TCP_DEFER_ACCEPT may be set.
    pub client_speaks_first: bool,
    pub plan: Arc<Plan>,
}
