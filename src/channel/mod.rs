// SPDX-License-Identifier: MIT OR Apache-2.0
//! One direction of a connection: bytes from a source to a sink, carried by a fifo or, between two bare sockets, by a
//! kernel pipe.
//!
//! Direction is an argument, the pump is written once. Invariants: nothing is read while it could not be kept; bytes
//! leave in the order they came, whatever carried them; the end is passed on only after the last byte has left.

pub mod fifo;
pub mod pipe;
#[cfg(test)]
mod prologue_tests;
#[cfg(test)]
mod tests;

use crate::error::{Break, Reason, Side};
use crate::stream::endpoint::Endpoint;
use crate::stream::{SCRATCH, Scratch, Sink, Source};
use crate::sys::splice::KernelPipe;
use fifo::{Fifo, Pool};
use pipe::PipePool;
use std::io;
use std::mem;

/// Bytes one way after which a connection counts as a stream, worth a pipe: making two costs a short connection a fifth.
const STREAM_AFTER: u64 = 256 * 1024;

/// A service with less room than this per direction asked for little memory: its bytes are never spliced, since a pipe
/// may hold up to its own size in the kernel.
const LEAST_SPLICED: usize = 64 * 1024;

/// What a worker lends to its channels.
#[derive(Debug)]
pub struct Buffers {
    pub scratch: Scratch,
    /// Plain bytes on their way from a source straight to a sink.
    plain: Vec<u8>,
    pub fifos: Pool,
    pub pipes: PipePool,
}

impl Buffers {
    /// Room for bytes that are read to be looked at.
    pub fn plain(&mut self) -> &mut [u8] {
        &mut self.plain
    }

    /// The same, and what a stream wants to be lent meanwhile.
    pub fn plain_and_scratch(&mut self) -> (&mut [u8], &mut Scratch) {
        (&mut self.plain, &mut self.scratch)
    }
}

impl Default for Buffers {
    fn default() -> Self {
        let (scratch, fifos, pipes) = (Scratch::default(), Pool::default(), PipePool::default());
        Self { scratch, plain: vec![0; SCRATCH], fifos, pipes }
    }
}

/// Where a direction is in its life (docs/closing.md).
#[derive(Debug)]
pub enum Flow {
    /// The source may be read.
    Open,
    /// The source ended; bytes may remain, then the sink is told.
    Draining,
    /// The sink was told, and the end has left.
    Shut,
    /// The source broke; bytes may remain, then the connection ends with this reason and the sink is reset.
    Breaking(Reason),
    /// The sink broke: nothing can be delivered any more.
    Dead(Reason),
}

/// Which ends something happened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The source has something, for all we know.
    pub source: bool,
    /// The sink has room, for all we know.
    pub sink: bool,
}

/// What one turn did: the flags of the seed's table (docs/closing.md), and the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that came from the source.
    pub read: usize,
    /// Bytes that were handed to the sink.
    pub written: usize,
    /// Residue (ciphertext taken in earlier turns) that left the sink's stream.
    pub flushed: usize,
    pub flags: u8,
}

