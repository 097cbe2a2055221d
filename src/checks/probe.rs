// SPDX-License-Identifier: MIT OR Apache-2.0
//! One check on its way: connect, perhaps TLS, perhaps a dialogue, and a last word.
//!
//! Invariants: it lasts no longer than its timeout and a second for parting; it keeps no more of answers than
//! [`MOST`] bytes, takes no more than [`READS`] reads, and tells exactly one outcome. A TLS session that was agreed on goes
//! with it: nothing of a check is ever resumed, nor resumes what connections have agreed on.

use super::target::{Asked, Way};
use crate::error::Break;
use crate::event::{Fault, Handler, Interest, Key, Leg, Ready, Verdict, Watched};
use crate::policy::health::{Outcome, Status};
use crate::policy::outgoing::{self as policy, Outgoing};
use crate::stats::Clock;
use crate::stream::tls::Handshake;
use crate::stream::{Scratch, Sink, Source, Stream};
use crate::sys::address::Address;
use crate::sys::outgoing;
use crate::sys::outgoing::is_our_lack;
use crate::sys::socket::{Connecting, Socket};
use crate::wire::checks::{Judged, MOST, Talk, Text, excerpt};
use crate::wire::proxy_header::{self, Header};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads per check: who sends its answer byte by byte is not heard out.
const READS: u16 = 256;

/// IPv4 and IPv6.
const FAMILIES: usize = 2;

/// How long a server may take to hang up once it was told that we go. One that says so itself spares us a port that is
/// not to be used for a minute (TIME_WAIT).
const PARTING: Duration = Duration::from_secs(1);

/// Of a timeout: what remains of it for another address is a multiple of this part, so that there are few durations.
const PARTS: u32 = 8;

/// What is lent to every check.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) now: Instant,
    pub(super) clock: Clock,
    pub(super) scratch: Scratch,
    pub(super) buffer: Vec<u8>,
    /// A socket to knock with, of each family: most checks here need no other.
    pub(super) spare: [Option<Socket>; FAMILIES],
    /// What checks have come to, by the key of their target.
    pub(super) results: Vec<(Key, Outcome)>,
    /// Checks that have ended, and are gone, by the key of their target.
    pub(super) gone: Vec<Key>,
}

impl Round {
    pub(super) fn new(now: Instant, clock: Clock) -> Self {
        let (scratch, buffer) = (Scratch::default(), vec![0; MOST]);
        let spare = [const { None }; FAMILIES];
        Self { now, clock, scratch, buffer, spare, results: Vec::new(), gone: Vec::new() }
    }

    /// The place of a spare socket for `address`.
    fn spare(&mut self, address: &Address) -> Option<&mut Option<Socket>> {
        match address {
            Address::Inet(inet) => self.spare.get_mut(usize::from(inet.is_ipv6())),
            _ => None,
        }
    }
}

/// One check.
#[derive(Debug)]
pub(super) struct Probe {
    asked: Arc<Asked>,
    /// As they were when it began.
    addresses: Box<[Address]>,
    /// The target's.
    key: Key,
    began: Instant,
    stream: Option<Stream>,
    /// Of the socket: how many there were before it. The same numbers the addresses.
    serial: u16,
    /// The address to begin with.
    first: usize,
    stage: Stage,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How often we said something.
    said: u8,
    reads: u16,
    is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Shaking,
    Talking,
    /// The outcome is told.
    Parting,
}

/// Why a check is over.
#[derive(Debug)]
pub(super) enum Over {
    Outcome(Status, Text),
    Parted,
    /// Nobody wants to know any more.
    Unwanted,
}

impl From<Fault> for Over {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Panic => Self::Outcome(Status::System, "the check panicked".into()),
            Fault::Watch(error) => Self::Outcome(Status::System, error.to_string().into()),
        }
    }
}

impl Probe {
    /// A check of `asked`, from the address with that number on.
    pub(super) fn new(asked: Arc<Asked>, key: Key, first: usize, now: Instant) -> Self {
        Self {
            addresses: asked.addresses(),
            asked,
            key,
            began: now,
            stream: None,
            serial: 0,
            first,
            stage: Stage::Connecting,
            input: Vec::new(),
            output: Vec::new(),
            said: 0,
            reads: 0,
            is_told: false,
        }
    }

    /// Goes as far as it goes without waiting.
    fn go(&mut self, ctx: &mut Round) -> Result<(), Over> {
        if self.stage == Stage::Connecting && !self.connect(ctx)? {
            return Ok(());
        }
        if self.stage == Stage::Connecting {
            self.connected(ctx)?;
        }
        if self.stage == Stage::Shaking && !self.shake_hands(ctx)? {
            return Ok(());
        }
        if self.stage == Stage::Talking {
            self.talk(ctx)?;
        }
        if self.stage == Stage::Parting { self.part(ctx) } else { Ok(()) }
    }

