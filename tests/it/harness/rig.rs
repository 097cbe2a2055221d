// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's side, a tunnel and a backend, joined in one of the four combinations.

use super::{Backend, Listening, Options, Peer, Pki, TlsClient, Tunnel, cramped};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Which sides of the tunnel speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    Plain,
    Terminate,
    Originate,
    Reencrypt,
}

impl Sides {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Terminate, Self::Originate, Self::Reencrypt];

    /// Whether clients speak TLS.
    pub(crate) fn client_tls(self) -> bool {
        matches!(self, Self::Terminate | Self::Reencrypt)
    }

    /// Whether the backend speaks TLS.
    pub(crate) fn server_tls(self) -> bool {
        matches!(self, Self::Originate | Self::Reencrypt)
    }

    /// A `[[service]]` of this kind that listens on a free port. `more` are further lines of the service, `timeout =
    /// { … }` for example.
    pub(crate) fn service(self, name: &str, pki: &Pki, backend: SocketAddr, more: &str) -> String {
        let mut text = format!("[[service]]\nname = \"{name}\"\n");
        let (accept_tls, connect_tls) = (accept_tls(self, pki), connect_tls(self, pki));
        writeln!(text, "accept = {{ address = [\"127.0.0.1:0\"]{accept_tls} }}").unwrap();
        writeln!(text, "connect = {{ address = [\"{backend}\"]{connect_tls} }}").unwrap();
        writeln!(text, "{more}").unwrap();
        text
    }
}

fn accept_tls(sides: Sides, pki: &Pki) -> String {
    if sides.client_tls() { format!(", tls = {{ {} }}", pki.server.toml()) } else { String::new() }
}

fn connect_tls(sides: Sides, pki: &Pki) -> String {
    if sides.server_tls() { format!(", tls = {{ ca = \"{}\" }}", pki.ca.display()) } else { String::new() }
}

/// The whole arrangement. Its service is called "web".
pub(crate) struct Rig<T> {
    // Dropped in this order: the tunnel makes its last checks while the backend is still there.
    pub(crate) tunnel: Tunnel,
    pub(crate) backend: Backend<T>,
    pub(crate) pki: Pki,
    pub(crate) sides: Sides,
}

impl<T: Send + 'static> Rig<T> {
    /// `more` are further lines of the service; `serve` is the backend's closure.
    pub(crate) fn new(sides: Sides, more: &str, serve: impl Fn(Peer) -> T + Send + Sync + 'static) -> Self {
        Self::with(sides, more, |listening| listening, Options::default(), serve)
    }

    /// As [`Self::new`], with changes to how the backend listens and how the tunnel is started.
    pub(crate) fn with(
        sides: Sides,
        more: &str,
        change: impl FnOnce(Listening) -> Listening,
        options: Options,
        serve: impl Fn(Peer) -> T + Send + Sync + 'static,
    ) -> Self {
        let pki = Pki::new();
        let backend = Backend::start(change(Listening::tls_if(sides.server_tls(), &pki)), serve);
        let config = sides.service("web", &pki, backend.address(), more);
        let tunnel = Tunnel::start_with(&config, options);
        Self { tunnel, backend, pki, sides }
    }

    /// Where the service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.tunnel.address("web")
    }

    /// A client of the service, its handshake done.
    #[track_caller]
    pub(crate) fn client(&self) -> Peer {
        if self.sides.client_tls() {
            TlsClient::new(&self.pki).connect(self.address()).unwrap()
        } else {
            Peer::plain(self.address())
        }
    }
}

impl<T: Send + 'static> Rig<T> {
    /// A client that takes little before it is read.
    #[track_caller]
    pub(crate) fn cramped_client(&self) -> Peer {
        let socket = cramped(self.address());
        if self.sides.client_tls() {
            TlsClient::new(&self.pki).connect_over(socket).unwrap()
        } else {
            Peer::from_socket(socket)
        }
    }
}

impl Rig<u64> {
    /// A backend that echoes.
    pub(crate) fn echo(sides: Sides, more: &str) -> Self {
        Self::new(sides, more, super::backend::echo)
    }
}
