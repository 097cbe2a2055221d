// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one service promises its connections: routes, timeouts, limits. No steps here; `connection/plan.rs` joins both.

use super::tls_client::ClientTls;
use super::tls_server::ServerTls;
use super::upstream::Upstream;
use crate::stats::ServiceStats;
use std::sync::Arc;
use std::time::Duration;

/// The policy of one `[[service]]`.
#[derive(Debug)]
pub struct Service {
    pub name: Box<str>,
    pub timeouts: Timeouts,
    /// The most bytes one direction of a connection may hold in user space.
    pub buffer: usize,
    pub truncation: Truncation,
    /// At least one; the first is the default.
    pub routes: Box<[Route]>,
    pub stats: Arc<ServiceStats>,
}

/// Where a connection goes and what is spoken on either side.
#[derive(Debug)]
pub struct Route {
    pub name: Box<str>,
    /// Terminate TLS from the client.
    pub accept_tls: Option<ServerTls>,
    pub upstream: Upstream,
    /// Originate TLS to the server.
    pub connect_tls: Option<ClientTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the end of the client's handshake, in total. Also bounds the TLS handshake with the server.
    pub handshake: Duration,
    /// Per connection attempt to a server.
    pub connect: Duration,
    /// Silence in both directions.
    pub idle: Duration,
    /// Silence after one side has ended.
    pub half_close: Duration,
    /// For the last bytes to leave once a connection is ending.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(300),
            half_close: Duration::from_secs(60),
            linger: Duration::from_secs(10),
        }
    }
}

/// What a client's FIN without close_notify means to the server (RFC 8446 section 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// The server sees a reset: a broken stream is never presented as a complete one.
    #[default]
    Reset,
    /// The server sees an ordinary end, for old peers that never send close_notify.
    Close,
}
