// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server made of one closure, which is run once per connection on a thread of its own.
//!
//! What the closure returns is the connection's outcome, to be taken with [`Backend::next`]. A closure that panics
//! fails the test: in `next`, or when the backend is dropped.

use super::peer::{Peer, cramp, set_up};
use super::{Files, PATIENCE, Pki};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How a backend listens.
#[derive(Default)]
pub(crate) struct Listening {
    /// Shake hands with this context before the closure is called.
    pub(crate) tls: Option<SslContext>,
    /// Whether the kernel shall take little before a connection is read.
    pub(crate) cramped: bool,
}

impl Listening {
    /// TLS with `certificate`.
    pub(crate) fn tls(certificate: &Files) -> Self {
        Self::tls_with(certificate, |_| ())
    }

    /// TLS with the server certificate of `pki` where `tls` is asked for.
    pub(crate) fn tls_if(tls: bool, pki: &Pki) -> Self {
        if tls { Self::tls(&pki.server) } else { Self::default() }
    }

    /// As [`Self::tls`], and whatever `more` does to the context.
    pub(crate) fn tls_with(certificate: &Files, more: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
        builder.set_certificate_chain_file(&certificate.certificate).unwrap();
        builder.set_private_key_file(&certificate.key, SslFiletype::PEM).unwrap();
        builder.set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
        builder.set_session_id_context(b"backend").unwrap();
        more(&mut builder);
        Self { tls: Some(builder.build()), cramped: false }
    }
}

/// A listening server; `T` is what its closure makes of a connection.
pub(crate) struct Backend<T> {
    address: SocketAddr,
    listener: TcpListener,
    outcomes: Mutex<Receiver<std::thread::Result<T>>>,
    accepted: Arc<AtomicUsize>,
    failed_handshakes: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Backend<T> {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn start(listening: Listening, serve: impl Fn(Peer) -> T + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serve_on(listener, listening, serve)
    }

    /// Serves what `listener` accepts.
    pub(crate) fn serve_on(
        listener: TcpListener,
        listening: Listening,
        serve: impl Fn(Peer) -> T + Send + Sync + 'static,
    ) -> Self {
        if listening.cramped {
            // Connections inherit it.
            cramp(&listener);
        }
        let (sender, outcomes) = channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let failed_handshakes = Arc::new(AtomicUsize::new(0));
        let serving = Serving {
            tls: listening.tls,
            serve: Box::new(serve),
            outcomes: sender,
            failed_handshakes: Arc::clone(&failed_handshakes),
        };
        let acceptor = {
            let listener = listener.try_clone().unwrap();
            let accepted = Arc::clone(&accepted);
            std::thread::spawn(move || accept(&listener, &accepted, &Arc::new(serving)))
        };
        Self {
            address: listener.local_addr().unwrap(),
            listener,
            outcomes: Mutex::new(outcomes),
            accepted,
            failed_handshakes,
            acceptor: Some(acceptor),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have come (before any handshake).
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many of them never finished their TLS handshake.
    pub(crate) fn failed_handshakes(&self) -> usize {
        self.failed_handshakes.load(Ordering::SeqCst)
    }

    /// The outcome of the next connection that ends.
    ///
    /// # Panics
    /// When the closure panicked, or nothing ended within twice [`PATIENCE`].
    #[track_caller]
    pub(crate) fn next(&self) -> T {
        match self.outcomes.lock().unwrap().recv_timeout(PATIENCE * 2) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(error) => panic!("no connection of the backend ended: {error}"),
        }
    }
}

impl Backend<u64> {
    /// Sends back what comes and half-closes when the client does; the outcome is the number of bytes.
    pub(crate) fn echo(listening: Listening) -> Self {
        Self::start(listening, echo)
    }
}

impl<T> Drop for Backend<T> {
    fn drop(&mut self) {
        // On Linux this wakes the thread that waits in accept.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        if std::thread::panicking() {
            return;
        }
        for outcome in self.outcomes.lock().unwrap().try_iter() {
            if let Err(panic) = outcome {
                resume_unwind(panic);
            }
        }
    }
}

/// Sends back what comes until the stream ends, then half-closes; how many bytes that were.
pub(crate) fn echo(mut peer: Peer) -> u64 {
    let mut buffer = vec![0; 65_536];
    let mut total = 0;
    while let Ok(count) = peer.read(&mut buffer) {
        if peer.try_send(&buffer[..count]).is_err() {
            return total;
        }
        total += count as u64;
    }
    match &mut peer {
        Peer::Plain(socket) => drop(socket.shutdown(Shutdown::Write)),
        Peer::Tls(stream) => drop(stream.shutdown()),
    }
    total
}

struct Serving<T> {
    tls: Option<SslContext>,
    serve: Box<dyn Fn(Peer) -> T + Send + Sync>,
    outcomes: Sender<std::thread::Result<T>>,
    failed_handshakes: Arc<AtomicUsize>,
}

fn accept<T: Send + 'static>(listener: &TcpListener, accepted: &AtomicUsize, serving: &Arc<Serving<T>>) {
    while let Ok((socket, _)) = listener.accept() {
        accepted.fetch_add(1, Ordering::SeqCst);
        let serving = Arc::clone(serving);
        std::thread::spawn(move || serve(socket, &serving));
    }
}

fn serve<T>(socket: TcpStream, serving: &Serving<T>) {
    set_up(&socket);
    let peer = match &serving.tls {
        None => Peer::Plain(socket),
        Some(context) => match Ssl::new(context).unwrap().accept(socket) {
            Ok(stream) => Peer::Tls(stream),
            Err(_) => {
                serving.failed_handshakes.fetch_add(1, Ordering::SeqCst);
                return;
            }
        },
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| (serving.serve)(peer)));
    // Nobody may be left to hear it.
    let _ = serving.outcomes.send(outcome);
}
