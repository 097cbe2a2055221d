// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: a connection between two scripted streams, an epoll made of their scripts, and a clock the test turns.
//!
//! An event is delivered only where the connection's interest asks for it, so an ending that forgets to wait for
//! something stands still here too, and one that waits for what is already there spins and is found out.

use super::connection::Connection;
use super::context::{Common, Ctx};
use super::guard::Limit;
use super::pair::Pair;
use super::plan::Plan;
use super::relay::Duplex;
use crate::error::{Break, Reason, Side};
use crate::event::{Handler, Leg, Ready, Verdict};
use crate::handshake::Step;
use crate::log::{Level, Log};
use crate::policy::service::{Service, Timeouts};
use crate::stats::{Counter, ServiceStats};
use crate::stream::endpoint::{Endpoint, Ops};
use crate::stream::script::{Script, Told};
use crate::stream::testing::unix_pair;
use crate::stream::{Sink, Source, Stream};
use crate::sys::address::Address;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// All different, so that a test sees which one counted.
pub(super) const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(300),
    half_close: Duration::from_secs(60),
    linger: Duration::from_secs(7),
    tarpit: Duration::from_secs(20),
};

/// Turns in which a connection must come to rest.
const TURNS: usize = 1000;

/// Which sides have a data layer: (client, server).
pub(super) const LAYERS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

pub(super) struct Stage {
    connection: Option<Box<Connection>>,
    ctx: Ctx,
    deadline: Option<Instant>,
    again: bool,
    /// Looks and deadlines that came.
    pub(super) expiries: usize,
    told: [Receiver<Told>; 2],
    stats: Arc<ServiceStats>,
    ended: Option<&'static str>,
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Server)
}

pub(super) fn reset() -> Break {
    Break::Reset(io::ErrorKind::ConnectionReset.into())
}

impl Stage {
    /// A connection that relays; `layers` tells who speaks TLS.
    pub(super) fn relaying(layers: (bool, bool)) -> Self {
        Self::with_steps(layers, &[])
    }

    /// A connection that does `steps` before it relays.
    pub(super) fn with_steps(layers: (bool, bool), steps: &[Step]) -> Self {
        Self::begin(layers, steps, false)
    }

    /// The same, with a server that takes nothing at first.
    pub(super) fn full_with_steps(layers: (bool, bool), steps: &[Step]) -> Self {
        Self::begin(layers, steps, true)
    }

    #[expect(clippy::disallowed_methods, reason = "the clock starts somewhere; the test turns it from there")]
    fn begin(layers: (bool, bool), steps: &[Step], full: bool) -> Self {
        let (log, _memory) = Log::to_memory(Level::Info);
        let ctx = Ctx::new(0, Common::alone(log), Instant::now());
        let ((tell_client, client), (tell_server, server)) = (channel(), channel());
        let mut pair = Pair::new(unix_pair().0, Address::Unnamed, 64 * 1024, ctx.now);
        let script = |tls, told| Stream::Script(Script { tls, told: Some(told), ..Script::default() });
        pair.client = Endpoint::new(script(layers.0, tell_client), 0);
        pair.server = Some(Endpoint::new(script(layers.1, tell_server), 1));
        let stats = Arc::new(ServiceStats::default());
        let plan = Plan {
            service: service(Arc::clone(&stats)),
            front: steps.into(),
            backs: Box::new([Arc::new([])]),
            relay: &Duplex,
        };
        let guard = Limit::of(1).enter().unwrap();
        let connection = Some(Box::new(Connection::new(pair, Arc::new(plan), guard, &ctx)));
        let told = [client, server];
        let mut stage =
            Self { connection, ctx, deadline: None, again: false, expiries: 0, told, stats, ended: None };
        if full {
            stage.is_full(Side::Server);
        }
        stage.run(Side::Client, Ready::default());
        stage.settle();
        stage
    }

    /// What `side` says next: bytes, and what follows them.
    pub(super) fn says(&mut self, side: Side, bytes: &[u8], then: Source) {
        self.script(side).reads.push_back((bytes.to_vec(), then));
        self.settle();
    }

    /// The kernel takes nothing for `side`, until [`Self::takes`].
    pub(super) fn is_full(&mut self, side: Side) {
        self.script(side).room = Some(0);
    }

    /// The kernel takes `count` bytes for `side` and then no more.
    pub(super) fn takes_only(&mut self, side: Side, count: usize) {
        self.will_take(side, count);
        self.settle();
    }

    /// The same, of what is said later.
    pub(super) fn will_take(&mut self, side: Side, count: usize) {
        self.script(side).room = Some(count);
    }

