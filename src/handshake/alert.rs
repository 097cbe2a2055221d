// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fatal alerts to a client with whom no TLS session was begun, each in a record of its own (RFC 8446 sections 5.1 and 6).

/// A record of type alert, of the version every hello is answered with before one is agreed on.
const fn fatal(description: u8) -> [u8; 7] {
    [21, 3, 1, 0, 2, 2, description]
}

/// A rule refused the client.
pub const ACCESS_DENIED: [u8; 7] = fatal(49);

/// The hello is malformed.
pub const DECODE_ERROR: [u8; 7] = fatal(50);

/// No route takes the name.
pub const UNRECOGNIZED_NAME: [u8; 7] = fatal(112);