    /// Whether there is a connection.
    fn connect(&mut self, ctx: &mut Round) -> Result<bool, Over> {
        let (asked, addresses) = (Arc::clone(&self.asked), &self.addresses);
        loop {
            let place = self.first.wrapping_add(self.serial.into()) % addresses.len().max(1);
            let Some(address) = addresses.get(place) else {
                return Err(Over::Outcome(Status::NotConnected, "there is no address".into()));
            };
            let connecting = match self.stream.as_ref().and_then(Stream::socket) {
                Some(socket) => socket.connect_again(address),
                None => begin(&asked, address, ctx).map(|(socket, state)| {
                    self.stream = Some(Stream::raw(socket));
                    state
                }),
            };
            match connecting {
                Ok(state) => return Ok(state == Connecting::Connected),
                Err(error) if is_our_lack(&error) => return Err(system(&error)),
                Err(error) => {
                    self.stream = None;
                    self.serial += 1;
                    if usize::from(self.serial) >= addresses.len() {
                        return Err(Over::Outcome(Status::NotConnected, words(&error)));
                    }
                }
            }
        }
    }

    /// There is a connection: what comes next.
    fn connected(&mut self, ctx: &mut Round) -> Result<(), Over> {
        let asked = Arc::clone(&self.asked);
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if asked.only_knocks() {
            if let Some(Stream::Raw(raw)) = self.stream.take() {
                let (socket, _, _) = raw.into_parts();
                let address =
                    self.addresses.get((self.first + usize::from(self.serial)) % self.addresses.len().max(1));
                if let Some(address) = address {
                    keep(socket, address, ctx);
                }
            }
            return Err(Over::Outcome(Status::Connected, "".into()));
        }
        if let (Some(version), Some(raw)) = (asked.header, stream.as_raw()) {
            let header = Header { local: true, ..Header::default() };
            let mut prologue = Vec::new();
            proxy_header::write(&header, version, false, &mut prologue);
            raw.begin_with(prologue);
        }
        if let Some(tls) = &asked.tls {
            let session = tls.policy.session(0, tls.name.as_deref());
            let session = session.map_err(|error| Over::Outcome(Status::System, error.to_string().into()))?;
            stream.start_tls(session).map_err(|how| Over::Outcome(Status::System, broken(how)))?;
            self.stage = Stage::Shaking;
        } else {
            self.begin_to_talk();
        }
        Ok(())
    }

    /// Whether the TLS handshake is complete.
    fn shake_hands(&mut self, ctx: &mut Round) -> Result<bool, Over> {
        let Some(tls) = self.stream.as_mut().and_then(Stream::as_tls) else { return Ok(true) };
        match tls.handshake(&mut ctx.scratch) {
            Handshake::Wait => Ok(false),
            Handshake::Failed(how) => Err(Over::Outcome(Status::NoTls, broken(how))),
            Handshake::Done => {
                let agreed = tls.version();
                match self.asked.protocol.talk {
                    Talk::Dialogue { .. } => self.begin_to_talk(),
                    Talk::Connect | Talk::Handshake => self.tell(Status::Tls, agreed.into(), b"", ctx),
                }
                Ok(true)
            }
        }
    }

    fn begin_to_talk(&mut self) {
        self.stage = Stage::Talking;
        if let Talk::Dialogue { opening, .. } = self.asked.protocol.talk {
            self.output = opening(&self.asked.question);
        }
    }

    fn talk(&mut self, ctx: &mut Round) -> Result<(), Over> {
        let Talk::Dialogue { judge, .. } = self.asked.protocol.talk else { return Ok(()) };
        self.write(ctx).map_err(|text| Over::Outcome(Status::WrongAnswer, text))?;
        loop {
            let source = self.read(ctx)?;
            let more = matches!(source, Source::More);
            match judge(&self.asked.question, self.said, &self.input) {
                Judged::More if more => {}
                Judged::More => return self.ended(source),
                Judged::Say(words) => {
                    self.input.clear();
                    self.output = words;
                    self.said = self.said.saturating_add(1);
                    self.write(ctx).map_err(|text| Over::Outcome(Status::WrongAnswer, text))?;
                }
                Judged::Well(text, bye) => {
                    self.tell(Status::Answered, text, bye, ctx);
                    return Ok(());
                }
                Judged::Unwell(text) => return Err(Over::Outcome(Status::Unwell, text)),
                Judged::Wrong(text) => return Err(Over::Outcome(Status::WrongAnswer, text)),
            }
        }
    }

