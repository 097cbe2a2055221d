// SPDX-License-Identifier: MIT OR Apache-2.0
//! A listening socket and what becomes of its connections: accept in batches, hand over, pause when there is no room.
//!
//! A pause leaves clients in the kernel's backlog; it ends when a connection ends, a worker takes from the queue, or, after
//! the system had no descriptor to give, when a short time is over. There is no spin and one line per pause.

use super::queue::{Accepted, Queue};
use crate::config::Bind;
use crate::connection::context::OwnAddresses;
use crate::connection::guard::Limit;
use crate::connection::plan::Plan;
use crate::control::running;
use crate::error::Reason;
use crate::event::{Handler, Interest, Leg, Ready, Verdict, Watched};
use crate::live::Live;
use crate::log::{Level, Log};
use crate::stats::{Pause, Presence, Registry, Scope};
use crate::sys::address::Address;
use crate::sys::listening::{self, AcceptError, ListenOptions, Listening};
use crate::sys::process;
use crate::sys::time;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections accepted from one listener before the others have their turn.
const BATCH: usize = 64;

/// Batches taken from a listener that is about to be closed: more than a backlog holds.
const LAST_BATCHES: usize = 128;

/// When to try again after the system had nothing to give. Short against a second, long against a spin.
const RETRY: Duration = Duration::from_millis(100);

/// What main lends to its listeners.
#[derive(Debug)]
pub struct AcceptCtx {
    pub now: Instant,
    pub queue: Arc<Queue>,
    pub limit: Arc<Limit>,
    pub log: Log,
    pub stats: Registry,
    /// Where we listen, for workers to know.
    pub own: Arc<Live<OwnAddresses>>,
}

/// A listening socket with the plan of its connections.
#[derive(Debug)]
pub struct Listener {
    listening: Listening,
    /// The address it was asked for; the one in effect may have another port.
    asked: Address,
    plan: Arc<Plan>,
    stats: Arc<Scope>,
    pause: Option<Pause>,
    /// A pause was told, and nothing was accepted since.
    told: bool,
    /// When it was bound, in seconds since 1970.
    since: f64,
    options: Arc<ListenOptions>,
    /// How often it got another socket.
    serial: u16,
}

/// What a listener that stays needs, to be as a new configuration says.
#[derive(Debug)]
pub enum Change {
    Nothing,
    /// Its socket is told.
    Adapt,
    /// It gets this one, at the same address.
    Replace(Listening),
}

