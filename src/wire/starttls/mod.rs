// SPDX-License-Identifier: MIT OR Apache-2.0
//! Protocols that begin in clear and change to TLS: what is said until then, on either side.
//!
//! A protocol is a file with a `pub(super) const PROTOCOL` and a line in [`PROTOCOLS`]. It has two parts to play: the
//! server's, towards a client, and the client's, towards a server. Each is a function per state that hears one unit (a
//! line, a message, a tag), may say something, and names the next state. The [`Exchange`] cuts the units out of what
//! comes.
//!
//! Invariants: no I/O and no time; a unit has at most [`UNIT`] bytes and an exchange a bounded number of them; whoever
//! says more in clear behind the word that TLS begins is found out here (the class of CVE-2011-0411), and nothing that was
//! heard in clear is ever handed on: a client gets a greeting of ours.
//!
//! Not here: reading and writing (`handshake/starttls.rs`), TLS.

mod ftp;
mod imap;
mod irc;
mod ldap;
mod lines;
pub mod mysql;
mod nntp;
mod pgsql;
mod pop3;
mod sieve;
mod smtp;
#[cfg(test)]
mod tests;
mod xmpp;

use std::mem;
use std::net::IpAddr;

/// Every protocol, as `starttls` may name it.
pub const PROTOCOLS: [&Protocol; 11] = [
    &smtp::PROTOCOL,
    &imap::PROTOCOL,
    &pop3::PROTOCOL,
    &pgsql::PROTOCOL,
    &mysql::PROTOCOL,
    &ldap::PROTOCOL,
    &ftp::PROTOCOL,
    &nntp::PROTOCOL,
    &sieve::PROTOCOL,
    &irc::PROTOCOL,
    &xmpp::PROTOCOL,
];

/// The most bytes that one unit may have. SMTP asks for 512 (RFC 5321 section 4.5.3.1), IMAP's clients go further.
pub const UNIT: usize = 4096;

/// Units that a client may need until it asks for TLS.
const FROM_CLIENT: u16 = 64;

/// Units that a server may need: a banner, a list of capabilities.
const FROM_SERVER: u16 = 256;

/// How every ClientHello begins: the type of its record (RFC 8446 section 5.1).
const TLS_RECORD: u8 = 0x16;

/// The longest quotation of what the other side said, in bytes.
const QUOTED: usize = 160;

/// One protocol.
#[derive(Debug)]
pub struct Protocol {
    /// As the configuration calls it.
    pub name: &'static str,
    pub opening: Opening,
    /// The server's part: how a client is taken to TLS.
    serve: Part,
    /// The client's part: how a server is.
    ask: Part,
    /// Our part towards a client without TLS of ours, which may ask for it all the same before it begins; nothing, where
    /// the server can answer that for itself.
    plain: Option<Part>,
    /// Whether a server that declines TLS can go on in clear with a client that knows nothing of us.
    pub may_stay_clear: bool,
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Protocol {}

/// Who speaks first.
#[derive(Debug)]
pub enum Opening {
    /// The client does; inside TLS it does again.
    Client,
    /// The server greets, once per connection: in clear or, where TLS comes first, inside it.
    Greeting {
        /// Our greeting to a client.
        say: fn(&mut Talk),
        /// Takes a server's greeting in.
        hear: Part,
    },
    /// The server greets, and again inside TLS.
    EachTime,
    /// The server begins, with a part of the login ([`mysql`]), which takes both sides to its end.
    Login,
}

/// A part in an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// What is said before anything was heard.
    begin: fn(&mut Talk),
    cut: fn(&[u8]) -> Cut,
    hear: Hear,
}

/// A state: hears a unit.
type Hear = fn(&mut Talk, &[u8]) -> Move;

/// Where a unit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// After so many bytes: at least one, and no more than there are.
    Unit(usize),
    More,
    /// These are the first bytes of a TLS record: the other side does without the exchange.
    Tls,
    Bad(&'static str),
}

/// What a state makes of a unit.
enum Move {
    Stay,
    Next(Hear),
    /// TLS comes next, or whatever the exchange is for.
    Agreed,
    /// TLS comes next, and the other side waits for no word of ours before.
    AgreedAtOnce,
    /// The unit is for whoever comes next.
    Beyond,
    /// The other side does not want TLS.
    Declined(Box<str>),
    /// There is no going on.
    Failed(Box<str>),
}

/// What both parties are called, where a protocol wants to know.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Our address on that side.
    pub own: Option<IpAddr>,
    /// The name that the server's certificate must have.
    pub server: Option<Box<str>>,
}

/// What a state may use.
#[derive(Debug, Default)]
pub struct Talk {
    names: Names,
    /// What is to be said; sent before anything else is heard.
    say: Vec<u8>,
    /// The other side offers TLS.
    offered: bool,
    /// What was heard and is still wanted.
    kept: Vec<u8>,
}

impl Talk {
    /// Says `text`.
    fn tell(&mut self, text: &str) {
        self.say.extend_from_slice(text.as_bytes());
    }

    /// Our name, as an address literal (RFC 5321 section 4.1.3): what a host without a name of its own says.
    fn own_name(&self) -> String {
        match self.names.own {
            Some(IpAddr::V4(address)) => format!("[{address}]"),
            Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            None => "localhost".to_owned(),
        }
    }
}