    /// What it means that no more comes, if that is so, and what came says nothing.
    fn ended(&self, source: Source) -> Result<(), Over> {
        let why = match source {
            Source::Empty | Source::More => return Ok(()),
            Source::Shut => "it hung up".into(),
            Source::Broken(how) => broken(how),
        };
        Err(Over::Outcome(Status::WrongAnswer, self.with_input(&why)))
    }

    /// `why`, and what came so far.
    fn with_input(&self, why: &str) -> Text {
        if self.input.is_empty() {
            format!("{why} without a word").into()
        } else {
            format!("{why} after: {}", excerpt(&self.input)).into()
        }
    }

    /// Reads once, behind what came before.
    fn read(&mut self, ctx: &mut Round) -> Result<Source, Over> {
        let Some(stream) = &mut self.stream else { return Ok(Source::Shut) };
        let room = MOST - self.input.len();
        if room == 0 || self.reads == READS {
            let why =
                if room == 0 { "no expected answer in 16 KiB" } else { "no expected answer in 256 pieces" };
            return Err(Over::Outcome(Status::WrongAnswer, self.with_input(why)));
        }
        self.reads += 1;
        let got = stream.read(&mut ctx.buffer[..room], &mut ctx.scratch);
        self.input.extend_from_slice(&ctx.buffer[..got.bytes]);
        Ok(got.then)
    }

    /// Writes what there is to say, as far as it goes.
    fn write(&mut self, ctx: &mut Round) -> Result<(), Text> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if stream.residue() > 0 && (self.output.is_empty() || !stream.holds_prologue()) {
            if let Sink::Broken(how) = stream.flush().then {
                return Err(broken(how));
            }
        }
        if self.output.is_empty() {
            return Ok(());
        }
        let put = stream.write(&self.output, &mut ctx.scratch);
        self.output.drain(..put.bytes);
        match put.then {
            Sink::Broken(how) => Err(broken(how)),
            Sink::Room | Sink::Full | Sink::NeedsInput => Ok(()),
        }
    }

    /// Tells that all is well; what is left to do is to take leave.
    fn tell(&mut self, status: Status, text: Text, bye: &[u8], ctx: &mut Round) {
        let outcome = self.outcome(status, text, ctx);
        ctx.results.push((self.key, outcome));
        self.is_told = true;
        self.stage = Stage::Parting;
        self.output = bye.to_vec();
        let _it_may_be_gone = self.write(ctx);
        self.reads = 0;
        if let Some(stream) = &mut self.stream {
            stream.end_data(&mut ctx.scratch);
            // Who knows no word for it learns it from our end.
            let _it_may_be_gone = if bye.is_empty() { stream.shutdown_write() } else { Ok(()) };
        }
    }

    /// Waits for the server to hang up.
    fn part(&mut self, ctx: &mut Round) -> Result<(), Over> {
        let Some(stream) = &mut self.stream else { return Err(Over::Parted) };
        while self.reads < READS {
            self.reads += 1;
            match stream.receive(&mut ctx.buffer).then {
                Source::More => {}
                Source::Empty => return Ok(()),
                Source::Shut | Source::Broken(_) => break,
            }
        }
        Err(Over::Parted)
    }

    fn outcome(&self, status: Status, text: Text, ctx: &Round) -> Outcome {
        Outcome {
            at: ctx.clock.at(ctx.now),
            status,
            took: ctx.now.saturating_duration_since(self.began),
            text,
        }
    }

    /// What remains of the timeout, rounded up.
    fn remains(&self, now: Instant) -> Duration {
        let part = (self.asked.timeout / PARTS).max(Duration::from_millis(1));
        let left = self.asked.timeout.saturating_sub(now.saturating_duration_since(self.began));
        let parts = left.as_nanos().div_ceil(part.as_nanos());
        part * u32::try_from(parts).unwrap_or(PARTS).clamp(1, PARTS)
    }

    /// Which verdict a callback gives that began with that stage and socket.
    fn verdict(
        &self,
        went: Result<(), Over>,
        before: (Stage, u16),
        is_first: bool,
        now: Instant,
    ) -> Verdict<Over> {
        match went {
            Err(over) => Verdict::Close(over),
            Ok(()) if is_first => Verdict::Keep(self.asked.timeout),
            Ok(()) if self.stage == Stage::Parting && before.0 != Stage::Parting => Verdict::Keep(PARTING),
            Ok(()) if self.serial != before.1 => Verdict::Keep(self.remains(now)),
            Ok(()) => Verdict::Hold,
        }
    }
}

