// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "tls"`: that a TLS handshake succeeds, with the certificate that the server has, is enough.

use super::{Protocol, Talk};

pub(super) static PROTOCOL: Protocol = Protocol { name: "tls", keys: &[], talk: Talk::Handshake };
