// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who asks: a socket, the language it speaks, and the answer that is on its way to it.
//!
//! Invariants: what is read ahead and what is waiting to be written are bounded; while an answer is under way nothing more
//! is read; a listing goes on only when its reader has taken most of what it was given. Every wait has its deadline: a
//! reader that stalls is let go. Not here: the languages (`command/`, `http/`).

use super::answer::{Answer, Format, List, Request, Talk, Then, Visitor, Wording};
use super::listing::Listing;
use super::order::Outcome;
use super::state::{Asked, State};
use crate::connection::walk::Page;
use crate::event::{Fault, Handler, Interest, Key, Leg, Ready, Verdict, Watched};
use crate::sys::socket::Socket;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes of requests read ahead at most. Above the largest request there is, a certificate with its chain and key.
const INPUT: usize = 1 << 20;

/// Bytes read per turn.
const READ: usize = 16 << 10;

/// Bytes that wait to be written below which a listing goes on.
const LOW: usize = 64 << 10;

/// Requests answered per turn, in fairness to other readers.
const REQUESTS: usize = 16;

/// How long a reader may take nothing of what it is given.
const STALL: Duration = Duration::from_secs(30);

/// How long a peer that was told everything may take to end its direction. Bytes of it that nobody reads would make the
/// kernel answer with a reset, which can overtake what it was told.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a worker may take for a page.
const WORKER: Duration = Duration::from_secs(2);

/// How long main may take for an order: a reload resolves names.
const ORDER: Duration = Duration::from_secs(120);

/// One reader.
#[derive(Debug)]
pub struct Reader {
    socket: Socket,
    talk: Box<dyn Talk>,
    visitor: Visitor,
    key: Option<Key>,
    input: Vec<u8>,
    /// Its peer has ended its direction.
    ended: bool,
    output: Vec<u8>,
    written: usize,
    busy: Busy,
    /// What comes after the answer that is on its way.
    then: Then,
    /// When it last took or sent something.
    moved: Instant,
}

/// What it waits for beside its socket.
#[derive(Debug)]
enum Busy {
    /// Nothing: the next request may come.
    No,
    Listing {
        listing: Listing,
        format: Box<dyn Format>,
        /// A page was asked for.
        waiting: bool,
    },
    Order(Wording),
    /// All was said and our direction has ended: what still comes is dropped, until the peer has ended too.
    Leaving,
}

/// What reaches a reader from elsewhere.
#[derive(Debug)]
pub enum Note {
    Page(Page),
    Outcome(Outcome),
}

/// Why a reader goes.
#[derive(Debug)]
pub enum Gone {
    Done,
    Stalled,
    Broken,
    Fault,
}

impl From<Fault> for Gone {
    fn from(_: Fault) -> Self {
        Self::Fault
    }
}

impl Reader {
    pub fn new(socket: Socket, talk: Box<dyn Talk>, visitor: Visitor, now: Instant) -> Self {
        Self {
            socket,
            talk,
            visitor,
            key: None,
            input: Vec::new(),
            ended: false,
            output: Vec::new(),
            written: 0,
            busy: Busy::No,
            then: Then::Keep,
            moved: now,
        }
    }

