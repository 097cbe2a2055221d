// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bare socket, with the bytes that were read ahead of whoever will want them, and those that go ahead of whatever will
//! be written.

use super::{Got, Put, Sink, Source};
use crate::error::Break;
use crate::sys::passing::Passed;
use crate::sys::socket::Socket;
use std::io;

/// A socket, its early bytes and its prologue.
#[derive(Debug)]
pub struct RawStream {
    socket: Socket,
    /// Read from the socket by a step, not consumed yet: the next reader finds them first.
    early: Vec<u8>,
    /// To be sent before anything else (a PROXY header). It waits for company, so as to share a segment with what
    /// comes first, until somebody flushes.
    prologue: Vec<u8>,
    mark: Mark,
}

/// What tells an end in order apart from a close, beside a unix socket that leads to another tunnel: the end of a socket
/// pair, over which each side says [`IN_ORDER`] before it ends its direction.
#[derive(Debug)]
enum Mark {
    /// An end is an end.
    None,
    /// It comes with what is read next.
    Expected,
    /// It came, and there was no descriptor for it.
    Lost,
    There(Socket),
}

/// "My direction has ended, and what you have got of it is all."
const IN_ORDER: &[u8] = b"E";

impl RawStream {
    pub fn new(socket: Socket) -> Self {
        Self { socket, early: Vec::new(), prologue: Vec::new(), mark: Mark::None }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn early(&self) -> &[u8] {
        &self.early
    }

    /// Reads once more from the socket, up to `buffer`, behind the early bytes.
    pub fn read_early(&mut self, buffer: &mut [u8]) -> Got {
        let got = match self.mark {
            Mark::Expected => self.receive_marked(buffer),
            Mark::None | Mark::Lost | Mark::There(_) => receive(&self.socket, buffer),
        };
        self.early.extend_from_slice(&buffer[..got.bytes]);
        got
    }

    /// From now on what is read may bring the mark.
    pub fn expect_mark(&mut self) {
        self.mark = Mark::Expected;
    }

    /// Whether the mark has not come that would tell an end apart, over a socket that needs one.
    pub fn lacks_mark(&self) -> bool {
        !matches!(self.mark, Mark::There(_)) && self.socket.is_unix()
    }

    /// Whether it lacks the mark because there was no descriptor for it.
    pub fn lost_mark(&self) -> bool {
        matches!(self.mark, Mark::Lost)
    }

    /// From now on ends are told over `mark`.
    pub fn set_mark(&mut self, mark: Socket) {
        self.mark = Mark::There(mark);
    }

    /// Says that our direction ends in order; to be called before it does.
    pub fn mark_end(&self) {
        if let Mark::There(mark) = &self.mark {
            // A peer that is not there any more needs not know.
            let _gone = mark.send(IN_ORDER);
        }
    }

    /// Whether the end that has been read is one in order.
    pub fn end_is_in_order(&self) -> bool {
        match &self.mark {
            Mark::There(mark) => mark.recv(&mut [0]).is_ok_and(|bytes| bytes == IN_ORDER.len()),
            Mark::None | Mark::Expected | Mark::Lost => true,
        }
    }

    fn receive_marked(&mut self, buffer: &mut [u8]) -> Got {
        match self.socket.recv_with(buffer) {
            Ok((bytes, passed)) => {
                match passed {
                    Passed::Socket(mark) => self.mark = Mark::There(mark),
                    Passed::Lost => self.mark = Mark::Lost,
                    Passed::Nothing => {}
                }
                Got { bytes, then: if bytes == 0 { Source::Shut } else { Source::More } }
            }
            Err(error) => Got { bytes: 0, then: source_after(error) },
        }
    }

    /// Takes the first `bytes` of the early bytes as read.
    pub fn consume(&mut self, bytes: usize) {
        self.early.drain(..bytes.min(self.early.len()));
        if self.early.is_empty() {
            self.early = Vec::new();
        }
    }

    pub fn read(&mut self, into: &mut [u8]) -> Got {
        if self.early.is_empty() {
            return receive(&self.socket, into);
        }
        let bytes = self.early.len().min(into.len());
        into[..bytes].copy_from_slice(&self.early[..bytes]);
        self.consume(bytes);
        Got { bytes, then: Source::More }
    }

    /// What shall be sent before anything else. Nothing may have been written before.
    pub fn begin_with(&mut self, prologue: Vec<u8>) {
        self.prologue = prologue;
    }

    /// What of the prologue has not left.
    pub fn prologue(&self) -> &[u8] {
        &self.prologue
    }

    /// Writes; what is left of the prologue goes ahead, in the same call.
    pub fn write(&mut self, bytes: &[u8]) -> Put {
        if self.prologue.is_empty() {
            return transmit(&self.socket, bytes);
        }
        let ahead = self.prologue.len();
        match self.socket.send_both(&self.prologue, bytes) {
            Ok(sent) => {
                self.prologue_left(sent.min(ahead));
                let then = if sent < ahead + bytes.len() { Sink::Full } else { Sink::Room };
                Put { bytes: sent.saturating_sub(ahead), then }
            }
            Err(error) => Put { bytes: 0, then: sink_after(error) },
        }
    }

    /// Sends the prologue alone; `bytes` counts what left of it.
    pub fn flush(&mut self) -> Put {
        let put = transmit(&self.socket, &self.prologue);
        self.prologue_left(put.bytes);
        put
    }

    fn prologue_left(&mut self, bytes: usize) {
        self.prologue.drain(..bytes);
        if self.prologue.is_empty() {
            self.prologue = Vec::new();
        }
    }

    /// The socket, the early bytes, the prologue.
    pub fn into_parts(self) -> (Socket, Vec<u8>, Vec<u8>) {
        (self.socket, self.early, self.prologue)
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
