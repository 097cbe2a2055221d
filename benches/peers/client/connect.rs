// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections opened, used for one byte and closed, in a closed loop.
//!
//! A fixed number of connections is under way; each that ends makes room for the next. One byte goes to the backend
//! and back, so a connection counts only if the peer has really built the whole path.

use std::io;
use std::time::{Duration, Instant};

use super::super::Fallible;
use super::super::link::{Got, Link};
use super::{Poll, Target};

/// How many failures end a run early: its figure would mean nothing.
const FAILURES_MAX: u64 = 200;

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Connected {
    /// Connections that did all they should.
    pub(crate) done: u64,
    /// Connections that did not.
    pub(crate) failed: u64,
    /// Of `done`, those whose TLS session was resumed.
    pub(crate) resumed: u64,
    /// From the first to the last.
    pub(crate) elapsed: Duration,
}

/// Keeps `at_once` connections under way for `length`.
pub(crate) fn run(target: &Target, at_once: usize, length: Duration) -> Fallible<Connected> {
    let mut poll = Poll::new()?;
    let mut outcome = Connected::default();
    let first = target.first(b"E");
    let start = Instant::now();
    let mut visits = Vec::with_capacity(at_once);
    for index in 0..at_once {
        visits.push(Some(Visit::start(target, &first, &poll, index)?));
    }
    let mut open = at_once;
    while open > 0 {
        for index in poll.wait()? {
            let Some(visit) = visits.get_mut(index).and_then(Option::as_mut) else { continue };
            match visit.step() {
                Ok(false) => continue,
                Ok(true) => {
                    outcome.done += 1;
                    outcome.resumed += u64::from(visit.link.resumed());
                    visit.link.finish();
                }
                Err(_) => outcome.failed += 1,
            }
            visits[index] = None;
            outcome.elapsed = start.elapsed();
            if outcome.elapsed < length && outcome.failed < FAILURES_MAX {
                visits[index] = Some(Visit::start(target, &first, &poll, index)?);
            } else {
                open -= 1;
            }
        }
    }
    Ok(outcome)
}

/// Makes one connection and returns the session it could be resumed with, in DER form.
pub(crate) fn fetch_session(target: &Target) -> Fallible<Vec<u8>> {
    let mut poll = Poll::new()?;
    let first = target.first(b"E");
    let mut visit = Visit::start(target, &first, &poll, 0)?;
    while !visit.step()? {
        poll.wait()?;
    }
    visit.link.finish();
    let Link::Tls(stream) = &visit.link else { return Err("no session on a plain connection".into()) };
    Ok(stream.ssl().session().ok_or("the connection left no session")?.to_der()?)
}

/// One connection on its way.
struct Visit<'a> {
    link: Link,
    /// What it says: the byte, perhaps behind an opening.
    first: &'a [u8],
    /// Whether that is out.
    asked: bool,
}

impl<'a> Visit<'a> {
    fn start(target: &Target, first: &'a [u8], poll: &Poll, index: usize) -> Fallible<Self> {
        let mut visit = Self { link: target.dial()?, first, asked: false };
        poll.watch(&visit.link, index)?;
        // Begins the handshake, or asks at once on a plain link. It must not look for the answer, which nobody
        // would hear of: the event it raises is what brings `step`.
        // A peer may have refused the connection by now; that is an event, too, and `step` will fail.
        let _ = visit.ask();
        Ok(visit)
    }

    /// Goes on until the byte is out; `true` if it is.
    fn ask(&mut self) -> io::Result<bool> {
        if !self.asked && self.link.handshake()? {
            self.link.write_short(self.first)?;
            self.asked = true;
        }
        Ok(self.asked)
    }

    /// Goes on; `true` once the byte has come back.
    fn step(&mut self) -> io::Result<bool> {
        if !self.ask()? {
            return Ok(false);
        }
        let mut answer = [0; 1];
        match self.link.read(&mut answer)? {
            Got::Wait => Ok(false),
            Got::Bytes(1) if &answer == b"E" => Ok(true),
            Got::Bytes(_) | Got::End => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no answer")),
        }
    }
}
