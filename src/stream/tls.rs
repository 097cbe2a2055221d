// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TLS session around a socket, with few system calls when busy and no buffer when idle.
//!
//! The library reads and writes memory: `wire::Wire`, which stands between it and the socket. The memory is the worker's,
//! lent *by value* before a call into the library and taken back after it (`TlsStream::lend`), for the library's
//! callbacks get no context. One recv(2) fetches as many records as there are; all records of a turn leave in one
//! send(2). The library is shown whole records only, so it never holds part of one; the incomplete record at the end of
//! a turn is kept with the connection, as is what the kernel did not take; both are
//! given back when they are empty.

mod flaw;
mod wire;

use super::{Got, Put, Sink, Source};
use crate::error::{Break, Flaw};
use crate::sys::openssl::{KeptSession, group};
use crate::sys::socket::Socket;
use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode, NameType, ShutdownState, Ssl, SslStream};
use openssl::x509::X509VerifyResult;
use std::io;
use std::mem;
use wire::{LEAST_FETCH, Wire};

pub use wire::Lent;

/// A session made by policy, ready to accept or to connect.
pub type Session = Ssl;

/// An agreed session, to be resumed by a later connection to the same server.
pub type Ticket = KeptSession;

/// Records in a row without payload that are put up with. A peer changes its keys every few million records.
const MOST_BARREN: u32 = 1024;

/// How often the library is shown what is held of one handshake message, per turn: enough for a hello of one-byte records
/// as large as our own reader takes (`wire::client_hello::MAX_HELLO`), each time showing it 512.
const SHOWINGS: usize = 24;

/// Of the library: "the peer ended TCP without close_notify" (SSL_R_UNEXPECTED_EOF_WHILE_READING, openssl/sslerr.h).
const UNEXPECTED_EOF: i32 = 294;

