// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker: one thread, one event loop, the connections it took.
//!
//! Three descriptors of ours are in its epoll set. *Drain* and *stop* are broadcasts: level-triggered, in every worker's
//! set and never read, so one write wakes all; a worker that saw drain takes it out of its set, or it would spin. Its
//! *bell* is the contrast: its own, and read, so one push wakes one worker; that one takes at most a batch and has another
//! woken if there is more.

use super::inbox::Inboxes;
use super::queue::{Accepted, Queue};
use crate::connection::connection::Connection;
use crate::connection::context::{Common, Ctx, Told};
use crate::connection::guard::Limit;
use crate::connection::pair::Pair;
use crate::connection::walk::{BEGINNINGS, Page, Pages, Walks};
use crate::error::Reason;
use crate::event::Handler;
use crate::event::event_loop::Loop;
use crate::log::{Level, Log};
use crate::sys::eventfd::EventFd;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const BELL: u8 = 0;
const DRAIN: u8 = 1;
const STOP: u8 = 2;

/// Connections taken per turn, in fairness to those it has.
const BATCH: usize = 16;

/// Connections told of in a dump, per worker: the log's queue is bounded too.
const DUMPED: usize = 1000;

/// What all workers and main share.
#[derive(Debug)]
pub struct Shared {
    pub queue: Arc<Queue>,
    pub limit: Arc<Limit>,
    /// Broadcast: take no more than what is queued, end when empty.
    pub drain: EventFd,
    /// Broadcast: close everything.
    pub stop: EventFd,
    /// Whether a stop is to be preceded by a dump of state.
    pub dump: AtomicBool,
    /// Workers that have not ended.
    pub running: AtomicUsize,
    /// What tasks answer to the workers' connections.
    pub inboxes: Arc<Inboxes>,
    /// What every worker's context begins with.
    pub common: Common,
    /// What listings are answered.
    pub pages: Arc<Pages>,
}

/// Starts worker `number`, and waits until it is ready to serve or could not be made.
///
/// # Errors
/// When the system gives no thread or descriptor.
pub fn start(number: usize, shared: Arc<Shared>) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    shared.running.fetch_add(1, Ordering::SeqCst);
    let thread = thread::Builder::new().name(format!("worker-{number}"));
    let spawned = thread.spawn({
        let shared = Arc::clone(&shared);
        // A worker is made in its own thread: its list of connections never leaves it.
        move || {
            let mut made = Worker::new(number, &shared);
            let told = sender.send(made.as_ref().map(drop).map_err(|error| io::Error::from(error.kind())));
            drop((told, sender));
            // A worker that panics outside of any connection is replaced by a new one.
            let board = shared.common.stats.board(number);
            board.inspect(|board| board.begin());
            while made.as_mut().is_ok_and(|worker| !worker.serve()) {
                board.inspect(|board| board.panicked());
                made = Worker::new(number, &shared);
            }
            drop(made);
            board.inspect(|board| board.end());
            shared.end_walks(number);
            shared.running.fetch_sub(1, Ordering::SeqCst);
            shared.limit.room().signal();
        }
    });
    if let Err(error) = spawned {
        shared.running.fetch_sub(1, Ordering::SeqCst);
        return Err(error);
    }
    receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))
}

impl Shared {
    /// Worker `number` has ended: answers the listings that ask it.
    fn end_walks(&self, number: usize) {
        self.inboxes.close(number);
        while let Some(walk) = self.inboxes.pop_walk(number) {
            self.pages.push(Page::last(&walk, number));
        }
    }
}

fn tell_panic(number: usize, log: &Log, error: &str) {
    log.line(Level::Error, "worker-panicked").field("worker", number).field("error", error).send();
}

#[derive(Debug)]
struct Worker {
    connections: Loop<Box<Connection>>,
    ctx: Ctx,
    walks: Walks,
    /// More may be asked by listings. The bell may have been heard by a worker that this one replaces.
    asked: bool,
    shared: Arc<Shared>,
    draining: bool,
    stopped: bool,
}

impl Worker {
    fn new(number: usize, shared: &Arc<Shared>) -> io::Result<Self> {
        let connections = Loop::new()?;
        connections.watch(shared.queue.bell(number), BELL)?;
        connections.watch(&shared.drain, DRAIN)?;
        connections.watch(&shared.stop, STOP)?;
        let ctx = Ctx::new(number, shared.common.clone(), clock());
        let walks = Walks::default();
        let shared = Arc::clone(shared);
        Ok(Self { connections, ctx, walks, asked: true, shared, draining: false, stopped: false })
    }

