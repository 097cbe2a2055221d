// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formats on the wire. No I/O, no time: bytes in, facts out.

pub mod base64;
pub mod checks;
pub mod client_hello;
pub mod confirmation;
#[cfg(test)]
mod corpus;
pub mod destination;
pub mod dns;
pub mod http_connect;
pub mod http_host;
pub mod proxy_header;
mod reader;
pub mod socks4;
pub mod socks5;
pub mod starttls;

/// What a parser says of the bytes it was shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// Complete; `usize` bytes of the input belong to it.
    Done(T, usize),
    /// A valid beginning; show more.
    More,
    /// Never valid, however it goes on; the text says why.
    Bad(&'static str),
}
