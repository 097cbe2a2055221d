// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a client shakes hands: names, versions, certificates, sessions.

use super::peer::{Peer, set_up};
use super::{Files, PATIENCE, Pki};
use openssl::ssl::{
    HandshakeError, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslSession,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// OpenSSL's words.
    pub(crate) message: String,
    /// Whether the other side told us why by a TLS alert (and we could read it).
    pub(crate) alerted: bool,
}

/// A client's TLS settings. Every value makes one context; sessions it is given end up in [`Self::session`].
pub(crate) struct TlsClient {
    context: SslContext,
    name: String,
    /// To be resumed by the next connection.
    resume: Option<SslSession>,
    newest: Arc<Mutex<Option<SslSession>>>,
}

impl TlsClient {
    /// Trusts `pki`, asks for "localhost", any version.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self::with(pki, |_| ())
    }

    /// Speaks exactly `version`.
    pub(crate) fn version(pki: &Pki, version: SslVersion) -> Self {
        Self::with(pki, |builder| {
            builder.set_min_proto_version(Some(version)).unwrap();
            builder.set_max_proto_version(Some(version)).unwrap();
        })
    }

    /// Shows `certificate` when asked for one.
    pub(crate) fn certified(pki: &Pki, certificate: &Files) -> Self {
        Self::with(pki, |builder| show(builder, certificate))
    }

    /// As [`Self::new`], and whatever `more` does to the context.
    pub(crate) fn with(pki: &Pki, more: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
        builder.set_ca_file(&pki.ca).unwrap();
        builder.set_verify(SslVerifyMode::PEER);
        builder.set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let newest: Arc<Mutex<Option<SslSession>>> = Arc::default();
        let keep = Arc::clone(&newest);
        builder.set_new_session_callback(move |_, session| *keep.lock().unwrap() = Some(session));
        more(&mut builder);
        Self { context: builder.build(), name: "localhost".to_owned(), resume: None, newest }
    }

    /// Asks for `name` (SNI) and verifies it.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Offers `session` from now on.
    pub(crate) fn resuming(mut self, session: SslSession) -> Self {
        self.resume = Some(session);
        self
    }

    /// The newest session the server gave. With TLS 1.3 it comes after the handshake, so something must have been
    /// read first.
    pub(crate) fn session(&self) -> Option<SslSession> {
        self.newest.lock().unwrap().clone()
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// The handshake failed; a refused connection is one of the kinds.
    pub(crate) fn connect(&self, address: SocketAddr) -> Result<Peer, Failure> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)
            .map_err(|error| Failure { message: error.to_string(), alerted: false })?;
        self.connect_over(socket)
    }

    /// Shakes hands on a socket that is already connected.
    ///
    /// # Errors
    /// The handshake failed.
    pub(crate) fn connect_over(&self, socket: TcpStream) -> Result<Peer, Failure> {
        set_up(&socket);
        match self.ssl().connect(socket) {
            Ok(stream) => Ok(Peer::Tls(stream)),
            Err(error) => Err(failure(error)),
        }
    }

    /// A session object as [`Self::connect`] would use it.
    #[expect(unsafe_code, reason = "SSL_set_session has no safe form; the context outlives nothing here")]
    pub(crate) fn ssl(&self) -> Ssl {
        let mut ssl = Ssl::new(&self.context).unwrap();
        if !self.name.is_empty() {
            ssl.set_hostname(&self.name).unwrap();
            ssl.param_mut().set_host(&self.name).unwrap();
        }
        if let Some(session) = &self.resume {
            // A copy: the library marks the object of a TLS 1.3 session as used up after one resumption.
            let session = SslSession::from_der(&session.to_der().unwrap()).unwrap();
            // SAFETY: the session was made by a client context that verifies against the same authority; the
            // requirement of the call is that session and `ssl` belong to compatible contexts, and both were built
            // by `with`.
            unsafe { ssl.set_session(&session) }.unwrap();
        }
        ssl
    }
}

/// Makes `builder` show `certificate`.
pub(crate) fn show(builder: &mut SslContextBuilder, certificate: &Files) {
    builder.set_certificate_chain_file(&certificate.certificate).unwrap();
    builder.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
}

fn failure(error: HandshakeError<TcpStream>) -> Failure {
    let message = error.to_string();
    let alerted = message.contains("alert");
    Failure { message, alerted }
}
