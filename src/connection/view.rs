// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be seen of one connection, as plain values, and which connections somebody wants to see.
//!
//! Its JSON form is public interface, as that of `control/model.rs`, whose units these are: spans in seconds, payload in
//! bytes, *in* from the client to the server, *out* back. It is made in the worker that has the connection, a few at a
//! time (`walk.rs`).

use serde::{Deserialize, Serialize};

/// A live connection.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ConnectionView {
    pub id: u64,
    pub worker: u64,
    /// One of [`STATES`].
    pub state: String,
    /// What it is doing: "reading the hello", "relaying" …
    pub doing: String,
    /// What it waits for: "the client", "the server", "either side", "a name", "time".
    pub waits_for: String,
    pub service: String,
    /// Empty until one is picked.
    pub route: String,
    /// "192.0.2.7:4711", as a PROXY header says, else as the socket does.
    pub client: String,
    /// Who sent the PROXY header; empty if nobody.
    pub via: String,
    /// The address tried or reached; empty until then.
    pub server: String,
    /// The name it asked for.
    pub name: String,
    /// The protocol agreed on, else those offered, joined by commas. Escaped as in the log.
    pub alpn: String,
    pub client_tls: Option<TlsView>,
    pub server_tls: Option<TlsView>,
    /// Common name of the client's certificate.
    pub client_cn: String,
    /// Seconds since it was accepted.
    pub age: f64,
    /// Seconds since bytes last moved.
    pub idle: f64,
    /// Seconds spent in each phase; `None`: not reached.
    pub queued_for: f64,
    pub handshake: Option<f64>,
    pub resolve: Option<f64>,
    pub connect: Option<f64>,
    pub relay: Option<f64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes per second, over the last second or so.
    pub rate_in: f64,
    pub rate_out: f64,
    /// Bytes held for the server, for the client.
    pub buffered_in: u64,
    pub buffered_out: u64,
}

/// TLS on one side.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsView {
    /// "TLSv1.3".
    pub version: String,
    pub cipher: String,
    /// "X25519"; empty if unknown.
    pub group: String,
    pub resumed: bool,
}

/// The states of a connection in their order: those of SNIProxy's statistics interface.
pub const STATES: [&str; 9] = [
    "new",
    "accepted",
    "parsed",
    "resolving",
    "resolved",
    "connected",
    // The client ended first; the server ended first.
    "client-closed",
    "server-closed",
    "closed",
];

/// Which connections are wanted; what is empty matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub id: Option<u64>,
    pub service: String,
    pub route: String,
    /// The beginning of the client's address.
    pub client: String,
    /// A part of the name it asked for.
    pub name: String,
    /// The beginning of the server's address.
    pub server: String,
    /// One of [`STATES`].
    pub state: String,
    /// The server's whole address is one of these.
    pub at: Vec<String>,
}

impl Wanted {
    /// Whether it is one of them.
    pub fn takes(&self, view: &ConnectionView) -> bool {
        self.id.is_none_or(|id| id == view.id)
            && (self.service.is_empty() || self.service == view.service)
            && (self.route.is_empty() || self.route == view.route)
            && view.client.starts_with(&self.client)
            && view.name.contains(&self.name)
            && view.server.starts_with(&self.server)
            && (self.state.is_empty() || self.state == view.state)
            && (self.at.is_empty() || self.at.contains(&view.server))
    }
}
