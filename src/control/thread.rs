// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control thread: one event loop of readers, beside the workers' and of the same make.
//!
//! Nothing here is waited for by a worker or by main: they drop what they have to say into bounded queues and ring the
//! bell. So a reader that is slow, or a thousand of them, delays other readers at most. When there is no room for one more
//! reader, the one goes that has been still for longest.

use super::Visit;
use super::answer::{Talk, Visitor};
use super::bind;
use super::command::Commands;
use super::http::Http;
use super::reader::{Gone, Note, Reader};
use super::state::{Sources, State};
use crate::event::event_loop::Loop;
use crate::log;
use crate::policy::access::{ControlSettings, Level};
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::socket::{AcceptError, Listening, accept_error};
use crossbeam_queue::ArrayQueue;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BELL: u8 = 0;
const SOCKET: u8 = 1;
const HTTP: u8 = 2;

/// Readers at once.
const READERS: usize = 512;

/// Readers taken per turn from each listener.
const BATCH: usize = 16;

/// Requests of main and workers that may wait.
const CAPACITY: usize = 256;

/// How often figures that are rates are taken.
const TICK: Duration = Duration::from_secs(1);

/// What main and the workers tell the control thread.
#[derive(Debug)]
enum Call {
    /// Other settings; what became of them.
    Settings(ControlSettings, mpsc::SyncSender<io::Result<()>>),
    /// A reader who came through a service.
    Visit(Visit),
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
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the control thread has ended")))
    }

    /// Takes in a reader who came through a service; false if there is no room.
    pub fn visit(&self, visit: Visit) -> bool {
        let taken = self.calls.push(Call::Visit(visit)).is_ok();
        self.bell.signal();
        taken
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
        })
    }

    /// Until the process ends: it is asked of to the last.
    fn run(&mut self) {
        while let Err(error) = self.turn() {
            let line = self.state.sources.log.line(log::Level::Error, "control-failed");
            line.field("error", error).send();
        }
    }

    /// Turns without end; an error is the kernel's.
    fn turn(&mut self) -> io::Result<()> {
        loop {
            let due = [Some(self.next_tick), self.state.next_lease()].into_iter().flatten().min();
            let due = due.map(|due| due.saturating_duration_since(self.state.now));
            let patience = self.readers.patience(self.state.now);
            self.readers.wait([patience, due].into_iter().flatten().min())?;
            self.state.now = clock();
            let woken = self.readers.run(self.state.now, &mut self.state);
            if woken.by(BELL) {
                self.control.bell.drain();
                self.hear();
            }
            if woken.by(SOCKET) {
                self.accept(SOCKET);
            }
            if woken.by(HTTP) {
                self.accept(HTTP);
            }
            self.state.end_leases();
            if self.state.now >= self.next_tick {
                self.next_tick = self.state.now + TICK;
                self.state.tick();
            }
        }
    }

    /// What others have dropped for it.
    fn hear(&mut self) {
        while let Some(page) = self.state.sources.pages.pop() {
            if let Some(key) = self.state.waits_for_page(page.listing) {
                self.readers.deliver(key, Note::Page(page), self.state.now, &mut self.state);
            }
        }
        while let Some((number, outcome)) = self.state.sources.orders.outcome() {
            if let Some(key) = self.state.waits_for_outcome(number) {
                self.readers.deliver(key, Note::Outcome(outcome), self.state.now, &mut self.state);
            }
        }
        while let Some(call) = self.control.calls.pop() {
            match call {
                Call::Settings(settings, told) => {
                    let _main_waits = told.send(self.settle(settings));
                }
                Call::Visit(Visit { socket, level, name }) => {
                    let talk = Box::new(Http::new(&self.settings));
                    self.insert(Reader::new(socket, talk, Visitor { level, name }, self.state.now));
                }
            }
        }
    }

    /// Binds first, then lets go.
    fn settle(&mut self, settings: ControlSettings) -> io::Result<()> {
        let path = |settings: &ControlSettings| settings.socket.as_ref().map(|socket| socket.path.clone());
        let socket = match &self.socket {
            Some(listening) if path(&settings) == path(&self.settings) => {
                bind::guard(listening, &settings)?;
                None
            }
            _ if settings.socket == self.settings.socket => None,
            _ => Some(bind::socket(&settings)?),
        };
        let http = if settings.http == self.settings.http { None } else { Some(bind::http(&settings)?) };
        if let Some(socket) = socket {
            self.socket = self.replace(SOCKET, socket)?;
        }
        if let Some(http) = http {
            self.http = self.replace(HTTP, http)?;
        }
        self.settings = settings;
        Ok(())
    }

    /// Watches a listener. The one before it closes when it is dropped, which takes it out of the set.
    fn replace(&self, tag: u8, listening: Option<Listening>) -> io::Result<Option<Listening>> {
        if let Some(listening) = &listening {
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
                        Box::new(Http::new(&self.settings))
                    };
                    self.insert(Reader::new(socket, talk, visitor, self.state.now));
                }
                Err(error) => match accept_error(&error) {
                    AcceptError::Client => {}
                    // Level-triggered: the next turn tries again. Without a descriptor, a still reader must go for it.
                    AcceptError::Empty => return,
                    AcceptError::System => return self.make_room(),
                },
            }
        }
    }

    fn insert(&mut self, reader: Reader) {
        if self.readers.len() >= READERS {
            self.make_room();
        }
        self.readers.insert(Box::new(reader), self.state.now, &mut self.state);
    }

    /// Lets the reader go that has been still for longest.
    fn make_room(&mut self) {
        let keys = self.readers.keys();
        let moved = |key| self.readers.get(key).map(|reader| (reader.moved(), key));
        let stillest = keys.into_iter().filter_map(moved).min_by_key(|(moved, _)| *moved);
        if let Some((_, key)) = stillest {
            self.readers.close(key, Gone::Stalled, &mut self.state);
        }
    }
}

/// The control thread's one look at the clock per turn.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "here it is read, for all below")]
    Instant::now()
}
