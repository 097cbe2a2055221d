// SPDX-License-Identifier: MIT OR Apache-2.0
//! The data layer: a stream of bytes over a socket, bare or inside TLS. Nobody above asks which.
//!
//! A call says how many bytes it moved and how the stream stands after that ([`Got`], [`Put`]): bytes and an end may
//! come together, and neither may be lost for the other.

pub mod endpoint;
pub mod raw;
pub mod tls;

use crate::error::Break;
use crate::sys::socket::Socket;
use raw::RawStream;
use std::io;
use std::mem;
use tls::TlsStream;

/// What one read may bring at most, and one write take: the size of each scratch buffer.
pub const SCRATCH: usize = 256 * 1024;

/// The buffers of a worker, lent to the streams it runs: an idle connection holds none.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) tls: Option<Box<tls::Lent>>,
}

/// What a read brought.
#[derive(Debug)]
pub struct Got {
    pub bytes: usize,
    pub then: Source,
}

/// How the source stands after a read.
#[derive(Debug)]
pub enum Source {
    /// As much as was asked for: there may be more.
    More,
    /// No more for now; epoll will speak.
    Empty,
    /// The peer ended its direction in order.
    Shut,
    Broken(Break),
}

/// What a write took.
#[derive(Debug)]
pub struct Put {
    pub bytes: usize,
    pub then: Sink,
}

/// How the sink stands after a write.
#[derive(Debug)]
pub enum Sink {
    Room,
    /// The kernel takes no more for now; epoll will speak.
    Full,
    /// The TLS library wants something from the peer before it writes.
    NeedsInput,
    Broken(Break),
}

/// A stream of bytes.
#[derive(Debug)]
pub enum Stream {
    Raw(RawStream),
    Tls(Box<TlsStream>),
    /// Between two forms, never seen from outside.
    Moving,
    #[cfg(test)]
    Script(script::Script),
}

impl Stream {
    pub fn raw(socket: Socket) -> Self {
        Self::Raw(RawStream::new(socket))
    }

    /// Reads into `into`.
    pub fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> Got {
        match self {
            Self::Raw(raw) => raw.read(into),
            Self::Tls(tls) => tls.read(into, scratch),
            Self::Moving => Got { bytes: 0, then: Source::Shut },
            #[cfg(test)]
            Self::Script(script) => script.read(into),
        }
    }

    /// What was read ahead and is not consumed yet.
    pub fn early(&self) -> &[u8] {
        match self {
            Self::Raw(raw) => raw.early(),
            Self::Tls(tls) => tls.early(),
            _ => &[],
        }
    }

    /// Reads once more, up to `buffer`, behind the early bytes.
    pub fn read_early(&mut self, buffer: &mut [u8], scratch: &mut Scratch) -> Got {
        match self {
            Self::Raw(raw) => raw.read_early(buffer),
            Self::Tls(tls) => tls.read_early(buffer, scratch),
            _ => Got { bytes: 0, then: Source::Shut },
        }
    }

    /// Takes the first `bytes` of the early bytes as read.
    pub fn consume(&mut self, bytes: usize) {
        match self {
            Self::Raw(raw) => raw.consume(bytes),
            Self::Tls(tls) => tls.consume(bytes),
            _ => {}
        }
    }

    /// Writes; what it took may partly be [`Self::residue`] still.
    pub fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Put {
        match self {
            Self::Raw(raw) => raw.write(bytes),
            Self::Tls(tls) => tls.write(bytes, scratch),
            Self::Moving => Put { bytes: 0, then: Sink::Broken(Break::Gone) },
            #[cfg(test)]
            Self::Script(script) => script.write(bytes),
        }
    }

    /// Sends what was taken before and refused by the kernel then; `bytes` counts what left.
    pub fn flush(&mut self) -> Put {
        match self {
            Self::Raw(raw) => raw.flush(),
            Self::Tls(tls) => tls.flush(),
            #[cfg(test)]
            Self::Script(script) => script.flush(),
            _ => Put { bytes: 0, then: Sink::Room },
        }
    }

    /// Bytes that were taken but have not left yet.
    pub fn residue(&self) -> usize {
        match self {
            Self::Raw(raw) => raw.prologue().len(),
            Self::Tls(tls) => tls.residue(),
            #[cfg(test)]
            Self::Script(script) => script.residue(),
            _ => 0,
        }
    }

