// SPDX-License-Identifier: MIT OR Apache-2.0
//! stub: logging that never blocks a worker.

use std::fmt::Display;
use std::path::PathBuf;

/// What `[global] log` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub target: Target,
    pub level: Level,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The local syslog daemon through `socket` (/dev/log unless told otherwise).
    Syslog {
        facility: Facility,
        socket: PathBuf,
    },
    Stderr,
    File(PathBuf),
}

/// A syslog facility code (RFC 5424 section 6.2.1), already multiplied by nothing: kern is 0, daemon 3, local0 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

impl Facility {
    /// "daemon", "user", "local0" … by name.
    pub fn from_name(_name: &str) -> Option<Self> {
        None
    }
    /// Every name [`Self::from_name`] knows.
    pub const NAMES: &'static [&'static str] = &[];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

/// A handle to the log; clones share one bounded queue and one writer thread.
#[derive(Clone, Debug)]
pub struct Log {}

impl Log {
    /// Begins a line; nothing is formatted when `level` is not wanted. `event` is a stable word of tunnel-log(7).
    pub fn line(&self, _level: Level, _event: &'static str) -> Line<'_> {
        Line { _log: self }
    }
    /// As [`Self::line`], for failures that may come in floods: repeated lines of one `event` and `subject`
    /// (a service's name) fold into "N more".
    pub fn failure(&self, level: Level, event: &'static str, _subject: &str) -> Line<'_> {
        self.line(level, event)
    }
}

/// A line being made, logfmt-like.
#[derive(Debug)]
#[must_use]
pub struct Line<'a> {
    _log: &'a Log,
}

impl Line<'_> {
    /// `key=value`, the value quoted and escaped as needed: nothing a peer controls can break a line.
    pub fn field(self, _key: &'static str, _value: impl Display) -> Self {
        self
    }
    /// Whether the line's level is wanted.
    pub fn is_wanted(&self) -> bool {
        true
    }
    /// Queues the line; counts it as lost when the queue is full.
    pub fn send(self) {}
}
