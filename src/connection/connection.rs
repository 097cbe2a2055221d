// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection's life: handshake, relay, and the ways out of it.
//!
//! The ends are written down in docs/closing.md: both directions carried to their ends is the only clean one. After a
//! stream broke, what had arrived goes out first, then the other side is reset; after a handshake failed, the client is
//! told and heard out, so that a reset does not eat what it was told. Here it is decided that a connection ends;
//! `ending.rs` sees to the ends that take time.

use super::context::{Answer, Ctx, Told};
use super::ending::{self, Ending, Next, Whom};
use super::guard::Guard;
use super::last_words::{self, Subject};
use super::pace::Pace;
use super::pair::Pair;
use super::plan::Plan;
use super::refusal;
use super::relay::{BothReady, Turn};
use crate::channel::{Flow, Moved};
use crate::error::{Break, Reason, Refusal, Side};
use crate::event::{Fault, Handler, Interest, Key, Leg, Ready, Verdict, Watched};
use crate::handshake::{Cursor, Progress, answer, connect, go_back, rules};
use crate::policy::service::Timeouts;
use crate::stats::{Counter, Presence};
use crate::stream::Sink;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Connections that one worker holds in a tarpit; those beyond it are rejected, so that who floods us fills no more.
const TARPITTED: usize = 1024;

/// One client and its server.
#[derive(Debug)]
pub struct Connection {
    pub(super) pair: Pair,
    pub(super) plan: Arc<Plan>,
    pub(super) phase: Phase,
    /// What happened since the last turn.
    pub(super) ready: BothReady,
    /// Its deadline was set at least once.
    armed: bool,
    /// The client was heard out: nothing of ours can be eaten by a reset.
    heard_out: bool,
    /// That it failed was told when it did.
    told: bool,
    pub(super) pace: Pace,
    /// When its relay began, as [`Ctx::stamp`] tells.
    pub(super) relayed: u32,
    guard: Guard,
}

#[derive(Debug)]
pub(super) enum Phase {
    Handshake(Cursor),
    Relay,
    /// The client is heard out, or the last bytes are on their way before a reset.
    Ending(Box<Ending>),
    /// A rule holds it: nothing is read, and only time or the client ends it.
    Tarpit(Reason),
}

/// Leg 0 is the client, leg 1 the server.
fn side_of(leg: Leg) -> Side {
    if leg.0 == 0 { Side::Client } else { Side::Server }
}

impl Connection {
    /// Which leg a socket towards the server is. Of two, each stays what it is, whichever of them becomes the server's: they
    /// go by their serial numbers (`handshake/race.rs`).
    fn leg_of(&self, watched: &Watched<'_>) -> Leg {
        Leg(if self.pair.raced { 1 + watched.serial % 2 } else { 1 })
    }

    /// A connection that has just been taken from the queue.
    pub fn new(mut pair: Pair, plan: Arc<Plan>, guard: Guard, ctx: &Ctx) -> Self {
        let at = ctx.at();
        let listener = pair.stays.listener.get_or_insert_with(|| Presence::enter(&plan.service.stats, at));
        listener.scope().add(ctx.worker, Counter::Accepted, 1);
        pair.facts.id = ctx.next_id();
        let queued = ctx.now.saturating_duration_since(pair.facts.accepted).as_micros();
        pair.facts.queued = u32::try_from(queued).unwrap_or(u32::MAX);
        Self {
            pair,
            plan,
            phase: Phase::Handshake(Cursor::default()),
            ready: BothReady::default(),
            armed: false,
            heard_out: false,
            told: false,
            pace: Pace::new(at),
            relayed: 0,
            guard,
        }
    }

