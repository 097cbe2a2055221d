// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control interface as a service: HTTP to the daemon itself, behind whatever TLS, client certificates and rules the
//! service has.

use super::Mode;
use crate::connection::plan::Plan;

pub const MODE: Mode = Mode {
    name: "control",
    doc: "leads to the daemon's own control interface, by HTTP",
    connects: false,
    plan: Plan::control,
};