impl Handler for Probe {
    type Ctx = Round;
    type Answer = ();
    type Reason = Over;

    fn watched(&self, _: Leg) -> Option<Watched<'_>> {
        let socket = self.stream.as_ref().and_then(Stream::socket)?;
        Some(Watched { fd: socket.as_fd(), serial: self.serial })
    }

    fn interest(&self, _: Leg) -> Interest {
        let residue = self.stream.as_ref().is_some_and(|stream| stream.residue() > 0);
        match self.stage {
            Stage::Connecting => Interest { write: true, ..Interest::default() },
            Stage::Shaking | Stage::Talking => {
                Interest { read: true, write: residue || !self.output.is_empty(), ..Interest::default() }
            }
            Stage::Parting => Interest { read: true, ..Interest::default() },
        }
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.push(Leg(0));
    }

    fn ready(&mut self, _: Leg, _: Ready, ctx: &mut Round) -> Verdict<Over> {
        let (before, is_first) = ((self.stage, self.serial), self.stream.is_none());
        let went = self.go(ctx);
        self.verdict(went, before, is_first, ctx.now)
    }

    fn message(&mut self, (): (), _: &mut Round) -> Verdict<Over> {
        Verdict::Hold
    }

    fn expired(&mut self, _: Leg, _: &mut Round) -> Verdict<Over> {
        Verdict::Close(match self.stage {
            Stage::Connecting => Over::Outcome(Status::ConnectTimeout, "no connection in time".into()),
            Stage::Shaking => Over::Outcome(Status::TlsTimeout, "no TLS handshake in time".into()),
            Stage::Talking => Over::Outcome(Status::AnswerTimeout, self.with_input("no answer in time")),
            Stage::Parting => Over::Parted,
        })
    }

    fn closed(self, reason: Over, ctx: &mut Round) {
        if let Some(socket) = self.stream.as_ref().and_then(Stream::socket) {
            // Whatever is left of it is of no use to anybody.
            socket.reset_on_close();
        }
        if let (Over::Outcome(status, text), false) = (reason, self.is_told) {
            let outcome = self.outcome(status, text, ctx);
            ctx.results.push((self.key, outcome));
        }
        ctx.gone.push(self.key);
    }
}

/// Begins to connect, and asks at once how that stands: on this machine it is there by now, if anybody listens.
fn begin(asked: &Asked, address: &Address, ctx: &mut Round) -> io::Result<(Socket, Connecting)> {
    if !asked.only_knocks() {
        let (socket, state) = match &asked.way {
            Some(Way(way)) => set_out(way, address),
            None => Socket::connect(address),
        }?;
        let state = if state == Connecting::InProgress { socket.connect_again(address)? } else { state };
        return Ok((socket, state));
    }
    let spare = ctx.spare(address).and_then(Option::take);
    let socket = spare.map_or_else(|| Socket::knocking(address), Ok)?;
    let mut state = socket.connect_again(address)?;
    if state == Connecting::InProgress {
        state = socket.connect_again(address)?;
    }
    Ok((socket, state))
}

/// Begins to connect as connections of the route do; but where those come from their client, this comes from us.
fn set_out(way: &Outgoing, address: &Address) -> io::Result<(Socket, Connecting)> {
    // That an option is refused is told of connections.
    let mut told_elsewhere = |_| ();
    if way.sources.contains(&policy::Source::Client) {
        return outgoing::connect(address, &way.socket, outgoing::From::Any, false, &mut told_elsewhere);
    }
    way.connect(address, &Address::Unnamed, false, &mut told_elsewhere)
}

/// Keeps a socket that has knocked at `address` for the next who will. Nothing was said, so nothing is lost by a reset.
fn keep(socket: Socket, address: &Address, ctx: &mut Round) {
    match ctx.spare(address) {
        Some(place) if socket.knock_again().is_ok() => *place = Some(socket),
        _ => socket.reset_on_close(),
    }
}

fn system(error: &io::Error) -> Over {
    Over::Outcome(Status::System, words(error))
}

/// An error without the number that the standard library puts behind it.
fn words(error: &io::Error) -> Text {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned().into(),
        None => text.into(),
    }
}

fn broken(how: Break) -> Text {
    match how {
        Break::Reset(error) => words(&error),
        Break::Truncated => "it hung up in the middle".into(),
        Break::Gone => "it was gone".into(),
        Break::Tls(_, text) => excerpt(text.as_bytes()).into(),
    }
}