/// A TLS session and its socket.
#[derive(Debug)]
pub struct TlsStream {
    inner: SslStream<Wire>,
    /// The peer's close_notify came.
    shut: bool,
    /// A fatal error: the library must not be called again (CVE-2019-1559). Whoever reads next is told which.
    dead: Option<Break>,
    /// Records in a row that brought no payload.
    barren: u32,
    /// Decrypted by a step ahead of whoever will want it, not consumed yet.
    early: Vec<u8>,
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
        let inner = SslStream::new(session, Wire::new(socket, early))
            .map_err(|error| Break::Tls(Flaw::Other, plain_words(&error).into()))?;
        Ok(Self { inner, shut: false, dead: None, barren: 0, early: Vec::new() })
    }

    /// What shall be sent, bare, before the first record. Nothing may have been written before.
    pub(super) fn begin_with(&mut self, prologue: Vec<u8>) {
        let wire = self.inner.get_mut();
        wire.joins = !prologue.is_empty();
        wire.unsent = prologue;
    }

    /// Takes the handshake as far as it goes; an alert for the peer leaves with it.
    pub fn handshake(&mut self, scratch: &mut super::Scratch) -> Handshake {
        if let Some(how) = &self.dead {
            return Handshake::Failed(how.again());
        }
        let mut result = self.lend(scratch, LEAST_FETCH, SslStream::do_handshake);
        for _ in 0..SHOWINGS {
            // What is held already wakes nobody.
            let more = self.inner.get_ref().holds_whole_record();
            if !more || !result.as_ref().is_err_and(waits) {
                break;
            }
            result = self.lend(scratch, LEAST_FETCH, SslStream::do_handshake);
        }
        match result {
            Ok(()) => Handshake::Done,
            Err(error) if waits(&error) => Handshake::Wait,
            Err(error) => Handshake::Failed(self.broken(error)),
        }
    }

    pub fn early(&self) -> &[u8] {
        &self.early
    }

    /// Reads once more, up to `buffer`, behind the early bytes.
    pub fn read_early(&mut self, buffer: &mut [u8], scratch: &mut super::Scratch) -> Got {
        let before = mem::take(&mut self.early);
        let got = self.read(buffer, scratch);
        self.early = before;
        self.early.extend_from_slice(&buffer[..got.bytes]);
        got
    }

    /// Takes the first `bytes` of the early bytes as read.
    pub fn consume(&mut self, bytes: usize) {
        self.early.drain(..bytes.min(self.early.len()));
        if self.early.is_empty() {
            self.early = Vec::new();
        }
    }

    /// Reads what has come, decrypted.
    pub fn read(&mut self, into: &mut [u8], scratch: &mut super::Scratch) -> Got {
        if !self.early.is_empty() {
            let bytes = self.early.len().min(into.len());
            into[..bytes].copy_from_slice(&self.early[..bytes]);
            self.consume(bytes);
            return Got { bytes, then: Source::More };
        }
        if let Some(how) = &self.dead {
            return Got { bytes: 0, then: Source::Broken(how.again()) };
        }
        if self.shut || into.is_empty() {
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
            None => {
                self.inner.get_mut().barren = 0;
                self.barren = 0;
                Source::More
            }
            Some(error) if waits(&error) && self.inner.get_ref().ended => {
                // Only a forgiving stream gets here: the library was not told of the end, and can still write.
                self.shut = true;
                Source::Shut
            }
            Some(error) if waits(&error) => self.count_barren(bytes),
            Some(error) if error.code() == ErrorCode::ZERO_RETURN => {
                self.shut = true;
                Source::Shut
            }
            Some(error) => Source::Broken(self.broken(error)),
        };
        Got { bytes, then }
    }

    /// Ends a peer that sends record after record without payload: a flood of key updates or empty records costs us far
    /// more than it costs the peer.
    fn count_barren(&mut self, bytes: usize) -> Source {
        let records = mem::take(&mut self.inner.get_mut().barren);
        self.barren = if bytes > 0 { 0 } else { self.barren + records };
        if self.barren <= MOST_BARREN {
            return Source::Empty;
        }
        let how = Break::Tls(Flaw::Other, "too many records without payload".into());
        self.dead = Some(how.again());
        Source::Broken(how)
    }

    /// Encrypts all of `bytes` and sends what the kernel takes. Takes nothing while there is residue.
    pub fn write(&mut self, bytes: &[u8], scratch: &mut super::Scratch) -> Put {
        if let Some(how) = &self.dead {
            return Put { bytes: 0, then: Sink::Broken(how.again()) };
        }
        if self.residue() > 0 {
            return Put { bytes: 0, then: Sink::Full };
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
        let then = match (error, self.after_sending()) {
            (Some(error), _) if !waits(&error) => Sink::Broken(self.broken(error)),
            // The peer has begun a message (a key update, a renegotiation) and the library wants the rest of it first.
            (Some(_), Sink::Room) => Sink::NeedsInput,
            (_, then) => then,
        };
        Put { bytes: taken, then }
    }

    /// From now on an end of TCP between two records counts as the end of the data, for peers that never send
    /// close_notify (`truncation = "close"`). In the middle of a record it is a truncation still.
    pub fn forgive_truncation(&mut self) {
        self.inner.get_mut().forgiving = true;
    }

    /// Sends residue.
    pub fn flush(&mut self) -> Put {
        self.inner.get_mut().send_unsent()
    }

    /// Ciphertext the kernel has not taken.
    pub fn residue(&self) -> usize {
        self.inner.get_ref().unsent.len()
    }

    /// Whether a read would bring something without the kernel's help.
    pub fn holds_input(&self) -> bool {
        !self.early.is_empty()
            || !self.shut
                && self.dead.is_none()
                && (self.inner.ssl().pending() > 0 || self.inner.get_ref().holds_whole_record())
    }

    /// Sends close_notify (RFC 8446 section 6.1), as far as the kernel takes it; the rest is residue.
    pub fn end(&mut self, scratch: &mut super::Scratch) {
        if self.dead.is_none() {
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

    /// The group of the key exchange ("X25519"); empty where there was none.
    pub fn group(&self) -> &'static str {
        group(self.inner.ssl())
    }

    /// The ALPN protocol agreed on (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.inner.ssl().selected_alpn_protocol()
    }

    /// The server name the library saw in the hello (RFC 6066 section 3).
    pub fn server_name(&self) -> Option<&[u8]> {
        self.inner.ssl().servername_raw(NameType::HOST_NAME)
    }

    /// The certificate that the peer showed, in this handshake or in that of the session it resumed.
    pub fn peer_certificate_der(&self) -> Option<Vec<u8>> {
        self.inner.ssl().peer_certificate().and_then(|certificate| certificate.to_der().ok())
    }

    /// What verification of the peer's certificate came to: 0, also without a certificate, or the TLS library's code, whole
    /// (openssl-verification-options(1), "Diagnostics").
    pub fn verify_result(&self) -> u32 {
        u32::try_from(self.inner.ssl().verify_result().as_raw()).unwrap_or(u32::MAX)
    }

    /// The session in its present form, with the newest ticket, if it can be resumed. For the end of a connection: it
    /// marks our direction as shut, or dropping the stream would spoil the session. Many servers answer our close_notify by
    /// closing without one of theirs: that breaks the stream, and says nothing against the session.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        let spoiled = matches!(self.dead, Some(Break::Tls(..)));
        let ticket = if spoiled { None } else { KeptSession::of(self.inner.ssl()) };
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
        let how = match self.inner.get_mut().failed.take() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Break::Gone,
            Some(error) => Break::Reset(error),
            None => self.broken_by_library(&error),
        };
        self.dead = Some(how.again());
        how
    }

    fn broken_by_library(&self, error: &ssl::Error) -> Break {
        let unexpected_end =
            |stack: &ErrorStack| stack.errors().iter().any(|error| error.reason_code() == UNEXPECTED_EOF);
        match error.ssl_error() {
            None if self.inner.get_ref().ended => Break::Truncated,
            Some(stack) if unexpected_end(stack) => Break::Truncated,
            Some(stack) => {
                let flaw = flaw::of(stack, self.verify_result());
                Break::Tls(flaw, self.with_verify_result(stack).into())
            }
            None => Break::Tls(Flaw::Other, error.to_string().into()),
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
