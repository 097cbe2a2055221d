// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has asked to be told how the way to the server ends is told: the tunnel before us, and clients of mode "socks".
//!
//! Success is told as the last step of the way ([`STEP`]), so that nobody hears of a server that is not there, and nothing of
//! the server's comes before it. A failure is told when it is known to be final ([`refuse`]).
//!
//! Not here: that who is told a failure is heard out then (`connection/ending.rs`).

use super::{Progress, Step, client_too_slow, connect};
use crate::connection::context::Ctx;
use crate::connection::pair::{Awaits, Pair};
use crate::error::{Blame, Reason, Refusal, Side};
use crate::policy::service::Service;
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use crate::wire::confirmation::{self, Confirmation};
use crate::wire::socks5::Code;
use crate::wire::{http_connect, socks4, socks5};
use std::io;
use std::mem;

pub const STEP: Step = Step { name: "telling that the server is there", run, expired: client_too_slow };

fn run(pair: &mut Pair, _: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let words = match mem::take(&mut pair.facts.awaits) {
        Awaits::Nothing => return Ok(Progress::Done),
        Awaits::Confirmation => return confirm(pair),
        Awaits::Socks4 => socks4::reply(true).to_vec(),
        Awaits::Socks5 => {
            let socket = pair.server.as_ref().and_then(|end| end.stream.socket());
            let bound = match socket.and_then(|socket| socket.local_address().ok()) {
                Some(Address::Inet(address)) => Some(address),
                _ => None,
            };
            socks5::reply(Code::Succeeded, bound)
        }
        Awaits::Connect => http_connect::answer(200),
    };
    pair.client.write(&words, &mut ctx.buffers.scratch);
    Ok(Progress::Done)
}

/// Tells the tunnel before us. Over a unix socket the mark goes with it.
fn confirm(pair: &mut Pair) -> Result<Progress, Reason> {
    let Some(raw) = pair.client.stream.as_raw() else { return Ok(Progress::Done) };
    let frame = confirmation::write(&Confirmation::Reached);
    let sent = if raw.socket().is_unix() {
        let (ours, theirs) = Socket::pair().map_err(Reason::System)?;
        let sent = raw.socket().send_with(&frame, &theirs);
        raw.set_mark(ours);
        sent
    } else {
        raw.socket().send(&frame)
    };
    match sent {
        Ok(bytes) if bytes == frame.len() => Ok(Progress::Done),
        // It is the first that is sent there: there is room for it.
        Ok(_) => Err(Reason::System(io::ErrorKind::WriteZero.into())),
        Err(_) => Err(Reason::Reset(Side::Client)),
    }
}

/// Tells a client that waits for it why there is no server; whether there was somebody to tell.
pub fn refuse(pair: &mut Pair, service: &Service, reason: &Reason, ctx: &mut Ctx) -> bool {
    // Who is dropped or held hears nothing, but for a tunnel that would take the silence for ours; and who is gone cannot.
    let silent = matches!(reason, Reason::Rule(_, Refusal::Drop | Refusal::Tarpit))
        && pair.facts.awaits != Awaits::Confirmation;
    if silent || pair.client.is_gone() || pair.client.write_broken() {
        return false;
    }
    let code = code(pair, reason);
    let words = match mem::take(&mut pair.facts.awaits) {
        Awaits::Nothing => return false,
        Awaits::Confirmation => confirmation::write(&unconfirmed(pair, service, reason)),
        Awaits::Socks4 => socks4::reply(false).to_vec(),
        Awaits::Socks5 => socks5::reply(code, None),
        Awaits::Connect => http_connect::answer(match code {
            Code::NotAllowed => 403,
            Code::Expired => 504,
            Code::NetworkUnreachable | Code::HostUnreachable | Code::Refused => 502,
            _ => 503,
        }),
    };
    // The client gets an end in order; a server that has been spoken to shall not take it for one.
    if let Some(server) = &pair.server {
        server.stream.reset_on_close();
    }
    pair.client.write(&words, &mut ctx.buffers.scratch);
    true
}

/// What the tunnel before us is told: it shall not hold against us what the client is or asks for.
fn unconfirmed(pair: &Pair, service: &Service, reason: &Reason) -> Confirmation {
    let text = in_words(reason).into();
    let blame = match reason {
        Reason::Limit(..) | Reason::ServersFull(_) => Blame::Nobody,
        Reason::Rule(..)
        | Reason::NoRoute(_)
        | Reason::RouteRejects(_)
        | Reason::Target(_)
        | Reason::Resolve(_) => Blame::Client,
        // The client has named the server.
        _ if pair.targets.is_some() => Blame::Client,
        Reason::Unconfirmed(..) | Reason::Handshake(..) => connect::due_to(pair, service, reason),
        _ => Blame::Server,
    };
    match blame {
        Blame::Server => Confirmation::Failed(text),
        Blame::Nobody => Confirmation::Full(text),
        Blame::Client => Confirmation::Refused(text),
    }
}

/// "connect-failed: db:5432: Connection refused".
fn in_words(reason: &Reason) -> String {
    match reason.detail() {
        Some(detail) => format!("{}: {detail}", reason.word()),
        None => reason.word().to_owned(),
    }
}

/// The same in the code of SOCKS that is nearest (RFC 1928 section 6), which has none for names that nobody knows.
fn code(pair: &Pair, reason: &Reason) -> Code {
    match reason {
        Reason::Target(_) | Reason::Rule(..) => Code::NotAllowed,
        Reason::Resolve(_) => Code::HostUnreachable,
        Reason::ConnectTimeout => Code::Expired,
        Reason::Connect(_) => match pair.facts.failed {
            Some(io::ErrorKind::ConnectionRefused) => Code::Refused,
            Some(io::ErrorKind::NetworkUnreachable) => Code::NetworkUnreachable,
            Some(io::ErrorKind::HostUnreachable) => Code::HostUnreachable,
            Some(io::ErrorKind::TimedOut) => Code::Expired,
            _ => Code::Failed,
        },
        _ => Code::Failed,
    }
}
