// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a service does instead of relaying. To add one: a file here and a line in [`MODES`].

pub mod control;
pub mod demo;
pub mod health;
pub mod relay;
pub mod socks;

use crate::connection::plan::Plan;
use crate::policy::service::Service;

/// A recipe that turns a service into a plan.
#[derive(Debug)]
pub struct Mode {
    /// The word after `mode =`.
    pub name: &'static str,
    pub doc: &'static str,
    /// Whether the service needs `connect`.
    pub connects: bool,
    pub plan: fn(Service) -> Plan,
}

/// Every mode; the first is the default.
pub const MODES: &[&Mode] = &[&relay::MODE, &demo::MODE, &health::MODE, &control::MODE, &socks::MODE];
