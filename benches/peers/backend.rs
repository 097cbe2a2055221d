// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server behind the peer: one thread, one epoll instance, plain TCP or TLS.
//!
//! A connection begins with a request, perhaps behind a ClientHello (`hello.rs`), and then does what it asks for:
//!
//! | request | what follows |
//! |---|---|
//! | `E` | everything is sent back, the `E` included |
//! | `D` and a length (8 bytes, little endian) | that many pattern bytes are sent |
//! | `U` and a length | that many bytes are taken and thrown away, then `+` is sent |
//! | `C` and a length | the same, compared with the pattern; `+` if equal, `-` if not |
//!
//! Invariants: a session is in the slab as long as its descriptor is registered, under its index; a stale event of
//! a batch can at worst make a new session at the same index look at its socket once for nothing.
//! Not here: the client's side of the requests (`client/`).

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use openssl::ssl::{Ssl, SslContext};

use super::Fallible;
use super::hello;
use super::link::{Got, Link};
use super::pattern::Pattern;
use super::sender::Sender;
use super::tls;

/// Length of a request with an amount, in bytes.
pub(super) const REQUEST: usize = 9;
/// Events per turn.
const EVENTS: usize = 256;
/// How long the thread may overlook that it should end, in milliseconds.
const STOP_CHECK_MS: u16 = 100;
/// Bytes read at once; also the most `MSG_TRUNC` drops at once.
const READ: usize = 1024 * 1024;
/// Reads per event, so that one connection does not starve its neighbours.
const READS: u32 = 16;
/// The listener's token; sessions use their index.
const LISTENER: u64 = u64::MAX;

/// A running backend; ends with the value.
#[derive(Debug)]
pub(super) struct Backend {
    /// Where it listens, on 127.0.0.1.
    pub(super) port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Starts a backend on a port of the kernel's choice; with `pem`, it speaks TLS.
    pub(super) fn start(pattern: Arc<Pattern>, pem: Option<&Path>) -> Fallible<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let context = pem.map(tls::server_context).transpose()?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut server = Server {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            listener,
            context,
            pattern,
            sessions: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; READ],
        };
        server.epoll.add(&server.listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let seen = Arc::clone(&stop);
        let thread = thread::Builder::new().name("backend".into()).spawn(move || server.run(&seen))?;
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already, and the client will have noticed.
            let _ = thread.join();
        }
    }
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    context: Option<SslContext>,
    pattern: Arc<Pattern>,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

struct Session {
    link: Link,
    state: State,
    /// Whether the epoll registration asks for room to write.
    wants_room: bool,
}

enum State {
    Handshake,
    Request(Vec<u8>),
    Echo,
    Send(Sender),
    Take(Take),
    /// The request is served; only the peer's end is awaited.
    Served,
}

struct Take {
    left: u64,
    at: u64,
    check: bool,
    equal: bool,
}

/// What a session's turn came to.
enum Next {
    /// Go on; `true` if it waits for room to write.
    Keep(bool),
    Close,
}

impl Server {
    fn run(&mut self, stop: &AtomicBool) {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !stop.load(Ordering::Relaxed) {
            let count = self.epoll.wait(&mut events, STOP_CHECK_MS).unwrap_or(0);
            for event in &events[..count] {
                if event.data() == LISTENER {
                    self.accept();
                } else if let Ok(index) = usize::try_from(event.data()) {
                    self.serve(index);
                }
            }
        }
    }

