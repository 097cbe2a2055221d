// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways out that take time: hearing a client out, and a reset that waits for the bytes before it.
//!
//! Both follow the seed's sequence (docs/closing.md): nobody wants what the peer still says, so it is read and thrown
//! away, while what it is to have still leaves; then it is waited until the peer has it. *Hearing out* ends in an
//! ordinary close: at the peer's end, or when it has acknowledged our last bytes, FIN included, and is silent; closing
//! while it still speaks would make a reset, which may eat what it has not read. An *abort* ends in a reset of both
//! sides. Either ends at its deadline at the latest. Not here: when it comes to that (`connection.rs`), and the order of
//! close_notify and FIN (`stream/endpoint.rs`).

use super::context::Ctx;
use super::pair::Pair;
use super::relay::BothReady;
use crate::channel::Flow;
use crate::error::{Break, Reason, Side};
use crate::event::Interest;
use crate::stream::Sink;
use crate::stream::endpoint::Endpoint;
use std::io;
use std::time::{Duration, Instant};

/// When an ending connection looks again whether the peer has what it was sent; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The same, for a peer that is heard out: only who keeps silent so long, and longer each time it does not, counts as
/// silent. One that is between two writes does not.
const FIRST_SILENCE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest that `linger` can mean: a time beyond what the clock can count never comes.
const LONGEST_LINGER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads of unwanted bytes per turn, where a TLS library still holds some.
const DISCARDS: usize = 4;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// An end that waits. Few connections end so, and all would carry the room for it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) reason: Reason,
    /// Who must have the last bytes before.
    whom: Whom,
    /// It is to be an ordinary close: the peer is heard out.
    orderly: bool,
    until: Instant,
    /// Until the next look.
    pause: Duration,
    /// At the last look the peer had everything, and had been silent.
    arrived: bool,
    /// Since the last look the peer spoke.
    heard: bool,
}

/// Whose last bytes are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    One(Side),
    Both,
}

impl Whom {
    fn sides(self) -> impl Iterator<Item = Side> {
        SIDES.into_iter().filter(move |side| self == Self::Both || self == Self::One(*side))
    }
}

/// What an ending connection does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Waits for events, or for the look that is due already.
    Hold,
    /// Looks again after so long.
    Look(Duration),
    /// An ordinary close, which eats nothing.
    Close,
    Reset,
}

impl Ending {
    /// Tells the client the end, and hears it out before the close: its unread bytes would make that a reset, and our
    /// last ones might be lost to it.
    pub(super) fn hear_out(reason: Reason, pair: &mut Pair, ctx: &Ctx, linger: Duration) -> Self {
        pair.client.shutdown_read();
        pair.client.shutdown_write();
        let later = Self::abort_later(reason, Whom::One(Side::Client), ctx, linger);
        Self { orderly: true, pause: FIRST_SILENCE, heard: true, ..later }
    }

    /// Resets both sides, but not before `whom` has what it is still to have: that its stream is not complete it must
    /// learn from a reset behind the last byte.
    pub(super) fn abort(reason: Reason, whom: Whom, pair: &mut Pair, ctx: &Ctx, linger: Duration) -> Self {
        for side in whom.sides() {
            if let Some(end) = pair.endpoint_mut(side) {
                end.shutdown_read();
                // A reset comes instead of the close that was to send it.
                end.send_owed_fin();
            }
        }
        Self::abort_later(reason, whom, ctx, linger)
    }

    fn abort_later(reason: Reason, whom: Whom, ctx: &Ctx, linger: Duration) -> Self {
        let until = ctx.now + linger.min(LONGEST_LINGER);
        Self { reason, whom, orderly: false, until, pause: FIRST_PAUSE, arrived: false, heard: false }
    }