    /// When it last took or sent something.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    fn pending(&self) -> usize {
        self.output.len() - self.written
    }

    /// Reads what has come, within bounds; an error is the end.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let mut buffer = [0; READ];
        match self.socket.recv(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(bytes) => {
                self.input.extend_from_slice(&buffer[..bytes]);
                self.moved = now;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn write(&mut self, now: Instant) -> io::Result<()> {
        while self.pending() > 0 {
            match self.socket.send(&self.output[self.written..]) {
                Ok(0) => break,
                Ok(bytes) => {
                    self.written += bytes;
                    self.moved = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Goes as far as it can.
    fn advance(&mut self, state: &mut State) -> Verdict<Gone> {
        let mut requests = 0;
        loop {
            if self.write(state.now).is_err() {
                return Verdict::Close(Gone::Broken);
            }
            if self.pending() >= LOW {
                return self.keep();
            }
            match mem::replace(&mut self.busy, Busy::No) {
                Busy::No if self.pending() > 0 => return self.keep(),
                Busy::No if self.then == Then::Close => return self.leave(),
                Busy::Leaving if self.ended => return Verdict::Close(Gone::Done),
                Busy::Leaving => {
                    self.input.clear();
                    self.busy = Busy::Leaving;
                    return Verdict::Hold;
                }
                Busy::No if requests >= REQUESTS => return Verdict::Again(self.talk.patience()),
                Busy::No => {
                    requests += 1;
                    let request = self.talk.request(&mut self.input, &self.visitor, state);
                    match request {
                        Request::More if self.ended || self.input.len() >= INPUT => {
                            return Verdict::Close(Gone::Done);
                        }
                        Request::More => return self.keep(),
                        Request::End => self.then = Then::Close,
                        Request::Answer(answer) => self.begin(answer, state),
                    }
                }
                Busy::Listing { listing, format, waiting: true } => {
                    self.busy = Busy::Listing { listing, format, waiting: true };
                    return self.keep();
                }
                Busy::Listing { listing, format, waiting: false } => self.go_on(listing, format, state),
                Busy::Order(wording) => {
                    self.busy = Busy::Order(wording);
                    return self.keep();
                }
            }
        }
    }

    fn begin(&mut self, answer: Answer, state: &mut State) {
        match answer {
            Answer::Whole(bytes, then) => {
                self.output.extend_from_slice(&bytes);
                self.then = then;
            }
            Answer::List(list) => {
                let List { wanted, from, most, act, mut format, then } = *list;
                self.then = then;
                format.head(&mut self.output);
                let listing = state.list(from, wanted, act, most);
                self.busy = Busy::Listing { listing, format, waiting: false };
            }
            Answer::Order(order, wording, then) => {
                self.then = then;
                match self.key {
                    Some(key) if state.order(key, order) => self.busy = Busy::Order(wording),
                    _ => {
                        let outcome = Err("too many orders wait: try again".to_owned());
                        self.output.extend((wording.0)(outcome));
                    }
                }
            }
        }
    }

    /// Asks for the next page, or ends the listing.
    fn go_on(&mut self, mut listing: Listing, mut format: Box<dyn Format>, state: &mut State) {
        let asked = match self.key {
            Some(key) => state.ask(key, &listing),
            None => Asked::Through,
        };
        match asked {
            Asked::Waiting => self.busy = Busy::Listing { listing, format, waiting: true },
            Asked::Refused => {
                listing.pass_over();
                self.busy = Busy::Listing { listing, format, waiting: false };
            }
            Asked::Through => {
                format.tail(&listing.end(), &mut self.output);
                state.leave(&listing);
            }
        }
    }

    /// Ends our direction, and waits for the other.
    fn leave(&mut self) -> Verdict<Gone> {
        if self.ended || self.socket.shutdown_write().is_err() {
            return Verdict::Close(Gone::Done);
        }
        self.busy = Busy::Leaving;
        self.keep()
    }

    /// Waits; every wait has its own patience.
    fn keep(&self) -> Verdict<Gone> {
        Verdict::Keep(match &self.busy {
            _ if self.pending() > 0 => STALL,
            Busy::Listing { .. } => WORKER,
            Busy::Order(_) => ORDER,
            Busy::Leaving => LEAVE,
            Busy::No => self.talk.patience(),
        })
    }
}

impl Handler for Box<Reader> {
    type Ctx = State;
    type Answer = Note;
    type Reason = Gone;

    fn placed(&mut self, key: Key) {
        self.key = Some(key);
    }

    fn watched(&self, leg: Leg) -> Option<Watched<'_>> {
        (leg == Leg(0)).then(|| Watched { fd: self.socket.as_fd(), serial: 0 })
    }

    fn interest(&self, _: Leg) -> Interest {
        let idle = matches!(self.busy, Busy::No | Busy::Leaving) && self.pending() == 0;
        Interest { read: idle && !self.ended, write: self.pending() > 0, choked: false, failure: true }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.push(Leg(0));
    }

    fn ready(&mut self, _: Leg, ready: Ready, state: &mut State) -> Verdict<Gone> {
        if ready.failed && !ready.read {
            return Verdict::Close(Gone::Broken);
        }
        if ready.read && self.read(state.now).is_err() {
            return Verdict::Close(Gone::Broken);
        }
        self.advance(state)
    }

    fn message(&mut self, note: Note, state: &mut State) -> Verdict<Gone> {
        match (note, mem::replace(&mut self.busy, Busy::No)) {
            (Note::Page(page), Busy::Listing { mut listing, mut format, .. })
                if page.listing == listing.number() =>
            {
                for connection in listing.take(page) {
                    format.row(&connection, &mut self.output);
                }
                self.busy = Busy::Listing { listing, format, waiting: false };
            }
            (Note::Outcome(outcome), Busy::Order(wording)) => self.output.extend((wording.0)(outcome)),
            // It came too late.
            (_, busy) => self.busy = busy,
        }
        self.advance(state)
    }

    fn expired(&mut self, _: Leg, state: &mut State) -> Verdict<Gone> {
        if self.pending() > 0 {
            return Verdict::Close(Gone::Stalled);
        }
        match mem::replace(&mut self.busy, Busy::No) {
            Busy::No => {
                let last = self.talk.late();
                if last.is_empty() {
                    return Verdict::Close(Gone::Stalled);
                }
                self.output.extend(last);
                self.then = Then::Close;
            }
            Busy::Leaving => return Verdict::Close(Gone::Done),
            Busy::Listing { mut listing, format, .. } => {
                state.drop_listing(&listing);
                listing.pass_over();
                self.busy = Busy::Listing { listing, format, waiting: false };
            }
            Busy::Order(wording) => {
                let outcome = Err("it takes long: see the log for what comes of it".to_owned());
                self.output.extend((wording.0)(outcome));
            }
        }
        self.advance(state)
    }

    fn closed(self, _: Gone, state: &mut State) {
        if let Busy::Listing { listing, .. } = &self.busy {
            state.drop_listing(listing);
        }
    }
}
