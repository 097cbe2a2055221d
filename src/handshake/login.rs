// SPDX-License-Identifier: MIT OR Apache-2.0
//! Carries a login between the two sides, packet by packet, where TLS with a side begins in the middle of it and
//! shifts the numbers of what follows (MySQL): up to TLS ([`UP_TO_TLS`]) and on to its end ([`TO_ITS_END`]).
//!
//! Invariants: where it stands is in the pair, and only while it lasts; the client has had the challenge of one server, or
//! its login is on the way to one, so no other is tried meanwhile; of the client's packets nothing but what it is able to goes out in clear.
//!
//! Not here: what the packets are (`wire/starttls/mysql.rs`).

use super::starttls::{Held, begin, hold};
use super::{For, Progress, Step};
use crate::connection::context::Ctx;
use crate::connection::pair::{Carried, Pair, Stage};
use crate::error::{Reason, Side};
use crate::policy::service::Service;
use crate::wire::starttls::mysql::{Login, Turn, from_client, from_server, turn};
use crate::wire::starttls::{Exchange, Outcome};
use std::mem;

/// Between STARTTLS with the server and TLS with it.
pub const UP_TO_TLS: Step = Step { name: "the client's login", run: before, expired };

/// Behind TLS with the server.
pub const TO_ITS_END: Step = Step { name: "the login at the server", run: behind, expired };

/// Packets that a login may take, both ways together: each method of authentication takes a few.
const PACKETS: u8 = 64;

fn before(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    carry(pair, service, ctx, |stage| matches!(stage, Stage::Challenge | Stage::Wish))
}

fn behind(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    carry(pair, service, ctx, |_| true)
}

/// Carries packets as long as it is for this step.
fn carry(
    pair: &mut Pair,
    service: &Service,
    ctx: &mut Ctx,
    ours: fn(Stage) -> bool,
) -> Result<Progress, Reason> {
    while let Some(carried) = pair.login.as_mut().filter(|carried| ours(carried.stage)) {
        let (side, hears) = match carried.stage {
            Stage::Challenge => (Side::Client, carried.ways.is_served || carried.ways.asks),
            Stage::Wish => (Side::Server, false),
            Stage::ToServer => (Side::Server, true),
            Stage::ToClient(turn) => (Side::Client, turn == Turn::Client),
        };
        let begins = pair.talk.is_none();
        let talk = pair.talk.take().unwrap_or_else(|| {
            let mut talk = begin(Exchange::packet(mem::take(&mut carried.packet)));
            talk.outcome = (!hears).then_some(Outcome::Agreed);
            talk
        });
        match hold(pair, side, talk, ctx)? {
            Held::Waits { read } => {
                let patience = begins.then_some(service.timeouts.handshake);
                return Ok(Progress::Wait(For { side, read, patience }));
            }
            Held::Over { kept, .. } => advance(pair, kept)?,
        }
    }
    Ok(Progress::Done)
}

/// What becomes of `packet`, which was heard last.
fn advance(pair: &mut Pair, mut packet: Vec<u8>) -> Result<(), Reason> {
    let Some(mut carried) = pair.login.take() else { return Ok(()) };
    carried.count += 1;
    if carried.count > PACKETS {
        return Err(Reason::Starttls(Side::Client, "its login takes too many messages".into()));
    }
    match carried.stage {
        // The rest of it is between the two.
        Stage::Challenge if !carried.ways.is_served && !carried.ways.asks => return Ok(()),
        Stage::ToClient(Turn::Nobody) => return Ok(()),
        Stage::Challenge => {
            let login = Login::of(packet, carried.ways).ok_or_else(|| {
                Reason::Starttls(Side::Client, "its first message is no login that can be carried".into())
            })?;
            carried.shift = login.shift;
            (carried.stage, carried.packet, carried.rest) = match carried.ways.asks {
                true => (Stage::Wish, login.wish, login.packet),
                false => (Stage::ToServer, login.packet, Vec::new()),
            };
        }
        Stage::Wish => {
            (carried.stage, carried.packet) = (Stage::ToServer, mem::take(&mut carried.rest));
        }
        Stage::ToServer => {
            let turn = turn(&packet);
            from_server(&mut packet, carried.shift);
            (carried.stage, carried.packet) = (Stage::ToClient(turn), packet);
        }
        Stage::ToClient(_) => {
            // Of nothing, if it is the server's turn again.
            from_client(&mut packet, carried.shift);
            (carried.stage, carried.packet) = (Stage::ToServer, packet);
        }
    }
    pair.login = Some(carried);
    Ok(())
}

fn expired(pair: &mut Pair, _: &Service, _: &mut Ctx) -> Option<Reason> {
    let to_client = |carried: &Carried| matches!(carried.stage, Stage::Challenge | Stage::ToClient(_));
    let side = if pair.login.as_deref().is_some_and(to_client) { Side::Client } else { Side::Server };
    pair.talk = None;
    Some(Reason::HandshakeTimeout(side))
}
