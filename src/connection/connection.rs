// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection's life: handshake, relay, and the ways out of it.
//!
//! The ends are written down in docs/closing.md: both directions carried to their ends is the only clean one. After a
//! stream broke, what had arrived goes out first, then the other side is reset; after a handshake failed, the client is
//! told and heard out, so that a reset does not eat what it was told.

use super::context::Ctx;
use super::guard::Guard;
use super::pair::Pair;
use super::plan::Plan;
use super::relay::{BothReady, Turn};
use crate::channel::{Flow, Moved};
use crate::error::{Reason, Side};
use crate::event::{Fault, Handler, Interest, Leg, Ready, Verdict, Watched};
use crate::handshake::{Cursor, Progress};
use crate::policy::service::Timeouts;
use crate::stats::Counter;
use crate::stream::Source;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an ending connection looks whether the peer has acknowledged its last bytes.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One client and its server.
#[derive(Debug)]
pub struct Connection {
    pub(super) id: u64,
    pub(super) pair: Pair,
    pub(super) plan: Arc<Plan>,
    phase: Phase,
    /// What happened since the last turn.
    ready: BothReady,
    /// Its deadline was set at least once.
    armed: bool,
    /// The client was heard out: nothing of ours can be eaten by a reset.
    heard_out: bool,
    _guard: Guard,
}

#[derive(Debug)]
enum Phase {
    Handshake(Cursor),
    Relay,
    /// The client was told the end; what it still says is discarded until it ends too.
    Linger(Reason),
    /// The last bytes are on their way to the side that does not know yet; then everything is reset.
    Abort {
        reason: Reason,
        sink: Side,
        until: Instant,
    },
}

/// Leg 0 is the client, leg 1 the server.
fn side_of(leg: Leg) -> Side {
    if leg.0 == 0 { Side::Client } else { Side::Server }
}

impl Connection {
    /// A connection that has just been taken from the queue.
    pub fn new(pair: Pair, plan: Arc<Plan>, guard: Guard, ctx: &mut Ctx) -> Self {
        plan.service.stats.add(ctx.worker, Counter::Accepted, 1);
        Self {
            id: ctx.next_id(),
            pair,
            plan,
            phase: Phase::Handshake(Cursor::default()),
            ready: BothReady::default(),
            armed: false,
            heard_out: false,
            _guard: guard,
        }
    }

