// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory between the TLS library and the socket: what the library reads from and writes to.
//!
//! The library is shown complete records only, and a bounded number of them per call; what is left of a turn is kept
//! with the connection. No type of the library's is named here.

use crate::error::Break;
use crate::stream::raw::{receive, transmit};
use crate::stream::{Put, SCRATCH, Sink, Source};
use crate::sys::socket::Socket;
use std::io::{self, Read, Write};

/// The worker's memory for the library's input and output, and where a turn is in it.
#[derive(Debug, Default)]
pub struct Lent {
    /// Ciphertext from the socket; made once per worker.
    input: Vec<u8>,
    /// Of `input`: what the library has not read. Invariant: start <= whole <= end <= input.len().
    start: usize,
    /// Up to here, records are complete.
    whole: usize,
    end: usize,
    /// How much the next fetch may bring.
    fetch: usize,
    /// No more is fetched in this call: the last fetch was short, or there were [`FETCHES`].
    short: bool,
    fetches: u8,
    /// Records shown to the library in this call.
    shown: u32,
    /// Ciphertext for the socket, collected over a turn.
    output: Vec<u8>,
}

/// What the library takes for the socket.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: Socket,
    /// During a call into the library only.
    pub(super) lent: Option<Box<Lent>>,
    /// Between turns: input not read yet.
    pub(super) held: Vec<u8>,
    /// Between turns: output not taken by the kernel.
    pub(super) unsent: Vec<u8>,
    /// What is unsent is a prologue that nobody tried to send: it leaves with the first records.
    pub(super) joins: bool,
    /// The peer ended TCP.
    pub(super) ended: bool,
    /// Whoever read the held bytes saw the kernel had no more: the first call need not ask again.
    drained: bool,
    /// An end of TCP between two records ends the data in order ([`TlsStream::forgive_truncation`]).
    pub(super) forgiving: bool,
    /// Records shown to the library since payload was last counted.
    pub(super) barren: u32,
    /// Reading the socket failed; told once.
    pub(super) failed: Option<io::Error>,
}

/// A TLS record's header: type, version, length (RFC 8446 section 5.1).
const HEADER: usize = 5;

/// The longest record body there may be: TLS 1.2 allows 2048 bytes beyond 2^14 (RFC 5246 section 6.2.3).
const LONGEST_BODY: usize = (1 << 14) + 2048;

/// Fetched at least, whatever was asked for: a whole record must fit.
pub(super) const LEAST_FETCH: usize = HEADER + LONGEST_BODY;

/// recv(2) calls per call into the library: more would let one peer keep a worker for as long as it sends.
const FETCHES: u8 = 2;

/// Records shown to the library per call: as many as a scratch buffer of large ones holds, and some small ones.
const MOST_SHOWN: u32 = 512;

impl Wire {
    pub(super) fn new(socket: Socket, early: Vec<u8>) -> Self {
        Self {
            socket,
            lent: None,
            held: early,
            unsent: Vec::new(),
            joins: false,
            ended: false,
            drained: true,
            forgiving: false,
            barren: 0,
            failed: None,
        }
    }

    pub(super) fn borrow(&mut self, mut lent: Box<Lent>, fetch: usize) {
        // Room for what is held, a whole fetch behind it, and the rest of a record.
        let size = SCRATCH + LEAST_FETCH + self.held.len();
        if lent.input.len() < SCRATCH + LEAST_FETCH || self.held.len() > LEAST_FETCH {
            lent.input.resize(size.max(lent.input.len()), 0);
        }
        lent.fetch = fetch.max(LEAST_FETCH);
        lent.end = self.held.len();
        lent.start = 0;
        lent.short = std::mem::take(&mut self.drained) && !self.held.is_empty();
        (lent.fetches, lent.shown, lent.whole) = (0, 0, 0);
        let end = lent.end;
        lent.input[..end].copy_from_slice(&self.held);
        lent.show();
        self.lent = Some(lent);
    }

