// SPDX-License-Identifier: MIT OR Apache-2.0
//! How connections end: one [`Reason`] each, with the word it has in the log (tunnel-log(7)).

use std::io;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What is wrong with a TLS session, as far as the library tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    #[default]
    Other,
    NoSharedCipher,
    /// The peer offers only versions that are not allowed here.
    OldProtocol,
    NoSharedGroup,
    NoSharedSignature,
    /// No application protocol in common.
    NoSharedAlpn,
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer's certificate has expired, or is not valid yet.
    CertificateExpired,
    CertificateRevoked,
    /// There is no way from the peer's certificate to a CA that is trusted.
    UnknownCa,
    /// The peer's certificate is for another name.
    WrongName,
    /// The peer's key is none of those that were to be expected.
    WrongKey,
    /// The peer's certificate was refused for something else.
    BadCertificate,
    /// The peer refuses our certificate, or that we have shown none.
    RejectsCertificate,
    /// The peer gave up with another alert.
    Alert,
    /// The peer speaks HTTP.
    PlainHttp,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer closed in the middle.
    Closed,
}

/// How a stream broke, seen from one end.
#[derive(Debug)]
pub enum Break {
    /// The peer reset the connection, or the network gave it up.
    Reset(io::Error),
    /// The peer ended TCP without ending TLS: RFC 8446 section 6.1 forbids taking this for the end of the data.
    Truncated,
    /// We wrote and nobody was there to read (EPIPE): the peer had closed before it took everything.
    Gone,
    /// What is wrong, and the TLS library's own words.
    Tls(Flaw, Box<str>),
}

impl Break {
    /// Whether the connection is over with it, and not only what it carries.
    pub fn is_of_the_connection(&self) -> bool {
        matches!(self, Self::Reset(_) | Self::Gone)
    }

    /// The same once more: both directions learn of it.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Reset(error) => Self::Reset(error.kind().into()),
            Self::Truncated => Self::Truncated,
            Self::Gone => Self::Gone,
            Self::Tls(flaw, text) => Self::Tls(*flaw, text.clone()),
        }
    }
}

/// How a rule refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Reject,
    Drop,
    Tarpit,
}

/// What a `limit` of a service or a route leaves no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// As many connections as there may be are there.
    Connections,
    /// They come too fast.
    Rate,
}

