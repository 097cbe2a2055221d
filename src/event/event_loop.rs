// SPDX-License-Identifier: MIT OR Apache-2.0
//! The event loop: an epoll set, the handlers in it, and what they wait for.
//!
//! The only place with structure: it inserts, removes, arms and disarms, after each callback and nowhere else. Interest
//! is asked for, compared with what the kernel was told, and told anew only when it differs. A leg that waits for
//! nothing is taken out of the set, or a hang-up on it would wake us for ever. An event for a socket that has gone finds
//! a stale key and is dropped.

use super::backoff::{Backoff, Patience};
use super::deadline::Deadlines;
use super::legs::Legs;
use super::list::{List, NodeRef};
use super::slots::Slots;
use super::{Fault, Handler, Interest, Key, Leg, Ready, Verdict};
use crate::sys::epoll::{Epoll, Event, Mask};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Events taken from the kernel per turn, and as many handlers that asked for another turn, and deadlines; the rest follow in
/// the next, which comes at once.
const TURN: usize = 256;

/// The index no slot has: its events are for the loop's owner, the generation is the tag.
const OWNERS_INDEX: u32 = u32::MAX;

/// The key of bookmarks: no handler has it.
const BOOKMARK: Key = Key { index: OWNERS_INDEX, generation: u32::MAX };

/// A place in the list of handlers: those before it have been passed.
#[derive(Debug)]
#[must_use = "it stays in the list until it is taken out"]
pub struct Bookmark(NodeRef);

/// What a bookmark has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    Handler(Key),
    /// Another bookmark.
    Bookmark,
}

/// A loop over handlers of one kind.
#[derive(Debug)]
pub struct Loop<H: Handler> {
    epoll: Epoll,
    handlers: Slots<Slot<H>>,
    sockets: Slots<Socket>,
    /// All handlers, in the order they came.
    all: List,
    deadlines: Deadlines,
    backoff: Backoff,
    /// Who asked to be run next turn.
    again: VecDeque<(Key, Leg)>,
    /// How many of each kind of thing are done per turn.
    turn: usize,
    touched: Vec<Leg>,
}

#[derive(Debug)]
struct Slot<H> {
    handler: H,
    legs: Legs,
    node: NodeRef,
    queued: bool,
}

/// One leg's registration.
#[derive(Debug)]
struct Socket {
    handler: Key,
    leg: Leg,
    serial: u16,
    /// What the kernel was told; `NONE`: not in the set.
    mask: Mask,
    deadline: Option<NodeRef>,
    choked: Option<Box<Choked>>,
}

/// A leg that writes by the backoff timer. Few ever do, so it has its own allocation.
#[derive(Debug)]
struct Choked {
    node: NodeRef,
    patience: Patience,
}

/// Which of the owner's own descriptors woke the loop, as a set of the tags given to [`Loop::watch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken(u32);

impl Woken {
    pub fn by(self, tag: u8) -> bool {
        self.0 & (1 << tag) != 0
    }
}

impl<H: Handler> Loop<H> {
    pub fn new() -> io::Result<Self> {
        Self::with_turns_of(TURN)
    }

