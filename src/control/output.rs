// SPDX-License-Identifier: MIT OR Apache-2.0
//! What waits to be written to a reader.
//!
//! Invariant: what was written is given back before more is put there, so the memory is that of what still waits and of
//! what was put there last. Not here: how much may wait, and for how long (`reader.rs`).

use super::kept::Shared;
use crate::sys::socket::Socket;
use std::io;
use std::mem;
use std::sync::Arc;

/// Bytes given to the socket at once. A unix socket frees them together, so this is how finely the taking can be seen.
const PIECE: usize = 16 << 10;

/// Bytes on their way.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// So many of them have been written; 0 when there are none.
    written: usize,
    /// What comes after those, and how much of it has been written.
    shared: Option<(Arc<Shared>, usize)>,
}

impl Output {
    /// Bytes that wait.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.written
            + self.shared.as_ref().map_or(0, |(body, written)| body.len() - written)
    }

    /// Bytes of memory of its own.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where more is appended.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..mem::take(&mut self.written));
        if let Some((body, written)) = self.shared.take() {
            self.bytes.extend_from_slice(&body[written..]);
        }
        &mut self.bytes
    }

    /// Appends `head`, and `body`, which is not copied.
    pub(super) fn share(&mut self, head: Vec<u8>, body: Arc<Shared>) {
        self.put(head);
        self.shared = Some((body, 0));
    }

    /// Appends all of `bytes`.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        if self.pending() == 0 {
            (self.bytes, self.written) = (bytes, 0);
        } else {
            self.end().extend(bytes);
        }
    }

    /// Writes what the socket takes now; how many bytes that was.
    ///
    /// # Errors
    /// The socket's, unless it only takes nothing at the moment.
    pub(super) fn write(&mut self, socket: &Socket) -> io::Result<usize> {
        let before = self.pending();
        loop {
            let (bytes, written): (&[u8], &mut usize) = match &mut self.shared {
                _ if self.written < self.bytes.len() => (&self.bytes, &mut self.written),
                Some((body, written)) => (body, written),
                None => break,
            };
            let rest = bytes.get(*written..).unwrap_or_default();
            match socket.send(&rest[..PIECE.min(rest.len())]) {
                Ok(0) => break,
                Ok(bytes) => *written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let taken = before - self.pending();
        if self.pending() == 0 {
            *self = Self::default();
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::testing::{drain, fill, pattern, unix_pair};

    #[test]
    fn everything_arrives_in_order_however_it_is_taken() {
        let ((ours, theirs), mut output) = (unix_pair(), Output::default());
        let (expected, mut got) = (pattern(2_000_000), Vec::new());
        for (number, piece) in expected.chunks(70_000).enumerate() {
            if number % 2 == 0 {
                output.put(piece.to_vec())
            } else {
                output.end().extend_from_slice(piece)
            }
            output.write(&ours).unwrap();
            got.extend(drain(&theirs).0);
        }
        while output.pending() > 0 {
            output.write(&ours).unwrap();
            got.extend(drain(&theirs).0);
        }
        assert!(got == expected, "{} of {} bytes, or others", got.len(), expected.len());
        assert_eq!(output.held(), 0);
    }

    #[test]
    fn what_was_written_is_given_back_although_something_always_waits() {
        let ((ours, theirs), mut output) = (unix_pair(), Output::default());
        fill(&ours);
        output.put(vec![0; 1000]);
        for _ in 0..1000 {
            output.end().extend_from_slice(&[0; 100_000]);
            while output.pending() > 50_000 {
                drain(&theirs);
                output.write(&ours).unwrap();
            }
        }
        assert!(output.held() < 500_000, "{} bytes for {}", output.held(), output.pending());
    }

    #[test]
    fn a_reader_that_is_gone_is_told() {
        let ((ours, theirs), mut output) = (unix_pair(), Output::default());
        drop(theirs);
        output.put(b"x".to_vec());
        assert_eq!(output.write(&ours).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
