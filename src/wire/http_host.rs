// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host that an HTTP/1 request asks for (RFC 9112 section 3.2): of the target in absolute form, else of `Host`.

use super::Parsed;

/// The most bytes of request line and headers; a larger head is refused, so this bounds what a connection holds.
pub const MAX_HEAD: usize = 64 << 10;

/// The host of the request at the beginning of `bytes`: lower case, without port and trailing dot; `None` when the
/// request has none (HTTP/1.0). `Done` counts 0 bytes: the request stays unread.
pub fn parse(bytes: &[u8]) -> Parsed<Option<Box<str>>> {
    let _ = bytes;
    Parsed::Bad("not written yet")
}
