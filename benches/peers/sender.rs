// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sends a given amount of the pattern over a link, as fast as the link takes it.
//!
//! Used by the backend (downloads) and by the client (uploads).
//! Invariant: once `push` was called on a TLS link, everything written to it goes through the `Tap`'s hold, and
//! only `push` releases it.

use std::io::{self, Write};

use super::link::{Link, Tap};
use super::pattern::Pattern;
use openssl::ssl::SslStream;

/// Payload of a full TLS record in bytes.
const RECORD: u64 = 16 * 1024;
/// Records that leave in one system call.
const BATCH: u32 = 8;
/// Rounds per call of `push`, so that one connection does not starve its neighbours.
const ROUNDS: u32 = 16;
/// Bytes offered to the kernel at once on a plain link.
const PLAIN_CHUNK: u64 = 256 * 1024;

/// The state of one transfer.
#[derive(Debug)]
pub(super) struct Sender {
    left: u64,
    at: u64,
}

impl Sender {
    /// A transfer of `amount` bytes from the pattern's start.
    pub(super) fn new(amount: u64) -> Self {
        Self { left: amount, at: 0 }
    }

    /// Sends on; `true` once everything is with the kernel. Call again when the socket is writable.
    pub(super) fn push(&mut self, link: &mut Link, pattern: &Pattern) -> io::Result<bool> {
        match link {
            Link::Plain(socket) => {
                for _ in 0..ROUNDS {
                    if self.left == 0 {
                        return Ok(true);
                    }
                    match socket.write(pattern.slice(self.at, self.left.min(PLAIN_CHUNK))) {
                        Ok(sent) => self.advance(sent),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                        Err(error) => return Err(error),
                    }
                }
                Ok(self.left == 0)
            }
            Link::Tls(stream) => self.push_records(stream, pattern),
        }
    }

    fn push_records(&mut self, stream: &mut SslStream<Tap>, pattern: &Pattern) -> io::Result<bool> {
        stream.get_mut().hold();
        for _ in 0..ROUNDS {
            if !stream.get_mut().release()? {
                return Ok(false);
            }
            if self.left == 0 {
                return Ok(true);
            }
            for _ in 0..BATCH {
                if self.left > 0 {
                    let bytes = pattern.slice(self.at, self.left.min(RECORD));
                    let sent = stream.ssl_write(bytes).map_err(io::Error::other)?;
                    self.advance(sent);
                }
            }
        }
        Ok(stream.get_mut().release()? && self.left == 0)
    }

    fn advance(&mut self, sent: usize) {
        self.left -= sent as u64;
        self.at += sent as u64;
    }
}
