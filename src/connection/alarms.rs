// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a connection when its time is over; and those with more than one clock: beside the silence that is tolerated,
//! as always, the end of their life, and the moment at which a meter lets them read again.
//!
//! The loop has one deadline for a connection. Where there is a `limit` that needs more, it is armed for whatever comes first,
//! and what the verdicts say of silence is kept here. The loop has a queue for each distinct duration, so what is armed is
//! rounded to one of few; who is woken early waits once more. Where there is no such limit, nothing of this is there.

use super::connection::{Connection, Phase};
use super::context::Ctx;
use super::ending::Whom;
use super::pair::Alarms;
use super::relay::BothReady;
use crate::channel::Flow;
use crate::error::Reason;
use crate::event::Verdict;
use crate::handshake::{answer, go_back};
use crate::policy::bandwidth::{Meter, Meters};
use crate::policy::quota::Quota;
use std::time::{Duration, Instant};

/// The shortest time that is armed: epoll counts in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest: the steps of [`rounded`] end here.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Alarms {
    /// Takes note of what `verdict` says of silence; the verdict by which the loop waits for whatever comes first, `due` too.
    fn first<R>(&mut self, verdict: Verdict<R>, due: Option<Instant>, now: Instant) -> Verdict<R> {
        let again = match verdict {
            Verdict::Keep(patience) | Verdict::Again(patience) => {
                self.silence = now.checked_add(patience);
                matches!(verdict, Verdict::Again(_))
            }
            Verdict::Hold => false,
            Verdict::Close(reason) => return Verdict::Close(reason),
        };
        let next = [self.silence, self.ends, due].into_iter().flatten().min();
        match next.map(|at| rounded(at.saturating_duration_since(now))) {
            Some(wait) if again => Verdict::Again(wait),
            Some(wait) => Verdict::Keep(wait),
            None if again => Verdict::Again(LONGEST),
            None => Verdict::Hold,
        }
    }
}

/// One of few durations: the largest power of two of milliseconds, or one and a half of it, that is not above `wait`; from a
/// day on, a day.
fn rounded(wait: Duration) -> Duration {
    if wait >= LONGEST {
        return LONGEST;
    }
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let Some(power) = milliseconds.checked_ilog2() else { return SHORTEST };
    let (base, half) = (1_u64 << power, (1_u64 << power) / 2);
    Duration::from_millis(if milliseconds >= base + half { base + half } else { base })
}

impl Connection {
    /// What `limit` of the service and of the route is in force.
    fn quotas(&self) -> impl Iterator<Item = &Quota> + Clone {
        let route = self.plan.service.routes.get(self.pair.facts.route);
        let route = route.filter(|_| self.pair.facts.picked).and_then(|route| route.quota.as_deref());
        [self.plan.service.quota.as_ref(), route].into_iter().flatten()
    }

    /// The relay begins: sets up what its limits need.
    pub(super) fn set_alarms(&mut self, ctx: &mut Ctx) {
        if self.quotas().next().is_none() {
            return;
        }
        let random = ctx.random();
        let lifetime = self.quotas().filter_map(|quota| quota.lifetime(random)).min();
        let ends = lifetime.and_then(|lifetime| self.pair.facts.accepted.checked_add(lifetime));
        let meters = Meters::new(self.quotas());
        if ends.is_some() || meters.is_some() {
            let bounds = self.pair.bounds.get_or_insert_default();
            bounds.meters = meters;
            bounds.alarms = Some(Alarms { silence: None, ends });
        }
    }

    /// When a meter lets it read again.
    fn meter_due(&self) -> Option<Instant> {
        self.pair.bounds.as_ref()?.meters.as_ref()?.due()
    }

    fn alarms(&mut self) -> Option<&mut Alarms> {
        self.pair.bounds.as_mut()?.alarms.as_mut()
    }

    /// Makes a verdict on silence one on all that it waits for.
    pub(super) fn with_alarms(&mut self, verdict: Verdict<Reason>, ctx: &Ctx) -> Verdict<Reason> {
        let relays = matches!(self.phase, Phase::Relay);
        let Some(bounds) = &mut self.pair.bounds else { return verdict };
        let Some(alarms) = &mut bounds.alarms else { return verdict };
        if !relays {
            // An end that takes time has begun: it has its own, and nothing more is read.
            (alarms.ends, bounds.meters) = (None, None);
        }
        let due = bounds.meters.as_ref().and_then(Meters::due);
        alarms.first(verdict, due, ctx.now)
    }

    /// The deadline came: nothing, if it was for the silence, which is everybody's; else what is to be done.
    pub(super) fn ring(&mut self, ctx: &mut Ctx) -> Option<Verdict<Reason>> {
        let alarms = self.alarms()?;
        let silent = alarms.silence.is_some_and(|at| at <= ctx.now);
        // Once, whatever comes of it: a moment that is past would be armed for again and again.
        let over = alarms.ends.take_if(|at| *at <= ctx.now).is_some();
        if !matches!(self.phase, Phase::Relay) {
            return if silent { self.silence_is_over() } else { Some(Verdict::Hold) };
        }
        if over && !self.breaks() {
            return Some(self.abort(Reason::Lifetime, Whom::Both, ctx));
        }
        match self.meter_due() {
            Some(due) if due <= ctx.now => {
                self.wake_the_held_back(ctx.now);
                Some(self.advance(ctx))
            }
            // Who is kept waiting by us is not silent.
            Some(_) if silent && !self.breaks() => Some(Verdict::Keep(self.tolerated_silence())),
            _ if silent => self.silence_is_over(),
            _ => Some(Verdict::Hold),
        }
    }

