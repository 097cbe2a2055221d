// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection of the load generator, plain or TLS, non-blocking.
//!
//! `Link` hides whether bytes are encrypted; `Tap` is the socket under the TLS library. A `Tap` can hold back what
//! the library writes so that several records leave in one system call: the generator must not be slower than
//! what it loads.
//! Invariant: a link's socket is non-blocking and has Nagle's algorithm off from its first day.
//! Not here: whole transfers (`sender.rs`), contexts and certificates (`tls.rs`).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, recv};
use openssl::ssl::{ErrorCode, Ssl, SslStream};

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// That many bytes are at the front of the buffer.
    Bytes(usize),
    /// Nothing yet.
    Wait,
    /// The peer has finished its direction.
    End,
}

/// The socket under a TLS stream.
#[derive(Debug)]
pub(super) struct Tap {
    socket: TcpStream,
    /// Whether writes are gathered in `held` instead of being sent at once.
    hold: bool,
    held: Vec<u8>,
    /// Bytes of `held` the kernel has taken.
    taken: usize,
}

impl Tap {
    /// Gathers all further writes until `release` sends them.
    pub(super) fn hold(&mut self) {
        self.hold = true;
    }

    /// Sends what was gathered; `false` if the kernel has no room for all of it.
    pub(super) fn release(&mut self) -> io::Result<bool> {
        while self.taken < self.held.len() {
            match self.socket.write(&self.held[self.taken..]) {
                Ok(sent) => self.taken += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.held.clear();
        self.taken = 0;
        Ok(true)
    }
}

impl Read for Tap {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buf)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hold {
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Link {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes through the TLS library.
    Tls(SslStream<Tap>),
}

impl Link {
    /// Takes a connected socket; with `ssl`, a handshake has to follow (`handshake`).
    pub(super) fn new(socket: TcpStream, ssl: Option<Ssl>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let Some(ssl) = ssl else { return Ok(Self::Plain(socket)) };
        let tap = Tap { socket, hold: false, held: Vec::new(), taken: 0 };
        Ok(Self::Tls(SslStream::new(ssl, tap)?))
    }

    /// Goes on with the handshake, as client or server as the `Ssl` was made; `true` once it is over.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(stream) => match stream.do_handshake() {
                Ok(()) => Ok(true),
                Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    }

    /// Reads what is there, decrypted.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<Got> {
        match self {
            Self::Plain(socket) => got(socket.read(buf)),
            Self::Tls(stream) => match stream.ssl_read(buf) {
                Ok(len) => Ok(Got::Bytes(len)),
                Err(error) if error.code() == ErrorCode::WANT_READ => Ok(Got::Wait),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(Got::End),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    }

    /// Reads the socket itself, past the TLS library. Only where the library holds no unread bytes.
    pub(super) fn read_raw(&mut self, buf: &mut [u8]) -> io::Result<Got> {
        match self {
            Self::Plain(socket) => got(socket.read(buf)),
            Self::Tls(stream) => got(stream.get_mut().read(buf)),
        }
    }

    /// Throws away at most `most` bytes of a plain connection without copying them out of the kernel (`MSG_TRUNC`,
    /// see tcp(7)). `scratch` only says how many at once.
    pub(super) fn discard(&self, scratch: &mut [u8], most: u64) -> io::Result<Got> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(scratch.len());
        let received = recv(self.as_fd().as_raw_fd(), &mut scratch[..most], MsgFlags::MSG_TRUNC);
        got(received.map_err(io::Error::from))
    }

    /// Writes a short message whole. Only where the connection is idle, so that there is room for it.
    pub(super) fn write_short(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match self {
            Self::Plain(socket) => socket.write(bytes)?,
            Self::Tls(stream) => stream.ssl_write(bytes).map_err(io::Error::other)?,
        };
        if written == bytes.len() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::WriteZero, "no room for a short message"))
    }

    /// Says goodbye as far as that needs no waiting.
    pub(super) fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            // The peer may be gone already; the connection is dropped either way.
            let _ = stream.shutdown();
        }
    }

    /// Whether the TLS handshake resumed a session; `false` for plain links.
    pub(super) fn resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.ssl().session_reused(),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(stream) => stream.get_ref().socket.as_fd(),
        }
    }
}

/// Tells waiting from ending from failing.
fn got(received: io::Result<usize>) -> io::Result<Got> {
    match received {
        Ok(0) => Ok(Got::End),
        Ok(len) => Ok(Got::Bytes(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Wait),
        Err(error) => Err(error),
    }
}
