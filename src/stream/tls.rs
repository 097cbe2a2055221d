// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TLS session around a socket, with few system calls when busy and no buffer when idle.
//!
//! The library reads and writes memory: [`Wire`], which stands between it and the socket. The memory is the worker's,
//! lent *by value* before a call into the library and taken back after it ([`TlsStream::lend`]), for the library's
//! callbacks get no context. One recv(2) fetches as many records as there are; all records of a turn leave in one
//! send(2). The library is shown whole records only, so it never holds part of one; the incomplete record at the end of
//! a turn is kept with the connection ([`Wire::held`]), as is what the kernel did not take ([`Wire::unsent`]); both are
//! given back when they are empty.

use super::raw::{receive, transmit};
use super::{Got, Put, SCRATCH, Sink, Source};
use crate::error::Break;
use crate::sys::openssl::KeptSession;
use crate::sys::socket::Socket;
use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode, NameType, ShutdownState, Ssl, SslStream};
use openssl::x509::X509VerifyResult;
use std::io::{self, Read, Write};

/// A session made by policy, ready to accept or to connect.
pub type Session = Ssl;

/// An agreed session, to be resumed by a later connection to the same server.
pub type Ticket = KeptSession;

/// A TLS record's header: type, version, length (RFC 8446 section 5.1).
const HEADER: usize = 5;

/// The longest record body there may be: TLS 1.2 allows 2048 bytes beyond 2^14 (RFC 5246 section 6.2.3).
const LONGEST_BODY: usize = (1 << 14) + 2048;

/// Fetched at least, whatever was asked for: a whole record must fit.
const LEAST_FETCH: usize = HEADER + LONGEST_BODY;

/// Of the library: "the peer ended TCP without close_notify" (SSL_R_UNEXPECTED_EOF_WHILE_READING, openssl/sslerr.h).
const UNEXPECTED_EOF: i32 = 294;

/// The worker's memory for the library's input and output, and where a turn is in it.
#[derive(Debug, Default)]
pub struct Lent {
    /// Ciphertext from the socket; made once per worker.
    input: Vec<u8>,
    /// Of `input`: what the library has not read. Invariant: start <= whole <= end <= input.len().
    start: usize,
    /// Up to here, records are complete.
    whole: usize,
    end: usize,
    /// How much the next fetch may bring.
    fetch: usize,
    /// The last fetch was short: the kernel has no more.
    short: bool,
    /// Ciphertext for the socket, collected over a turn.
    output: Vec<u8>,
}

/// What the library takes for the socket.
#[derive(Debug)]
struct Wire {
    socket: Socket,
    /// During a call into the library only.
    lent: Option<Box<Lent>>,
    /// Between turns: input not read yet.
    held: Vec<u8>,
    /// Between turns: output not taken by the kernel.
    unsent: Vec<u8>,
    /// The peer ended TCP.
    ended: bool,
    /// An end of TCP between two records ends the data in order ([`TlsStream::forgive_truncation`]).
    forgiving: bool,
    /// Reading the socket failed; told once.
    failed: Option<io::Error>,
}

/// A TLS session and its socket.
#[derive(Debug)]
pub struct TlsStream {
    inner: SslStream<Wire>,
    /// The peer's close_notify came.
    shut: bool,
    /// A fatal error: the library must not be called again (CVE-2019-1559).
    dead: bool,
}

/// How a handshake stands.
#[derive(Debug)]
pub enum Handshake {
    Done,
    /// For the peer.
    Wait,
    Failed(Break),
}

impl TlsStream {
    /// Puts `session` on `socket`; `early` was read from it already.
    ///
    /// # Errors
    /// The library's, when it is out of memory.
    pub fn new(session: Session, socket: Socket, early: Vec<u8>) -> Result<Self, Break> {
        let (unsent, ended, forgiving) = (Vec::new(), false, false);
        let wire = Wire { socket, lent: None, held: early, unsent, ended, forgiving, failed: None };
        let inner = SslStream::new(session, wire).map_err(|error| Break::Tls(plain_words(&error).into()))?;
        Ok(Self { inner, shut: false, dead: false })
    }

