// SPDX-License-Identifier: MIT OR Apache-2.0
//! eventfd(2): wakes an event loop from another thread.

use nix::sys::eventfd::{self, EfdFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A counter that is readable while it is not zero.
#[derive(Debug)]
pub struct EventFd(eventfd::EventFd);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(eventfd::EventFd::from_flags(flags)?))
    }

    /// Makes it readable. Never blocks; at the counter's limit it is readable already.
    pub fn signal(&self) {
        let _readable_either_way = self.0.write(1);
    }

    /// Makes it unreadable again; false if it was not readable.
    pub fn drain(&self) -> bool {
        self.0.read().is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_once_however_often_signalled() {
        let event = EventFd::new().unwrap();
        assert!(!event.drain());
        event.signal();
        event.signal();
        assert!(event.drain());
        assert!(!event.drain());
    }
}
