// SPDX-License-Identifier: MIT OR Apache-2.0
//! One end of a connection: plain or TLS, client or server.
//!
//! Both clients and backends are a [`Peer`], so that what one side does (half-close, vanish, reset, pause) and what
//! the other side sees of it ([`End`]) have one vocabulary. Blocking calls give up after [`PATIENCE`].

use super::PATIENCE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};
use openssl::sha::Sha256;
use openssl::ssl::{ErrorCode, ShutdownResult, SslStream};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

/// How a stream of bytes ended, as the reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// close_notify on TLS, FIN on a plain socket: the peer says that this was all.
    Clean,
    /// FIN on TLS without close_notify before it.
    Truncated,
    /// RST.
    Reset,
    /// Nothing more came within [`PATIENCE`].
    Silence,
    /// Anything else, in words (a TLS alert, for example).
    Other(String),
}

impl End {
    /// Whether a reader knows that the stream is not whole.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Truncated | Self::Reset)
    }
}

/// A connected socket, bare or inside TLS.
#[derive(Debug)]
pub(crate) enum Peer {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Peer {
    /// A plain connection to `address`.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self::try_plain(address).unwrap()
    }

    /// As [`Self::plain`], where the other side may be gone before we know that it was there.
    pub(crate) fn try_plain(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).map(Self::from_socket)
    }

    pub(crate) fn from_socket(socket: TcpStream) -> Self {
        set_up(&socket);
        Self::Plain(socket)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// The TLS side of this peer.
    ///
    /// # Panics
    /// On a plain peer.
    pub(crate) fn tls(&mut self) -> &mut SslStream<TcpStream> {
        match self {
            Self::Tls(stream) => stream,
            Self::Plain(_) => panic!("this peer does not speak TLS"),
        }
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }

    /// Reads exactly `count` bytes.
    #[track_caller]
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut got = 0;
        while got < count {
            match self.read(&mut bytes[got..]) {
                Ok(n) => got += n,
                Err(end) => panic!("after {got} of {count} bytes: {end:?}"),
            }
        }
        bytes
    }

    /// Reads what comes until the stream ends, however it ends.
    pub(crate) fn receive_all(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            match self.read(&mut buffer) {
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(end) => return (bytes, end),
            }
        }
    }

    /// Reads at least one byte into `buffer`, or says how the stream ended.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        match self.try_read(buffer) {
            Step::Bytes(n) => Ok(n),
            Step::End(end) => Err(end),
            // A blocking socket says so only when its time limit has passed.
            Step::Wait(_) => Err(End::Silence),
        }
    }

    /// Says that nothing more will be sent, in the proper way: close_notify on TLS (no FIN), FIN on a plain
    /// socket. Reading goes on.
    pub(crate) fn half_close(&mut self) {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Self::Tls(stream) => {
                let sent = stream.shutdown().unwrap();
                assert!(matches!(sent, ShutdownResult::Sent | ShutdownResult::Received));
            }
        }
    }

    /// FIN alone: on TLS, a truncation.
    pub(crate) fn fin(&self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// RST.
    pub(crate) fn reset(self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(self.socket(), sockopt::Linger, &at_once).unwrap();
        // Nothing may be said after the reset: a TLS stream that is dropped does not send close_notify.
        drop(self);
    }

    /// Waits, reading nothing, until the connection is over altogether (an RST, or both ends done).
    pub(crate) fn wait_broken(&self) {
        ready(self.socket(), PollFlags::empty());
    }

    /// Sends and receives at once until the other side ends, and all was sent.
    pub(crate) fn duplex(&mut self, work: &Duplex) -> Received {
        self.socket().set_nonblocking(true).unwrap();
        let received = pump(self, work);
        self.socket().set_nonblocking(false).unwrap();
        received
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Step {
        match self {
            Self::Plain(socket) => read_plain(socket, buffer),
            Self::Tls(stream) => read_tls(stream, buffer),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Plain(socket) => match socket.write(bytes) {
                Ok(n) => Step::Bytes(n),
                Err(error) => step_of(&error, PollFlags::POLLOUT),
            },
            Self::Tls(stream) => match stream.ssl_write(bytes) {
                Ok(n) => Step::Bytes(n),
                Err(error) => step_of_tls(&error),
            },
        }
    }
}

/// Room in the kernel for a reader that shall fill up soon, and segments that fit in: with those of the loopback
/// interface (64 KiB) a small buffer moves only by timers.
pub(super) fn cramp(socket: &impl AsFd) {
    setsockopt(socket, sockopt::RcvBuf, &16_384).unwrap();
    setsockopt(socket, sockopt::TcpMaxSeg, &1_400).unwrap();
}

/// A plain socket to `address` that takes little before it is read.
pub(crate) fn cramped(address: SocketAddr) -> TcpStream {
    let kind = (AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let socket = nix::sys::socket::socket(kind.0, kind.1, kind.2, None).unwrap();
    cramp(&socket);
    let SocketAddr::V4(address) = address else { panic!("no IPv4 address: {address}") };
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    socket.into()
}

/// What [`Peer::duplex`] shall do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duplex {
    /// Bytes to send, of the pattern of `seed`.
    pub(crate) send: u64,
    pub(crate) seed: u64,
    /// Whether to half-close when all is sent.
    pub(crate) half_close: bool,
    /// Whether to be done when so many bytes have come, instead of at the end of the stream.
    pub(crate) receive: Option<u64>,
}

impl Duplex {
    /// Send `send` bytes, half-close, and read to the end.
    pub(crate) fn whole(send: u64, seed: u64) -> Self {
        Self { send, seed, half_close: true, receive: None }
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) end: End,
    /// What was sent, all of it unless sending failed.
    pub(crate) sent: u64,
}

/// The bytes number 0, 1, 2 … of a seed: no two stretches are alike, so that a lost, doubled or misplaced piece
/// changes the digest.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), position: 0 }
    }

    /// The next `count` bytes, rounded up to a multiple of 8, in `buffer`.
    pub(crate) fn fill(&mut self, buffer: &mut Vec<u8>, count: usize) {
        buffer.clear();
        while buffer.len() < count {
            // The finaliser of splitmix64: as good as random, and any position is cheap.
            let mut word = self.seed.wrapping_add(self.position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            buffer.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
            self.position += 1;
        }
    }

    /// The first `count` bytes of `seed`.
    pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        Self::new(seed).fill(&mut bytes, count);
        bytes.truncate(count);
        bytes
    }
}

