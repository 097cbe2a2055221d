// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everybody who comes gets the canned reply at once and is let go: for monitors that want a port of their own.

use super::Mode;
use crate::connection::plan::Plan;
use crate::connection::relay::Duplex;

/// The step `reply` ends every connection, so the relay is never reached.
pub const MODE: Mode = Mode {
    name: "health",
    doc: "answers every connection with a canned reply and closes it",
    connects: false,
    plan: |service| Plan::answer(service, &Duplex),
};