    /// Takes the handshake as far as it goes; an alert for the peer leaves with it.
    pub fn handshake(&mut self, scratch: &mut super::Scratch) -> Handshake {
        if self.dead {
            return Handshake::Failed(Break::Gone);
        }
        let result = self.lend(scratch, LEAST_FETCH, SslStream::do_handshake);
        match result {
            Ok(()) => Handshake::Done,
            Err(error) if waits(&error) => Handshake::Wait,
            Err(error) => Handshake::Failed(self.broken(error)),
        }
    }

    /// Reads what has come, decrypted.
    pub fn read(&mut self, into: &mut [u8], scratch: &mut super::Scratch) -> Got {
        if self.dead || self.shut || into.is_empty() {
            let then = if self.shut { Source::Shut } else { Source::Empty };
            return Got { bytes: 0, then };
        }
        let (bytes, error) = self.lend(scratch, into.len(), |inner| {
            let mut bytes = 0;
            while bytes < into.len() {
                match inner.ssl_read(&mut into[bytes..]) {
                    Ok(count) => bytes += count,
                    Err(error) => return (bytes, Some(error)),
                }
            }
            (bytes, None)
        });
        let then = match error {
            None => Source::More,
            Some(error) if waits(&error) && self.inner.get_ref().ended => {
                // Only a forgiving stream gets here: the library was not told of the end, and can still write.
                self.shut = true;
                Source::Shut
            }
            Some(error) if waits(&error) => Source::Empty,
            Some(error) if error.code() == ErrorCode::ZERO_RETURN => {
                self.shut = true;
                Source::Shut
            }
            Some(error) => Source::Broken(self.broken(error)),
        };
        Got { bytes, then }
    }

    /// Encrypts all of `bytes` and sends what the kernel takes. Takes nothing while there is residue.
    pub fn write(&mut self, bytes: &[u8], scratch: &mut super::Scratch) -> Put {
        if self.residue() > 0 || self.dead {
            let then = if self.dead { Sink::Broken(Break::Gone) } else { Sink::Full };
            return Put { bytes: 0, then };
        }
        let (taken, error) = self.lend(scratch, 0, |inner| {
            let mut taken = 0;
            while taken < bytes.len() {
                match inner.ssl_write(&bytes[taken..]) {
                    Ok(count) => taken += count,
                    Err(error) => return (taken, Some(error)),
                }
            }
            (taken, None)
        });
        let then = match error {
            Some(error) if !waits(&error) => Sink::Broken(self.broken(error)),
            _ => self.after_sending(),
        };
        Put { bytes: taken, then }
    }

    /// Sends residue.
    pub fn flush(&mut self) -> Put {
        let wire = self.inner.get_mut();
        if wire.unsent.is_empty() {
            return Put { bytes: 0, then: Sink::Room };
        }
        let put = transmit(&wire.socket, &wire.unsent);
        wire.unsent.drain(..put.bytes);
        if wire.unsent.is_empty() {
            wire.unsent = Vec::new();
        }
        put
    }

    /// Ciphertext the kernel has not taken.
    pub fn residue(&self) -> usize {
        self.inner.get_ref().unsent.len()
    }

    /// Whether a read would bring something without the kernel's help.
    pub fn holds_input(&self) -> bool {
        !self.shut
            && !self.dead
            && (self.inner.ssl().pending() > 0 || self.inner.get_ref().holds_whole_record())
    }

    /// From now on an end of TCP between two records counts as the end of the data, for peers that never send
    /// close_notify (`truncation = "close"`). In the middle of a record it is a truncation still.
    pub fn forgive_truncation(&mut self) {
        self.inner.get_mut().forgiving = true;
    }

    /// Sends close_notify (RFC 8446 section 6.1), as far as the kernel takes it; the rest is residue.
    pub fn end(&mut self, scratch: &mut super::Scratch) {
        if !self.dead {
            // That the peer's own close_notify has not come yet is no error here.
            let _one_way = self.lend(scratch, 0, SslStream::shutdown);
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.inner.get_ref().socket
    }

    /// "TLSv1.3".
    pub fn version(&self) -> &'static str {
        self.inner.ssl().version_str()
    }

