// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two endpoints of a connection, the channels between them, and what the handshake learnt.

use super::context::Call;
use crate::channel::Channel;
use crate::error::Side;
use crate::event::Key;
use crate::policy::bandwidth::Meters;
use crate::policy::marks::Held;
use crate::policy::quota;
use crate::policy::resolved::{self, Place};
use crate::policy::rules::RuleState;
use crate::policy::service::Service;
use crate::policy::tls_peer::PeerCertificate;
use crate::policy::upstream::Server;
use crate::policy::waiting::Ticket;
use crate::stats::{Presence, Scope};
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use crate::wire::proxy_header::{Addresses, Header};
use crate::wire::starttls::mysql::{Turn, Ways};
use crate::wire::starttls::{Exchange, Outcome};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Client, server, and a channel each way.
#[derive(Debug)]
pub struct Pair {
    pub client: Endpoint,
    /// There is one from the first attempt to connect.
    pub server: Option<Endpoint>,
    /// While two addresses of a server are tried at once: the later one.
    pub rival: Option<Box<Endpoint>>,
    /// There was one.
    pub raced: bool,
    /// From the client to the server.
    pub up: Channel,
    /// From the server to the client.
    pub down: Channel,
    pub facts: Facts,
    pub stays: Stays,
    /// While a server is being searched.
    pub attempt: Option<Box<Attempt>>,
    /// While a side is being taken to TLS, or a server's greeting is taken in.
    pub talk: Option<Box<Talk>>,
    /// Where a login is carried between the sides.
    pub login: Option<Box<Carried>>,
    /// Under which key the connection is known in its loop, for whoever answers it.
    pub key: Option<Key>,
    /// What a task has answered, until the step that asked takes it.
    pub answer: Option<Result<Box<[SocketAddr]>, Box<str>>>,
    /// Its place at the server that is tried or was reached.
    pub held: Option<Held>,
    /// Where the client names the server: the addresses that may be connected to.
    pub targets: Option<Arc<[Server]>>,
    /// Where the service or the route has a `limit`.
    pub bounds: Option<Box<Bounds>>,
}

/// What a `limit` holds it to.
#[derive(Debug, Default)]
pub struct Bounds {
    /// Its places: two at most.
    pub places: Vec<quota::Place>,
    /// Where bytes are rationed, from when the relay begins.
    pub meters: Option<Meters>,
    /// Where that, or a lifetime, needs more than one deadline.
    pub alarms: Option<Alarms>,
}

/// Moments that matter beside each other (`alarms.rs`).
#[derive(Debug, Default)]
pub struct Alarms {
    /// When the silence will have lasted too long.
    pub silence: Option<Instant>,
    /// When its life is over.
    pub ends: Option<Instant>,
}

/// What the handshake learnt.
#[derive(Debug)]
pub struct Facts {
    /// The connection's number, which no other of this process has.
    pub id: u64,
    /// Where the client comes from.
    pub client: Address,
    /// What a PROXY header said of it.
    pub header: Option<Box<Header>>,
    /// The name the client asked for: lower case, without a trailing dot. Of its hello, of its request's host, or of the
    /// tunnel before us.
    pub server_name: Option<Box<str>>,
    /// The protocols it offered, in its order, or the one that was agreed on with the tunnel before us.
    pub alpn: Box<[Box<[u8]>]>,
    /// What was agreed with it, by us or by the tunnel before us. Kept only where somebody wants to know.
    pub tls: Option<Box<TlsFacts>>,
    /// How far the rules have been judged, and what is held in their tables.
    pub judged: RuleState,
    /// The route that was picked, by its place in the service.
    pub route: usize,
    /// Whether one was picked.
    pub picked: bool,
    pub accepted: Instant,
    /// Where the client begins in clear: TLS was agreed on and comes next.
    pub tls_begun: bool,
    /// The server declined TLS, and that is allowed.
    pub stays_clear: bool,
    /// When the client's handshake was complete.
    pub shaken: Option<Instant>,
    /// The server that is tried or was reached, by its place in the upstream.
    pub server: u32,
    /// Where its name leads: the address that is tried or was reached.
    pub address: Option<SocketAddr>,
    /// How long the connect that succeeded took.
    pub connect_time: Option<Duration>,
    /// How long it waited for a worker, in microseconds.
    pub queued: u32,
    /// The port that the client asked for, where it says that.
    pub asked_port: Option<u16>,
    /// How the last attempt to connect failed, as far as the system tells.
    pub failed: Option<io::ErrorKind>,
    /// What it still waits to be told of the way to its server.
    pub awaits: Awaits,
    /// Where the client names the server: how far the question for its addresses has come.
    pub resolve: Option<Resolve>,
}