impl Moved {
    pub const ERR_IN: u8 = 0x01;
    pub const ERR_OUT: u8 = 0x02;
    pub const SHUT_IN: u8 = 0x04;
    pub const SHUT_OUT: u8 = 0x08;
    pub const EMPTY_IN: u8 = 0x10;
    pub const FULL_OUT: u8 = 0x20;

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A pipe that holds bytes, and how many. Few connections have one, so it has its own allocation.
#[derive(Debug)]
struct Filled {
    pipe: KernelPipe,
    bytes: usize,
}

/// One direction.
#[derive(Debug)]
pub struct Channel {
    /// Which end is the source.
    source: Side,
    fifo: Fifo,
    /// Invariant: never while the fifo holds some.
    pipe: Option<Box<Filled>>,
    flow: Flow,
    /// Payload bytes that came from the source.
    read: u64,
    /// Payload bytes the sink took.
    written: u64,
    may_splice: bool,
    /// It is not its turn: the source is not to be read.
    held_back: bool,
    /// The most that may be read in a turn.
    ration: u32,
}

impl Channel {
    /// A direction out of `source` that may hold up to `capacity` bytes.
    pub fn new(source: Side, capacity: usize) -> Self {
        let may_splice = capacity >= LEAST_SPLICED;
        Self {
            source,
            fifo: Fifo::new(capacity),
            pipe: None,
            flow: Flow::Open,
            read: 0,
            written: 0,
            may_splice,
            held_back: false,
            ration: u32::MAX,
        }
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Payload bytes that came from the source.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Payload bytes the sink took.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The end of which bytes come here.
    pub fn source(&self) -> Side {
        self.source
    }

    /// Bytes held by the carrier.
    pub fn held(&self) -> usize {
        self.fifo.len() + self.pipe.as_ref().map_or(0, |filled| filled.bytes)
    }

    /// Bytes the carrier may take.
    pub fn room(&self) -> usize {
        self.fifo.room()
    }

    /// How much may be read in the next turn; none: the source is not even to be listened to.
    pub fn allow(&mut self, ration: Option<u32>) {
        self.held_back = ration.is_none();
        self.ration = ration.unwrap_or(0);
    }

    /// Whether the source should be read: there is room, and the sink is not so far behind that it would only pile up.
    pub fn wants_input(&self, from: &Endpoint, to: &Endpoint) -> bool {
        matches!(self.flow, Flow::Open)
            && !self.held_back
            // Reading may make us answer (key updates, alerts): a peer that does not read that is not read either.
            && from.stream.residue() <= SCRATCH
            && self.pipe.is_none()
            && self.fifo.len() <= self.fifo.capacity() / 2
            && (to.stream.residue() == 0 || waits_for_company(to))
    }

    /// Whether the last byte has left the carrier and the sink's stream.
    pub fn is_empty(&self, to: &Endpoint) -> bool {
        self.held() == 0 && to.stream.residue() == 0
    }

    /// Takes the reason out of a direction that broke, which is over then.
    pub fn take_reason(&mut self) -> Option<Reason> {
        match mem::replace(&mut self.flow, Flow::Shut) {
            Flow::Breaking(reason) | Flow::Dead(reason) => Some(reason),
            other => {
                self.flow = other;
                None
            }
        }
    }

    /// The sink is known to be gone, though nobody has written to it.
    pub fn lose_sink(&mut self, how: Break) {
        if !matches!(self.flow, Flow::Shut) {
            self.die(how);
        }
    }

    /// Ends the direction before its source does, as if it had ended (a relay that answers by itself).
    pub fn end(&mut self) {
        if matches!(self.flow, Flow::Open) {
            self.flow = Flow::Draining;
        }
    }

    /// Moves what can be moved: first what is held, then what is there; then passes an end on.
    pub fn pump(&mut self, from: &mut Endpoint, to: &mut Endpoint, ready: Ends, lent: &mut Buffers) -> Moved {
        let mut moved = Moved::default();
        if matches!(self.flow, Flow::Shut | Flow::Dead(_)) {
            return moved;
        }
        let waited = to.blocked();
        let joins = waits_for_company(to);
        if (ready.sink || !waited) && !joins {
            self.deliver(to, lent, &mut moved);
        }
        // A sink that was behind and has caught up: the source most probably has more, and asking it costs less than
        // telling epoll twice.
        let caught_up = waited && !to.blocked();
        // A read for no bytes at all would look like an end.
        let may = self.ration > 0 && self.wants_input(from, to);
        if may && (ready.source || caught_up || from.stream.holds_input()) {
            self.fetch(from, to, lent, &mut moved);
        }
        if joins && waits_for_company(to) {
            // None came.
            self.deliver(to, lent, &mut moved);
        }
        self.pass_end(to, lent, &mut moved);
        self.count(moved);
        moved
    }

    /// Puts bytes of our own into the carrier, for a relay that answers by itself; says how many there was room for.
    pub fn offer(&mut self, bytes: &[u8], lent: &mut Buffers) -> usize {
        let taken = self.fifo.push(bytes, &mut lent.fifos);
        self.read += taken as u64;
        taken
    }

    /// Delivers what was offered, and the end once all is delivered.
    pub fn pump_out(&mut self, to: &mut Endpoint, lent: &mut Buffers) -> Moved {
        let mut moved = Moved::default();
        if !matches!(self.flow, Flow::Shut | Flow::Dead(_)) {
            self.deliver(to, lent, &mut moved);
            self.pass_end(to, lent, &mut moved);
            self.count(moved);
        }
        moved
    }

    /// Reads into the caller's hands, for a relay that is the sink itself; an end is the channel's end.
    pub fn pump_in(&mut self, from: &mut Endpoint, into: &mut [u8], lent: &mut Buffers) -> Moved {
        let mut moved = Moved::default();
        if matches!(self.flow, Flow::Open) {
            let got = from.read(into, &mut lent.scratch);
            moved.read = got.bytes;
            moved.written = got.bytes;
            self.note_source(got.then, &mut moved);
            if matches!(self.flow, Flow::Draining) {
                self.flow = Flow::Shut;
            }
            self.count(moved);
        }
        moved
    }

    fn count(&mut self, moved: Moved) {
        self.read += moved.read as u64;
        self.written += moved.written as u64;
    }

    /// Sends residue and what the carrier holds.
    fn deliver(&mut self, to: &mut Endpoint, lent: &mut Buffers, moved: &mut Moved) {
        if to.stream.residue() > 0 {
            let put = to.flush();
            moved.flushed += put.bytes;
            self.note_sink(put.then, moved);
        }
        if let Some(filled) = self.pipe.take() {
            let Filled { pipe, bytes } = *filled;
            self.empty_pipe(pipe, bytes, to, lent, moved);
        }
        while to.stream.residue() == 0 && !self.fifo.is_empty() && !moved.has(Moved::ERR_OUT) {
            let put = to.write(self.fifo.readable(), &mut lent.scratch);
            self.fifo.consume(put.bytes, &mut lent.fifos);
            moved.written += put.bytes;
            let stop = put.bytes == 0 || !matches!(put.then, Sink::Room);
            self.note_sink(put.then, moved);
            if stop {
                break;
            }
        }
    }

    /// Reads once, straight through to the sink where that is not behind, else into the fifo.
    fn fetch(&mut self, from: &mut Endpoint, to: &mut Endpoint, lent: &mut Buffers, moved: &mut Moved) {
        if self.splices(from, to) && self.splice(from, to, lent, moved) {
            return;
        }
        if !self.fifo.is_empty() {
            let room = self.fifo.writable(&mut lent.fifos);
            let most = room.len().min(self.ration as usize);
            let got = from.read(&mut room[..most], &mut lent.scratch);
            self.fifo.commit(got.bytes, &mut lent.fifos);
            moved.read += got.bytes;
            self.note_source(got.then, moved);
            return;
        }
        let budget = self.fifo.capacity().min(lent.plain.len()).min(self.ration as usize);
        let got = from.read(&mut lent.plain[..budget], &mut lent.scratch);
        moved.read += got.bytes;
        if got.bytes > 0 {
            let put = to.write(&lent.plain[..got.bytes], &mut lent.scratch);
            moved.written += put.bytes;
            let broken = matches!(put.then, Sink::Broken(_));
            self.note_sink(put.then, moved);
            if !broken {
                let kept = self.fifo.push(&lent.plain[put.bytes..got.bytes], &mut lent.fifos);
                debug_assert_eq!(kept, got.bytes - put.bytes, "no more is read than the fifo can keep");
            }
        }
        self.note_source(got.then, moved);
    }

    /// The preconditions of splicing, in the order in which they are likely to fail.
    fn splices(&self, from: &mut Endpoint, to: &mut Endpoint) -> bool {
        self.may_splice
            && self.read >= STREAM_AFTER
            && self.fifo.is_empty()
            && to.stream.residue() == 0
            && !from.stream.holds_input()
            && from.stream.as_raw().is_some()
            && to.stream.as_raw().is_some()
    }

    /// Moves through a pipe; false if that is not to be had, and nothing was moved.
    fn splice(
        &mut self,
        from: &mut Endpoint,
        to: &mut Endpoint,
        lent: &mut Buffers,
        moved: &mut Moved,
    ) -> bool {
        let (Some(socket), Some(pipe)) = (from.stream.socket(), lent.pipes.take()) else {
            return false;
        };
        let limit = pipe.size().min(self.ration as usize);
        let mut then = match pipe.fill(socket, limit) {
            Ok(0) => {
                lent.pipes.give(pipe);
                Source::Shut
            }
            Ok(bytes) => {
                moved.read += bytes;
                self.empty_pipe(pipe, bytes, to, lent, moved);
                if bytes < limit { Source::Empty } else { Source::More }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                // This kind of socket cannot be spliced.
                self.may_splice = false;
                lent.pipes.give(pipe);
                return false;
            }
            Err(error) => {
                lent.pipes.give(pipe);
                crate::stream::raw::source_after(error)
            }
        };
        from.note_source(&mut then);
        self.note_source(then, moved);
        true
    }

    /// Moves what the pipe holds to the sink; an empty pipe goes back to the pool.
    fn empty_pipe(
        &mut self,
        pipe: KernelPipe,
        mut held: usize,
        to: &mut Endpoint,
        lent: &mut Buffers,
        moved: &mut Moved,
    ) {
        let (mut then, mut sent) = (Sink::Room, 0);
        if let Some(socket) = to.stream.socket() {
            match pipe.empty(socket, held) {
                Ok(bytes) => sent = bytes.min(held),
                Err(error) => then = crate::stream::raw::sink_after(error),
            }
        }
        held -= sent;
        moved.written += sent;
        if held == 0 {
            lent.pipes.give(pipe);
        } else {
            // As with send(2), a short one ends the turn: epoll tells when there is room.
            if matches!(then, Sink::Room) {
                then = Sink::Full;
            }
            self.pipe = Some(Box::new(Filled { pipe, bytes: held }));
        }
        to.note_sink(sent, &then);
        self.note_sink(then, moved);
    }

    fn note_source(&mut self, then: Source, moved: &mut Moved) {
        match then {
            Source::More => {}
            Source::Empty => moved.flags |= Moved::EMPTY_IN,
            Source::Shut => {
                moved.flags |= Moved::SHUT_IN;
                self.end();
            }
            Source::Broken(how) => {
                moved.flags |= Moved::ERR_IN;
                if matches!(self.flow, Flow::Open) {
                    self.flow = Flow::Breaking(Reason::broken(self.source, how));
                }
            }
        }
    }

    fn note_sink(&mut self, then: Sink, moved: &mut Moved) {
        match then {
            Sink::Room => {}
            Sink::Full | Sink::NeedsInput => moved.flags |= Moved::FULL_OUT,
            Sink::Broken(how) => {
                moved.flags |= Moved::ERR_OUT;
                self.die(how);
            }
        }
    }

    /// The sink broke. If the source had broken before, that is the reason; what is held can reach nobody.
    fn die(&mut self, how: Break) {
        self.pipe = None;
        let because = Reason::broken(self.source.other(), how);
        self.flow = match mem::replace(&mut self.flow, Flow::Shut) {
            Flow::Breaking(reason) | Flow::Dead(reason) => Flow::Dead(reason),
            _ => Flow::Dead(because),
        };
    }

    /// Passes the end on once all is delivered.
    fn pass_end(&mut self, to: &mut Endpoint, lent: &mut Buffers, moved: &mut Moved) {
        if !matches!(self.flow, Flow::Draining) || self.held() > 0 {
            return;
        }
        to.shutdown_write();
        if let Some(how) = to.advance_close(&mut lent.scratch) {
            moved.flags |= Moved::ERR_OUT;
            self.die(how);
        } else if to.write_ended() {
            self.flow = Flow::Shut;
            moved.flags |= Moved::SHUT_OUT;
        }
    }

    /// Gives the carrier back.
    pub fn release(&mut self, lent: &mut Buffers) {
        self.fifo.clear(&mut lent.fifos);
        self.pipe = None;
    }
}

/// Whether there is a prologue that nobody tried to send yet: it shall share a segment with the first bytes, if there are
/// some now.
fn waits_for_company(to: &Endpoint) -> bool {
    to.stream.holds_prologue() && !to.blocked()
}
