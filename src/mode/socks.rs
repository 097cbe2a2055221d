// SPDX-License-Identifier: MIT OR Apache-2.0
//! A proxy towards clients: they say by SOCKS or CONNECT where they want to be taken.

use super::Mode;
use crate::connection::plan::Plan;

pub const MODE: Mode = Mode {
    name: "socks",
    doc: "takes clients where they ask to be taken, by SOCKS or by CONNECT of HTTP",
    connects: true,
    plan: Plan::socks,
};
