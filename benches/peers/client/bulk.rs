// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes in bulk, down (backend to client) or up, over a few connections.
//!
//! The connections are open before the run begins, so a run costs transfers only. Without `check` a download is
//! not decrypted (see `records.rs`) and an upload not compared: that work would be the generator's, not the peer's.

use std::time::{Duration, Instant};

use super::super::Fallible;
use super::super::backend::REQUEST;
use super::super::link::{Got, Link};
use super::super::pattern::Pattern;
use super::super::records::RecordCounter;
use super::super::sender::Sender;
use super::{Fleet, Target};

/// Bytes read at once.
const READ: usize = 256 * 1024;
/// Reads per event, so that one connection does not starve its neighbours.
const READS: u32 = 16;

/// What to transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// From the client to the backend, or the other way.
    pub(crate) up: bool,
    /// How many connections share the work.
    pub(crate) connections: usize,
    /// Payload of all connections together; rounded down to a multiple of `connections`.
    pub(crate) bytes: u64,
    /// Compare every byte with the pattern.
    pub(crate) check: bool,
}

impl Transfer {
    /// Bytes each connection moves.
    fn share(&self) -> u64 {
        self.bytes / self.connections as u64
    }

    /// What each connection asks of the backend.
    fn request(&self) -> [u8; REQUEST] {
        let kind = match (self.up, self.check) {
            (false, _) => b'D',
            (true, false) => b'U',
            (true, true) => b'C',
        };
        let mut request = [kind; REQUEST];
        request[1..].copy_from_slice(&self.share().to_le_bytes());
        request
    }
}

/// A transfer whose connections are open.
pub(crate) struct Bulk<'a> {
    fleet: Fleet,
    transfer: Transfer,
    pattern: &'a Pattern,
    /// What each connection says first.
    first: Vec<u8>,
    buffer: Vec<u8>,
}

/// The state of one connection.
enum Lane {
    Sending(Sender),
    AwaitingAnswer,
    Receiving(Receiver),
    Done,
}

struct Receiver {
    got: u64,
    records: RecordCounter,
    /// Whether the TLS library is past its first record and the socket is read directly.
    raw: bool,
}

impl<'a> Bulk<'a> {
    /// Opens the connections.
    pub(crate) fn open(target: &Target, transfer: Transfer, pattern: &'a Pattern) -> Fallible<Self> {
        let fleet = Fleet::open(target, transfer.connections, false)?;
        let first = target.first(&transfer.request());
        Ok(Self { fleet, transfer, pattern, first, buffer: vec![0; READ] })
    }

    /// Moves the bytes; returns how long that took. An error if one is missing or, with `check`, wrong.
    pub(crate) fn run(&mut self) -> Fallible<Duration> {
        let start = Instant::now();
        let mut lanes = self.request()?;
        let mut open = lanes.len();
        while open > 0 {
            for index in self.fleet.poll.wait()? {
                let was_done = matches!(lanes[index], Lane::Done);
                if was_done {
                    // The peer closes or sends late tickets; neither matters any more.
                    self.fleet.poll.forget(&self.fleet.links[index])?;
                    continue;
                }
                self.step(&mut lanes[index], index)?;
                open -= usize::from(matches!(lanes[index], Lane::Done));
            }
        }
        Ok(start.elapsed())
    }

    fn request(&mut self) -> Fallible<Vec<Lane>> {
        let mut lanes = Vec::new();
        for (index, link) in self.fleet.links.iter_mut().enumerate() {
            link.write_short(&self.first)?;
            if self.transfer.up {
                self.fleet.poll.want_room(link, index, true)?;
                lanes.push(Lane::Sending(Sender::new(self.transfer.share())));
            } else {
                let records = RecordCounter::default();
                lanes.push(Lane::Receiving(Receiver { got: 0, records, raw: false }));
            }
        }
        Ok(lanes)
    }

    fn step(&mut self, lane: &mut Lane, index: usize) -> Fallible<()> {
        let share = self.transfer.share();
        let link = &mut self.fleet.links[index];
        match lane {
            Lane::Sending(sender) => {
                if sender.push(link, self.pattern)? {
                    self.fleet.poll.want_room(link, index, false)?;
                    *lane = Lane::AwaitingAnswer;
                }
            }
            Lane::AwaitingAnswer => {
                let mut answer = [0; 1];
                match link.read(&mut answer)? {
                    Got::Wait => {}
                    Got::Bytes(_) if &answer == b"+" => *lane = Lane::Done,
                    Got::Bytes(_) => return Err("bytes arrived changed at the backend".into()),
                    Got::End => return Err("an upload ended before its answer".into()),
                }
            }
            Lane::Receiving(receiver) => {
                let check = self.transfer.check.then_some(self.pattern);
                if receiver.receive(link, &mut self.buffer, share, check)? {
                    *lane = Lane::Done;
                }
            }
            Lane::Done => {}
        }
        Ok(())
    }
}

impl Receiver {
    /// Takes what is there; `true` once all `share` bytes have come.
    fn receive(
        &mut self,
        link: &mut Link,
        buffer: &mut [u8],
        share: u64,
        check: Option<&Pattern>,
    ) -> Fallible<bool> {
        for _ in 0..READS {
            let tls = matches!(link, Link::Tls(_));
            let before = self.records.counted();
            let received = match (tls, check) {
                (_, Some(_)) => link.read(buffer)?,
                (false, None) => link.discard(buffer, u64::MAX)?,
                (true, None) if self.raw => link.read_raw(buffer)?,
                (true, None) => link.read(buffer)?,
            };
            let len = match received {
                Got::Wait => return Ok(false),
                Got::End => return Err("a download ended early".into()),
                Got::Bytes(len) => len,
            };
            if check.is_some_and(|pattern| !pattern.matches(&buffer[..len], self.got)) {
                return Err("bytes arrived changed at the client".into());
            }
            if self.raw {
                self.records.feed(&buffer[..len]);
                self.got += self.records.counted() - before;
            } else {
                self.got += len as u64;
                // The buffer is larger than a record and the library reads no further than one, so after a read
                // it holds nothing and the socket stands between two records.
                self.raw = tls && check.is_none();
            }
            // Undecrypted, a late session ticket looks like data, so there may seem to be more than was asked for.
            if self.got >= share && self.records.between_records() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
