// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control thread: one event loop of readers, beside the workers' and of the same make.
//!
//! Nothing here is waited for by a worker, and by main only when it binds: they drop what they have to say into bounded
//! queues and ring the bell. So a reader that is slow, or a thousand of them, delays other readers at most, and by a bounded
//! turn. When there is no room for one more reader, the one goes that has been still for longest; where nobody is still, who
//! comes is turned away. The thread has less of a claim to the processor than those that serve.

use super::answer::{Talk, Visitor};
use super::bind;
use super::command::Commands;
use super::http::{Hosts, Http};
use super::reader::{Gone, Note, Reader};
use super::state::{Sources, State};
use super::stint::Stint;
use super::visits;
use crate::event::Key;
use crate::event::event_loop::Loop;
use crate::log;
use crate::policy::access::{ControlSettings, Level};
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::listening::{AcceptError, Listening, accept_error};
use crate::sys::process;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BELL: u8 = 0;
const SOCKET: u8 = 1;
const HTTP: u8 = 2;

/// Readers at once.
const READERS: usize = 512;

/// Of these at most so many by HTTP: whoever floods that does not keep the operator from the control socket.
const REMOTE: usize = READERS - 64;

/// How long a reader is left in peace before it may go for another.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes that may wait for all readers together; beyond it the one goes that has taken nothing for longest.
const HELD: usize = 64 << 20;

/// Pages handed out per turn: each costs as much as its rows take to write down.
const PAGES: usize = 64;

/// How long main waits for what it asked: a turn here is far shorter.
const ANSWER: Duration = Duration::from_secs(10);

/// Readers taken per turn from each listener.
const BATCH: usize = 16;

/// Requests of main and workers that may wait.
const CAPACITY: usize = 256;

/// How often figures that are rates are taken.
const TICK: Duration = Duration::from_secs(1);

/// What main tells the control thread.
#[derive(Debug)]
enum Call {
    /// Other settings; what became of them.
    Settings(ControlSettings, mpsc::SyncSender<io::Result<()>>),
}

/// The control thread, as others see it.
#[derive(Debug)]
pub struct Control {
    calls: ArrayQueue<Call>,
    bell: Arc<EventFd>,
}

impl Control {
    /// Starts the thread, which listens to nobody yet. `bell` is also rung for pages and outcomes.
    ///
    /// # Errors
    /// When the system gives no thread or descriptor.
    pub fn start(sources: Sources, bell: Arc<EventFd>) -> io::Result<Arc<Self>> {
        let control = Arc::new(Self { calls: ArrayQueue::new(CAPACITY), bell });
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("control".to_owned());
        thread.spawn({
            let control = Arc::clone(&control);
            // Made in its own thread, which its list of readers never leaves.
            move || match Serving::new(control, sources) {
                Ok(mut serving) => {
                    process::step_back();
                    let _main_waits = sender.send(Ok(()));
                    serving.run();
                }
                Err(error) => drop(sender.send(Err(error))),
            }
        })?;
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(control)
    }

    /// Binds what `settings` say, and lets go of what they no longer say. Waits for it; on failure everything stays.
    ///
    /// # Errors
    /// The system's, of the first address that cannot be bound.
    pub fn settle(&self, settings: ControlSettings) -> io::Result<()> {
        let (sender, receiver) = mpsc::sync_channel(1);
        if self.calls.push(Call::Settings(settings, sender)).is_err() {
            return Err(io::Error::other("the control thread does not answer"));
        }
        self.bell.signal();
        let silent = |_| Err(io::Error::other("the control thread does not answer"));
        receiver.recv_timeout(ANSWER).unwrap_or_else(silent)
    }
}

#[derive(Debug)]
struct Serving {
    control: Arc<Control>,
    readers: Loop<Box<Reader>>,
    state: State,
    settings: ControlSettings,
    socket: Option<Listening>,
    http: Option<Listening>,
    next_tick: Instant,
    /// Somebody may ask. Until then nothing is sampled, and a daemon that rests sleeps.
    asked: bool,
    /// The bell was rung, or there are more pages than a turn hands out.
    unheard: bool,
    /// Nobody is accepted until the next tick: there are no descriptors.
    paused: bool,
}

