// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a route's connections go: servers, tried in order.

use super::target::Requested;
use crate::stats::Scope;
use crate::sys::address::Address;
use std::sync::Arc;

/// The servers of one route, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Upstream {
    pub servers: Box<[Server]>,
    /// Instead: the server is the one that the client names (`connect = "*:443"`).
    pub requested: Option<Requested>,
    /// What is counted of the servers that clients name, all together.
    pub named: Arc<Scope>,
}

/// One address of a configured server.
#[derive(Debug)]
pub struct Server {
    /// As written in the configuration ("db.example.org:5432"), for logs.
    pub name: Box<str>,
    /// One address it resolved to.
    pub address: Address,
    /// The name to ask for and verify when TLS goes to this server: `server_name`, else the configured host,
    /// else (an IP address or a unix socket) none or the IP address in text form.
    pub tls_name: Option<Box<str>>,
    pub stats: Arc<Scope>,
}
