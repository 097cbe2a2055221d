// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a request to the control interface may come to, whatever language it was made in.
//!
//! A [`Talk`] understands one language (commands, HTTP) and turns requests into [`Answer`]s; `reader.rs` carries them out.
//! Nothing here knows sockets, and a talk never waits: what takes time is an answer that says so.

use super::listing::Cursor;
use super::order::{Order, Outcome};
use super::state::State;
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::Act;
use crate::policy::access::Level;
use std::fmt;
use std::time::Duration;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    pub level: Level,
    /// For the log and for answers: "uid 0", "127.0.0.1:4711", "CN ops".
    pub name: String,
}

/// One language of requests.
pub trait Talk: fmt::Debug + Send {
    /// Looks at what has come in, and takes a whole request off its front if there is one. Called again after each answer,
    /// and when more has come.
    fn request(&mut self, input: &mut Vec<u8>, visitor: &Visitor, state: &mut State) -> Request;

    /// What is said to who comes when there is no room.
    fn full(&self) -> Vec<u8>;

    /// How long silence between requests is tolerated.
    fn patience(&self) -> Duration;

    /// Patience is over: what is said before the end; nothing, unless a language has words for it.
    fn late(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// What was found in the input.
#[derive(Debug)]
pub enum Request {
    /// Not whole yet.
    More,
    Answer(Answer),
    /// Nothing more is wanted.
    End,
}

/// What happens after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Further requests may follow.
    Keep,
    Close,
}

#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Vec<u8>, Then),
    /// Connections, a page at a time as the reader takes them.
    List(Box<List>),
    /// What main made of an order.
    Order(Order, Wording, Then),
}

/// Puts an outcome into words.
pub struct Wording(pub Box<dyn FnOnce(Outcome) -> Vec<u8> + Send>);

impl fmt::Debug for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wording")
    }
}

/// Which connections are told, and how.
#[derive(Debug)]
pub struct List {
    pub wanted: Wanted,
    /// Where a former listing stopped; none: from the beginning.
    pub from: Option<Cursor>,
    /// How many at most.
    pub most: usize,
    pub act: Act,
    pub format: Box<dyn Format>,
    pub then: Then,
}

/// How connections are written down.
pub trait Format: fmt::Debug + Send {
    fn head(&mut self, out: &mut Vec<u8>);
    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>);
    fn tail(&mut self, end: &End, out: &mut Vec<u8>);
}

/// How a listing ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
    /// Connections told.
    pub told: usize,
    /// Workers that did not answer in time: theirs are missing.
    pub silent: Vec<usize>,
}
