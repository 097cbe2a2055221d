// SPDX-License-Identifier: MIT OR Apache-2.0
//! The load on the front of a peer: one thread, one epoll instance.
//!
//! `connect` opens and closes connections, `bulk` moves bytes, `ping` sends small messages to and fro; an idle
//! load is a `Fleet` that does nothing. What the loads ask of the backend is described in `backend.rs`.
//! Invariant: a load ends, with an error if need be: none waits longer than `STALL_MS` for the next event.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::Fallible;
use super::link::{Got, Link};
use super::tls::ClientTls;
use sources::Sources;

pub(super) mod bulk;
pub(super) mod connect;
pub(super) mod ping;
pub(super) mod sources;

/// The longest silence before a load gives up, in milliseconds.
const STALL_MS: u16 = 20_000;
/// The longest wait for the kernel to connect on loopback.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Events per turn.
const EVENTS: usize = 256;
/// Connections of a fleet that are under way at a time.
const OPENING: usize = 32;

/// Whom to load, and how to speak to it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The peer's port on 127.0.0.1.
    pub(super) port: u16,
    /// TLS, or plain TCP.
    pub(super) tls: Option<ClientTls>,
    /// What goes in front of a connection's first request, in the same write; mostly nothing.
    pub(super) opening: Vec<u8>,
    /// Where connections come from; `None` is 127.0.0.1.
    pub(super) sources: Option<Sources>,
}

impl Target {
    /// Connects the socket; a TLS handshake is still to be done.
    fn dial(&self) -> io::Result<Link> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let socket = match &self.sources {
            None => TcpStream::connect_timeout(&address, DIAL_TIMEOUT)?,
            Some(sources) => sources.dial(self.port)?,
        };
        let ssl = self.tls.as_ref().map(ClientTls::connection).transpose()?;
        Link::new(socket, ssl)
    }

    /// The first bytes of a connection whose request is `request`.
    fn first(&self, request: &[u8]) -> Vec<u8> {
        [&self.opening, request].concat()
    }
}

/// An epoll instance with its event buffer.
struct Poll {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poll {
    fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); EVENTS] })
    }

    fn watch(&self, link: &Link, index: usize) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        Ok(self.epoll.add(link.as_fd(), event)?)
    }

    fn want_room(&self, link: &Link, index: usize, room: bool) -> io::Result<()> {
        let out = if room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | out, index as u64);
        Ok(self.epoll.modify(link.as_fd(), &mut event)?)
    }

    fn forget(&self, link: &Link) -> io::Result<()> {
        Ok(self.epoll.delete(link.as_fd())?)
    }

    /// The indices of the links something happened to; an error if there is none for `STALL_MS`.
    fn wait(&mut self) -> io::Result<Vec<usize>> {
        let count = match self.epoll.wait(&mut self.events, STALL_MS) {
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            result => result?,
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the load stalled"));
        }
        Ok(self.events[..count].iter().filter_map(|event| usize::try_from(event.data()).ok()).collect())
    }
}

/// Connections that are open and ready, watched for input under their index.
pub(super) struct Fleet {
    poll: Poll,
    links: Vec<Link>,
}

impl Fleet {
    /// Opens `count` connections, handshakes included. With `echo`, one byte has gone to the backend and back on
    /// each, so that the whole path is known to stand and the session is in echo mode.
    pub(super) fn open(target: &Target, count: usize, echo: bool) -> Fallible<Self> {
        let mut fleet = Self { poll: Poll::new()?, links: Vec::with_capacity(count) };
        let mut shaken = vec![false; count];
        let first = echo.then(|| target.first(b"E"));
        let mut ready = 0;
        while ready < count {
            while fleet.links.len() < count && fleet.links.len() - ready < OPENING {
                let link = target.dial()?;
                let index = fleet.links.len();
                fleet.poll.watch(&link, index)?;
                fleet.links.push(link);
                ready += usize::from(fleet.step(index, &mut shaken, first.as_deref())?);
            }
            if ready == count {
                break;
            }
            for index in fleet.poll.wait()? {
                ready += usize::from(fleet.step(index, &mut shaken, first.as_deref())?);
            }
        }
        Ok(fleet)
    }