/// The SHA-256 of the first `count` bytes of `seed`.
pub(crate) fn digest_of_pattern(seed: u64, count: u64) -> [u8; 32] {
    let mut pattern = Pattern::new(seed);
    let mut sha = Sha256::new();
    let mut block = Vec::with_capacity(CHUNK);
    let mut left = count;
    while left > 0 {
        let length = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        pattern.fill(&mut block, length);
        sha.update(&block[..length]);
        left -= length as u64;
    }
    sha.finish()
}

/// Bytes per call of write and read in bulk transfers; a multiple of 8.
const CHUNK: usize = 65_536;

/// What one non-blocking call did.
enum Step {
    Bytes(usize),
    /// Nothing before the socket is ready for this.
    Wait(PollFlags),
    End(End),
}

fn pump(peer: &mut Peer, work: &Duplex) -> Received {
    let mut sender = Sender::new(work);
    let mut sha = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut received = 0;
    let mut end = None;
    loop {
        let wait_to_send = sender.turn(peer);
        let mut wait_to_read = PollFlags::empty();
        if end.is_none() {
            match peer.try_read(&mut buffer) {
                Step::Bytes(n) => {
                    sha.update(&buffer[..n]);
                    received += n as u64;
                    if work.receive.is_some_and(|wanted| received >= wanted) {
                        end = Some(End::Clean);
                    }
                    continue;
                }
                Step::Wait(flags) => wait_to_read = flags,
                Step::End(seen) => end = Some(seen),
            }
        }
        let broken = end.as_ref().is_some_and(|end| *end != End::Clean);
        if end.is_some() && (sender.is_done() || broken) {
            break;
        }
        let flags = wait_to_send.unwrap_or(PollFlags::empty()) | wait_to_read;
        if !ready(peer.socket(), flags) {
            end = Some(End::Silence);
            break;
        }
    }
    Received { bytes: received, digest: sha.finish(), end: end.unwrap(), sent: sender.sent }
}