    /// One that does `turn` things of each kind per turn, where each may take long and its owner has to look in between.
    pub fn with_turns_of(turn: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(turn)?,
            handlers: Slots::default(),
            sockets: Slots::default(),
            all: List::default(),
            deadlines: Deadlines::default(),
            backoff: Backoff::default(),
            again: VecDeque::new(),
            turn,
            touched: Vec::new(),
        })
    }

    /// Watches a descriptor of the loop's owner; `tag` is below 32.
    pub fn watch(&self, fd: impl AsFd, tag: u8) -> io::Result<()> {
        debug_assert!(tag < 32);
        self.epoll.add(fd, Key { index: OWNERS_INDEX, generation: u32::from(tag) }.to_bits(), Mask::READ)
    }

    /// Watches it no more.
    pub fn unwatch(&self, fd: impl AsFd) -> io::Result<()> {
        self.epoll.remove(fd)
    }

    pub fn len(&self) -> usize {
        self.handlers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// How often the backoff timer has woken a choked leg.
    pub fn backoffs(&self) -> u64 {
        self.backoff.fired()
    }

    /// The handlers in the order they came.
    pub fn handlers(&self) -> impl Iterator<Item = &H> {
        self.all.keys().filter_map(|key| self.handlers.get(key)).map(|slot| &slot.handler)
    }

    /// The keys of the handlers in the order they came.
    pub fn keys(&self) -> Vec<Key> {
        self.all.keys().filter(|key| *key != BOOKMARK).collect()
    }

    /// A bookmark ahead of all handlers. It is a node of the same list, so that handlers come and go around it at the cost
    /// of any other; who has it must [take it out](Self::take_bookmark).
    pub fn bookmark(&mut self) -> Bookmark {
        let node = NodeRef::new(BOOKMARK);
        self.all.push_front(&node);
        Bookmark(node)
    }

    /// Moves the bookmark on by one place, at the same cost whatever it passes; nothing: it has passed everything.
    pub fn pass(&mut self, bookmark: &Bookmark) -> Option<Passed> {
        Some(match self.all.pass(&bookmark.0)? {
            BOOKMARK => Passed::Bookmark,
            key => Passed::Handler(key),
        })
    }

    pub fn take_bookmark(&mut self, bookmark: Bookmark) {
        self.all.unlink(&bookmark.0);
    }

    pub fn get(&self, key: Key) -> Option<&H> {
        self.handlers.get(key).map(|slot| &slot.handler)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut H> {
        self.handlers.get_mut(key).map(|slot| &mut slot.handler)
    }

    /// Looks at a handler; a panic meanwhile costs that handler only. Nothing: it has gone, or it goes for that.
    pub fn look<T>(
        &mut self,
        key: Key,
        ctx: &mut H::Ctx,
        look: impl FnOnce(&mut H, &H::Ctx) -> T,
    ) -> Option<T> {
        let handler = &mut self.handlers.get_mut(key)?.handler;
        let seen = panic::catch_unwind(AssertUnwindSafe(|| look(handler, ctx)));
        if seen.is_err() {
            self.remove(key, Fault::Panic.into(), ctx);
        }
        seen.ok()
    }

    /// Takes a handler in and runs it for the first time.
    pub fn insert(&mut self, handler: H, now: Instant, ctx: &mut H::Ctx) -> Key {
        // The node needs the key and the slot needs the node: the slot is made with a node that is replaced at once.
        let unknown = NodeRef::new(Key { index: 0, generation: 0 });
        let key = self.handlers.insert(Slot { handler, legs: Legs::default(), node: unknown, queued: false });
        if let Some(slot) = self.handlers.get_mut(key) {
            slot.node = NodeRef::new(key);
            self.all.push(&slot.node, None);
            slot.handler.placed(key);
        }
        self.call(key, Leg(0), now, ctx, |handler, ctx| handler.ready(Leg(0), Ready::default(), ctx));
        key
    }

    /// Runs a handler although nothing happened to it, because something around it changed.
    pub fn poke(&mut self, key: Key, now: Instant, ctx: &mut H::Ctx) {
        self.call(key, Leg(0), now, ctx, |handler, ctx| handler.ready(Leg(0), Ready::default(), ctx));
    }

    /// Hands a handler what a task answered it; one that has gone is not found, and the answer comes back.
    pub fn deliver(
        &mut self,
        key: Key,
        answer: H::Answer,
        now: Instant,
        ctx: &mut H::Ctx,
    ) -> Option<H::Answer> {
        if self.handlers.get(key).is_none() {
            return Some(answer);
        }
        self.call(key, Leg(0), now, ctx, |handler, ctx| handler.message(answer, ctx));
        None
    }

    /// Closes a handler from outside.
    pub fn close(&mut self, key: Key, reason: H::Reason, ctx: &mut H::Ctx) {
        self.remove(key, reason, ctx);
    }

    /// How long [`Self::wait`] may take before something is due.
    pub fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [self.deadlines.next(), self.backoff.next()].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Waits for events, at most `patience`.
    pub fn wait(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.epoll.wait(patience)
    }

    /// How many events the last wait brought.
    #[cfg(test)]
    pub fn events(&self) -> usize {
        self.epoll.len()
    }

    /// One turn: the events the last wait brought, who asked for another turn, and what is due by `now`.
    pub fn run(&mut self, now: Instant, ctx: &mut H::Ctx) -> Woken {
        // Who asks in this turn is run in the next.
        let again = self.again.len().min(self.turn);
        let mut woken = Woken::default();
        for index in 0..self.epoll.len() {
            let event = self.epoll.event(index);
            let token = Key::from_bits(event.token);
            if token.index == OWNERS_INDEX {
                woken.0 |= 1 << token.generation;
            } else {
                self.dispatch(token, event, now, ctx);
            }
        }
        for _ in 0..again {
            let Some((key, leg)) = self.again.pop_front() else { break };
            if let Some(slot) = self.handlers.get_mut(key) {
                slot.queued = false;
                self.call(key, leg, now, ctx, |handler, ctx| handler.ready(leg, Ready::default(), ctx));
            }
        }
        self.run_due(now, ctx);
        woken
    }

    fn run_due(&mut self, now: Instant, ctx: &mut H::Ctx) {
        for _ in 0..self.turn {
            let Some(token) = self.backoff.pop_due(now) else { break };
            let write = Ready { write: true, ..Ready::default() };
            self.with_socket(token, |lp, key, leg| {
                lp.call(key, leg, now, ctx, |handler, ctx| handler.ready(leg, write, ctx));
            });
        }
        for _ in 0..self.turn {
            let Some(token) = self.deadlines.pop_due(now) else { break };
            self.with_socket(token, |lp, key, leg| {
                lp.call(key, leg, now, ctx, |handler, ctx| handler.expired(leg, ctx));
            });
        }
    }

    fn dispatch(&mut self, token: Key, event: Event, now: Instant, ctx: &mut H::Ctx) {
        let ready = Ready { read: event.readable, write: event.writable, failed: event.failed };
        self.with_socket(token, |lp, key, leg| {
            lp.call(key, leg, now, ctx, |handler, ctx| handler.ready(leg, ready, ctx));
        });
    }

    /// Finds who owns a socket; a stale token finds nobody.
    fn with_socket(&mut self, token: Key, run: impl FnOnce(&mut Self, Key, Leg)) {
        if let Some(socket) = self.sockets.get(token) {
            let (key, leg) = (socket.handler, socket.leg);
            run(self, key, leg);
        }
    }

    /// Runs one callback and does what its verdict says. A panic costs this handler only (architecture: supervision).
    fn call(
        &mut self,
        key: Key,
        leg: Leg,
        now: Instant,
        ctx: &mut H::Ctx,
        callback: impl FnOnce(&mut H, &mut H::Ctx) -> Verdict<H::Reason>,
    ) {
        let Some(slot) = self.handlers.get_mut(key) else { return };
        let handler = &mut slot.handler;
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| callback(handler, ctx)))
            .unwrap_or_else(|_| Verdict::Close(Fault::Panic.into()));
        if let Err(reason) = self.settle(key, leg, verdict, now) {
            self.remove(key, reason, ctx);
        }
    }

    /// Brings registrations and deadline in line with the handler's state; the error is why it must close.
    fn settle(
        &mut self,
        key: Key,
        leg: Leg,
        verdict: Verdict<H::Reason>,
        now: Instant,
    ) -> Result<(), H::Reason> {
        let silence = match verdict {
            Verdict::Close(reason) => return Err(reason),
            Verdict::Keep(silence) => Some(silence),
            Verdict::Hold => None,
            Verdict::Again(silence) => {
                self.queue_again(key, leg);
                Some(silence)
            }
        };
        let mut touched = mem::take(&mut self.touched);
        touched.clear();
        if let Some(slot) = self.handlers.get_mut(key) {
            slot.handler.touched(&mut touched);
        }
        let synced = touched.iter().try_for_each(|leg| self.sync(key, *leg, now));
        self.touched = touched;
        synced.map_err(|error| H::Reason::from(Fault::Watch(error)))?;
        if let Some(silence) = silence {
            self.restart(key, leg, silence, now);
        }
        Ok(())
    }

    fn queue_again(&mut self, key: Key, leg: Leg) {
        if let Some(slot) = self.handlers.get_mut(key) {
            if !mem::replace(&mut slot.queued, true) {
                self.again.push_back((key, leg));
            }
        }
    }

    fn restart(&mut self, key: Key, leg: Leg, silence: Duration, now: Instant) {
        let Some(slot) = self.handlers.get(key) else { return };
        let Some(token) = slot.legs.get(slot.handler.timed(leg)) else { return };
        let Some(socket) = self.sockets.get_mut(token) else { return };
        let node = socket.deadline.get_or_insert_with(|| NodeRef::new(token));
        self.deadlines.restart(node, silence, now);
    }

    /// Tells the kernel what one leg waits for, if that changed.
    fn sync(&mut self, key: Key, leg: Leg, now: Instant) -> io::Result<()> {
        let Some(slot) = self.handlers.get_mut(key) else { return Ok(()) };
        let registered = slot.legs.get(leg);
        let Some(watched) = slot.handler.watched(leg) else {
            slot.legs.set(leg, None);
            self.forget(registered);
            return Ok(());
        };
        let interest = slot.handler.interest(leg);
        let serial = watched.serial;
        let same = registered.and_then(|token| self.sockets.get(token)).is_some_and(|s| s.serial == serial);
        let token = match registered {
            Some(token) if same => token,
            _ => {
                let fresh =
                    Socket { handler: key, leg, serial, mask: Mask::NONE, deadline: None, choked: None };
                let token = self.sockets.insert(fresh);
                slot.legs.set(leg, Some(token));
                token
            }
        };
        if !same {
            self.forget(registered);
        }
        let Some(socket) = self.sockets.get_mut(token) else { return Ok(()) };
        socket.pace(token, interest, &mut self.backoff, now);
        let (before, after) = (mem::replace(&mut socket.mask, mask_of(interest)), mask_of(interest));
        let Some(slot) = self.handlers.get(key) else { return Ok(()) };
        match slot.handler.watched(leg) {
            Some(watched) if before != after => tell(&self.epoll, watched.fd, token, before, after),
            _ => Ok(()),
        }
    }

    fn forget(&mut self, token: Option<Key>) {
        let Some(socket) = token.and_then(|token| self.sockets.remove(token)) else { return };
        if let Some(node) = &socket.deadline {
            self.deadlines.cancel(node);
        }
        if let Some(choked) = &socket.choked {
            self.backoff.forget(&choked.node);
        }
    }

    /// The one way out. Closing the descriptors takes them out of the epoll set.
    fn remove(&mut self, key: Key, reason: H::Reason, ctx: &mut H::Ctx) {
        let Some(slot) = self.handlers.remove(key) else { return };
        self.all.unlink(&slot.node);
        for token in slot.legs.all() {
            self.forget(Some(token));
        }
        // Last words that panic are lost; the worker is not.
        let _lost = panic::catch_unwind(AssertUnwindSafe(|| slot.handler.closed(reason, ctx)));
    }
}

