// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control interface by HTTP/1: health, metrics, the API, the page.
//!
//! A request goes `parse.rs`, `body.rs` (bytes) → `gate.rs` (who may) → `site.rs` (what is at the path) → `api.rs`,
//! `change.rs`, or the page and the metrics (what) → `response.rs` (bytes). Here they are put together. Requests may follow
//! each other without waiting (pipelining): they are answered one after the other. Invariants: a request is bounded in size
//! and in time, from its first byte to its last; after one that was not understood nothing more is read as a request.

mod api;
mod body;
mod change;
mod gate;
mod parse;
mod query;
mod response;
mod site;

pub use gate::Hosts;

use super::answer::{Answer, Request, Talk, Visitor};
use super::state::State;
use body::Body;
use gate::Gate;
use parse::{Head, Parsed, parse};
use response::{Manner, Refusal, Response};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection may be idle between requests. Scrapers come every fifteen seconds to a minute.
const IDLE: Duration = Duration::from_secs(75);

/// How long a request may be silent before it is whole.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a request may take to come in, however it dribbles.
const REQUEST: Duration = Duration::from_secs(20);

/// One reader's talk.
#[derive(Debug)]
pub struct Http {
    hosts: Hosts,
    tls: bool,
    coming: Coming,
    /// When the first byte of the request that comes in was seen.
    since: Option<Instant>,
}

/// What comes in.
#[derive(Debug)]
enum Coming {
    /// A head.
    Head,
    Body(Box<Head>, Body),
    /// Nothing that is looked at: something was not understood.
    Nothing,
}

impl Http {
    /// The talk of somebody who may call us by `hosts`, and with whom `tls` was agreed on here or not.
    pub fn new(hosts: Hosts, tls: bool) -> Self {
        Self { hosts, tls, coming: Coming::Head, since: None }
    }

    /// Takes a whole request off the input. Nothing: more is to come, or `Continue` is to be said first.
    fn take(&mut self, input: &mut Vec<u8>, now: Instant) -> Result<Taken, Refusal> {
        if self.since.is_none() && !input.is_empty() {
            self.since = Some(now);
        }
        if matches!(self.coming, Coming::Head) {
            match parse(input) {
                Parsed::Done(head, length) => {
                    let body = Body::new(head.framing)?;
                    input.drain(..length);
                    let waits = head.waits && input.is_empty() && head.framing != parse::Framing::Length(0);
                    self.coming = Coming::Body(head, body);
                    if waits {
                        return Ok(Taken::Waits);
                    }
                }
                Parsed::Bad(refusal) => return Err(refusal),
                Parsed::More => {}
            }
        }
        if let Coming::Body(_, body) = &mut self.coming {
            if let Some(content) = body.take(input)? {
                self.since = None;
                if let Coming::Body(head, _) = mem::replace(&mut self.coming, Coming::Head) {
                    return Ok(Taken::Whole(head, content));
                }
            }
        }
        let late = self.since.is_some_and(|since| now.saturating_duration_since(since) >= REQUEST);
        if late { Err(slow()) } else { Ok(Taken::More) }
    }

    /// Says why a request was not understood, and understands no more.
    fn refuse(&mut self, refusal: Refusal) -> Answer {
        self.coming = Coming::Nothing;
        Response::from(refusal).answer(Manner::LAST)
    }
}

/// What was found in the input.
#[derive(Debug)]
enum Taken {
    More,
    /// Who asks waits to be told to go on.
    Waits,
    Whole(Box<Head>, Vec<u8>),
}

fn slow() -> Refusal {
    Refusal::new(408, "the request took too long to come in")
}

impl Talk for Http {
    fn request(&mut self, input: &mut Vec<u8>, visitor: &Visitor, state: &mut State) -> Request {
        if matches!(self.coming, Coming::Nothing) {
            return Request::End;
        }
        match self.take(input, state.now) {
            Ok(Taken::More) => Request::More,
            Ok(Taken::Waits) => {
                let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
                Request::Answer(Answer::Whole(go_on, super::answer::Then::Keep))
            }
            Ok(Taken::Whole(head, body)) => {
                let settings = Arc::clone(&state.settings);
                let gate = Gate { settings: &settings, hosts: &self.hosts, tls: self.tls };
                Request::Answer(site::answer(&head, &body, gate, visitor, state))
            }
            Err(refusal) => Request::Answer(self.refuse(refusal)),
        }
    }

    fn full(&self) -> Vec<u8> {
        Response::line(503, "too many ask at the same time: try again").bytes(Manner::LAST)
    }

    fn patience(&self) -> Duration {
        if self.since.is_some() { SILENCE } else { IDLE }
    }

    fn late(&mut self) -> Vec<u8> {
        if self.since.is_none() {
            // Between requests there is nobody to tell.
            return Vec::new();
        }
        self.coming = Coming::Nothing;
        Response::from(slow()).bytes(Manner::LAST)
    }
}

#[cfg(test)]
mod tests;