/// The sending half of a [`Duplex`].
struct Sender {
    pattern: Pattern,
    block: Vec<u8>,
    /// How much of `block` has left.
    position: usize,
    /// Still to be put into `block`.
    left: u64,
    sent: u64,
    half_close: bool,
}

impl Sender {
    fn new(work: &Duplex) -> Self {
        let pattern = Pattern::new(work.seed);
        Self {
            pattern,
            block: Vec::new(),
            position: 0,
            left: work.send,
            sent: 0,
            half_close: work.half_close,
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.position == self.block.len() && !self.half_close
    }

    /// Sends a block; `Some` says what to wait for.
    fn turn(&mut self, peer: &mut Peer) -> Option<PollFlags> {
        if self.position == self.block.len() && self.left > 0 {
            let length = CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK));
            self.pattern.fill(&mut self.block, length);
            self.block.truncate(length);
            self.position = 0;
            self.left -= length as u64;
        }
        if self.position < self.block.len() {
            match peer.try_write(&self.block[self.position..]) {
                Step::Bytes(n) => {
                    self.position += n;
                    self.sent += n as u64;
                }
                Step::Wait(flags) => return Some(flags),
                // The reading half sees and reports how the connection ended.
                Step::End(_) => self.give_up(),
            }
        }
        if self.left == 0 && self.position == self.block.len() && self.half_close {
            self.half_close = false;
            peer.half_close();
        }
        if self.is_done() { None } else { Some(PollFlags::POLLOUT) }
    }

    fn give_up(&mut self) {
        self.left = 0;
        self.position = self.block.len();
        self.half_close = false;
    }
}

/// Waits until the socket is ready for one of `flags`; false when it was not within [`PATIENCE`].
fn ready(socket: &TcpStream, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), flags)];
    let limit = PollTimeout::try_from(PATIENCE).unwrap();
    poll(&mut fds, limit).unwrap() > 0
}

fn read_plain(socket: &mut TcpStream, buffer: &mut [u8]) -> Step {
    match socket.read(buffer) {
        Ok(0) => Step::End(End::Clean),
        Ok(n) => Step::Bytes(n),
        Err(error) => step_of(&error, PollFlags::POLLIN),
    }
}

fn read_tls(stream: &mut SslStream<TcpStream>, buffer: &mut [u8]) -> Step {
    match stream.ssl_read(buffer) {
        Ok(n) => Step::Bytes(n),
        Err(error) => step_of_tls(&error),
    }
}

fn step_of_tls(error: &openssl::ssl::Error) -> Step {
    match error.code() {
        ErrorCode::ZERO_RETURN => Step::End(End::Clean),
        ErrorCode::WANT_READ => Step::Wait(PollFlags::POLLIN),
        ErrorCode::WANT_WRITE => Step::Wait(PollFlags::POLLOUT),
        ErrorCode::SYSCALL => match error.io_error() {
            Some(io) => step_of(io, PollFlags::POLLIN),
            None => Step::End(End::Truncated),
        },
        // OpenSSL 3 has a reason of its own for a FIN without close_notify.
        _ if error.to_string().contains("unexpected eof") => Step::End(End::Truncated),
        _ => Step::End(End::Other(error.to_string())),
    }
}

fn step_of(error: &io::Error, wait: PollFlags) -> Step {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Step::Wait(wait),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Step::End(End::Reset),
        io::ErrorKind::UnexpectedEof => Step::End(End::Truncated),
        _ => Step::End(End::Other(error.to_string())),
    }
}

/// No call on the socket blocks for ever, and small messages leave at once.
pub(super) fn set_up(socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
}