    /// What it is doing, for dumps and for the lines that tell of failures.
    pub fn activity(&self) -> &'static str {
        match &self.phase {
            Phase::Handshake(cursor) => {
                let steps = self.plan.steps(cursor.in_back, self.pair.facts.route);
                steps.get(cursor.index).map_or("starting", |step| step.name)
            }
            Phase::Relay => match (self.pair.up.flow(), self.pair.down.flow()) {
                (Flow::Open, Flow::Open) => "relaying",
                (_, Flow::Open) => "relaying after the client's end",
                (Flow::Open, _) => "relaying after the server's end",
                _ => "delivering the last bytes",
            },
            Phase::Linger(_) => "hearing the client out",
            Phase::Abort { .. } => "delivering the last bytes before a reset",
        }
    }

    /// Tells its state to the log.
    pub fn dump(&self, ctx: &Ctx) {
        super::last_words::describe(self, ctx);
    }

    fn timeouts(&self) -> &Timeouts {
        &self.plan.service.timeouts
    }

    /// Takes it as far as it goes.
    fn advance(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        if matches!(self.phase, Phase::Handshake(_)) {
            match self.shake_hands(ctx) {
                Ok(Progress::Done) => {
                    self.phase = Phase::Relay;
                    // The handshake's deadline is over, whatever the first turn moves.
                    self.armed = false;
                    // Who speaks first has most probably spoken by now.
                    self.ready.client.read = true;
                }
                Ok(Progress::Wait(wait)) => return self.keep(wait.patience),
                Err(reason) => return self.fail(reason, ctx),
            }
        }
        match self.phase {
            Phase::Relay => self.relay(ctx),
            Phase::Linger(_) => self.linger(ctx),
            Phase::Abort { .. } | Phase::Handshake(_) => self.await_acknowledgement(ctx),
        }
    }

    /// Waits; the first wait arms the client's handshake deadline, which is a total.
    fn keep(&mut self, patience: Option<Duration>) -> Verdict<Reason> {
        let first = !mem::replace(&mut self.armed, true);
        match patience {
            Some(patience) => Verdict::Keep(patience),
            None if first => Verdict::Keep(self.timeouts().handshake),
            None => Verdict::Hold,
        }
    }

    /// Runs the steps of the front, then of the back.
    fn shake_hands(&mut self, ctx: &mut Ctx) -> Result<Progress, Reason> {
        let Self { pair, plan, phase: Phase::Handshake(cursor), ready, .. } = self else {
            return Ok(Progress::Done);
        };
        *ready = BothReady::default();
        loop {
            let steps = plan.steps(cursor.in_back, pair.facts.route);
            match cursor.run(steps, pair, &plan.service, ctx)? {
                Progress::Done if !cursor.in_back => *cursor = Cursor { in_back: true, ..Cursor::default() },
                progress => return Ok(progress),
            }
        }
    }

    fn relay(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        let ready = mem::take(&mut self.ready);
        let turn = self.plan.relay.pump(&mut self.pair, ready, ctx);
        let pair = &mut self.pair;
        for side in [Side::Client, Side::Server] {
            let sink = pair.endpoint(side.other());
            let channel = pair.channel_from(side);
            let empty = channel.held() == 0 && sink.is_none_or(|sink| channel.is_empty(sink));
            if matches!(channel.flow(), Flow::Breaking(_)) && empty {
                return self.abort(side, ctx);
            }
        }
        match (pair.up.flow(), pair.down.flow()) {
            (Flow::Shut, Flow::Shut) => Verdict::Close(Reason::Done),
            // Nobody takes what the client says; it has got all that is for it.
            (Flow::Dead(_), Flow::Shut) => {
                let reason = pair.up.take_reason().unwrap_or(Reason::Done);
                self.hear_out(reason, ctx)
            }
            (_, Flow::Dead(_))
                if !matches!(pair.up.flow(), Flow::Open | Flow::Draining | Flow::Breaking(_)) =>
            {
                let reason = pair.down.take_reason().unwrap_or(Reason::Done);
                match pair.up.flow() {
                    // All that the client said is on its way to the server, which has not read it yet perhaps.
                    Flow::Shut => self.reset_after_last_bytes(reason, Side::Server, ctx),
                    _ => Verdict::Close(reason),
                }
            }
            _ => {
                for side in [Side::Client, Side::Server] {
                    if let Some(end) = pair.endpoint_mut(side) {
                        end.send_owed_fin();
                    }
                }
                self.patience(turn)
            }
        }
    }

    /// How long silence is tolerated after this turn.
    fn patience(&mut self, turn: Turn) -> Verdict<Reason> {
        let pair = &self.pair;
        let has_more = |side: Side| {
            let (Some(from), Some(to)) = (pair.endpoint(side), pair.endpoint(side.other())) else {
                return false;
            };
            from.stream.holds_input() && pair.channel_from(side).wants_input(to)
        };
        if has_more(Side::Client) || has_more(Side::Server) {
            return Verdict::Again;
        }
        let ended = Moved::SHUT_IN | Moved::SHUT_OUT | Moved::ERR_IN | Moved::ERR_OUT;
        let progress =
            |moved: Moved| moved.read + moved.written + moved.flushed > 0 || moved.flags & ended != 0;
        if !progress(turn.up) && !progress(turn.down) && mem::replace(&mut self.armed, true) {
            return Verdict::Hold;
        }
        let timeouts = &self.plan.service.timeouts;
        Verdict::Keep(match (pair.up.flow(), pair.down.flow()) {
            (Flow::Open, Flow::Open) => timeouts.idle,
            (Flow::Breaking(_), _) | (_, Flow::Breaking(_)) => timeouts.linger,
            _ => timeouts.half_close,
        })
    }

    /// A handshake failed.
    fn fail(&mut self, reason: Reason, ctx: &mut Ctx) -> Verdict<Reason> {
        match reason {
            Reason::Handshake(Side::Client, _)
            | Reason::NotTls(_)
            | Reason::BadHello(_)
            | Reason::NameChanged => self.hear_out(reason, ctx),
            other => Verdict::Close(other),
        }
    }

    /// Tells the client the end and discards what it still says, or our last bytes might be lost to a reset.
    fn hear_out(&mut self, reason: Reason, ctx: &mut Ctx) -> Verdict<Reason> {
        self.phase = Phase::Linger(reason);
        self.pair.client.shutdown_write();
        match self.linger(ctx) {
            Verdict::Hold => Verdict::Keep(self.timeouts().linger),
            verdict => verdict,
        }
    }

    fn linger(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        let client = &mut self.pair.client;
        let gone = client.advance_close(&mut ctx.buffers.scratch).is_some();
        let over =
            gone || client.read_ended() || client.write_ended() && discard(client, ctx) || client.is_dead();
        if over {
            self.heard_out = true;
            return Verdict::Close(self.take_reason());
        }
        Verdict::Hold
    }

    /// What `from` sent broke off, and all of it has been handed on: the other side must learn that it is not complete.
    fn abort(&mut self, from: Side, ctx: &Ctx) -> Verdict<Reason> {
        let channel = if from == Side::Client { &mut self.pair.up } else { &mut self.pair.down };
        let reason = channel.take_reason().unwrap_or(Reason::Done);
        self.reset_after_last_bytes(reason, from.other(), ctx)
    }

    /// Ends by a reset once `sink` has all that was handed to its kernel.
    fn reset_after_last_bytes(&mut self, reason: Reason, sink: Side, ctx: &Ctx) -> Verdict<Reason> {
        let until = ctx.now + self.timeouts().linger;
        self.phase = Phase::Abort { reason, sink, until };
        self.await_acknowledgement(ctx)
    }

    /// A reset would eat what the peer's kernel has not acknowledged.
    fn await_acknowledgement(&mut self, ctx: &Ctx) -> Verdict<Reason> {
        let Phase::Abort { sink, until, .. } = &self.phase else { return Verdict::Hold };
        let socket = self.pair.endpoint(*sink).and_then(|end| end.stream.socket());
        let arrived = socket.is_none_or(|socket| socket.unacknowledged() == 0);
        if arrived || ctx.now >= *until {
            return Verdict::Close(self.take_reason());
        }
        Verdict::Keep(LOOK_AGAIN)
    }

    fn take_reason(&mut self) -> Reason {
        match mem::replace(&mut self.phase, Phase::Relay) {
            Phase::Linger(reason) | Phase::Abort { reason, .. } => reason,
            Phase::Handshake(_) | Phase::Relay => Reason::Done,
        }
    }
}

