// SPDX-License-Identifier: MIT OR Apache-2.0
//! One end of a connection: a stream, what each direction waits for, and how far its closing has come.
//!
//! A close follows the layers (docs/closing.md): per layer (data, then ctrl) and direction an operation is *desired* and
//! *done*; one that cannot complete stays desired and is taken up again on the next event. A read operation that is
//! desired but not done is a drain: what comes is read and thrown away until the peer ends.

use super::{Got, Put, SCRATCH, Scratch, Sink, Source, Stream};
use crate::error::Break;
use crate::event::{Interest, Watched};
use std::io;
use std::mem;
use std::os::fd::AsFd;

/// A write that was blocked after fewer bytes than this, with more to go, marks a sink that takes a few bytes at a
/// time: `event/backoff.rs` paces it.
pub const CHOKED_BELOW: usize = 4096;

/// Close operations, one bit per layer and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ops(u8);

impl Ops {
    /// close_notify came, or FIN on a bare socket: the data has ended in order.
    pub const DATA_READ: Self = Self(1);
    /// close_notify left (nothing for a bare socket).
    pub const DATA_WRITE: Self = Self(2);
    /// FIN came.
    pub const CTRL_READ: Self = Self(4);
    /// FIN left.
    pub const CTRL_WRITE: Self = Self(8);

    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One end.
#[derive(Debug)]
pub struct Endpoint {
    pub stream: Stream,
    /// Which socket of this side it is: raised for each attempt to connect.
    serial: u16,
    /// How far the step that speaks with this end ahead of the payload has come; 0 when it begins, and when it is done.
    pub stage: u8,
    desired: Ops,
    done: Ops,
    /// The last write was blocked; more goes when epoll or the backoff timer says so.
    blocked: bool,
    choked: bool,
    /// The last write waits for something from the peer.
    starved: bool,
    /// FIN was left to the close that follows.
    owes_fin: bool,
    /// Reading failed: nothing more comes from here.
    read_broken: bool,
    /// Writing failed: nothing more goes there. What had arrived before may still be read.
    write_broken: bool,
    /// Writing failed by a reset, which the kernel tells once: an end of the connection that it tells after that is none.
    reset: bool,
    /// The connection is over: a reset, or nobody is there. A data layer may fail without that.
    gone: bool,
}

impl Endpoint {
    pub fn new(stream: Stream, serial: u16) -> Self {
        let (desired, done) = (Ops::default(), Ops::default());
        Self {
            stream,
            serial,
            stage: 0,
            desired,
            done,
            blocked: false,
            choked: false,
            starved: false,
            owes_fin: false,
            read_broken: false,
            write_broken: false,
            reset: false,
            gone: false,
        }
    }

    /// For the event loop.
    pub fn watched(&self) -> Option<Watched<'_>> {
        let socket = self.stream.socket()?;
        Some(Watched { fd: socket.as_fd(), serial: self.serial })
    }

    /// What to wait for, given what the channels want of this end.
    pub fn interest(&self, wants_read: bool, has_output: bool) -> Interest {
        let ending = self.desired.has(Ops::CTRL_WRITE) && !self.done.has(Ops::CTRL_WRITE);
        let write =
            !self.write_broken && ((has_output || ending) && !self.starved || self.stream.residue() > 0);
        let discards = self.desired.has(Ops::DATA_READ) && self.stream.residue() <= SCRATCH;
        Interest {
            read: ((wants_read || self.starved) && !self.read_broken || discards && !self.gone)
                && !self.read_ended(),
            write,
            choked: self.choked,
            failure: self.read_ended() && !self.write_ended() && !self.write_broken,
        }
    }

    /// Reads, and notes an end.
    pub fn read(&mut self, into: &mut [u8], scratch: &mut Scratch) -> Got {
        if self.read_broken {
            return Got { bytes: 0, then: Source::Empty };
        }
        let mut got = self.stream.read(into, scratch);
        self.note_source(&mut got.then);
        got
    }

    /// Notes how a source stands, for readers that go past [`Self::read`] (splice).
    pub fn note_source(&mut self, then: &mut Source) {
        let layered = self.stream.is_layered();
        let ended = if layered {
            matches!(then, Source::Broken(Break::Truncated))
        } else {
            matches!(then, Source::Shut)
        };
        let cut = !layered && ended && !self.stream.end_is_in_order();
        if self.reset && ended || cut {
            *then = Source::Broken(Break::Reset(io::ErrorKind::ConnectionReset.into()));
        }
        match then {
            Source::Shut if layered => self.done.add(Ops::DATA_READ),
            Source::Shut => self.done.add(Ops::DATA_READ.or(Ops::CTRL_READ)),
            Source::Broken(how) => {
                self.read_broken = true;
                self.gone |= how.is_of_the_connection();
            }
            Source::More | Source::Empty => {}
        }
    }

