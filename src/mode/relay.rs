// SPDX-License-Identifier: MIT OR Apache-2.0
//! The default: carry bytes to a server and back.

use super::Mode;
use crate::connection::plan::Plan;

pub const MODE: Mode =
    Mode { name: "relay", doc: "carries bytes to a server and back", connects: true, plan: Plan::relay };
