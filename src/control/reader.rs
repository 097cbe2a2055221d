// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who asks: a socket, the language it speaks, and the answer that is on its way to it.
//!
//! Invariants: what is read ahead and what is waiting to be written are bounded; while an answer is under way nothing more
//! is read; a listing goes on only when its reader has taken most of what it was given. One wait at a time has a deadline,
//! and only progress puts it off: neither a request that trickles nor a reader that takes a byte now and then stays for long.
//! A reader that goes leaves no listing and no order behind. Not here: the languages (`command/`, `http/`), who goes when
//! there is no room (`thread.rs`).

use super::answer::{Answer, List, Request, Talk, Then, Visitor, Wording};
use super::order::Outcome;
use super::output::Output;
use super::state::{Asked, SILENCE, State};
use super::underway::Underway;
use crate::connection::walk::Page;
use crate::event::{Fault, Handler, Interest, Key, Leg, Ready, Verdict, Watched};
use crate::log;
use crate::policy::access::Level;
use crate::sys::socket::Socket;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes of requests read ahead at most, from who may only see: above the head of any HTTP request that is served.
const INPUT: usize = 64 << 10;

/// The same from who may change something: above a certificate with its chain and key.
const LARGE_INPUT: usize = 1 << 20;

/// Bytes read per turn.
const READ: usize = 16 << 10;

/// Bytes that wait to be written below which a listing goes on.
pub(super) const LOW: usize = 64 << 10;

/// Requests answered, or pages asked for, per turn.
const STEPS: usize = 16;

/// How long a request may take from its first byte to its last.
const REQUEST: Duration = Duration::from_secs(30);

/// How long a reader may take for [`PACE`] bytes of what it is given.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// The least it must take in that time, if so much waits. Sockets tell of it in larger pieces than this.
const PACE: u64 = 4096;

/// How long main may take for an order: a reload resolves names.
const ORDER: Duration = Duration::from_secs(120);

/// How long a reader may take to see that it was told the end. Closing at once could cost it the last bytes, if it has
/// sent more than was read (RFC 9112, section 9.6).
const LEAVING: Duration = Duration::from_secs(1);

/// One reader.
#[derive(Debug)]
pub struct Reader {
    socket: Socket,
    talk: Box<dyn Talk>,
    visitor: Visitor,
    /// It came by the control socket.
    local: bool,
    key: Option<Key>,
    input: Vec<u8>,
    /// Its peer has ended its direction.
    ended: bool,
    output: Output,
    busy: Busy,
    /// What comes after the answer that is on its way.
    then: Then,
    /// What the deadline was armed for.
    wait: Option<Wait>,
    /// Requests answered, pages asked for, bytes taken: what tells one wait from the next of its kind.
    requests: u64,
    pages: u64,
    taken: u64,
    /// Of what was taken, what its peer had read when the deadline was armed.
    delivered: u64,
    /// When it last took something of an answer, or had a request whole.
    moved: Instant,
    /// What of its memory the state knows of.
    held: usize,
}

/// What it does beside its socket.
#[derive(Debug)]
enum Busy {
    /// Nothing: the next request may come.
    No,
    Listing(Box<Underway>),
    /// Main was given an order of this number.
    Order(u64, Wording),
    /// It was told the end.
    Leaving,
}

/// What it waits for. Two waits that are equal have one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The first byte of its request of that number.
    Idle(u64),
    /// The rest of it.
    Request(u64),
    /// Its peer to take what is written; how often that has taken [`PACE`] bytes.
    Output(u64),
    /// The page of that number.
    Worker(u64),
    /// Main.
    Order(u64),
    /// Its peer's end.
    Leaving,
}

/// What reaches a reader from elsewhere.
#[derive(Debug)]
pub enum Note {
    Page(Page),
    /// What came of the order of that number.
    Outcome(u64, Outcome),
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

/// What a step came to.
enum Step {
    Next,
    Wait,
    Close(Gone),
}

impl Reader {
    pub fn new(socket: Socket, talk: Box<dyn Talk>, visitor: Visitor, now: Instant) -> Self {
        Self {
            socket,
            talk,
            visitor,
            local: false,
            key: None,
            input: Vec::new(),
            ended: false,
            output: Output::default(),
            busy: Busy::No,
            then: Then::Keep,
            wait: None,
            requests: 0,
            pages: 0,
            taken: 0,
            delivered: 0,
            moved: now,
            held: 0,
        }
    }

    /// One that came by the control socket, for which some places are kept.
    #[must_use]
    pub fn by_socket(self) -> Self {
        Self { local: true, ..self }
    }

    pub fn is_local(&self) -> bool {
        self.local
    }

    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Since when it has been still: it neither takes nor says anything, and nobody but itself is to blame.
    pub fn still_since(&self) -> Option<Instant> {
        let waits = matches!(self.busy, Busy::Listing(_) | Busy::Order(..)) && self.output.pending() == 0;
        (!waits).then_some(self.moved)
    }