    /// Nobody wants what the peer still says: it is to be thrown away until its end. Call [`Self::discard`] when
    /// something is there.
    pub fn shutdown_read(&mut self) {
        self.desired.add(Ops::DATA_READ.or(Ops::CTRL_READ));
    }

    /// Reads once and throws away; how many bytes. Through the data layer as long as that is needed for writing; when our
    /// last words have left it, or it has failed and must not be called again, past it.
    pub fn discard(&mut self, into: &mut [u8], scratch: &mut Scratch) -> usize {
        if self.gone || self.read_ended() || self.stream.residue() > SCRATCH {
            return 0;
        }
        let past = self.read_broken || self.write_broken || self.done.has(Ops::DATA_WRITE);
        let mut got = if past { self.stream.receive(into) } else { self.stream.read(into, scratch) };
        match got.then {
            Source::Shut if past && self.stream.is_layered() => self.done.add(Ops::CTRL_READ),
            _ => self.note_source(&mut got.then),
        }
        got.bytes
    }

    /// Writes, and notes how it went.
    pub fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Put {
        let before = self.stream.residue();
        let put = self.stream.write(bytes, scratch);
        let sent = (before + put.bytes).saturating_sub(self.stream.residue());
        self.note_sink(sent, &put.then);
        put
    }

    /// Sends residue.
    pub fn flush(&mut self) -> Put {
        let put = self.stream.flush();
        if put.bytes > 0 || !matches!(put.then, Sink::Room) {
            self.note_sink(put.bytes, &put.then);
        }
        put
    }

    /// Notes how a sink stands after it took `sent` bytes, for writers that go past [`Self::write`] (splice).
    pub fn note_sink(&mut self, sent: usize, then: &Sink) {
        self.blocked = matches!(then, Sink::Full | Sink::NeedsInput);
        self.starved = matches!(then, Sink::NeedsInput);
        // A sink that takes nothing at all is not choked but full: epoll tells when that changes.
        self.choked = self.blocked && (1..CHOKED_BELOW).contains(&sent);
        if let Sink::Broken(how) = then {
            self.write_broken = true;
            self.reset |= matches!(how, Break::Reset(_));
            self.gone |= how.is_of_the_connection();
        }
    }

    /// Whether the last write was blocked.
    pub fn blocked(&self) -> bool {
        self.blocked
    }

    /// Whether the last write waits for something from the peer.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// The peer's direction has ended: in order, or while its bytes were thrown away in whatever way.
    pub fn read_ended(&self) -> bool {
        self.done.has(Ops::DATA_READ) || self.done.has(Ops::CTRL_READ)
    }

    /// The connection with the peer is over, so there is nobody to wait for.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Our direction has ended, and the end has left.
    pub fn write_ended(&self) -> bool {
        self.done.has(Ops::CTRL_WRITE)
    }

    /// Nothing more goes there.
    pub fn write_broken(&self) -> bool {
        self.write_broken
    }

    /// The operations wanted and the operations done, for the log and the tests.
    pub fn closing(&self) -> (Ops, Ops) {
        (self.desired, self.done)
    }

    /// Wants our direction ended: data, then ctrl. Call [`Self::advance_close`] until it is.
    pub fn shutdown_write(&mut self) {
        self.desired.add(Ops::DATA_WRITE.or(Ops::CTRL_WRITE));
    }

    /// Takes the desired operations as far as they go: close_notify, and FIN only when all before it has left. How the
    /// sink broke, if it did just now.
    pub fn advance_close(&mut self, scratch: &mut Scratch) -> Option<Break> {
        if self.write_broken || !self.desired.has(Ops::DATA_WRITE) {
            return None;
        }
        if !self.done.has(Ops::DATA_WRITE) {
            self.stream.end_data(scratch);
            self.done.add(Ops::DATA_WRITE);
        }
        if self.stream.residue() > 0 {
            if let Sink::Broken(how) = self.flush().then {
                return Some(how);
            }
        }
        if self.stream.residue() == 0 && !self.write_broken && !self.done.has(Ops::CTRL_WRITE) {
            // Where both directions have ended a close most probably follows, which sends FIN: one call is spared.
            self.stream.mark_end();
            self.owes_fin = true;
            if !self.read_ended() {
                self.send_owed_fin();
            }
            self.done.add(Ops::CTRL_WRITE);
        }
        None
    }

    /// Sends the FIN that was left to a close which does not follow yet: what this end said may still be on its way.
    pub fn send_owed_fin(&mut self) {
        if mem::take(&mut self.owes_fin) {
            let failed = self.stream.shutdown_write().is_err();
            self.write_broken |= failed;
            self.gone |= failed;
        }
    }
}