    /// Accepts all that wait. A failed accept is retried at the next event: the client sees the delay.
    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let ssl = self.context.as_ref().map(|context| Ssl::new(context)).transpose();
            let link = ssl.map_err(io::Error::from).and_then(|mut ssl| {
                if let Some(ssl) = &mut ssl {
                    ssl.set_accept_state();
                }
                Link::new(socket, ssl)
            });
            let Ok(link) = link else { continue };
            let index = self.free.pop().unwrap_or_else(|| {
                self.sessions.push(None);
                self.sessions.len() - 1
            });
            let registration = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            if self.epoll.add(link.as_fd(), registration).is_ok() {
                self.sessions[index] = Some(Session { link, state: State::Handshake, wants_room: false });
            } else {
                self.free.push(index);
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index).and_then(Option::as_mut) else { return };
        // An error on one connection shows at its other end; here it only ends the session.
        let next = session.turn(&self.pattern, &mut self.buffer).unwrap_or(Next::Close);
        match next {
            Next::Keep(room) if room != session.wants_room => {
                session.wants_room = room;
                let out = if room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN | out, index as u64);
                if self.epoll.modify(session.link.as_fd(), &mut event).is_err() {
                    self.close(index);
                }
            }
            Next::Keep(_) => {}
            Next::Close => self.close(index),
        }
    }

    fn close(&mut self, index: usize) {
        // Dropping the link closes the descriptor, which also ends its registration.
        self.sessions[index] = None;
        self.free.push(index);
    }
}

impl Session {
    fn turn(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<Next> {
        if matches!(self.state, State::Handshake) {
            if !self.link.handshake()? {
                return Ok(Next::Keep(false));
            }
            self.state = State::Request(Vec::with_capacity(REQUEST));
        }
        if let State::Send(sender) = &mut self.state {
            if !sender.push(&mut self.link, pattern)? {
                return Ok(Next::Keep(true));
            }
            self.state = State::Served;
            return Ok(Next::Keep(false));
        }
        for _ in 0..READS {
            let received = match (&self.state, &mut self.link) {
                (State::Take(take), link @ Link::Plain(_)) if !take.check => {
                    link.discard(buffer, take.left)?
                }
                (_, link) => link.read(buffer)?,
            };
            match received {
                Got::Wait => return Ok(Next::Keep(false)),
                Got::End => return Ok(Next::Close),
                Got::Bytes(len) => self.take_bytes(&buffer[..len], pattern)?,
            }
            if matches!(self.state, State::Send(_)) {
                return Ok(Next::Keep(true));
            }
        }
        Ok(Next::Keep(false))
    }

    fn take_bytes(&mut self, bytes: &[u8], pattern: &Pattern) -> io::Result<()> {
        match &mut self.state {
            State::Request(request) => {
                request.extend_from_slice(bytes);
                let request = std::mem::take(request);
                self.begin(request, pattern)
            }
            State::Echo => self.link.write_short(bytes),
            State::Take(take) => {
                if !take.take(bytes, pattern) {
                    return Ok(());
                }
                let answer = if take.equal { b"+" } else { b"-" };
                self.state = State::Served;
                self.link.write_short(answer)
            }
            State::Handshake | State::Send(_) | State::Served => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the request"))
            }
        }
    }

    /// Starts what the request says, or keeps it until it is complete.
    fn begin(&mut self, request: Vec<u8>, pattern: &Pattern) -> io::Result<()> {
        let plain = hello::behind(&request).unwrap_or_default();
        if plain.first() == Some(&b'E') {
            self.state = State::Echo;
            return self.link.write_short(plain);
        }
        let Some((head, rest)) = plain.split_first_chunk::<REQUEST>() else {
            self.state = State::Request(request);
            return Ok(());
        };
        let [kind, amount @ ..] = *head;
        let amount = u64::from_le_bytes(amount);
        self.state = match kind {
            b'D' => State::Send(Sender::new(amount)),
            b'U' | b'C' => State::Take(Take { left: amount, at: 0, check: kind == b'C', equal: true }),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown request")),
        };
        if rest.is_empty() { Ok(()) } else { self.take_bytes(rest, pattern) }
    }
}

impl Take {
    /// Counts (and compares) what has come; `true` once it is all there.
    fn take(&mut self, bytes: &[u8], pattern: &Pattern) -> bool {
        if self.check {
            self.equal &= pattern.matches(bytes, self.at);
        }
        self.at += bytes.len() as u64;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.left == 0
    }
}
