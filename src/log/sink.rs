// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a target promises to the writer, and the table from [`Target`] to the sinks.
//!
//! A sink belongs to the log thread. It may be slow or broken for as long as it likes without losing what it was not
//! given: it answers [`Later`], and the writer keeps the line. What a sink had taken and could not write it counts.

use std::io;
use std::time::{Duration, SystemTime};

use super::stream::Stream;
use super::syslog_socket::SyslogSocket;
use super::{Level, Target};

/// A line as a sink gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) made: SystemTime,
    pub(super) level: Level,
    pub(super) text: &'a str,
}

/// The target takes nothing now: come again after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Later(pub(super) Duration);

/// What went wrong since the last question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Lines that had been taken and are gone.
    pub(super) lost: u64,
    /// For stderr: at most one for each time the target fails after having worked.
    pub(super) warning: Option<String>,
}

/// Where lines end.
pub(super) trait Sink: Send {
    /// Takes one line; it may stay in a buffer until [`Self::flush`].
    fn put(&mut self, entry: &Entry<'_>) -> Result<(), Later>;

    /// Writes what is buffered.
    fn flush(&mut self) -> Result<(), Later>;

    /// Opens the file anew and answers its name; `None` for a target that is none.
    fn reopen(&mut self) -> io::Result<Option<String>>;

    /// Tells, and forgets, what went wrong.
    fn trouble(&mut self) -> Trouble;

    /// Lines taken and not yet written: lost if the sink is dropped now.
    fn unwritten(&self) -> u64;
}

/// Opens a target. `tag` is `ident[pid]`.
pub(super) fn open(target: &Target, tag: &str) -> io::Result<Box<dyn Sink>> {
    Ok(match target {
        Target::Syslog { facility, socket } => Box::new(SyslogSocket::open(socket, *facility, tag)),
        Target::Stderr => Box::new(Stream::stderr()),
        Target::File(path) => Box::new(Stream::file(path)?),
    })
}

/// Waiting times that double from the first to the longest.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait this time.
    pub(super) fn later(&mut self) -> Later {
        let wait = self.next;
        self.next = self.longest.min(wait * 2);
        Later(wait)
    }

    /// It worked: the next wait is the first again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(50));
        let waits: Vec<_> = (0..5).map(|_| backoff.later().0).collect();
        assert_eq!(waits, [ms(10), ms(20), ms(40), ms(50), ms(50)]);
        backoff.reset();
        assert_eq!(backoff.later(), Later(ms(10)));
    }
}
