// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "tcp"`: that a connection can be made is enough.

use super::{Protocol, Talk};

pub(super) static PROTOCOL: Protocol = Protocol { name: "tcp", keys: &[], talk: Talk::Connect };
