// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a TLS client is told that is refused before there is a TLS session with it: a fatal alert in a record of its own
//! (RFC 8446 sections 5.1 and 6). A client that awaits a ServerHello understands it whatever version it speaks.

use crate::connection::context::Ctx;
use crate::connection::pair::Pair;

/// A fatal alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Its certificate, or where it comes from, is not accepted.
    AccessDenied = 49,
    /// Its hello does not parse.
    DecodeError = 50,
    /// Nothing that the peer could help (RFC 8446 section 6.2).
    InternalError = 80,
    /// Nobody here has the name it asks for (RFC 6066 section 3).
    UnrecognizedName = 112,
}

impl Alert {
    /// A record of type alert with the version that first records have.
    pub fn record(self) -> [u8; 7] {
        [21, 3, 1, 0, 2, 2, self as u8]
    }

    /// Sends it, if the client's first bytes are a TLS handshake; whether they are.
    pub(super) fn tell(self, pair: &mut Pair, ctx: &mut Ctx) -> bool {
        let tls = super::early::first_byte(pair) == Some(HANDSHAKE);
        if tls {
            pair.client.write(&self.record(), &mut ctx.buffers.scratch);
        }
        tls
    }
}

/// The type of a TLS record that carries a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