    /// Bytes that wait to be written to it.
    pub fn pending(&self) -> usize {
        self.output.pending()
    }

    /// What is said to it when there is no room.
    pub fn turn_away(self) {
        let text = self.talk.full();
        // It has just come: there is room in its socket for a line, or it is not told.
        let _told = self.socket.send(&text);
    }

    /// Goes as far as it can, and waits for what holds it up.
    fn advance(&mut self, state: &mut State) -> Verdict<Gone> {
        let mut verdict = None;
        for _ in 0..STEPS {
            let step = self.step(state);
            state.stint.rest();
            match step {
                // Others have their turn, and what is held is looked at.
                Step::Next if state.stint.is_long() => break,
                Step::Next => {}
                Step::Wait => {
                    verdict = Some(self.wait());
                    break;
                }
                Step::Close(gone) => return Verdict::Close(gone),
            }
        }
        let gathered = if let Busy::Listing(underway) = &self.busy { underway.format.held() } else { 0 };
        let held = self.output.held() + self.input.capacity() + gathered;
        state.hold(mem::replace(&mut self.held, held), held);
        // Others have their turn first.
        verdict.unwrap_or_else(|| {
            let wait = self.awaited();
            self.wait = Some(wait);
            Verdict::Again(self.span(wait))
        })
    }

    fn step(&mut self, state: &mut State) -> Step {
        match self.output.write(&self.socket) {
            Ok(0) => {}
            Ok(bytes) => {
                self.taken += bytes as u64;
                self.moved = state.now;
            }
            Err(_) => return Step::Close(Gone::Broken),
        }
        let pending = self.output.pending();
        match &self.busy {
            Busy::Listing(underway) if underway.waiting || pending >= LOW => Step::Wait,
            Busy::Listing(_) => self.go_on(state),
            Busy::Order(..) => Step::Wait,
            Busy::Leaving if self.ended => Step::Close(Gone::Done),
            Busy::Leaving => Step::Wait,
            Busy::No if pending > 0 => Step::Wait,
            Busy::No if self.then == Then::Close => self.leave(),
            Busy::No => self.take_request(state),
        }
    }