    pub fn cipher(&self) -> Option<&'static str> {
        self.inner.ssl().current_cipher().map(ssl::SslCipherRef::name)
    }

    pub fn resumed(&self) -> bool {
        self.inner.ssl().session_reused()
    }

    /// The ALPN protocol agreed on (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.inner.ssl().selected_alpn_protocol()
    }

    /// The server name the library saw in the hello (RFC 6066 section 3).
    pub fn server_name(&self) -> Option<&[u8]> {
        self.inner.ssl().servername_raw(NameType::HOST_NAME)
    }

    /// The session in its present form, with the newest ticket, if it can be resumed. For the end of a connection: it
    /// marks our direction as shut, or dropping the stream would spoil the session.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        let ticket = if self.dead { None } else { KeptSession::of(self.inner.ssl()) };
        if ticket.is_some() {
            self.inner.set_shutdown(ShutdownState::SENT);
        }
        ticket
    }

    /// Runs `call` with the worker's memory in the library's hands, then takes it back and sends what was collected.
    fn lend<R>(
        &mut self,
        scratch: &mut super::Scratch,
        fetch: usize,
        call: impl FnOnce(&mut SslStream<Wire>) -> R,
    ) -> R {
        // An error that another session left in the thread's queue would be taken for ours.
        drop(ErrorStack::get());
        // The worker's memory is gone only if a connection that held it panicked: then it is made anew.
        let lent = scratch.tls.take().unwrap_or_default();
        self.inner.get_mut().borrow(lent, fetch);
        let result = call(&mut self.inner);
        scratch.tls = self.inner.get_mut().give_back();
        result
    }

    fn after_sending(&mut self) -> Sink {
        let wire = self.inner.get_mut();
        match wire.failed.take() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Sink::Broken(Break::Gone),
            Some(error) => Sink::Broken(Break::Reset(error)),
            None if wire.unsent.is_empty() => Sink::Room,
            None => Sink::Full,
        }
    }

    /// What an error that ends the session means.
    fn broken(&mut self, error: ssl::Error) -> Break {
        self.dead = true;
        if let Some(error) = self.inner.get_mut().failed.take() {
            return if error.kind() == io::ErrorKind::BrokenPipe { Break::Gone } else { Break::Reset(error) };
        }
        let unexpected_end =
            |stack: &ErrorStack| stack.errors().iter().any(|error| error.reason_code() == UNEXPECTED_EOF);
        match error.ssl_error() {
            None if self.inner.get_ref().ended => Break::Truncated,
            Some(stack) if unexpected_end(stack) => Break::Truncated,
            Some(stack) => Break::Tls(self.with_verify_result(stack).into()),
            None => Break::Tls(error.to_string().into()),
        }
    }

    /// The library's words, and which check of the peer's certificate failed, if one did.
    fn with_verify_result(&self, stack: &ErrorStack) -> String {
        let words = plain_words(stack);
        match self.inner.ssl().verify_result() {
            X509VerifyResult::OK => words,
            failed => format!("{words} ({})", failed.error_string()),
        }
    }
}

impl Wire {
    fn borrow(&mut self, mut lent: Box<Lent>, fetch: usize) {
        // Room for what is held, a whole fetch behind it, and the rest of a record.
        let size = SCRATCH + LEAST_FETCH + self.held.len();
        if lent.input.len() < SCRATCH + LEAST_FETCH || self.held.len() > LEAST_FETCH {
            lent.input.resize(size.max(lent.input.len()), 0);
        }
        lent.fetch = fetch.max(LEAST_FETCH);
        lent.end = self.held.len();
        lent.start = 0;
        lent.short = false;
        let end = lent.end;
        lent.input[..end].copy_from_slice(&self.held);
        lent.whole = complete_records(&lent.input[..end]);
        self.lent = Some(lent);
    }