impl Listener {
    /// Binds and listens.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(bind: &Bind, stats: &Registry) -> io::Result<Self> {
        let (asked, plan, options) =
            (bind.address.clone(), Arc::clone(&bind.plan), Arc::clone(&bind.options));
        let listening = Listening::bind_with(&asked, plan.client_speaks_first(), &options)?;
        let stats = stats.listener(&listening.address.to_string(), &plan.service.name);
        Ok(Self {
            listening,
            asked,
            plan,
            stats,
            pause: None,
            told: false,
            since: time::unix(),
            options,
            serial: 0,
        })
    }

    /// What it takes to follow `bind`. Nothing of it is seen before [`Self::change`].
    ///
    /// # Errors
    /// The system's, where another socket is needed and cannot be had.
    pub fn prepare(&self, bind: &Bind) -> io::Result<Change> {
        if *self.options == *bind.options {
            Ok(Change::Nothing)
        } else if self.options.adapts_to(&bind.options) {
            Ok(Change::Adapt)
        } else {
            let new = self.listening.bind_anew(bind.plan.client_speaks_first(), &bind.options)?;
            Ok(Change::Replace(new))
        }
    }

    /// Follows `bind`. Who waits at a socket that is replaced is taken over; the loop must look at it anew.
    pub fn change(&mut self, change: Change, bind: &Bind, ctx: &AcceptCtx) {
        match change {
            Change::Nothing => return,
            Change::Adapt => {
                if let Err(error) = self.listening.adapt(&bind.options) {
                    let text = format!("{} keeps some of its options: {error}", self.listening.address);
                    ctx.log.line(Level::Warning, "config-warning").field("warning", text).send();
                }
            }
            Change::Replace(new) => {
                if let Err(error) = new.take_over(&self.listening, &bind.options) {
                    let text = format!("{} keeps its options: {error}", self.listening.address);
                    ctx.log.line(Level::Warning, "config-warning").field("warning", text).send();
                    return;
                }
                self.accept_rest(ctx);
                self.listening = new;
                self.serial = self.serial.wrapping_add(1);
            }
        }
        self.options = Arc::clone(&bind.options);
    }

    /// The address it was asked for.
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// The address in effect.
    pub fn address(&self) -> &Address {
        &self.listening.address
    }

    pub fn service(&self) -> &str {
        &self.plan.service.name
    }

    /// What of it is published.
    pub fn published(&self) -> running::Listening {
        running::Listening {
            address: self.address().clone(),
            service: self.service().into(),
            since: self.since,
            stats: Arc::clone(&self.stats),
        }
    }

    /// New connections follow another plan from now on; live ones keep theirs.
    pub fn replace_plan(&mut self, plan: Arc<Plan>, stats: &Registry) {
        // Should the system refuse, clients are handed over a little early or late: nothing depends on it.
        let _economy = listening::defer_accept(&self.listening, plan.client_speaks_first());
        self.stats = stats.listener(&self.listening.address.to_string(), &plan.service.name);
        self.plan = plan;
    }

    /// Before closing: takes over who has connected already and would be reset, as far as there is room.
    pub fn accept_rest(&mut self, ctx: &AcceptCtx) {
        for _ in 0..LAST_BATCHES {
            if self.pause.is_some() || self.accept_batch(ctx) == 0 {
                return;
            }
        }
    }

    /// Accepts until nobody waits, there is no room or others have their turn; says how many were accepted.
    fn accept_batch(&mut self, ctx: &AcceptCtx) -> usize {
        let mut accepted = 0;
        for _ in 0..BATCH {
            if ctx.queue.is_full() {
                self.pause = Some(Pause::Queue);
                break;
            }
            let Some(guard) = ctx.limit.enter() else {
                self.pause_for_limit(ctx);
                break;
            };
            match self.listening.accept() {
                Ok((socket, client)) => {
                    self.tell_resumed(ctx);
                    guard.is_taken();
                    accepted += 1;
                    let (plan, at) = (Arc::clone(&self.plan), ctx.now);
                    // Only main pushes, so there is still the room it has just seen.
                    let stays = Presence::enter(&self.stats, ctx.stats.clock().at(at));
                    let _pushed = ctx.queue.push(Accepted { socket, client, plan, guard, stays, at });
                }
                Err(error) => match listening::accept_error(&error) {
                    AcceptError::Empty => break,
                    AcceptError::Client => {}
                    AcceptError::System => {
                        self.pause = Some(Pause::System);
                        // Somebody may have lowered it while we run (prlimit(1)): let no more in than can be served.
                        ctx.limit.fit(process::descriptor_limit());
                        self.tell_pause(&error.to_string(), ctx);
                        break;
                    }
                },
            }
        }
        accepted
    }

    /// After a batch: a pause for want of descriptors ends by itself, the others are ended by a poke.
    fn wait(&self) -> Verdict<Reason> {
        self.stats.pause(self.pause);
        if self.pause == Some(Pause::System) { Verdict::Keep(RETRY) } else { Verdict::Hold }
    }

    fn pause_for_limit(&mut self, ctx: &AcceptCtx) {
        let pause = if ctx.limit.fits() { Pause::Limit } else { Pause::Descriptors };
        self.pause = Some(pause);
        self.tell_pause(pause.reason(), ctx);
    }

    /// One line per pause, however often it is tried again.
    fn tell_pause(&mut self, why: &str, ctx: &AcceptCtx) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        ctx.log
            .failure(Level::Warning, "listener-paused", self.service())
            .field("service", self.service())
            .field("address", self.address())
            .field("reason", why)
            .send();
    }

    fn tell_resumed(&mut self, ctx: &AcceptCtx) {
        if self.told {
            self.told = false;
            ctx.log
                .failure(Level::Notice, "listener-resumed", self.service())
                .field("service", self.service())
                .field("address", self.address())
                .send();
        }
    }
}

impl Handler for Listener {
    type Ctx = AcceptCtx;
    /// It asks nobody.
    type Answer = Infallible;
    type Reason = Reason;

    fn watched(&self, leg: Leg) -> Option<Watched<'_>> {
        (leg == Leg(0)).then(|| Watched { fd: self.listening.as_fd(), serial: self.serial })
    }

    fn interest(&self, _: Leg) -> Interest {
        Interest { read: self.pause.is_none(), ..Interest::default() }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.push(Leg(0));
    }

    /// Poked (nothing ready) when there may be room again.
    fn ready(&mut self, _: Leg, ready: Ready, ctx: &mut AcceptCtx) -> Verdict<Reason> {
        let room = matches!(self.pause, Some(Pause::Limit | Pause::Descriptors | Pause::Queue));
        if ready.read || ready.failed || room {
            self.pause = None;
            self.accept_batch(ctx);
            return self.wait();
        }
        Verdict::Hold
    }

    fn message(&mut self, answer: Infallible, _: &mut AcceptCtx) -> Verdict<Reason> {
        match answer {}
    }

    fn expired(&mut self, _: Leg, ctx: &mut AcceptCtx) -> Verdict<Reason> {
        self.pause = None;
        self.accept_batch(ctx);
        self.wait()
    }

    fn closed(self, _: Reason, ctx: &mut AcceptCtx) {
        self.stats.pause(None);
        ctx.log
            .line(Level::Notice, "listener-closed")
            .field("service", self.service())
            .field("address", self.address())
            .send();
    }
}
