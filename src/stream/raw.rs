// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bare socket, with the bytes that were read ahead of whoever will want them.

use super::{Got, Put, Sink, Source};
use crate::error::Break;
use crate::sys::socket::Socket;
use std::io;

/// A socket and its early bytes.
#[derive(Debug)]
pub struct RawStream {
    socket: Socket,
    /// Read from the socket by a step, not consumed yet: the next reader finds them first.
    early: Vec<u8>,
}

impl RawStream {
    pub fn new(socket: Socket) -> Self {
        Self { socket, early: Vec::new() }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn early(&self) -> &[u8] {
        &self.early
    }

    /// Reads once more from the socket, up to `buffer`, behind the early bytes.
    pub fn read_early(&mut self, buffer: &mut [u8]) -> Got {
        let got = receive(&self.socket, buffer);
        self.early.extend_from_slice(&buffer[..got.bytes]);
        got
    }

    pub fn read(&mut self, into: &mut [u8]) -> Got {
        if self.early.is_empty() {
            return receive(&self.socket, into);
        }
        let bytes = self.early.len().min(into.len());
        into[..bytes].copy_from_slice(&self.early[..bytes]);
        self.early.drain(..bytes);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Got { bytes, then: Source::More }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Put {
        transmit(&self.socket, bytes)
    }

    pub fn into_parts(self) -> (Socket, Vec<u8>) {
        (self.socket, self.early)
    }
}

/// One recv(2). A short read ends the turn: level-triggered epoll will speak again, so nobody asks to be told EAGAIN.
pub(crate) fn receive(socket: &Socket, into: &mut [u8]) -> Got {
    if into.is_empty() {
        return Got { bytes: 0, then: Source::More };
    }
    match socket.recv(into) {
        Ok(0) => Got { bytes: 0, then: Source::Shut },
        Ok(bytes) if bytes < into.len() => Got { bytes, then: Source::Empty },
        Ok(bytes) => Got { bytes, then: Source::More },
        Err(error) => Got { bytes: 0, then: source_after(error) },
    }
}

/// One send(2).
pub(crate) fn transmit(socket: &Socket, bytes: &[u8]) -> Put {
    if bytes.is_empty() {
        return Put { bytes: 0, then: Sink::Room };
    }
    match socket.send(bytes) {
        Ok(sent) if sent < bytes.len() => Put { bytes: sent, then: Sink::Full },
        Ok(sent) => Put { bytes: sent, then: Sink::Room },
        Err(error) => Put { bytes: 0, then: sink_after(error) },
    }
}

/// What an error of reading means.
pub(crate) fn source_after(error: io::Error) -> Source {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Source::Empty,
        _ => Source::Broken(Break::Reset(error)),
    }
}

/// What an error of writing means. EPIPE tells that the peer had ended its direction before it went (tcp(7)), so what it
/// sent is complete; a reset tells that it is not.
pub(crate) fn sink_after(error: io::Error) -> Sink {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Sink::Full,
        io::ErrorKind::BrokenPipe => Sink::Broken(Break::Gone),
        _ => Sink::Broken(Break::Reset(error)),
    }
}
