// SPDX-License-Identifier: MIT OR Apache-2.0
//! epoll(7), level-triggered. Only `event/event_loop.rs` uses it.

use nix::errno::Errno;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Which readiness is asked for; hang-up and error are always told (epoll_ctl(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    pub const NONE: Self = Self(0);
    pub const READ: Self = Self(libc::EPOLLIN as u32);
    pub const WRITE: Self = Self(libc::EPOLLOUT as u32);

    /// Error and hang-up, which are told of everything that is in the set at all.
    pub const FAILURE: Self = Self(libc::EPOLLERR as u32);

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn event(self, token: u64) -> EpollEvent {
        EpollEvent::new(EpollFlags::from_bits_retain(i32::from_ne_bytes(self.0.to_ne_bytes())), token)
    }
}

/// What the kernel said of one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    /// Error or both directions closed: reading and writing will say which.
    pub failed: bool,
}

/// An epoll set and the buffer its events arrive in.
#[derive(Debug)]
pub struct Epoll {
    set: epoll::Epoll,
    events: Vec<EpollEvent>,
    filled: usize,
}

impl Epoll {
    /// A set of which a wait brings at most `events`, one at least. The others are told by the next: those that were told
    /// and are still there go behind them (epoll(7), questions and answers).
    pub fn new(events: usize) -> io::Result<Self> {
        let set = epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { set, events: vec![EpollEvent::empty(); events.max(1)], filled: 0 })
    }

    pub fn add(&self, fd: impl AsFd, token: u64, mask: Mask) -> io::Result<()> {
        Ok(self.set.add(fd, mask.event(token))?)
    }

    pub fn modify(&self, fd: impl AsFd, token: u64, mask: Mask) -> io::Result<()> {
        Ok(self.set.modify(fd, &mut mask.event(token))?)
    }

    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.set.delete(fd)?)
    }

    /// Waits for events, at most `timeout` (`None`: for ever); an interrupted wait is an empty one.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(time) => round_up(time),
        };
        self.filled = match self.set.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// How many events the last wait brought.
    pub fn len(&self) -> usize {
        self.filled
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The event at `index` below [`Self::len`].
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        let flags = event.events();
        Event {
            token: event.data(),
            readable: flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP),
            writable: flags.contains(EpollFlags::EPOLLOUT),
            failed: flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP),
        }
    }
}

/// Whole milliseconds, upwards: a deadline must have passed when the wait ends, or the loop would spin for its rest.
fn round_up(time: Duration) -> EpollTimeout {
    let millis = time.as_micros().div_ceil(1000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::eventfd::EventFd;

    #[test]
    fn tells_which_descriptor_is_readable() {
        let mut epoll = Epoll::new(16).unwrap();
        let (quiet, loud) = (EventFd::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&quiet, 1, Mask::READ).unwrap();
        epoll.add(&loud, 2, Mask::READ).unwrap();
        loud.signal();
        epoll.wait(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(epoll.len(), 1);
        assert_eq!((epoll.event(0).token, epoll.event(0).readable), (2, true));
    }

    #[test]
    fn a_small_wait_brings_everybody_in_turn() {
        let mut epoll = Epoll::new(1).unwrap();
        let loud: Vec<EventFd> = (0..3).map(|_| EventFd::new().unwrap()).collect();
        for (token, fd) in loud.iter().enumerate() {
            epoll.add(fd, token as u64, Mask::READ).unwrap();
            fd.signal();
        }
        let mut told = [0; 3];
        for _ in 0..6 {
            epoll.wait(Some(Duration::from_secs(5))).unwrap();
            assert_eq!(epoll.len(), 1);
            told[usize::try_from(epoll.event(0).token).unwrap()] += 1;
        }
        assert_eq!(told, [2, 2, 2]);
    }

    #[test]
    fn a_wait_is_never_shorter_than_asked() {
        assert_eq!(round_up(Duration::from_micros(1)), EpollTimeout::try_from(1).unwrap());
        assert_eq!(round_up(Duration::from_micros(2001)), EpollTimeout::try_from(3).unwrap());
        assert_eq!(round_up(Duration::ZERO), EpollTimeout::ZERO);
    }
}
