// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one service promises its connections: routes, timeouts, limits. No steps here; `connection/plan.rs` joins both.

use super::networks::Networks;
use super::outgoing::Outgoing;
use super::quota::Quota;
use super::reply::Reply;
use super::route_table::RouteTable;
use super::rules::Rules;
use super::socks::Users;
use super::tls_client::ClientTls;
use super::tls_server::ServerTls;
use super::upstream::Upstream;
use super::via::Via;
use crate::stats::{Scope, ServiceStats};
use crate::wire::proxy_header;
use crate::wire::starttls::Protocol;
use std::sync::Arc;
use std::time::Duration;

/// The policy of one `[[service]]`.
#[derive(Debug)]
pub struct Service {
    pub name: Box<str>,
    /// The word after `mode =`.
    pub mode: &'static str,
    pub timeouts: Timeouts,
    /// The most bytes one direction of a connection may hold in user space.
    pub buffer: usize,
    pub truncation: Truncation,
    /// From whom a PROXY header is expected; nobody, if there is none.
    pub proxy_protocol: Option<AcceptProxy>,
    /// Who is answered at once, ahead of everything else.
    pub monitor: Option<Monitor>,
    /// Its `limit`.
    pub quota: Option<Quota>,
    pub rules: Rules,
    /// In mode "socks": who may ask for a way; everybody, if there is none.
    pub users: Option<Users>,
    /// In which protocol clients begin in clear and ask for TLS.
    pub starttls: Option<&'static Protocol>,
    /// Where the name that routes comes from.
    pub peek: Peek,
    /// At least one.
    pub routes: Box<[Route]>,
    /// Whether one of them terminates TLS.
    pub terminates: bool,
    /// The least `ClientTls::id` of its routes: ids grow with every load.
    pub client_tls_since: u64,
    pub table: RouteTable,
    pub stats: Arc<ServiceStats>,
    /// By rule.
    pub rule_stats: Box<[Arc<Scope>]>,
}

/// Where a connection goes and what is spoken on either side.
#[derive(Debug)]
pub struct Route {
    pub name: Box<str>,
    pub action: RouteAction,
    /// Terminate TLS from the client. Routes that inherit all of it share it.
    pub accept_tls: Option<Arc<ServerTls>>,
    pub upstream: Upstream,
    /// Originate TLS to the server.
    pub connect_tls: Option<Arc<ClientTls>>,
    /// The proxy through which its servers are reached.
    pub via: Option<Arc<Via>>,
    /// Begin in clear and ask for TLS.
    pub starttls: Option<AskTls>,
    /// Begin with a PROXY header.
    pub send_proxy: Option<SendProxy>,
    /// How sockets towards its servers are opened, if not as usual.
    pub outgoing: Option<Arc<Outgoing>>,
    /// Its `limit`. Of thousands of routes few have one.
    pub quota: Option<Box<Quota>>,
    pub stats: Arc<Scope>,
}

/// `connect.starttls`: how TLS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskTls {
    pub protocol: &'static Protocol,
    /// Go on in clear with a server that declines.
    pub opportunistic: bool,
}

/// What a route does with its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RouteAction {
    #[default]
    Connect,
    /// With the alert unrecognized_name on TLS, with a canned reply on a plain service.
    Reject(Option<Reply>),
}

/// `accept.proxy_protocol`: these peers must send a PROXY header.
#[derive(Clone, Debug)]
pub struct AcceptProxy {
    /// Peers on unix sockets are always among them: who may connect there is the file's matter.
    pub from: Networks,
    pub others: Others,
    /// Who asks in its header for it is told whether the server was reached.
    pub confirm: bool,
}

/// What becomes of peers outside of `proxy_protocol.from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    #[default]
    Reject,
    /// Served as clients of their own; nothing they send is ever taken for a header.
    Direct,
}

/// `monitor`, or everybody in mode "health".
#[derive(Clone, Debug)]
pub struct Monitor {
    /// None: everybody.
    pub source: Option<Networks>,
    pub reply: Reply,
}

/// Where a name is looked for before a route is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peek {
    /// Nowhere; only a PROXY header may bring one.
    #[default]
    None,
    /// In the ClientHello.
    Tls,
    /// In the HTTP/1 request.
    Http,
}

/// `connect.send_proxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProxy {
    pub version: proxy_header::Version,
    /// What version 2 carries beside the addresses.
    pub tlvs: SendTlvs,
    /// Ask to be told whether the server was reached, and wait for it. With version 2 only.
    pub confirm: bool,
}

/// Which TLVs are sent, where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendTlvs {
    pub alpn: bool,
    pub authority: bool,
    /// Version, cipher, verification, common name.
    pub ssl: bool,
    /// The whole client certificate, within `ssl`.
    pub certificate: bool,
    pub unique_id: bool,
    pub crc32c: bool,
}

impl Default for SendTlvs {
    /// All but the certificate, which is large.
    fn default() -> Self {
        Self { alpn: true, authority: true, ssl: true, certificate: false, unique_id: true, crc32c: true }
    }
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
    /// How long a tarpit holds a connection.
    pub tarpit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(300),
            half_close: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            tarpit: Duration::from_secs(60),
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

#[cfg(test)]
impl Service {
    /// A service with everything at its default and one route "default" that connects nowhere, for tests to change.
    pub(crate) fn plain() -> Self {
        Self {
            name: "test".into(),
            mode: "relay",
            timeouts: Timeouts::default(),
            buffer: 64 << 10,
            truncation: Truncation::Reset,
            proxy_protocol: None,
            monitor: None,
            quota: None,
            rules: Rules::default(),
            users: None,
            starttls: None,
            peek: Peek::None,
            routes: Box::new([Route::plain("default")]),
            terminates: false,
            client_tls_since: 0,
            table: RouteTable::default(),
            stats: Arc::default(),
            rule_stats: Box::default(),
        }
    }
}

#[cfg(test)]
impl Route {
    /// A route that connects nowhere.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.into(),
            action: RouteAction::Connect,
            accept_tls: None,
            upstream: Upstream::default(),
            connect_tls: None,
            via: None,
            starttls: None,
            send_proxy: None,
            outgoing: None,
            quota: None,
            stats: Arc::default(),
        }
    }
}
