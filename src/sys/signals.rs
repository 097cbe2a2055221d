// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals as a readable descriptor (signalfd(2)), so that they are events like any other.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks of the daemon; the table is in tunnel(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// HUP
    Reload,
    /// USR1
    ReopenLogs,
    /// USR2, reserved
    Upgrade,
    /// TERM, INT
    Stop,
    /// QUIT
    Quit,
}

const TABLE: [(Signal, Request); 6] = [
    (Signal::SIGHUP, Request::Reload),
    (Signal::SIGUSR1, Request::ReopenLogs),
    (Signal::SIGUSR2, Request::Upgrade),
    (Signal::SIGTERM, Request::Stop),
    (Signal::SIGINT, Request::Stop),
    (Signal::SIGQUIT, Request::Quit),
];

/// The signals of `TABLE`, blocked for the process and readable here.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals in this thread. Call before any thread is started: threads inherit the mask.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for (signal, _) in TABLE {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next request that waits, if any.
    pub fn next(&self) -> Option<Request> {
        let info = self.0.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).ok()?;
        TABLE.iter().find(|(signal, _)| *signal as i32 == number).map(|(_, request)| *request)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