/// Reads and forgets; true when the client has ended or broken.
fn discard(client: &mut crate::stream::endpoint::Endpoint, ctx: &mut Ctx) -> bool {
    let Some(socket) = client.stream.socket() else { return true };
    // Past the TLS library, which must not be called after a fatal error; nobody wants to know what it was.
    let mut got = crate::stream::raw::receive(socket, ctx.buffers.plain());
    client.note_source(&mut got.then);
    matches!(got.then, Source::Shut | Source::Broken(_))
}

impl Handler for Box<Connection> {
    type Ctx = Ctx;
    type Reason = Reason;

    fn watched(&self, leg: Leg) -> Option<Watched<'_>> {
        self.pair.endpoint(side_of(leg))?.watched()
    }

    fn interest(&self, leg: Leg) -> Interest {
        let side = side_of(leg);
        let Some(end) = self.pair.endpoint(side) else { return Interest::default() };
        match &self.phase {
            Phase::Handshake(cursor) => match cursor.waits.filter(|wait| wait.side == side) {
                Some(wait) => end.interest(wait.read, !wait.read),
                None => end.interest(false, false),
            },
            Phase::Relay => {
                let output = self.pair.channel_from(side.other()).held() > 0;
                let input = self.pair.channel_from(side);
                let wants = match self.pair.endpoint(side.other()) {
                    Some(sink) => input.wants_input(sink),
                    None => matches!(input.flow(), Flow::Open) && !output,
                };
                end.interest(wants, output)
            }
            Phase::Linger(_) if side == Side::Client => end.interest(end.write_ended(), false),
            Phase::Linger(_) | Phase::Abort { .. } => Interest::default(),
        }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.extend([Leg(0), Leg(1)]);
    }

    fn timed(&self, _: Leg) -> Leg {
        Leg(0)
    }

    fn ready(&mut self, leg: Leg, ready: Ready, ctx: &mut Ctx) -> Verdict<Reason> {
        let side = side_of(leg);
        match side {
            Side::Client => self.ready.client = ready,
            Side::Server => self.ready.server = ready,
        }
        if ready.write && !matches!(self.phase, Phase::Relay) {
            if let Some(end) = self.pair.endpoint_mut(side) {
                end.flush();
            }
        }
        self.advance(ctx)
    }

    fn expired(&mut self, _: Leg, ctx: &mut Ctx) -> Verdict<Reason> {
        match &mut self.phase {
            Phase::Handshake(cursor) => {
                let steps = self.plan.steps(cursor.in_back, self.pair.facts.route);
                let step = steps.get(cursor.index);
                match step.and_then(|step| (step.expired)(&mut self.pair, &self.plan.service)) {
                    Some(reason) => Verdict::Close(reason),
                    None => self.advance(ctx),
                }
            }
            Phase::Relay => Verdict::Close(match (self.pair.up.flow(), self.pair.down.flow()) {
                (Flow::Open, Flow::Open) => Reason::Idle,
                (Flow::Breaking(_), _) | (_, Flow::Breaking(_)) => Reason::LingerTimeout,
                _ => Reason::HalfCloseTimeout,
            }),
            Phase::Linger(_) => Verdict::Close(self.take_reason()),
            Phase::Abort { .. } => self.await_acknowledgement(ctx),
        }
    }

    fn closed(mut self, reason: Reason, ctx: &mut Ctx) {
        if !matches!(reason, Reason::Done) && !self.heard_out {
            self.pair.reset();
        }
        super::last_words::say(&mut self, &reason, ctx);
        self.pair.up.release(&mut ctx.buffers);
        self.pair.down.release(&mut ctx.buffers);
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Panic => Self::Panic,
            Fault::Watch(error) => Self::System(error),
        }
    }
}