    fn subject(&mut self) -> Subject<'_> {
        let doing = self.activity();
        Subject { pair: &mut self.pair, service: &self.plan.service, doing }
    }

    /// Tells, once, of a failure, while it is known what the connection was doing.
    pub(super) fn tell_failure(&mut self, reason: &Reason, ctx: &Ctx) {
        if !mem::replace(&mut self.told, true) {
            last_words::tell_failure(&self.subject(), reason, ctx);
        }
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.plan.service.timeouts
    }

    /// Takes it as far as it goes.
    pub(super) fn advance(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        if matches!(self.phase, Phase::Handshake(_)) {
            match self.shake_hands(ctx) {
                Ok(Progress::Done) => {
                    self.phase = Phase::Relay;
                    connect::succeeded(&self.pair, &self.plan.service, ctx);
                    self.pair.attempt = None;
                    self.relayed = ctx.stamp();
                    self.set_alarms(ctx);
                    // The handshake's deadline is over, whatever the first turn moves.
                    self.armed = false;
                    // Who speaks first has most probably spoken by now; a TLS client was read to the last byte.
                    self.ready.client.read = self.pair.client.stream.as_tls().is_none();
                }
                Ok(Progress::Wait(wait)) => return self.keep(wait.patience),
                Ok(Progress::Ask(patience)) => return self.keep(Some(patience)),
                Err(reason) => return self.fail(reason, ctx),
            }
        }
        match self.phase {
            Phase::Relay => self.relay(ctx),
            Phase::Handshake(_) | Phase::Ending(_) => self.end(ctx, Ending::advance),
            Phase::Tarpit(_) => Verdict::Hold,
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
            match cursor.run(steps, pair, &plan.service, ctx) {
                Ok(Progress::Done) if !cursor.in_back => *cursor = Cursor::at_back(),
                Ok(progress) => return Ok(progress),
                Err(reason) => go_back(cursor, steps, pair, &plan.service, reason, ctx)?,
            }
        }
    }

    /// The kernel says that `side` failed. While it is being read, reading tells how; after its end nobody would.
    fn note_failure(&mut self, side: Side) {
        let Some(end) = self.pair.endpoint_mut(side) else { return };
        if !end.read_ended() || end.write_ended() {
            return;
        }
        let how = Break::Reset(io::ErrorKind::ConnectionReset.into());
        // Or the kernel would tell again and again while the other direction is still busy.
        end.note_sink(0, &Sink::Broken(how.again()));
        let channel = if side == Side::Client { &mut self.pair.down } else { &mut self.pair.up };
        channel.lose_sink(how);
    }

    fn relay(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        let ready = mem::take(&mut self.ready);
        let turn = self.plan.relay.pump(&mut self.pair, ready, ctx);
        self.count_bytes(ctx);
        if let Err(reason) = rules::charge(&mut self.pair, &self.plan.service, turn.bytes(), ctx) {
            return self.fail(reason, ctx);
        }
        ending::note_broken_sources(&mut self.pair);
        ending::discard_unwanted(&mut self.pair, ready, ctx);
        let pair = &mut self.pair;
        for side in [Side::Client, Side::Server] {
            let sink = pair.endpoint(side.other());
            let channel = pair.channel_from(side);
            let empty = channel.held() == 0 && sink.is_none_or(|sink| channel.is_empty(sink));
            if matches!(channel.flow(), Flow::Breaking(_)) && empty {
                let channel = if side == Side::Client { &mut pair.up } else { &mut pair.down };
                let reason = channel.take_reason().unwrap_or(Reason::Done);
                return self.abort(reason, Whom::One(side.other()), ctx);
            }
        }
        let alone = pair.server.is_none();
        match (pair.up.flow(), pair.down.flow()) {
            (Flow::Shut, Flow::Shut) => Verdict::Close(Reason::Done),
            // Nobody takes what the client says; it has got all that is for it.
            (Flow::Dead(_), Flow::Shut) => {
                let reason = pair.up.take_reason().unwrap_or(Reason::Done);
                self.hear_out(reason, ctx)
            }
            // Nobody takes what the server says, and there is nothing left for it: it must learn that, but not before
            // what it was sent has arrived.
            (Flow::Shut | Flow::Dead(_), Flow::Dead(_)) => {
                let reason = pair.down.take_reason().unwrap_or(Reason::Done);
                self.abort(reason, Whom::One(Side::Server), ctx)
            }
            // We answer by ourselves, and the answer reaches nobody.
            (_, Flow::Dead(_)) if alone => Verdict::Close(pair.down.take_reason().unwrap_or(Reason::Done)),
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
            let input = pair.endpoint(side).is_some_and(|end| end.stream.holds_input());
            input && wants_input(pair, side)
        };
        let again = has_more(Side::Client) || has_more(Side::Server);
        let ended = Moved::SHUT_IN | Moved::SHUT_OUT | Moved::ERR_IN | Moved::ERR_OUT;
        let progress =
            |moved: Moved| moved.read + moved.written + moved.flushed > 0 || moved.flags & ended != 0;
        let idle = !progress(turn.up) && !progress(turn.down);
        if idle && mem::replace(&mut self.armed, true) && !again {
            return Verdict::Hold;
        }
        let patience = self.tolerated_silence();
        if again { Verdict::Again(patience) } else { Verdict::Keep(patience) }
    }

    /// A handshake failed, or all there was to do is done. Who was refused or answered is told that this is the end, and
    /// must get what it was told.
    fn fail(&mut self, reason: Reason, ctx: &mut Ctx) -> Verdict<Reason> {
        self.tell_failure(&reason, ctx);
        let told = answer::refuse(&mut self.pair, &self.plan.service, &reason, ctx);
        // It deserves no line, but one that breaks its handshake off has failed it as much as one that ends it in order.
        if matches!(reason, Reason::Reset(Side::Client) | Reason::Gone(Side::Client)) {
            self.pair.facts.judged.handshake_failed(ctx.now);
        }
        match reason {
            Reason::Handshake(Side::Client, ..)
            | Reason::NotTls(_)
            | Reason::BadHello(_)
            | Reason::NameChanged
            | Reason::ProxyHeader(_)
            | Reason::NoRoute(_)
            | Reason::RouteRejects(_)
            | Reason::Starttls(Side::Client, _)
            | Reason::Injected(Side::Client, _)
            | Reason::BadRequest(_)
            | Reason::BadAsking(_)
            | Reason::Replied => self.hear_out(reason, ctx),
            // Whoever comes beyond a limit must not fill the places of all services while it is told so.
            Reason::Limit(..) if self.guard.leaves_room() => self.hear_out(reason, ctx),
            Reason::Rule(_, how) if !told => self.refuse(how, reason, ctx),
            other if told => self.hear_out(other, ctx),
            other => Verdict::Close(other),
        }
    }

    /// A rule refused it.
    fn refuse(&mut self, how: Refusal, reason: Reason, ctx: &mut Ctx) -> Verdict<Reason> {
        match how {
            // Past the handshake there is nothing to say any more: it is cut.
            Refusal::Reject if matches!(self.phase, Phase::Handshake(_)) => {
                refusal::tell(&mut self.pair, &self.plan.service, &reason, ctx);
                self.hear_out(reason, ctx)
            }
            // Nor may it fill all places there are, which other services want too.
            Refusal::Tarpit if ctx.tarpitted < TARPITTED && self.guard.leaves_room() => {
                ctx.tarpitted += 1;
                // Nobody will have what was read: the reset that follows says so. It shall not be kept so long.
                if let Some(raw) = self.pair.client.stream.as_raw() {
                    raw.consume(usize::MAX);
                }
                self.pair.up.release(&mut ctx.buffers);
                self.pair.down.release(&mut ctx.buffers);
                self.phase = Phase::Tarpit(reason);
                Verdict::Keep(self.timeouts().tarpit)
            }
            Refusal::Reject | Refusal::Tarpit => Verdict::Close(reason),
            Refusal::Drop => {
                if let Some(socket) = self.pair.client.stream.socket() {
                    socket.vanish_on_close();
                }
                Verdict::Close(reason)
            }
        }
    }

    /// The end of a tarpit.
    pub(super) fn let_go(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        match mem::replace(&mut self.phase, Phase::Relay) {
            Phase::Tarpit(reason) => {
                ctx.tarpitted -= 1;
                Verdict::Close(reason)
            }
            other => {
                self.phase = other;
                Verdict::Hold
            }
        }
    }

    /// An ordinary close, when the client has been heard out.
    pub(super) fn hear_out(&mut self, reason: Reason, ctx: &mut Ctx) -> Verdict<Reason> {
        let linger = self.timeouts().linger;
        let ending = Ending::hear_out(reason, &mut self.pair, ctx, linger);
        self.phase = Phase::Ending(Box::new(ending));
        self.end(ctx, |ending, pair, _, ctx| ending.look(pair, ctx))
    }

    /// A reset, when `whom` has what it is still to have.
    pub(super) fn abort(&mut self, reason: Reason, whom: Whom, ctx: &mut Ctx) -> Verdict<Reason> {
        let linger = self.timeouts().linger;
        let ending = Ending::abort(reason, whom, &mut self.pair, ctx, linger);
        self.phase = Phase::Ending(Box::new(ending));
        self.end(ctx, |ending, pair, _, ctx| ending.look(pair, ctx))
    }

    /// What it waits for on that side.
    pub(super) fn interest_in(&self, side: Side) -> Interest {
        let Some(end) = self.pair.endpoint(side) else { return Interest::default() };
        match &self.phase {
            Phase::Handshake(cursor) => match cursor.waits {
                Some((waiting, read)) if waiting == side => end.interest(read, !read),
                // As in a tarpit.
                None if side == Side::Client && self.stands_in_line() => {
                    Interest { failure: true, ..end.interest(false, false) }
                }
                _ => end.interest(false, false),
            },
            Phase::Relay => {
                let output = self.pair.channel_from(side.other()).held() > 0;
                end.interest(wants_input(&self.pair, side), output)
            }
            Phase::Ending(ending) => ending.interest(&self.pair, side),
            // That the client goes is to be told: it makes room.
            Phase::Tarpit(_) => Interest { failure: side == Side::Client, ..Interest::default() },
        }
    }

    /// Whether it waits until a server has room.
    fn stands_in_line(&self) -> bool {
        let in_line = self.pair.attempt.as_ref().is_some_and(|tried| tried.waits.is_some());
        in_line && matches!(self.phase, Phase::Handshake(_))
    }

    /// Takes an end further.
    pub(super) fn end(
        &mut self,
        ctx: &mut Ctx,
        how: impl FnOnce(&mut Ending, &mut Pair, BothReady, &mut Ctx) -> Next,
    ) -> Verdict<Reason> {
        self.count_bytes(ctx);
        let ready = mem::take(&mut self.ready);
        let Phase::Ending(ending) = &mut self.phase else { return Verdict::Hold };
        let next = how(ending, &mut self.pair, ready, ctx);
        match next {
            Next::Hold => return Verdict::Hold,
            Next::Look(pause) => return Verdict::Keep(pause),
            Next::Close => self.heard_out = true,
            Next::Reset => {}
        }
        Verdict::Close(mem::replace(&mut ending.reason, Reason::Done))
    }
}