/// Who wants to be told how the way to the server ended, ahead of all that the server says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Awaits {
    #[default]
    Nothing,
    /// The tunnel before us: a frame (`wire/confirmation.rs`).
    Confirmation,
    /// A client of mode "socks", by what it speaks.
    Socks4,
    Socks5,
    /// CONNECT of HTTP.
    Connect,
}

/// A question for addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// Asked at that moment: the low bits of [`crate::stats::Clock::at`].
    Asked(u32),
    /// Answered after so many milliseconds.
    Took(u32),
}

/// Where it is counted among those who are there, until it is dropped.
#[derive(Debug, Default)]
pub struct Stays {
    /// At the listener it came to, and so in its service.
    pub listener: Option<Presence>,
    /// From when it was picked.
    pub route: Option<Presence>,
    /// From when it was reached.
    pub server: Option<Presence>,
}

impl Stays {
    /// The scopes in which what happens to it is counted.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        [&self.listener, &self.route, &self.server].into_iter().flatten().map(Presence::scope)
    }

    /// That of its listener, and so of its service.
    pub fn service(&self) -> Option<&Scope> {
        self.listener.as_ref().map(Presence::scope)
    }
}

impl Facts {
    /// The server that is tried or was reached: of `targets` where the client named it, else of the route.
    pub fn chosen<'s>(&self, targets: Option<&'s [Server]>, service: &'s Service) -> Option<&'s Server> {
        let configured = || service.routes.get(self.route).map(|route| &*route.upstream.servers);
        targets.or_else(configured)?.get(self.server as usize)
    }
}

/// TLS between the client and us, or between the client and the tunnel before us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// "TLSv1.3".
    pub version: Box<str>,
    pub cipher: Box<str>,
    /// What was agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// 0: the client's certificate was verified, or there is none; else the TLS library's code.
    pub verify: u32,
    pub certificate: Option<PeerCertificate>,
    /// The whole certificate.
    pub der: Option<Box<[u8]>>,
    /// The certificate was shown in an earlier connection, whose session was resumed.
    pub resumed: bool,
}

/// Where the search for a server stands. It is kept until the handshake is over, for a server may fail after it was reached.
#[derive(Debug, Default)]
pub struct Attempt {
    /// The servers that were tried in vain, by their places in the upstream.
    pub tried: Vec<u32>,
    /// While every server is full: its standing in the line, and until when.
    pub waits: Option<(Ticket, Instant)>,
    /// It stood in the line and was called.
    pub called: Option<Call>,
    /// When the present attempt began; none: it has not.
    pub since: Option<Instant>,
    /// Where the server's name leads to several addresses: how far they have been tried.
    pub race: Option<Box<Race>>,
    /// How many sockets were opened.
    pub sockets: u16,
    /// What the last server that failed answered.
    pub failure: Option<Box<str>>,
}

/// How far the addresses of one server have been tried.
#[derive(Debug)]
pub struct Race {
    pub addresses: resolved::Addresses,
    /// How many of them have been tried, or are.
    pub begun: usize,
    /// Where the pair's server endpoint goes, and its rival.
    pub first: Option<SocketAddr>,
    pub rival: Option<SocketAddr>,
    /// One was begun just now: the time for it is yet to be set.
    pub fresh: bool,
}