    /// For dumps, and for the lines that tell of failures.
    pub(super) fn activity(&self) -> &'static str {
        if self.orderly { "hearing the client out" } else { "delivering the last bytes before a reset" }
    }

    /// What is waited for on that side.
    pub(super) fn interest(&self, pair: &Pair, side: Side) -> Interest {
        match pair.endpoint(side) {
            Some(end) if self.whom.sides().any(|whose| whose == side) && !end.is_gone() => {
                end.interest(false, pair.channel_from(side.other()).held() > 0)
            }
            _ => Interest::default(),
        }
    }

    /// Something happened: sends what is left, throws away what comes.
    pub(super) fn advance(&mut self, pair: &mut Pair, ready: BothReady, ctx: &mut Ctx) -> Next {
        for side in self.whom.sides() {
            let ready = if side == Side::Client { ready.client } else { ready.server };
            let Some((end, channel)) = pair.sink(side).filter(|(end, _)| !end.is_gone()) else { continue };
            if ready.write || ready.failed || !end.blocked() {
                channel.pump_out(end, &mut ctx.buffers);
                // How it broke does not matter any more.
                let _broken = end.advance_close(&mut ctx.buffers.scratch);
            }
            let (plain, scratch) = ctx.buffers.plain_and_scratch();
            self.heard |= end.discard(plain, scratch) > 0;
        }
        let done = |end: &Endpoint| {
            // That the peer has ended does not end what it is to be told.
            end.is_gone() || self.orderly && end.read_ended() && (end.write_ended() || end.write_broken())
        };
        if self.whom.sides().all(|side| pair.endpoint(side).is_none_or(done)) {
            self.over()
        } else {
            Next::Hold
        }
    }

    /// A pause is over: looks whether the end has come.
    pub(super) fn look(&mut self, pair: &mut Pair, ctx: &mut Ctx) -> Next {
        // First what may have come in this very turn.
        match self.advance(pair, BothReady::default(), ctx) {
            Next::Hold => {}
            next => return next,
        }
        let arrived = self.whom.sides().all(|side| self.has_all(pair, side));
        // Who was silent in two pauses, and in the second had everything, will hardly speak again.
        if arrived && (!self.orderly || self.arrived && !self.heard) {
            return self.over();
        }
        if ctx.now >= self.until {
            return Next::Reset;
        }
        // A peer that has only now been told the end has not kept silent since.
        (self.arrived, self.heard) = (arrived && !self.heard, false);
        Next::Look(self.next_pause(ctx.now))
    }

    fn over(&self) -> Next {
        if self.orderly { Next::Close } else { Next::Reset }
    }

    /// Whether that side has acknowledged all that it is to have, or is not there to do so.
    fn has_all(&self, pair: &Pair, side: Side) -> bool {
        let Some(end) = pair.endpoint(side) else { return true };
        let told = !self.orderly || end.write_ended();
        let left = end.write_broken() || told && pair.channel_from(side.other()).is_empty(end);
        end.is_gone() || left && end.stream.unacknowledged() == 0
    }

    /// How long until the next look. The pauses are few different ones, which keeps deadlines cheap: one that would
    /// reach beyond the end is halved, not cut.
    fn next_pause(&mut self, now: Instant) -> Duration {
        let left = self.until.saturating_duration_since(now);
        let mut pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        while pause > left && pause > FIRST_PAUSE {
            pause /= 2;
        }
        pause
    }
}

/// A stream that broke as a source is none as a sink either: a TLS library that failed must not be called again, and a
/// socket that was reset takes nothing.
pub(super) fn note_broken_sources(pair: &mut Pair) {
    for side in SIDES {
        let Flow::Breaking(reason) = pair.channel_from(side).flow() else { continue };
        let Some(how) = how_of(reason) else { continue };
        let Some((end, channel)) = pair.sink(side) else { continue };
        if !end.write_broken() && !end.write_ended() {
            end.note_sink(0, &Sink::Broken(how.again()));
            channel.lose_sink(how);
        }
    }
}

/// Throws away what comes from a source whose sink is gone: it may have to be rid of it before it reads what it is sent,
/// a client that uploads before it listens, for one. None of this counts as progress.
pub(super) fn discard_unwanted(pair: &mut Pair, ready: BothReady, ctx: &mut Ctx) {
    for (side, ready) in [(Side::Client, ready.client), (Side::Server, ready.server)] {
        let dead = matches!(pair.channel_from(side).flow(), Flow::Dead(_));
        let Some(end) = pair.endpoint_mut(side).filter(|_| dead) else { continue };
        end.shutdown_read();
        let mut more = ready.read || ready.failed;
        for _ in 0..DISCARDS {
            if !more && !end.stream.holds_input() {
                break;
            }
            more = false;
            let (plain, scratch) = ctx.buffers.plain_and_scratch();
            end.discard(plain, scratch);
        }
    }
}

/// How a stream broke that ended a connection for this reason.
fn how_of(reason: &Reason) -> Option<Break> {
    match reason {
        Reason::Reset(_) => Some(Break::Reset(io::ErrorKind::ConnectionReset.into())),
        Reason::Truncated(_) => Some(Break::Truncated),
        Reason::TlsBroken(_, flaw, text) => Some(Break::Tls(*flaw, text.clone())),
        Reason::Gone(_) => Some(Break::Gone),
        _ => None,
    }
}
