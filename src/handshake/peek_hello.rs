// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the ClientHello into the client's early bytes and parses it there: our own reader chooses the TLS context, before
//! the library sees a byte. The bytes stay where they are; the library reads them again.

use super::{For, Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Break, Reason, Side};
use crate::policy::service::Service;
use crate::stream::Source;
use crate::wire::{Parsed, client_hello};

pub const STEP: Step = Step { name: "reading the ClientHello", run, expired: client_too_slow };

/// Reads per turn: a hello in one-byte segments comes back for the rest.
const READS: usize = 8;

/// A fatal alert decode_error in a record of its own (RFC 8446 sections 5.1 and 6).
const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];

/// The type of a TLS record that carries a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

fn run(pair: &mut Pair, _: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let wait = Progress::Wait(For { side: Side::Client, read: true, patience: None });
    for _ in 0..READS {
        let Some(raw) = pair.client.stream.as_raw() else { return Ok(Progress::Done) };
        if !raw.early().is_empty() {
            match client_hello::parse(raw.early()) {
                Parsed::Done(hello, _) => {
                    pair.facts.server_name = hello.server_name;
                    return Ok(Progress::Done);
                }
                Parsed::Bad(why) => return Err(refuse(pair, why, ctx)),
                Parsed::More => {}
            }
        }
        let Some(raw) = pair.client.stream.as_raw() else { return Ok(Progress::Done) };
        let got = raw.read_early(ctx.buffers.plain());
        match got.then {
            _ if got.bytes > 0 => {}
            Source::Empty | Source::More => return Ok(wait),
            Source::Shut => return Err(gone(pair)),
            Source::Broken(Break::Reset(_)) => return Err(Reason::Reset(Side::Client)),
            Source::Broken(how) => return Err(Reason::broken(Side::Client, how)),
        }
    }
    Ok(wait)
}

/// The client left without a word, or in the middle of one.
fn gone(pair: &mut Pair) -> Reason {
    let said_something = pair.client.stream.as_raw().is_some_and(|raw| !raw.early().is_empty());
    let text = if said_something {
        "the client closed in the middle of its ClientHello"
    } else {
        "the client closed without a word"
    };
    Reason::Handshake(Side::Client, text.into())
}

/// Tells a TLS client with an alert; anybody else is told nothing.
fn refuse(pair: &mut Pair, why: &'static str, ctx: &mut Ctx) -> Reason {
    let first = pair.client.stream.as_raw().and_then(|raw| raw.early().first().copied());
    if first == Some(HANDSHAKE) {
        pair.client.write(&DECODE_ERROR, &mut ctx.buffers.scratch);
        Reason::BadHello(why)
    } else {
        Reason::NotTls(why)
    }
}