impl Serving {
    fn new(control: Arc<Control>, sources: Sources) -> io::Result<Self> {
        let readers = Loop::new()?;
        readers.watch(&control.bell, BELL)?;
        let now = clock();
        Ok(Self {
            control,
            readers,
            state: State::new(sources, now),
            settings: ControlSettings::default(),
            socket: None,
            http: None,
            next_tick: now + TICK,
            asked: false,
            unheard: false,
            paused: false,
        })
    }

    /// Until the process ends: it is asked of to the last. What panics here costs what it was about.
    fn run(&mut self) {
        loop {
            let error = match panic::catch_unwind(AssertUnwindSafe(|| self.turns())) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a panic outside of any reader".to_owned(),
            };
            let line = self.state.sources.log.line(log::Level::Error, "control-failed");
            line.field("error", error).send();
            // Not again at once, whatever it is.
            thread::sleep(TICK);
        }
    }

    /// Turns without end; an error is the kernel's.
    fn turns(&mut self) -> io::Result<()> {
        loop {
            self.turn()?;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        // The last turn may have been a long one.
        self.state.now = clock();
        self.readers.wait(self.patience())?;
        self.state.now = clock();
        self.state.stint = Stint::begin();
        self.work()
    }

    /// What a turn does, once it is awake and knows the time.
    fn work(&mut self) -> io::Result<()> {
        // Ahead of the deadlines: what is there has not come too late, though this thread may have.
        self.hear();
        let woken = self.readers.run(self.state.now, &mut self.state);
        if woken.by(BELL) {
            self.control.bell.drain();
            self.unheard = true;
        }
        for tag in [SOCKET, HTTP] {
            if woken.by(tag) {
                self.accept(tag);
            }
        }
        self.bound_memory();
        self.state.end_leases();
        if self.asked && self.state.now >= self.next_tick {
            self.next_tick = self.state.now + TICK;
            self.resume()?;
            self.state.tick();
        }
        Ok(())
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> Option<Duration> {
        if self.unheard {
            return Some(Duration::ZERO);
        }
        let due = [self.asked.then_some(self.next_tick), self.state.next_lease()].into_iter().flatten();
        let due = due.map(|due| due.saturating_duration_since(self.state.now));
        due.chain(self.readers.patience(self.state.now)).min()
    }

    /// What others have dropped for it. After the bell was drained it comes here once more, so nothing is overlooked.
    fn hear(&mut self) {
        for _ in 0..PAGES {
            let Some(page) = self.state.sources.pages.pop() else {
                self.unheard = false;
                break;
            };
            if let Some(key) = self.state.waits_for_page(&page) {
                self.readers.deliver(key, Note::Page(page), self.state.now, &mut self.state);
            }
        }
        while let Some((number, outcome)) = self.state.sources.orders.outcome() {
            if let Some(key) = self.state.waits_for_outcome(number) {
                self.readers.deliver(key, Note::Outcome(number, outcome), self.state.now, &mut self.state);
            }
        }
        while let Some(call) = self.control.calls.pop() {
            match call {
                Call::Settings(settings, told) => {
                    let _main_waits = told.send(self.settle(settings));
                }
            }
        }
        for visits in 0..=BATCH {
            if visits == BATCH {
                self.unheard = true;
                return;
            }
            let Some(visit) = self.state.sources.visits.pop() else { return };
            self.asked = true;
            let (visitor, hosts) = visits::visitor(&self.settings, &visit);
            let talk = Box::new(Http::new(&self.settings, hosts));
            self.insert(Reader::new(visit.socket, talk, visitor, self.state.now));
        }
    }

    /// Binds and watches first, then lets go.
    fn settle(&mut self, settings: ControlSettings) -> io::Result<()> {
        let path = |settings: &ControlSettings| settings.socket.as_ref().map(|socket| socket.path.clone());
        let socket = match &self.socket {
            Some(listening) if path(&settings) == path(&self.settings) => {
                bind::guard(listening, &settings)?;
                None
            }
            _ if settings.socket == self.settings.socket => None,
            _ => Some(self.watched(bind::socket(&settings)?, SOCKET)?),
        };
        let http = if settings.http == self.settings.http {
            None
        } else {
            Some(self.watched(bind::http(&settings)?, HTTP)?)
        };
        // The one before it closes, which takes it out of the set.
        if let Some(socket) = socket {
            self.socket = socket;
        }
        if let Some(http) = http {
            self.http = http;
        }
        self.settings = settings;
        self.asked = self.socket.is_some() || self.http.is_some() || !self.readers.is_empty();
        Ok(())
    }

    /// Watches a listener, unless nobody is accepted just now.
    fn watched(&self, listening: Option<Listening>, tag: u8) -> io::Result<Option<Listening>> {
        if let (Some(listening), false) = (&listening, self.paused) {
            self.readers.watch(listening, tag)?;
        }
        Ok(listening)
    }

    fn accept(&mut self, tag: u8) {
        for _ in 0..BATCH {
            let listening = if tag == SOCKET { &self.socket } else { &self.http };
            let Some(listening) = listening else { return };
            match listening.accept() {
                Ok((socket, from)) => {
                    let visitor = match from {
                        Address::Inet(from) => Visitor { level: Level::Read, name: from.to_string() },
                        _ => bind::visitor(&self.settings, &socket),
                    };
                    let talk: Box<dyn Talk> = if tag == SOCKET {
                        Box::new(Commands::default())
                    } else {
                        Box::new(Http::new(&self.settings, Hosts::Configured))
                    };
                    let reader = Reader::new(socket, talk, visitor, self.state.now);
                    self.insert(if tag == SOCKET { reader.by_socket() } else { reader });
                }
                Err(error) => match accept_error(&error) {
                    AcceptError::Client => {}
                    AcceptError::Empty => return,
                    AcceptError::System => return self.pause(),
                },
            }
        }
    }

    /// Without descriptors: a reader goes who has been still, and nobody is accepted until the next tick, for who waits
    /// would wake us again and again.
    fn pause(&mut self) {
        self.make_room(|_| true);
        for listening in [&self.socket, &self.http].into_iter().flatten() {
            // One that is not in the set need not be taken out.
            let _out_of_it_now = self.readers.unwatch(listening);
        }
        self.paused = true;
    }

    fn resume(&mut self) -> io::Result<()> {
        if self.paused {
            for (listening, tag) in [(&self.socket, SOCKET), (&self.http, HTTP)] {
                if let Some(listening) = listening {
                    // It may be in the set, if an earlier try failed at the other.
                    let _out_of_it_now = self.readers.unwatch(listening);
                    self.readers.watch(listening, tag)?;
                }
            }
            self.paused = false;
        }
        Ok(())
    }

    fn insert(&mut self, reader: Reader) {
        if self.has_room_for(&reader) {
            self.readers.insert(Box::new(reader), self.state.now, &mut self.state);
        } else {
            reader.turn_away();
        }
    }

    /// Whether one more can be taken in; if need be, another goes.
    fn has_room_for(&mut self, reader: &Reader) -> bool {
        let remote = |reader: &Reader| !reader.is_local();
        if remote(reader)
            && self.readers.len() >= REMOTE
            && self.readers.handlers().filter(|reader| remote(reader)).count() >= REMOTE
        {
            return self.make_room(remote);
        }
        self.readers.len() < READERS || self.make_room(|_| true)
    }

    /// Lets the reader go that has been still for longest, of those that `may` go; false if nobody has been.
    fn make_room(&mut self, may: impl Fn(&Reader) -> bool) -> bool {
        let before = self.state.now.checked_sub(GRACE);
        let still = self.stillest(may).filter(|(since, _)| before.is_some_and(|before| *since <= before));
        if let Some((_, key)) = still {
            self.readers.close(key, Gone::Stalled, &mut self.state);
        }
        still.is_some()
    }

    /// While too much waits for all together, the reader goes that has taken nothing for longest.
    fn bound_memory(&mut self) {
        while self.state.held() > HELD {
            let Some((_, key)) = self.stillest(|reader| reader.pending() > 0) else { return };
            self.readers.close(key, Gone::Stalled, &mut self.state);
        }
    }

    fn stillest(&self, may: impl Fn(&Reader) -> bool) -> Option<(Instant, Key)> {
        let still = |key| {
            let reader = self.readers.get(key).filter(|reader| may(reader))?;
            Some((reader.still_since()?, key))
        };
        self.readers.keys().into_iter().filter_map(still).min_by_key(|(since, _)| *since)
    }
}

/// The control thread's look at the clock, before and after it has waited.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "here it is read, for all below")]
    Instant::now()
}

#[cfg(test)]
mod tests;
