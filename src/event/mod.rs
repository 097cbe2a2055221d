// SPDX-License-Identifier: MIT OR Apache-2.0
//! The event layer: who owns what waits, and how it is told.
//!
//! A handler owns one or many sockets, its *legs*. It never reaches up: it gets `&mut self` and a context, and
//! answers with a [`Verdict`]; [`event_loop::Loop`] alone inserts, removes, arms and disarms.

pub mod backoff;
pub mod deadline;
pub mod event_loop;
mod legs;
pub mod list;
#[cfg(test)]
mod loop_tests;
pub mod slots;

pub use slots::Key;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// One socket of a handler, by the number the handler gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg(pub u16);

/// What a leg watches: a descriptor, and a number that changes when the leg's socket is replaced by another one (the
/// kernel may give the new one the old number).
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    pub fd: BorrowedFd<'a>,
    pub serial: u16,
}

/// What a leg waits for, derived from the handler's state after every callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
    /// The last write was blocked after a few bytes only: writing goes by the backoff timer, not by EPOLLOUT.
    pub choked: bool,
    /// Nothing is to be read any more, but that the peer breaks off is to be told.
    pub failure: bool,
}

/// What happened to a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
    /// Error or hang-up: reading and writing will say what it is.
    pub failed: bool,
}

/// What the loop must do after a callback.
#[derive(Debug)]
pub enum Verdict<R> {
    /// Wait for events; from now on so much silence is tolerated.
    Keep(Duration),
    /// Wait for events; the deadline stays as it was armed.
    Hold,
    /// Bytes are left in user space: run me next turn, epoll cannot know. As to silence, as `Keep`.
    Again(Duration),
    /// Over.
    Close(R),
}

/// What the loop itself has to say of a handler it must close.
#[derive(Debug)]
pub enum Fault {
    /// A callback panicked.
    Panic,
    /// The kernel refused to watch a socket.
    Watch(io::Error),
}

/// Something with legs that lives in a [`event_loop::Loop`].
pub trait Handler {
    /// What is lent to every callback.
    type Ctx;
    /// What a task may answer it.
    type Answer;
    /// Why a handler ends.
    type Reason: From<Fault>;

    /// Called once, before anything else: the key under which it is known, for whoever answers it.
    fn placed(&mut self, _key: Key) {}

    /// The socket of that leg, if it has one now.
    fn watched(&self, leg: Leg) -> Option<Watched<'_>>;

    /// What that leg waits for now.
    fn interest(&self, leg: Leg) -> Interest;

    /// The legs whose state the last callback may have changed.
    fn touched(&mut self, legs: &mut Vec<Leg>);

    /// The leg whose deadline a verdict on `leg` restarts: its own, or one that stands for the whole handler.
    fn timed(&self, leg: Leg) -> Leg {
        leg
    }

    /// Called once when it is inserted (leg 0, nothing ready), then whenever a leg is ready, asked for `Again`, or is
    /// poked by another handler.
    fn ready(&mut self, leg: Leg, ready: Ready, ctx: &mut Self::Ctx) -> Verdict<Self::Reason>;

    /// A task has done what it was asked for.
    fn message(&mut self, answer: Self::Answer, ctx: &mut Self::Ctx) -> Verdict<Self::Reason>;

    /// The silence on that leg lasted as long as tolerated.
    fn expired(&mut self, leg: Leg, ctx: &mut Self::Ctx) -> Verdict<Self::Reason>;

    /// Last words. Its descriptors close when it drops.
    fn closed(self, reason: Self::Reason, ctx: &mut Self::Ctx);
}
