// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream that does what a test says, for the branches that no real socket takes when asked to: short writes, a kernel
//! that takes nothing, a reset, an end or a truncation at any point, bytes that are never acknowledged.
//!
//! Bare, or with a data layer of its own (`tls`): then the end of the data is a close_notify, which needs room as bytes
//! do, and an end of the connection alone is a truncation. No cryptography: what is written is what is told.

use super::{Got, Put, Sink, Source};
use crate::error::Break;
use crate::sys::socket::Socket;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Sender;

/// What the peer of a scripted stream sees, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Bytes(Vec<u8>),
    CloseNotify,
    Fin,
    /// The close will be a reset.
    Reset,
}

/// What a scripted stream answers, and what it was given.
#[derive(Debug, Default)]
pub struct Script {
    /// It has a data layer.
    pub tls: bool,
    /// One entry per read: bytes, and how the source stands after them; none: nothing is there.
    pub reads: VecDeque<(Vec<u8>, Source)>,
    /// One entry per attempt to send: how many bytes the kernel takes at most, and how it stands then; none: as many as
    /// there is room for.
    pub writes: VecDeque<(usize, Sink)>,
    /// How many bytes the kernel still takes; none: any number.
    pub room: Option<usize>,
    pub written: Vec<u8>,
    /// The close_notify that the kernel has not taken.
    pub notify: bool,
    /// FIN cannot be sent: the peer is gone.
    pub no_fin: bool,
    /// What the peer has not acknowledged.
    pub unacknowledged: usize,
    /// Who is told what the peer sees.
    pub told: Option<Sender<Told>>,
}

impl Script {
    pub fn read(&mut self, into: &mut [u8]) -> Got {
        let Some((mut bytes, then)) = self.reads.pop_front() else {
            return Got { bytes: 0, then: Source::Empty };
        };
        if bytes.len() > into.len() {
            let rest = bytes.split_off(into.len());
            into.copy_from_slice(&bytes);
            self.reads.push_front((rest, then));
            return Got { bytes: into.len(), then: Source::More };
        }
        into[..bytes.len()].copy_from_slice(&bytes);
        Got { bytes: bytes.len(), then }
    }

    /// What the socket tells of the same: it knows nothing of the data layer.
    pub fn receive(&mut self, into: &mut [u8]) -> Got {
        let mut got = self.read(into);
        if self.tls {
            got.then = match got.then {
                // A close_notify is some bytes more.
                Source::Shut | Source::Broken(Break::Tls(..)) => Source::Empty,
                Source::Broken(Break::Truncated) => Source::Shut,
                then => then,
            };
        }
        got
    }

    pub fn write(&mut self, bytes: &[u8]) -> Put {
        let (count, then) = self.send(bytes.len());
        self.written.extend_from_slice(&bytes[..count]);
        if count > 0 {
            self.tell(Told::Bytes(bytes[..count].to_vec()));
        }
        Put { bytes: count, then }
    }

    pub fn end(&mut self) {
        if self.tls {
            self.notify = true;
            self.flush();
        }
    }

    pub fn flush(&mut self) -> Put {
        if !self.notify {
            return Put { bytes: 0, then: Sink::Room };
        }
        let (bytes, then) = self.send(1);
        if bytes > 0 {
            self.notify = false;
            self.tell(Told::CloseNotify);
        }
        Put { bytes, then }
    }

    /// How many of so many bytes the kernel takes.
    fn send(&mut self, bytes: usize) -> (usize, Sink) {
        if let Some((limit, then)) = self.writes.pop_front() {
            return (limit.min(bytes), then);
        }
        let count = self.room.map_or(bytes, |room| room.min(bytes));
        self.room = self.room.map(|room| room - count);
        (count, if count < bytes { Sink::Full } else { Sink::Room })
    }

    /// Whether it would take something, or fail to.
    pub fn has_room(&self) -> bool {
        !self.writes.is_empty() || self.room != Some(0)
    }

    pub fn residue(&self) -> usize {
        usize::from(self.notify)
    }

    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if self.no_fin {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.tell(Told::Fin);
        Ok(())
    }

    pub fn reset_on_close(&self) {
        self.tell(Told::Reset);
    }

    pub fn socket(&self) -> Option<&Socket> {
        None
    }

    fn tell(&self, what: Told) {
        if let Some(told) = &self.told {
            let _nobody_listens_any_more = told.send(what);
        }
    }
}