/// What it is due to that there is no way to a server, and so what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// To the server, or what is behind it: it counts against that one, and another one may do better.
    Server,
    /// To nobody: another one may do better.
    Nobody,
    /// To what the client is or asks for: no other would do better.
    Client,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Reason {
    /// Both directions were carried to their ends.
    Done,
    Reset(Side),
    Truncated(Side),
    Gone(Side),
    /// TLS broke after the handshake.
    TlsBroken(Side, Flaw, Box<str>),
    Idle,
    /// It has lived for as long as it may.
    Lifetime,
    HalfCloseTimeout,
    LingerTimeout,
    HandshakeTimeout(Side),
    ConnectTimeout,
    /// The TLS handshake failed; in plain words why.
    Handshake(Side, Flaw, Box<str>),
    /// The client's first bytes are not TLS; what they look like.
    NotTls(&'static str),
    /// The ClientHello is malformed; how.
    BadHello(&'static str),
    /// The client's first bytes are no HTTP request that names one host; why.
    BadRequest(&'static str),
    /// What the client asks a proxy for is malformed, of another kind, or without a good login; which.
    BadAsking(Box<str>),
    /// The name in the TLS library's hands is not the one that was routed, or the protocol none of those that were offered.
    NameChanged,
    /// The PROXY header is missing, malformed, or comes from whom none is taken; which.
    ProxyHeader(Box<str>),
    /// A rule refused the connection: the rule's name, and what it did.
    Rule(Box<str>, Refusal),
    /// The service has no room for it, or the route of that name has none.
    Limit(Excess, Option<Box<str>>),
    /// No route takes the client; why.
    NoRoute(Box<str>),
    /// A route with `action = "reject"`: its name.
    RouteRejects(Box<str>),
    /// It could not be taken to TLS; why.
    Starttls(Side, Box<str>),
    /// It sent so many bytes in clear, at least, where TLS was to begin.
    Injected(Side, usize),
    /// Answered with a canned reply, and that was all there was to do.
    Replied,
    /// The name that the client asked for could not be resolved.
    Resolve(Box<str>),
    /// The target that the client named is not one that may be connected to.
    Target(Box<str>),
    /// The proxy on the way to the server did not lead there; its words.
    Via(Box<str>),
    /// The next tunnel has not confirmed that it reached the server; what that is due to, and its words.
    Unconfirmed(Blame, Box<str>),
    /// No server could be reached; the last error.
    Connect(Box<str>),
    /// Every server that could serve has as many connections as it may; how the wait for a place ended.
    ServersFull(Box<str>),
    /// Somebody asked for its end through the control interface.
    Killed,
    /// We are stopping.
    Stopped,
    /// The system refused something we need.
    System(io::Error),
    Panic,
}

impl Reason {
    /// Its stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Reset(Side::Client) => "client-reset",
            Self::Reset(Side::Server) => "server-reset",
            Self::Truncated(Side::Client) => "client-truncated",
            Self::Truncated(Side::Server) => "server-truncated",
            Self::Gone(Side::Client) => "client-gone",
            Self::Gone(Side::Server) => "server-gone",
            Self::TlsBroken(Side::Client, ..) => "client-tls-error",
            Self::TlsBroken(Side::Server, ..) => "server-tls-error",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::HalfCloseTimeout => "half-close-timeout",
            Self::LingerTimeout => "linger-timeout",
            Self::HandshakeTimeout(Side::Client) => "handshake-timeout",
            Self::HandshakeTimeout(Side::Server) => "server-handshake-timeout",
            Self::ConnectTimeout => "connect-timeout",
            Self::Handshake(Side::Client, ..) => "handshake-failed",
            Self::Handshake(Side::Server, ..) => "server-handshake-failed",
            Self::NotTls(_) => "not-tls",
            Self::BadHello(_) => "bad-hello",
            Self::BadRequest(_) => "bad-request",
            Self::BadAsking(_) => "bad-proxy-request",
            Self::NameChanged => "name-changed",
            Self::ProxyHeader(_) => "bad-proxy-header",
            Self::Rule(_, Refusal::Reject) => "rejected",
            Self::Rule(_, Refusal::Drop) => "dropped",
            Self::Rule(_, Refusal::Tarpit) => "tarpitted",
            Self::Limit(Excess::Connections, _) => "limit-connections",
            Self::Limit(Excess::Rate, _) => "limit-rate",
            Self::NoRoute(_) => "no-route",
            Self::RouteRejects(_) => "route-rejected",
            Self::Starttls(Side::Client, _) => "starttls-failed",
            Self::Starttls(Side::Server, _) => "server-starttls-failed",
            Self::Injected(Side::Client, _) => "starttls-injection",
            Self::Injected(Side::Server, _) => "server-starttls-injection",
            Self::Replied => "replied",
            Self::Resolve(_) => "resolve-failed",
            Self::Target(_) => "forbidden-target",
            Self::Via(_) => "proxy-failed",
            Self::Unconfirmed(..) => "unconfirmed",
            Self::Connect(_) => "connect-failed",
            Self::ServersFull(_) => "servers-full",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::System(_) => "system",
            Self::Panic => "panic",
        }
    }

    /// What there is to say beyond the word.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Handshake(_, _, text)
            | Self::TlsBroken(_, _, text)
            | Self::BadAsking(text)
            | Self::ProxyHeader(text)
            | Self::Starttls(_, text)
            | Self::NoRoute(text)
            | Self::Resolve(text)
            | Self::Target(text)
            | Self::Via(text)
            | Self::Unconfirmed(_, text)
            | Self::Connect(text)
            | Self::ServersFull(text) => Some(text.to_string()),
            Self::Rule(rule, _) => Some(format!("rule {rule:?}")),
            Self::RouteRejects(route) | Self::Limit(_, Some(route)) => Some(format!("route {route:?}")),
            Self::NotTls(text) | Self::BadHello(text) | Self::BadRequest(text) => Some((*text).to_owned()),
            Self::Injected(_, bytes) => Some(format!("{bytes} bytes in clear where TLS was to begin")),
            Self::System(error) => Some(error.to_string()),
            _ => None,
        }
    }

    /// The event of the failure line it deserves, if it deserves one beside the connection's own line.
    pub fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Handshake(Side::Client, ..)
            | Self::HandshakeTimeout(Side::Client)
            | Self::NotTls(_)
            | Self::BadHello(_)
            | Self::BadRequest(_)
            | Self::BadAsking(_)
            | Self::Starttls(Side::Client, _)
            | Self::Injected(Side::Client, _)
            | Self::NameChanged => Some("handshake-failed"),
            Self::Handshake(Side::Server, ..)
            | Self::HandshakeTimeout(Side::Server)
            | Self::Starttls(Side::Server, _)
            | Self::Injected(Side::Server, _) => Some("tls-server-failed"),
            Self::ProxyHeader(_) => Some("proxy-header-failed"),
            Self::Limit(..) => Some("limit-reached"),
            Self::NoRoute(_) => Some("no-route"),
            Self::Resolve(_)
            | Self::Target(_)
            | Self::Via(_)
            | Self::Unconfirmed(..)
            | Self::Connect(_)
            | Self::ServersFull(_)
            | Self::ConnectTimeout => Some("connect-failed"),
            Self::System(_) => Some("system-failed"),
            Self::Panic => Some("worker-panicked"),
            _ => None,
        }
    }

    /// How the break of `side`'s stream ends the connection.
    pub fn broken(side: Side, how: Break) -> Self {
        match how {
            Break::Reset(_) => Self::Reset(side),
            Break::Truncated => Self::Truncated(side),
            Break::Gone => Self::Gone(side),
            Break::Tls(flaw, text) => Self::TlsBroken(side, flaw, text),
        }
    }
}