/// Whether `side` should be read. A relay that answers by itself reads when its answer to what it read before has left.
fn wants_input(pair: &Pair, side: Side) -> bool {
    let channel = pair.channel_from(side);
    match (pair.endpoint(side), pair.endpoint(side.other())) {
        (Some(from), Some(to)) => channel.wants_input(from, to),
        (Some(from), None) => matches!(channel.flow(), Flow::Open) && pair.down.is_empty(from),
        (None, _) => false,
    }
}

impl Handler for Box<Connection> {
    type Ctx = Ctx;
    type Answer = Answer;
    type Reason = Reason;

    fn watched(&self, leg: Leg) -> Option<Watched<'_>> {
        match leg {
            Leg(0) => self.pair.client.watched(),
            leg => [self.pair.server.as_ref(), self.pair.rival.as_deref()]
                .into_iter()
                .flatten()
                .find_map(|end| end.watched().filter(|watched| self.leg_of(watched) == leg)),
        }
    }

    fn interest(&self, leg: Leg) -> Interest {
        let rival = self.pair.rival.as_ref().and_then(|rival| rival.watched());
        match rival {
            Some(rival) if self.leg_of(&rival) == leg => Interest { write: true, ..Interest::default() },
            _ => self.interest_in(side_of(leg)),
        }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.extend([Leg(0), Leg(1)]);
        legs.extend(self.pair.raced.then_some(Leg(2)));
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
        if ready.failed && matches!(self.phase, Phase::Tarpit(_)) {
            return self.let_go(ctx);
        }
        // No server has heard of it, and whatever it has said is for nobody any more.
        if ready.failed && side == Side::Client && self.stands_in_line() {
            return Verdict::Close(Reason::Reset(Side::Client));
        }
        if ready.failed && !matches!(self.phase, Phase::Handshake(_)) {
            self.note_failure(side);
        }
        if ready.write && matches!(self.phase, Phase::Handshake(_)) {
            if let Some(end) = self.pair.endpoint_mut(side) {
                end.flush();
            }
        }
        let verdict = self.advance(ctx);
        self.with_alarms(verdict, ctx)
    }

    fn placed(&mut self, key: Key) {
        self.pair.key = Some(key);
    }

    fn message(&mut self, answer: Answer, ctx: &mut Ctx) -> Verdict<Reason> {
        let is_meant = answer.id == self.pair.facts.id;
        match answer.told {
            Told::Found(found) if is_meant => self.pair.answer = Some(found),
            Told::Turn(call) if !is_meant || !connect::hear_call(&mut self.pair, &call) => {
                call.next(&*ctx.asks);
                return Verdict::Hold;
            }
            Told::Turn(_) => {}
            Told::Found(_) => return Verdict::Hold,
        }
        let verdict = self.advance(ctx);
        self.with_alarms(verdict, ctx)
    }

    fn expired(&mut self, _: Leg, ctx: &mut Ctx) -> Verdict<Reason> {
        let verdict = self.ring(ctx).unwrap_or_else(|| self.time_is_over(ctx));
        self.with_alarms(verdict, ctx)
    }

    fn closed(mut self, reason: Reason, ctx: &mut Ctx) {
        // Closed from outside, or by a panic.
        let _reason_is_given = self.let_go(ctx);
        self.count_bytes(ctx);
        if !matches!(reason, Reason::Done | Reason::Replied) && !self.heard_out {
            self.pair.reset();
        }
        self.tell_failure(&reason, ctx);
        last_words::say(self.subject(), &reason, ctx);
        connect::leave(&mut self.pair, &self.plan.service, ctx);
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
