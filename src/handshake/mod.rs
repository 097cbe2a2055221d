// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handshake: a list of steps that succeed, wait or fail.
//!
//! A step is a plain function and keeps no state: early bytes are in the client's stream, TLS state in the endpoint, a
//! pending connect in the pair, the position in the [`Cursor`]. To add one: a file here with a `pub const STEP`, and its
//! name in the lists of `connection/plan.rs` that want it.

pub mod accept_tls;
pub mod alert;
pub mod answer;
pub mod check_peer;
pub mod confirm;
pub mod connect;
#[cfg(test)]
mod connect_tests;
pub mod connect_tls;
mod early;
pub mod limits;
pub mod login;
mod open_socket;
pub mod peek_hello;
pub mod peek_host;
pub mod pick_route;
mod race;
pub mod recv_proxy;
pub mod reply;
pub mod resolve;
#[cfg(test)]
mod route_tests;
pub mod rules;
pub mod send_proxy;
mod server_words;
pub mod socks;
pub mod starttls;
pub mod via_proxy;
pub mod visit;

use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Reason, Side};
use crate::policy::service::Service;
use std::time::Duration;

/// One handshake move.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// For the log: "while …".
    pub name: &'static str,
    pub run: fn(&mut Pair, &Service, &mut Ctx) -> Result<Progress, Reason>,
    /// Its time is over: the reason to close, or nothing if the step has another way to go and shall run again.
    pub expired: fn(&mut Pair, &Service, &mut Ctx) -> Option<Reason>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    Wait(For),
    /// Waits for the answer of a task, so long.
    Ask(Duration),
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct For {
    pub side: Side,
    /// For its bytes; else for room to write.
    pub read: bool,
    /// How long from now, if the step begins to wait; nothing leaves the deadline as it is.
    pub patience: Option<Duration>,
}

/// Where a connection is in its plan's steps: first the front, then the back of the route that was picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    pub in_back: bool,
    index: u8,
    /// Which side it waits for, and whether for its bytes; else for room to write.
    pub waits: Option<(Side, bool)>,
}

impl Cursor {
    /// The beginning of a route's back.
    pub fn at_back() -> Self {
        Self { in_back: true, ..Self::default() }
    }

    /// The step it is at.
    pub fn step<'s>(&self, steps: &'s [Step]) -> Option<&'s Step> {
        steps.get(usize::from(self.index))
    }

    /// Whether it is past that step of `steps`.
    pub fn is_past(&self, steps: &[Step], step: &Step) -> bool {
        place(steps, step).is_some_and(|place| place < usize::from(self.index))
    }

    /// Begins anew with that step of `steps`.
    pub fn go_back_to(&mut self, steps: &[Step], step: &Step) {
        let place = place(steps, step).and_then(|place| u8::try_from(place).ok());
        self.index = place.unwrap_or(self.index);
        self.waits = None;
    }

    /// Runs steps of `steps` until one waits or fails or the list is exhausted.
    ///
    /// # Errors
    /// The reason for which a step ends the connection.
    pub fn run(
        &mut self,
        steps: &[Step],
        pair: &mut Pair,
        service: &Service,
        ctx: &mut Ctx,
    ) -> Result<Progress, Reason> {
        while let Some(step) = self.step(steps) {
            match (step.run)(pair, service, ctx)? {
                Progress::Done => self.index += 1,
                Progress::Wait(wait) => {
                    self.waits = Some((wait.side, wait.read));
                    return Ok(Progress::Wait(wait));
                }
                Progress::Ask(patience) => {
                    self.waits = None;
                    return Ok(Progress::Ask(patience));
                }
            }
        }
        self.waits = None;
        Ok(Progress::Done)
    }
}

/// A step failed: back to the choice of a server, if that is what failed and there may be another one.
///
/// # Errors
/// The reason, where there is no way on.
pub fn go_back(
    cursor: &mut Cursor,
    steps: &[Step],
    pair: &mut Pair,
    service: &Service,
    reason: Reason,
    ctx: &mut Ctx,
) -> Result<(), Reason> {
    let is_past_connect = cursor.in_back && cursor.is_past(steps, &connect::STEP);
    if !is_past_connect || !connect::may_try_another(pair, service, &reason, ctx) {
        return Err(reason);
    }
    cursor.go_back_to(steps, &connect::STEP);
    Ok(())
}

/// Where that step is in `steps`: a list has none twice, and each has a name of its own.
fn place(steps: &[Step], step: &Step) -> Option<usize> {
    steps.iter().position(|one| one.name == step.name)
}

/// The time that a step of the client's handshake has is over.
fn client_too_slow(_: &mut Pair, _: &Service, _: &mut Ctx) -> Option<Reason> {
    Some(Reason::HandshakeTimeout(Side::Client))
}
