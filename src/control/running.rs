// SPDX-License-Identifier: MIT OR Apache-2.0
//! What main publishes of itself, whole, whenever it changes: the configuration in effect and how it came to be. What may be
//! long is shared, so that publishing costs main next to nothing.

use crate::connection::plan::Plan;
use crate::stats::Scope;
use crate::sys::address::Address;
use std::sync::Arc;

/// Main's state.
#[derive(Clone, Debug, Default)]
pub struct Running {
    pub life: Life,
    /// The configuration file.
    pub config: String,
    /// What it means, with every default (`tunnel -T`).
    pub effective: Arc<str>,
    /// Services in configuration order.
    pub plans: Arc<[Arc<Plan>]>,
    pub listeners: Arc<[Listening]>,
    /// Loads that took effect, and that were refused.
    pub applied: u64,
    pub refused: u64,
    /// The last load: when (seconds since 1970), whether it took effect, errors or warnings.
    pub last_load: f64,
    pub last_ok: bool,
    pub messages: Arc<[String]>,
    /// When the one in effect was loaded.
    pub in_effect_since: f64,
    pub max_connections: usize,
    pub open_files: u64,
    pub log_level: &'static str,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    #[default]
    Serving,
    Draining,
    Stopping,
}

/// A bound socket.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The address in effect.
    pub address: Address,
    pub service: Box<str>,
    /// When it was bound (seconds since 1970).
    pub since: f64,
    pub stats: Arc<Scope>,
}