/// An exchange with one side, ahead of TLS or of the relay.
#[derive(Debug)]
pub struct Talk {
    pub exchange: Exchange,
    /// What was read out of TLS and not heard; bare streams keep it themselves.
    pub input: Vec<u8>,
    /// How it ended, while the last words leave.
    pub outcome: Option<Outcome>,
}

/// A login that is carried between the two sides, packet by packet.
#[derive(Debug)]
pub struct Carried {
    pub stage: Stage,
    /// What goes out next.
    pub packet: Vec<u8>,
    /// What goes out after the wish for TLS.
    pub rest: Vec<u8>,
    /// Packets so far.
    pub count: u8,
    pub ways: Ways,
    /// What the client's numbers go up by for the server.
    pub shift: u8,
}

/// Whose packet it is that goes out next, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server's first, to the client.
    Challenge,
    /// The wish for TLS, to the server.
    Wish,
    /// The client's, to the server.
    ToServer,
    /// The server's, to the client, and who speaks then.
    ToClient(Turn),
}

impl Pair {
    /// A pair whose client has just been accepted; each direction may hold `buffer` bytes.
    pub fn new(socket: Socket, client: Address, buffer: usize, now: Instant) -> Self {
        Self {
            client: Endpoint::new(Stream::raw(socket), 0),
            server: None,
            rival: None,
            raced: false,
            up: Channel::new(Side::Client, buffer),
            down: Channel::new(Side::Server, buffer),
            facts: Facts {
                id: 0,
                client,
                header: None,
                server_name: None,
                alpn: Box::default(),
                tls: None,
                judged: RuleState::default(),
                route: 0,
                picked: false,
                accepted: now,
                tls_begun: false,
                stays_clear: false,
                shaken: None,
                server: 0,
                address: None,
                connect_time: None,
                queued: 0,
                asked_port: None,
                failed: None,
                awaits: Awaits::Nothing,
                resolve: None,
            },
            stays: Stays::default(),
            attempt: None,
            talk: None,
            login: None,
            key: None,
            answer: None,
            held: None,
            targets: None,
            bounds: None,
        }
    }

    /// Where the client comes from: as a PROXY header says, else as the socket does.
    pub fn source(&self) -> Address {
        match self.facts.header.as_deref().map(|header| &header.addresses) {
            Some(Addresses::Inet { source, .. }) => Address::Inet(*source),
            Some(Addresses::Unix { source, .. }) => Address::from_unix_name(source),
            Some(Addresses::Unknown) | None => self.facts.client.clone(),
        }
    }

    /// The server that is tried or was reached.
    pub fn chosen<'s>(&'s self, service: &'s Service) -> Option<&'s Server> {
        self.facts.chosen(self.targets.as_deref(), service)
    }

    /// The address of that server, as it is tried or was reached.
    pub fn address_of(&self, server: &Server) -> Option<Address> {
        match (&server.place, self.facts.address) {
            (Place::Named(_), Some(address)) => Some(Address::Inet(address)),
            (place, _) => place.first(),
        }
    }

    pub fn endpoint(&self, side: Side) -> Option<&Endpoint> {
        match side {
            Side::Client => Some(&self.client),
            Side::Server => self.server.as_ref(),
        }
    }

    pub fn endpoint_mut(&mut self, side: Side) -> Option<&mut Endpoint> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        }
    }

    /// The direction out of that end.
    pub fn channel_from(&self, side: Side) -> &Channel {
        match side {
            Side::Client => &self.up,
            Side::Server => &self.down,
        }
    }

    /// That end and the direction into it.
    pub fn sink(&mut self, side: Side) -> Option<(&mut Endpoint, &mut Channel)> {
        match side {
            Side::Client => Some((&mut self.client, &mut self.down)),
            Side::Server => Some((self.server.as_mut()?, &mut self.up)),
        }
    }

    /// Makes both ends go by a reset.
    pub fn reset(&self) {
        for end in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            end.stream.reset_on_close();
        }
    }
}