    /// Brings one connection on; `true` at the moment it becomes ready. `first` asks for an echo.
    fn step(&mut self, index: usize, shaken: &mut [bool], first: Option<&[u8]>) -> Fallible<bool> {
        let link = &mut self.links[index];
        if !shaken[index] {
            if !link.handshake()? {
                return Ok(false);
            }
            shaken[index] = true;
            let Some(first) = first else { return Ok(true) };
            link.write_short(first)?;
        }
        if first.is_none() {
            // Session tickets of a connection that is ready already; the load will read them.
            return Ok(false);
        }
        match link.read(&mut [0; 1])? {
            Got::Bytes(_) => Ok(true),
            Got::Wait => Ok(false),
            Got::End => Err("a connection ended before its first byte came back".into()),
        }
    }
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use std::sync::Arc;

    use super::super::backend::Backend;
    use super::super::hello;
    use super::super::pattern::Pattern;
    use super::super::tls::{self, Version};
    use super::bulk::{Bulk, Transfer};
    use super::ping::Ping;
    use super::*;

    /// Runs `load` against a backend without anything between, in plain (once behind a ClientHello) and in TLS.
    fn against_backend(load: impl Fn(&Target, &Pattern)) {
        let dir = tempfile::tempdir().unwrap();
        let pem = tls::write_certificate(dir.path()).unwrap();
        let pattern = Arc::new(Pattern::new());
        let ways = [
            (None, Vec::new()),
            (None, hello::client_hello().unwrap()),
            (Some(ClientTls::new(Version::V13).unwrap()), Vec::new()),
        ];
        for (tls, opening) in ways {
            let pem = tls.is_some().then_some(pem.as_path());
            let backend = Backend::start(Arc::clone(&pattern), pem).unwrap();
            load(&Target { port: backend.port, tls, opening, sources: None }, &pattern);
        }
    }

    #[test]
    fn bytes_move_both_ways_compared_or_not() {
        against_backend(|target, pattern| {
            for (up, check) in [(false, false), (false, true), (true, false), (true, true)] {
                let transfer = Transfer { up, connections: 3, bytes: 3_000_001, check };
                Bulk::open(target, transfer, pattern).unwrap().run().unwrap();
            }
        });
    }

    #[test]
    fn changed_bytes_are_noticed_at_either_end() {
        against_backend(|target, pattern| {
            // The client's idea of the pattern differs from the backend's.
            let other = pattern.shifted();
            for up in [false, true] {
                let transfer = Transfer { up, connections: 2, bytes: 100_000, check: true };
                let error = Bulk::open(target, transfer, &other).unwrap().run().unwrap_err();
                assert!(error.to_string().contains("changed"), "{error}");
            }
        });
    }

    #[test]
    fn messages_come_back_until_the_time_is_up() {
        against_backend(|target, _| {
            let outcome = Ping::open(target, 8, 512).unwrap().run(Duration::from_millis(20)).unwrap();
            assert!(outcome.latencies_us.len() >= 8);
            assert!(outcome.elapsed >= Duration::from_millis(20));
        });
    }

    #[test]
    fn connections_resume_only_when_asked_to() {
        against_backend(|target, _| {
            let length = Duration::from_millis(20);
            let outcome = connect::run(target, 4, length).unwrap();
            assert_eq!((outcome.failed, outcome.resumed), (0, 0));
            let Some(tls) = target.tls.clone() else { return };
            let session = connect::fetch_session(target).unwrap();
            let target = Target { tls: Some(tls.offering(session)), ..target.clone() };
            let outcome = connect::run(&target, 4, length).unwrap();
            assert_eq!((outcome.failed, outcome.resumed), (0, outcome.done));
        });
    }

    #[test]
    fn a_peer_that_answers_nothing_is_a_failure() {
        // Nobody listens on a port that was free a moment ago.
        let port =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let target = Target { port, tls: None, opening: Vec::new(), sources: None };
        assert!(connect::run(&target, 2, Duration::from_millis(1)).is_err());
    }
}