/// How an exchange stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on when there is more.
    More,
    /// TLS comes next, or what was to be taken in is.
    Agreed,
    /// The other side does not want TLS; its words.
    Declined(Box<str>),
    Failed(Fault),
}

/// What is wrong with the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It said more in clear where TLS was to begin: so many bytes at least.
    Injected(usize),
    /// It does not speak the protocol, or says that it cannot serve.
    Broken(Box<str>),
}

/// An exchange with one side.
#[derive(Debug)]
pub struct Exchange {
    cut: fn(&[u8]) -> Cut,
    hear: Hear,
    talk: Talk,
    /// Units that may still come.
    left: u16,
    /// Nothing may follow the last unit.
    is_last_in_clear: bool,
}

impl Exchange {
    /// The server's part towards a client, greeting included.
    pub fn serve(protocol: &Protocol, names: Names) -> Self {
        Self::new(&protocol.serve, names, FROM_CLIENT, true)
    }

    /// The client's part towards a server.
    pub fn ask(protocol: &Protocol, names: Names) -> Self {
        Self::new(&protocol.ask, names, FROM_SERVER, true)
    }

    /// Takes a server's greeting in, if there is one; what follows it is for others.
    pub fn greeting(protocol: &Protocol) -> Option<Self> {
        match &protocol.opening {
            Opening::Greeting { hear, .. } => Some(Self::new(hear, Names::default(), FROM_SERVER, false)),
            Opening::Login => Some(Self::new(&mysql::FIRST, Names::default(), 1, false)),
            Opening::Client | Opening::EachTime => None,
        }
    }

    /// Answers what a client without TLS asks before it begins, if the protocol has such questions.
    pub fn plain(protocol: &Protocol) -> Option<Self> {
        let part = protocol.plain.as_ref()?;
        Some(Self::new(part, Names::default(), FROM_CLIENT, false))
    }

    /// Says `words` and hears one packet of a login.
    pub fn packet(words: Vec<u8>) -> Self {
        let mut exchange = Self::new(&mysql::ONE, Names::default(), 1, false);
        exchange.talk.say = words;
        exchange
    }

    /// What was heard and is still wanted.
    pub fn kept(&mut self) -> Vec<u8> {
        mem::take(&mut self.talk.kept)
    }

    fn new(part: &Part, names: Names, left: u16, is_last_in_clear: bool) -> Self {
        let mut talk = Talk { names, ..Talk::default() };
        (part.begin)(&mut talk);
        Self { cut: part.cut, hear: part.hear, talk, left, is_last_in_clear }
    }

    /// What is to be sent now, before more is heard; whoever sends it takes it out.
    pub fn say(&mut self) -> &mut Vec<u8> {
        &mut self.talk.say
    }

    /// Hears `input`; how many bytes of it are done with, and how the exchange stands.
    pub fn hear(&mut self, input: &[u8]) -> (usize, Outcome) {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let length = match (self.cut)(rest) {
                Cut::Unit(length) if length <= UNIT => length,
                Cut::More if rest.len() < UNIT => return (taken, Outcome::More),
                Cut::Unit(_) | Cut::More => return (taken, broken("a line or message that is too long")),
                Cut::Tls => return (taken, Outcome::Agreed),
                Cut::Bad(why) => return (taken, broken(why)),
            };
            if self.left == 0 {
                return (taken, broken("too many lines or messages without TLS"));
            }
            self.left -= 1;
            let Some(unit) = rest.get(..length) else { return (taken, Outcome::More) };
            taken += length;
            match (self.hear)(&mut self.talk, unit) {
                Move::Stay => {}
                Move::Next(hear) => self.hear = hear,
                agreed @ (Move::Agreed | Move::AgreedAtOnce) => {
                    let more = &input[taken..];
                    let is_tls = matches!(agreed, Move::AgreedAtOnce) && more.first() == Some(&TLS_RECORD);
                    if more.is_empty() || is_tls || !self.is_last_in_clear {
                        return (taken, Outcome::Agreed);
                    }
                    // It was not even answered yet.
                    self.talk.say = Vec::new();
                    return (taken, Outcome::Failed(Fault::Injected(more.len())));
                }
                Move::Beyond => return (taken - length, Outcome::Agreed),
                Move::Declined(text) => return (taken, Outcome::Declined(text)),
                Move::Failed(text) => return (taken, Outcome::Failed(Fault::Broken(text))),
            }
        }
    }
}

/// Our greeting to a client that had none yet; empty where there is nothing to say.
pub fn greeting(protocol: &Protocol, names: Names) -> Vec<u8> {
    let mut talk = Talk { names, ..Talk::default() };
    if let Opening::Greeting { say, .. } = &protocol.opening {
        say(&mut talk);
    }
    mem::take(&mut talk.say)
}

fn broken(why: &str) -> Outcome {
    Outcome::Failed(Fault::Broken(why.into()))
}

/// What the other side said, in printable characters and not too many of them.
fn quoted(what: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    what.iter().take(QUOTED).map(shown).collect()
}

fn declined(what: &[u8]) -> Move {
    Move::Declined(format!("it says {}", quoted(what)).into())
}

fn failed(what: &[u8]) -> Move {
    Move::Failed(format!("it says {}", quoted(what)).into())
}

/// A client that leaves in order.
fn quit() -> Move {
    Move::Declined("it quit without TLS".into())
}

/// Nothing is said.
fn silent(_: &mut Talk) {}
