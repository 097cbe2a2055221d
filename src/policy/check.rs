// SPDX-License-Identifier: MIT OR Apache-2.0
//! `check`: what is asked of a server, how often, and what it takes to believe the answer.
//!
//! Not here: the protocols (`wire/checks/`), who asks (`checks/`), what follows (`health.rs`).

use super::health::Thresholds;
use crate::wire::checks::{Protocol, Question};
use std::time::Duration;

/// The default of `interval`.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// The most of the default of `timeout`, which is otherwise the interval.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// One `check`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckSpec {
    pub protocol: &'static Protocol,
    pub question: Question,
    /// Instead of the server's own.
    pub port: Option<u16>,
    /// Within TLS, by the route's policy.
    pub tls: bool,
    /// From the beginning of one to that of the next.
    pub interval: Duration,
    /// For all of one; at most `interval`.
    pub timeout: Duration,
    pub limits: Thresholds,
}