    fn take_request(&mut self, state: &mut State) -> Step {
        self.visitor.level = self.visitor.who.level(&state.settings);
        match self.talk.request(&mut self.input, &self.visitor, state) {
            Request::More if self.ended => return Step::Close(Gone::Done),
            Request::More if self.input.len() >= self.input_bound() => return self.leave(),
            Request::More => return Step::Wait,
            Request::End => self.then = Then::Close,
            Request::Answer(answer) => {
                self.requests += 1;
                self.moved = state.now;
                self.begin(answer, state);
            }
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        Step::Next
    }

    fn input_bound(&self) -> usize {
        if self.visitor.level > Level::Read { LARGE_INPUT } else { INPUT }
    }

    fn begin(&mut self, answer: Answer, state: &mut State) {
        match answer {
            Answer::Whole(bytes, then) => {
                self.output.put(bytes);
                self.then = then;
            }
            Answer::Shared(head, body, then) => {
                self.output.share(head, body);
                self.then = then;
            }
            Answer::List(list) => {
                let List { wanted, from, most, act, mut format, then } = *list;
                self.then = then;
                format.head(self.output.end());
                let listing = state.list(from, wanted, act, most);
                self.busy = Busy::Listing(Box::new(Underway { listing, format, waiting: false, late: 0 }));
            }
            Answer::Order(order, wording, then) => {
                self.then = then;
                match self.key.and_then(|key| state.order(key, order)) {
                    Some(number) => self.busy = Busy::Order(number, wording),
                    None => {
                        let outcome = Err("too many orders wait: try again".to_owned());
                        self.output.put((wording.0)(outcome));
                    }
                }
            }
        }
    }

    /// Asks for the next page, or ends the listing.
    fn go_on(&mut self, state: &mut State) -> Step {
        let (Some(key), Busy::Listing(underway)) = (self.key, &mut self.busy) else { return Step::Wait };
        match state.ask(key, &underway.listing) {
            Asked::Waiting => {
                (underway.waiting, underway.late) = (true, 0);
                self.pages += 1;
                return Step::Wait;
            }
            Asked::Refused => underway.listing.pass_over(),
            Asked::Ended => underway.listing.skip(),
            Asked::Through => {
                underway.format.look(state);
                underway.format.tail(&underway.listing.end(), self.output.end());
                state.leave(&underway.listing);
                self.busy = Busy::No;
            }
        }
        Step::Next
    }

    /// Tells the peer the end, and waits a moment for its own.
    fn leave(&mut self) -> Step {
        if self.ended || self.socket.shutdown_write().is_err() {
            return Step::Close(Gone::Done);
        }
        self.input = Vec::new();
        self.busy = Busy::Leaving;
        Step::Wait
    }

    /// Reads what has come, within bounds; an error is the end.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ];
        match self.socket.recv(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(_) if matches!(self.busy, Busy::Leaving) => {}
            Ok(bytes) => self.input.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads what is there; whether anything was.
    fn has_said_more(&mut self) -> bool {
        let before = (self.input.len(), self.ended);
        self.read().is_ok() && (self.input.len(), self.ended) != before
    }

    /// Arms the deadline of what it waits for, unless it is armed.
    fn wait(&mut self) -> Verdict<Gone> {
        let wait = self.awaited();
        if self.wait.replace(wait) == Some(wait) {
            return Verdict::Hold;
        }
        self.delivered = self.delivered_now();
        Verdict::Keep(self.span(wait))
    }

    /// What its peer has read so far: the socket may hold much, and take more only when it is nearly empty.
    fn delivered_now(&self) -> u64 {
        self.taken.saturating_sub(self.socket.unacknowledged() as u64)
    }

    fn awaited(&self) -> Wait {
        match &self.busy {
            _ if self.output.pending() > 0 => Wait::Output(self.taken / PACE),
            Busy::Listing(_) => Wait::Worker(self.pages),
            Busy::Order(number, _) => Wait::Order(*number),
            Busy::Leaving => Wait::Leaving,
            Busy::No if self.input.is_empty() => Wait::Idle(self.requests),
            Busy::No => Wait::Request(self.requests),
        }
    }

    fn span(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Idle(_) => self.talk.patience(),
            Wait::Request(_) => REQUEST,
            Wait::Output(_) => STALL,
            Wait::Worker(_) => SILENCE,
            Wait::Order(_) => ORDER,
            Wait::Leaving => LEAVING,
        }
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
        let pending = self.output.pending() > 0;
        let hears = match self.busy {
            Busy::No => !pending,
            Busy::Leaving => true,
            Busy::Listing(_) | Busy::Order(..) => false,
        };
        Interest { read: hears && !self.ended, write: pending, choked: false, failure: true }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.push(Leg(0));
    }

    fn ready(&mut self, _: Leg, ready: Ready, state: &mut State) -> Verdict<Gone> {
        if ready.failed && !ready.read || ready.read && self.read().is_err() {
            return Verdict::Close(Gone::Broken);
        }
        self.advance(state)
    }

    fn message(&mut self, note: Note, state: &mut State) -> Verdict<Gone> {
        match (note, &mut self.busy) {
            (Note::Page(page), Busy::Listing(underway)) if page.listing == underway.listing.number() => {
                underway.take(page, self.output.end(), &mut state.stint);
            }
            (Note::Outcome(number, outcome), Busy::Order(mine, _)) if number == *mine => {
                if let Busy::Order(_, wording) = mem::replace(&mut self.busy, Busy::No) {
                    self.output.put((wording.0)(outcome));
                }
            }
            // It came too late.
            _ => {}
        }
        self.advance(state)
    }

    fn expired(&mut self, _: Leg, state: &mut State) -> Verdict<Gone> {
        // What fired is off.
        match self.wait.take() {
            Some(Wait::Leaving) => return Verdict::Close(Gone::Done),
            Some(Wait::Output(_)) if self.delivered_now() < self.delivered + PACE => {
                return Verdict::Close(Gone::Stalled);
            }
            // What it has said meanwhile is not late, though this thread may be.
            Some(Wait::Idle(_) | Wait::Request(_)) if self.has_said_more() => return self.advance(state),
            Some(Wait::Idle(_) | Wait::Request(_)) => {
                let last = self.talk.late();
                if last.is_empty() {
                    return Verdict::Close(Gone::Stalled);
                }
                self.output.put(last);
                self.then = Then::Close;
            }
            Some(Wait::Output(_)) => return self.advance(state),
            Some(Wait::Worker(_) | Wait::Order(_)) | None => {}
        }
        match &mut self.busy {
            Busy::Listing(underway) => underway.pass_over(state),
            Busy::Order(number, _) => {
                state.drop_order(*number);
                if let Busy::Order(_, wording) = mem::replace(&mut self.busy, Busy::No) {
                    let outcome = Err("it takes long: see the log for what comes of it".to_owned());
                    self.output.put((wording.0)(outcome));
                }
            }
            Busy::No | Busy::Leaving => {}
        }
        self.advance(state)
    }

    fn closed(self, gone: Gone, state: &mut State) {
        state.hold(self.held, 0);
        if matches!(gone, Gone::Fault) {
            let line = state.sources.log.line(log::Level::Error, "control-failed");
            line.field("error", "a defect in the program ended a reader")
                .field("by", &self.visitor.name)
                .send();
        }
        match &self.busy {
            Busy::Listing(underway) => state.drop_listing(&underway.listing),
            Busy::Order(number, _) => state.drop_order(*number),
            Busy::No | Busy::Leaving => {}
        }
    }
}