    /// The kernel takes everything for `side`.
    pub(super) fn takes(&mut self, side: Side) {
        self.script(side).room = None;
        self.settle();
    }

    /// The next write to `side` fails.
    pub(super) fn refuses(&mut self, side: Side, how: Break) {
        self.script(side).writes = VecDeque::from([(0, Sink::Broken(how))]);
        self.settle();
    }

    pub(super) fn owes(&mut self, side: Side, unacknowledged: usize) {
        self.script(side).unacknowledged = unacknowledged;
    }

    /// The kernel tells that the connection with `side` failed.
    pub(super) fn fails(&mut self, side: Side) {
        self.run(side, Ready { failed: true, ..Ready::default() });
        self.settle();
    }

    /// We are told to stop.
    pub(super) fn stop(&mut self) {
        self.close(Reason::Stopped);
    }

    /// Lets time pass in which nothing happens but deadlines.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.ctx.now + time;
        while let Some(due) = self.deadline.filter(|due| *due <= until) {
            self.ctx.now = due;
            self.deadline = None;
            self.expiries += 1;
            assert!(self.expiries < TURNS, "a timer that never rests");
            if let Some(connection) = &mut self.connection {
                let verdict = connection.expired(Leg(0), &mut self.ctx);
                self.obey(verdict);
            }
            self.settle();
        }
        self.ctx.now = until;
    }

    /// What `side` was told since this was asked last.
    pub(super) fn told(&self, side: Side) -> Vec<Told> {
        let mut all: Vec<Told> = Vec::new();
        for next in self.told[index(side)].try_iter() {
            match (all.last_mut(), next) {
                (Some(Told::Bytes(before)), Told::Bytes(more)) => before.extend(more),
                (_, next) => all.push(next),
            }
        }
        all
    }

    /// The word of the reason for which it ended.
    pub(super) fn reason(&self) -> &'static str {
        self.ended.unwrap_or("none yet")
    }

    pub(super) fn lives(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn failed(&self) -> bool {
        self.stats.sum(Counter::Failed) > 0
    }

    /// What is wanted of a side's closing, and what is done.
    pub(super) fn closing(&mut self, side: Side) -> (Ops, Ops) {
        self.connection().pair.endpoint(side).unwrap().closing()
    }

    /// What it waits for on that side: (bytes, room).
    pub(super) fn waits(&mut self, side: Side) -> (bool, bool) {
        let interest = self.connection().interest(Leg(u16::from(side == Side::Server)));
        (interest.read, interest.write)
    }

    /// Whether all that `side` said was read.
    pub(super) fn has_read_all(&mut self, side: Side) -> bool {
        self.script(side).reads.is_empty()
    }

    fn connection(&mut self) -> &mut Box<Connection> {
        self.connection.as_mut().expect("the connection is over")
    }

    fn script(&mut self, side: Side) -> &mut Script {
        match &mut self.connection().pair.endpoint_mut(side).unwrap().stream {
            Stream::Script(script) => script,
            _ => panic!("not a script"),
        }
    }

    /// Delivers events until there are none.
    fn settle(&mut self) {
        for _ in 0..TURNS {
            let mut rests = true;
            for side in [Side::Client, Side::Server] {
                if !self.lives() {
                    return;
                }
                let (read, write) = self.waits(side);
                let script = self.script(side);
                let input = !script.reads.is_empty();
                let room = script.has_room();
                let ready = Ready { read: read && input, write: write && room, failed: false };
                if ready != Ready::default() || std::mem::take(&mut self.again) {
                    rests = false;
                    self.run(side, ready);
                }
            }
            if rests {
                return;
            }
        }
        panic!("it spins");
    }

    fn run(&mut self, side: Side, ready: Ready) {
        let Some(connection) = &mut self.connection else { return };
        let verdict = connection.ready(Leg(u16::from(side == Side::Server)), ready, &mut self.ctx);
        self.obey(verdict);
    }

    fn obey(&mut self, verdict: Verdict<Reason>) {
        match verdict {
            Verdict::Hold => {}
            Verdict::Keep(time) => self.deadline = Some(self.ctx.now + time),
            Verdict::Again(time) => {
                self.deadline = Some(self.ctx.now + time);
                self.again = true;
            }
            Verdict::Close(reason) => self.close(reason),
        }
    }

    fn close(&mut self, reason: Reason) {
        self.ended = Some(reason.word());
        if let Some(connection) = self.connection.take() {
            connection.closed(reason, &mut self.ctx);
        }
    }
}

/// A service with one route that connects.
pub(super) fn service(stats: Arc<ServiceStats>) -> Service {
    Service { timeouts: TIMEOUTS, stats, ..Service::plain() }
}