    /// Serves until drained or stopped; false if it panicked outside of any connection.
    fn serve(&mut self) -> bool {
        let served = panic::catch_unwind(AssertUnwindSafe(|| {
            while !self.is_over() {
                self.turn()?;
            }
            Ok::<(), io::Error>(())
        }));
        mem::take(&mut self.walks).finish(self.ctx.worker, &self.shared.pages);
        match served {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tell_panic(self.ctx.worker, &self.ctx.log, &error.to_string());
                false
            }
            Err(_) => {
                tell_panic(self.ctx.worker, &self.ctx.log, "a panic outside of any connection");
                false
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stopped || self.draining && self.connections.is_empty() && self.shared.queue.is_empty()
    }

    fn turn(&mut self) -> io::Result<()> {
        let mut patience = self.connections.patience(self.ctx.now);
        if self.asked || self.walks.at_work() {
            patience = Some(Duration::ZERO);
        }
        let sleeps = patience != Some(Duration::ZERO);
        if sleeps && !self.shared.queue.doze(self.ctx.worker, self.connections.len()) || self.is_over() {
            patience = Some(Duration::ZERO);
        }
        self.note_sleep();
        let waited = self.connections.wait(patience);
        if sleeps {
            self.shared.queue.awake(self.ctx.worker);
        }
        waited?;
        self.ctx.now = clock();
        if let Some(board) = self.ctx.stats.board(self.ctx.worker) {
            board.wake(self.ctx.clock, self.ctx.now);
        }
        let woken = self.connections.run(self.ctx.now, &mut self.ctx);
        if woken.by(BELL) {
            self.shared.queue.bell(self.ctx.worker).drain();
            self.take_answers();
            self.asked = true;
        }
        if woken.by(DRAIN) {
            self.draining = true;
            self.let_held_go();
            self.connections.unwatch(&self.shared.drain)?;
        }
        self.take_batch();
        self.take_walks();
        self.walks.advance(&mut self.connections, &mut self.ctx, &self.shared.pages);
        if woken.by(STOP) {
            self.stop();
        }
        Ok(())
    }

    /// Tells that the turn is over. The one reading of the clock beside that of the turn's beginning.
    fn note_sleep(&self) {
        if let Some(board) = self.ctx.stats.board(self.ctx.worker) {
            board.sleep(self.ctx.now, clock(), self.connections.len(), self.walks.bookmarks());
        }
    }

    /// Hands out what tasks have answered. The bell is drained first, so none that comes now is overlooked.
    fn take_answers(&mut self) {
        while let Some((key, answer)) = self.shared.inboxes.pop(self.ctx.worker) {
            let lost = self.connections.deliver(key, answer, self.ctx.now, &mut self.ctx);
            if let Some(Told::Turn(call)) = lost.map(|answer| answer.told) {
                call.next(&*self.ctx.asks);
            }
        }
    }

    /// Takes up what listings ask, a few per turn: there may be hundreds.
    fn take_walks(&mut self) {
        for _ in 0..BEGINNINGS {
            if !self.asked || !self.walks.has_room() {
                return;
            }
            match self.shared.inboxes.pop_walk(self.ctx.worker) {
                Some(walk) => self.walks.begin(walk, &mut self.connections),
                None => self.asked = false,
            }
        }
    }

    /// Who is in a tarpit is not served, so a drain does not wait for it.
    fn let_held_go(&mut self) {
        for key in self.connections.keys() {
            if self.connections.get(key).is_some_and(|connection| connection.is_held()) {
                self.connections.close(key, Reason::Stopped, &mut self.ctx);
            }
        }
    }

    /// Takes from the queue, and starts what it took at once: the first bytes are often there already.
    fn take_batch(&mut self) {
        for taken in 0..=BATCH {
            if taken == BATCH {
                self.shared.queue.pass_on();
                return;
            }
            let Some((accepted, main_waits)) = self.shared.queue.pop() else { return };
            if main_waits {
                self.shared.limit.room().signal();
            }
            let connection = self.connection(accepted);
            self.connections.insert(connection, self.ctx.now, &mut self.ctx);
        }
    }

    fn connection(&self, accepted: Accepted) -> Box<Connection> {
        let Accepted { socket, client, plan, guard, stays, at } = accepted;
        let mut pair = Pair::new(socket, client, plan.service.buffer, at);
        pair.stays.listener = Some(stays);
        Box::new(Connection::new(pair, plan, guard, &self.ctx))
    }

    fn stop(&mut self) {
        if self.shared.dump.load(Ordering::SeqCst) {
            self.ctx
                .log
                .line(Level::Notice, "state")
                .field("worker", self.ctx.worker)
                .field("connections", self.connections.len())
                .field("backoffs", self.connections.backoffs())
                .send();
            for connection in self.connections.handlers().take(DUMPED) {
                connection.dump(&self.ctx);
            }
        }
        while let Some((accepted, _)) = self.shared.queue.pop() {
            self.connection(accepted).closed(Reason::Stopped, &mut self.ctx);
        }
        for key in self.connections.keys() {
            self.connections.close(key, Reason::Stopped, &mut self.ctx);
        }
        self.stopped = true;
    }
}

/// The worker's look at the clock: at a turn's beginning, for all that happens in it, and at its end, for the statistics.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "here it is read, for all below")]
    Instant::now()
}