    /// Whether a read would bring something that the kernel knows nothing of.
    pub fn holds_input(&self) -> bool {
        match self {
            Self::Raw(raw) => !raw.early().is_empty(),
            Self::Tls(tls) => tls.holds_input(),
            _ => false,
        }
    }

    /// Whether its residue is a prologue, which the next write takes along.
    pub fn holds_prologue(&self) -> bool {
        match self {
            Self::Raw(raw) => !raw.prologue().is_empty(),
            _ => false,
        }
    }

    /// Ends our direction in the data layer: close_notify, which becomes residue. Nothing for a bare socket.
    pub fn end_data(&mut self, scratch: &mut Scratch) {
        match self {
            Self::Tls(tls) => tls.end(scratch),
            #[cfg(test)]
            Self::Script(script) => script.end(),
            Self::Raw(_) | Self::Moving => {}
        }
    }

    /// Reads what comes over the wire, past the data layer: for bytes that nobody wants to understand.
    pub fn receive(&mut self, into: &mut [u8]) -> Got {
        match self {
            #[cfg(test)]
            Self::Script(script) => script.receive(into),
            _ => self
                .socket()
                .map_or(Got { bytes: 0, then: Source::Shut }, |socket| raw::receive(socket, into)),
        }
    }

    /// Tells a peer that waits for it that our direction ends in order: before FIN, and before the close that stands for it.
    pub fn mark_end(&self) {
        if let Self::Raw(raw) = self {
            raw.mark_end();
        }
    }

    /// Whether the end that was read of a bare socket is one in order, as far as the peer tells of that beside it.
    pub fn end_is_in_order(&self) -> bool {
        match self {
            Self::Raw(raw) => raw.end_is_in_order(),
            _ => true,
        }
    }

    /// Ends our direction in the control layer: FIN.
    ///
    /// # Errors
    /// The kernel's, when the peer is gone.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            #[cfg(test)]
            Self::Script(script) => script.shutdown_write(),
            _ => self.socket().map_or(Ok(()), Socket::shutdown_write),
        }
    }

    /// Bytes that left, FIN included, and that the peer has not acknowledged ([`Socket::unacknowledged`]).
    pub fn unacknowledged(&self) -> usize {
        match self {
            #[cfg(test)]
            Self::Script(script) => script.unacknowledged,
            _ => self.socket().map_or(0, Socket::unacknowledged),
        }
    }

    /// Makes the close that follows a reset.
    pub fn reset_on_close(&self) {
        match self {
            #[cfg(test)]
            Self::Script(script) => script.reset_on_close(),
            _ => {
                if let Some(socket) = self.socket() {
                    socket.reset_on_close();
                }
            }
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Raw(raw) => Some(raw.socket()),
            Self::Tls(tls) => Some(tls.socket()),
            Self::Moving => None,
            #[cfg(test)]
            Self::Script(script) => script.socket(),
        }
    }

    /// Whether an end of the data is told apart from an end of the connection (TLS: by close_notify).
    pub fn is_layered(&self) -> bool {
        match self {
            #[cfg(test)]
            Self::Script(script) => script.tls,
            _ => matches!(self, Self::Tls(_)),
        }
    }

    /// The bare stream, if it is one.
    pub fn as_raw(&mut self) -> Option<&mut RawStream> {
        match self {
            Self::Raw(raw) => Some(raw),
            _ => None,
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The TLS stream, if it is one.
    pub fn as_tls(&mut self) -> Option<&mut TlsStream> {
        match self {
            Self::Tls(tls) => Some(tls),
            _ => None,
        }
    }

    /// Moves a bare socket, with its early bytes and its prologue, into a TLS session made by policy.
    ///
    /// # Errors
    /// The TLS library's, when it cannot make the session; the stream is gone then.
    pub fn start_tls(&mut self, session: tls::Session) -> Result<(), Break> {
        match mem::replace(self, Self::Moving) {
            Self::Raw(raw) => {
                let (socket, early, prologue) = raw.into_parts();
                let mut tls = TlsStream::new(session, socket, early)?;
                tls.begin_with(prologue);
                *self = Self::Tls(Box::new(tls));
                Ok(())
            }
            other => {
                *self = other;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
pub mod script;
#[cfg(test)]
pub(crate) mod testing;