impl Socket {
    /// Chooses between EPOLLOUT and the backoff timer for the next write.
    fn pace(&mut self, token: Key, interest: Interest, backoff: &mut Backoff, now: Instant) {
        if interest.write && interest.choked {
            let fresh = || Box::new(Choked { node: NodeRef::new(token), patience: Patience::default() });
            let choked = self.choked.get_or_insert_with(fresh);
            backoff.wait(&choked.node, &mut choked.patience, now);
        } else if let Some(mut choked) = self.choked.take() {
            backoff.reset(&choked.node, &mut choked.patience);
        }
    }
}

fn mask_of(interest: Interest) -> Mask {
    let mut mask = Mask::NONE;
    if interest.failure {
        mask = mask.with(Mask::FAILURE);
    }
    if interest.read {
        mask = mask.with(Mask::READ);
    }
    if interest.write && !interest.choked {
        mask = mask.with(Mask::WRITE);
    }
    mask
}

fn tell(epoll: &Epoll, fd: impl AsFd, token: Key, before: Mask, after: Mask) -> io::Result<()> {
    match (before, after) {
        (Mask::NONE, _) => epoll.add(fd, token.to_bits(), after),
        (_, Mask::NONE) => epoll.remove(fd),
        _ => epoll.modify(fd, token.to_bits(), after),
    }
}