    fn give_back(&mut self) -> Option<Box<Lent>> {
        let mut lent = self.lent.take()?;
        let rest = &lent.input[lent.start..lent.end];
        if rest.is_empty() {
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
        self.send_collected(&lent.output);
        lent.output.clear();
        Some(lent)
    }

    fn send_collected(&mut self, output: &[u8]) {
        if output.is_empty() {
            return;
        }
        // What left before must arrive before.
        let sent = if self.unsent.is_empty() { transmit(&self.socket, output) } else { Put::nothing() };
        self.unsent.extend_from_slice(&output[sent.bytes..]);
        if let Sink::Broken(how) = sent.then {
            self.unsent = Vec::new();
            self.failed = Some(match how {
                Break::Reset(error) => error,
                _ => io::ErrorKind::BrokenPipe.into(),
            });
        }
    }

    fn holds_whole_record(&self) -> bool {
        self.ended && !self.held.is_empty() || complete_records(&self.held) > 0
    }
}

impl Lent {
    /// Fetches from the socket until a whole record is there or the kernel has no more; `ended` is set at its end.
    fn refill(&mut self, socket: &Socket, ended: &mut bool, forgiving: &mut bool) -> io::Result<()> {
        while self.start == self.whole {
            if *ended && *forgiving && self.start == self.end {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if *ended {
                // Nobody will complete it: the library shall judge the rest, and nothing torn is forgiven.
                *forgiving = false;
                self.whole = self.end;
                return Ok(());
            }
            if self.short {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.whole, self.end) = (0, 0, self.end - self.start);
            let room = (self.input.len() - self.end).min(self.fetch);
            let got = receive(socket, &mut self.input[self.end..self.end + room]);
            self.end += got.bytes;
            match got.then {
                Source::More => {}
                Source::Empty => self.short = true,
                Source::Shut => *ended = true,
                Source::Broken(Break::Reset(error)) => return Err(error),
                Source::Broken(_) => *ended = true,
            }
            self.whole = complete_records(&self.input[..self.end]);
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(lent) = &mut self.lent else { return Err(io::ErrorKind::WouldBlock.into()) };
        if let Err(error) = lent.refill(&self.socket, &mut self.ended, &mut self.forgiving) {
            let told = io::Error::from(error.kind());
            if error.kind() != io::ErrorKind::WouldBlock {
                self.failed = Some(error);
            }
            return Err(told);
        }
        let bytes = into.len().min(lent.whole - lent.start);
        into[..bytes].copy_from_slice(&lent.input[lent.start..lent.start + bytes]);
        lent.start += bytes;
        Ok(bytes)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(lent) = &mut self.lent else { return Err(io::ErrorKind::WouldBlock.into()) };
        lent.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Put {
    fn nothing() -> Self {
        Self { bytes: 0, then: Sink::Full }
    }
}

/// How many bytes of `input`, which begins with a record, belong to complete records. What cannot be a record is
/// complete: waiting for the rest of it would wait for ever, and the library has an alert for it.
fn complete_records(input: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = input.get(at..at + HEADER) {
        let body = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let is_record = (20..=24).contains(&header[0]) && header[1] == 3 && body <= LONGEST_BODY;
        if !is_record {
            return input.len();
        }
        let next = at + HEADER + body;
        if next > input.len() {
            break;
        }
        at = next;
    }
    at
}

/// Whether the call only wants more from the peer.
fn waits(error: &ssl::Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

/// The first reason on the library's stack.
fn plain_words(stack: &ErrorStack) -> String {
    let first = stack.errors().iter().find_map(openssl::error::Error::reason);
    first.map_or_else(|| "the TLS library gave no reason".to_owned(), str::to_owned)
}

#[cfg(test)]
mod stream_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: usize) -> Vec<u8> {
        let length = u16::try_from(body).unwrap().to_be_bytes();
        let mut bytes = vec![kind, 3, 3, length[0], length[1]];
        bytes.resize(HEADER + body, 7);
        bytes
    }

    #[test]
    fn only_complete_records_count() {
        let two = [record(22, 100), record(23, 16_640)].concat();
        for shown in 0..two.len() {
            let expected = if shown >= 105 { 105 } else { 0 };
            assert_eq!(complete_records(&two[..shown]), expected, "{shown} bytes shown");
        }
        assert_eq!(complete_records(&two), two.len());
    }

    #[test]
    fn empty_records_count() {
        let bytes = [record(23, 0), record(23, 0), vec![23, 3]].concat();
        assert_eq!(complete_records(&bytes), 10);
    }

    #[test]
    fn what_is_no_record_is_shown_whole() {
        assert_eq!(complete_records(b"GET / HTTP/1.1\r\n"), 16);
        assert_eq!(complete_records(&record(23, LONGEST_BODY + 1)[..600]), 600);
        assert_eq!(complete_records(b"GET "), 0, "a header's length is not there yet");
    }
}