    /// What it waited for has taken too long.
    pub(super) fn time_is_over(&mut self, ctx: &mut Ctx) -> Verdict<Reason> {
        match &mut self.phase {
            Phase::Handshake(cursor) => {
                let steps = self.plan.steps(cursor.in_back, self.pair.facts.route);
                let (pair, service) = (&mut self.pair, &self.plan.service);
                let expired = cursor.step(steps).and_then(|step| (step.expired)(pair, service, ctx));
                match expired.map_or(Ok(()), |reason| go_back(cursor, steps, pair, service, reason, ctx)) {
                    Ok(()) => self.advance(ctx),
                    Err(reason) if answer::refuse(pair, service, &reason, ctx) => {
                        self.tell_failure(&reason, ctx);
                        self.hear_out(reason, ctx)
                    }
                    Err(reason) => Verdict::Close(reason),
                }
            }
            Phase::Relay => match (self.pair.up.flow(), self.pair.down.flow()) {
                (Flow::Open, Flow::Open) => self.abort(Reason::Idle, Whom::Both, ctx),
                (Flow::Breaking(_), _) | (_, Flow::Breaking(_)) => Verdict::Close(Reason::LingerTimeout),
                _ => self.abort(Reason::HalfCloseTimeout, Whom::Both, ctx),
            },
            Phase::Ending(_) => self.end(ctx, |ending, pair, _, ctx| ending.look(pair, ctx)),
            Phase::Tarpit(_) => self.let_go(ctx),
        }
    }

    /// How long nothing may move in the relay as it stands.
    pub(super) fn tolerated_silence(&self) -> Duration {
        match (self.pair.up.flow(), self.pair.down.flow()) {
            (Flow::Open, Flow::Open) => self.timeouts().idle,
            (Flow::Breaking(_), _) | (_, Flow::Breaking(_)) => self.timeouts().linger,
            _ => self.timeouts().half_close,
        }
    }

    fn silence_is_over(&mut self) -> Option<Verdict<Reason>> {
        if let Some(alarms) = self.alarms() {
            alarms.silence = None;
        }
        None
    }

    /// Whether the bytes before a break are on their way: nobody is read any more.
    fn breaks(&self) -> bool {
        [&self.pair.up, &self.pair.down].iter().any(|way| matches!(way.flow(), Flow::Breaking(_)))
    }

    /// Nobody was told of their input while they were held back.
    fn wake_the_held_back(&mut self, now: Instant) {
        let Some(meters) = self.pair.bounds.as_ref().and_then(|bounds| bounds.meters.as_ref()) else {
            return;
        };
        let due = |meter: &Option<Meter>| meter.as_ref().is_some_and(|meter| meter.is_due(now));
        let (up, down) = (due(&meters.0.up), due(&meters.0.down));
        let BothReady { client, server } = &mut self.ready;
        client.read |= up;
        server.read |= down;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_is_armed_is_one_of_few_and_never_late() {
        let mut known = HashSet::new();
        for milliseconds in (0..5000).chain((5000..200_000_000).step_by(99_991)) {
            let wait = rounded(ms(milliseconds));
            assert!(wait <= ms(milliseconds.max(1)) && wait * 3 / 2 + ms(1) >= ms(milliseconds).min(LONGEST));
            known.insert(wait);
        }
        assert!(known.len() <= 60, "{} queues", known.len());
        assert_eq!((rounded(ms(0)), rounded(ms(160)), rounded(Duration::MAX)), (ms(1), ms(128), LONGEST));
    }

    #[test]
    fn the_first_alarm_is_armed_and_silence_is_remembered() {
        let (now, mut alarms) = (Instant::now(), Alarms::default());
        let wait = |verdict| match verdict {
            Verdict::<()>::Keep(wait) => Some(wait),
            Verdict::Hold => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(alarms.first(Verdict::Hold, None, now)), None);
        assert_eq!(wait(alarms.first(Verdict::Keep(ms(1024)), None, now)), Some(ms(1024)));
        assert_eq!(wait(alarms.first(Verdict::Hold, Some(now + ms(64)), now)), Some(ms(64)));
        let later = now + ms(512);
        assert_eq!(wait(alarms.first(Verdict::Hold, None, later)), Some(ms(512)), "of the silence");
        alarms.ends = Some(later + ms(8));
        assert!(
            matches!(alarms.first(Verdict::<()>::Again(ms(9999)), None, later), Verdict::Again(w) if w == ms(8))
        );
        assert!(matches!(alarms.first(Verdict::Close(()), None, later), Verdict::Close(())));
    }
}