    pub(super) fn give_back(&mut self) -> Option<Box<Lent>> {
        let mut lent = self.lent.take()?;
        let rest = &lent.input[lent.start..lent.end];
        if rest.is_empty() {
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
        self.barren = self.barren.saturating_add(lent.shown);
        self.send_collected(&lent.output);
        lent.output.clear();
        Some(lent)
    }

    fn send_collected(&mut self, output: &[u8]) {
        if output.is_empty() {
            return;
        }
        let then = if self.unsent.is_empty() {
            let put = transmit(&self.socket, output);
            self.unsent.extend_from_slice(&output[put.bytes..]);
            put.then
        } else {
            // What left before must arrive before.
            self.unsent.extend_from_slice(output);
            if std::mem::take(&mut self.joins) { self.send_unsent().then } else { Sink::Full }
        };
        if let Sink::Broken(how) = then {
            self.unsent = Vec::new();
            self.failed = Some(match how {
                Break::Reset(error) => error,
                _ => io::ErrorKind::BrokenPipe.into(),
            });
        }
    }

    /// Sends what the kernel did not take before; `bytes` counts what left.
    pub(super) fn send_unsent(&mut self) -> Put {
        let put = transmit(&self.socket, &self.unsent);
        self.unsent.drain(..put.bytes);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        put
    }

    pub(super) fn holds_whole_record(&self) -> bool {
        self.ended && !self.held.is_empty() || complete_records(&self.held, 1).1 > 0
    }
}

impl Lent {
    /// Shows the library the complete records behind what it was shown, as many as one call may see.
    fn show(&mut self) {
        let allowed = MOST_SHOWN.saturating_sub(self.shown);
        let (bytes, records) = complete_records(&self.input[self.whole..self.end], allowed);
        self.whole += bytes;
        self.shown += records;
    }

    /// Fetches from the socket until a whole record is there or the kernel has no more; `ended` is set at its end.
    fn refill(&mut self, socket: &Socket, ended: &mut bool, forgiving: &mut bool) -> io::Result<()> {
        while self.start == self.whole {
            if *ended {
                if *forgiving && self.start == self.end {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // Nobody will complete it: the library shall judge the rest, and nothing torn is forgiven.
                *forgiving = false;
                self.whole = self.end;
                return Ok(());
            }
            if self.short || self.fetches == FETCHES || self.shown >= MOST_SHOWN {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.whole, self.end) = (0, 0, self.end - self.start);
            let room = (self.input.len() - self.end).min(self.fetch);
            let got = receive(socket, &mut self.input[self.end..self.end + room]);
            self.end += got.bytes;
            self.fetches += 1;
            match got.then {
                Source::More => {}
                Source::Empty => self.short = true,
                Source::Shut => *ended = true,
                Source::Broken(Break::Reset(error)) => return Err(error),
                Source::Broken(_) => *ended = true,
            }
            self.show();
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(lent) = &mut self.lent else { return Err(io::ErrorKind::WouldBlock.into()) };
        if let Err(error) = lent.refill(&self.socket, &mut self.ended, &mut self.forgiving) {
            let told = io::Error::from(error.kind());
            if error.kind() != io::ErrorKind::WouldBlock {
                self.failed = Some(error);
            }
            return Err(told);
        }
        let bytes = into.len().min(lent.whole - lent.start);
        into[..bytes].copy_from_slice(&lent.input[lent.start..lent.start + bytes]);
        lent.start += bytes;
        Ok(bytes)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(lent) = &mut self.lent else { return Err(io::ErrorKind::WouldBlock.into()) };
        lent.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes of `input`, which begins with a record, belong to complete records, of at most `limit` of them, and how
/// many records those are. What cannot be a record is complete: waiting for the rest of it would wait for ever, and the
/// library has an alert for it.
pub(super) fn complete_records(input: &[u8], limit: u32) -> (usize, u32) {
    let (mut at, mut records) = (0, 0);
    while records < limit {
        let Some(header) = input.get(at..at + HEADER) else { break };
        let body = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let is_record = (20..=24).contains(&header[0]) && header[1] == 3 && body <= LONGEST_BODY;
        if !is_record {
            return (input.len(), records + 1);
        }
        let next = at + HEADER + body;
        if next > input.len() {
            break;
        }
        at = next;
        records += 1;
    }
    (at, records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: usize) -> Vec<u8> {
        let length = u16::try_from(body).unwrap().to_be_bytes();
        let mut bytes = vec![kind, 3, 3, length[0], length[1]];
        bytes.resize(HEADER + body, 7);
        bytes
    }

    #[test]
    fn only_complete_records_count() {
        let two = [record(22, 100), record(23, 16_640)].concat();
        for shown in 0..two.len() {
            let expected = if shown >= 105 { 105 } else { 0 };
            assert_eq!(complete_records(&two[..shown], 9).0, expected, "{shown} bytes shown");
        }
        assert_eq!(complete_records(&two, 9), (two.len(), 2));
        assert_eq!(complete_records(&two, 1), (105, 1));
    }

    #[test]
    fn empty_records_count() {
        let bytes = [record(23, 0), record(23, 0), vec![23, 3]].concat();
        assert_eq!(complete_records(&bytes, 9), (10, 2));
    }

    #[test]
    fn what_is_no_record_is_shown_whole() {
        assert_eq!(complete_records(b"GET / HTTP/1.1\r\n", 9).0, 16);
        assert_eq!(complete_records(&record(23, LONGEST_BODY + 1)[..600], 9).0, 600);
        assert_eq!(complete_records(b"GET ", 9).0, 0, "a header's length is not there yet");
    }
}
