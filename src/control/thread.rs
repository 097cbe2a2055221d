// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control thread: one event loop of readers, beside the workers' and of the same make.
//!
//! Nothing here is waited for, by a worker or by main: they drop what they have to say into bounded queues and ring the
//! bell (main waits `FAREWELL` at its end). A turn is one piece of work for one reader, so what it holds is looked at, and
//! what others say is heard, after each; a reader that is slow, or a thousand of them, delay other readers at most. When there is no room for one more reader, the one goes that has been still for longest; where nobody is still, who
//! comes is turned away. The thread has less of a claim to the processor than those that serve.

use super::answer::{Talk, Visitor, Who};
use super::bind::{self, Bound};
use super::command::Commands;
use super::http::{Hosts, Http};
use super::reader::{Gone, Note, Reader};
use super::state::{Sources, State};
use super::stint::Stint;
use super::visits;
use crate::event::Key;
use crate::event::event_loop::Loop;
use crate::log;
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::listening::{AcceptError, accept_error};
use crate::sys::process;
use crossbeam_queue::ArrayQueue;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BELL: u8 = 0;
const SOCKET: u8 = 1;
const HTTP: u8 = 2;

/// Readers at once; fewer where the limit on descriptors is low.
pub const READERS: usize = 512;

/// Of these so many, or half, are not for HTTP: whoever floods that does not keep the operator from the control socket.
const KEPT: usize = 64;

/// How long a reader is left in peace before it may go for another.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes that may wait for all readers together; beyond it the one goes that has taken nothing for longest.
const HELD: usize = 64 << 20;

/// Pages handed out per turn, which is as many as events: each costs as much as its rows take to write down, and who has only
/// just come shall not wait for all of them.
const PAGES: usize = 1;

/// How long main waits at its end for what it has answered last to be passed on.
const FAREWELL: Duration = Duration::from_millis(200);

/// Events taken per turn. Those that wait are told again: the set is level-triggered, and whoever was told goes to its end.
const EVENTS: usize = 1;

/// Readers taken per turn from each listener.
const BATCH: usize = 16;

/// How often figures that are rates are taken.
const TICK: Duration = Duration::from_secs(1);

/// What main tells the control thread: where to listen, and who wants to know that it was heard.
#[derive(Debug)]
struct Call {
    bound: Bound,
    heard: Option<mpsc::SyncSender<()>>,
}

/// The control thread, as others see it.
#[derive(Debug)]
pub struct Control {
    /// The last one counts: each says all there is.
    call: ArrayQueue<Call>,
    bell: Arc<EventFd>,
}

impl Control {
    /// Starts the thread, which listens to nobody yet. `bell` is also rung for pages and outcomes.
    ///
    /// # Errors
    /// When the system gives no thread or descriptor.
    pub fn start(sources: Sources, bell: Arc<EventFd>) -> io::Result<Arc<Self>> {
        let control = Arc::new(Self { call: ArrayQueue::new(1), bell });
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

    /// Has it listen there, and nowhere else, as soon as it looks; what is bound already keeps who comes until then.
    pub fn listen(&self, bound: Bound) {
        self.call(Call { bound, heard: None });
    }

    /// Listens to nobody any more. Waits for a moment, for what was answered last is passed on first.
    pub fn close(&self) {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.call(Call { bound: Bound::default(), heard: Some(sender) });
        let _busy_otherwise = receiver.recv_timeout(FAREWELL);
    }

    fn call(&self, call: Call) {
        drop(self.call.force_push(call));
        self.bell.signal();
    }
}

#[derive(Debug)]
struct Serving {
    control: Arc<Control>,
    readers: Loop<Box<Reader>>,
    state: State,
    bound: Bound,
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
        let readers = Loop::with_turns_of(EVENTS)?;
        readers.watch(&control.bell, BELL)?;
        let now = clock();
        Ok(Self {
            control,
            readers,
            state: State::new(sources, now),
            bound: Bound::default(),
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
        if let Some(Call { bound, heard }) = self.control.call.pop() {
            self.listen(bound);
            if let Some(heard) = heard {
                let _main_waits = heard.send(());
            }
        }
        for visits in 0..=BATCH {
            if visits == BATCH {
                self.unheard = true;
                return;
            }
            let Some(visit) = self.state.sources.visits.pop() else { return };
            self.asked = true;
            let (visitor, hosts) = visits::visitor(&self.state.settings, &visit);
            let talk = Box::new(Http::new(hosts, visit.tls));
            self.insert(Reader::new(visit.socket, talk, visitor, self.state.now));
        }
    }

    /// Listens there from now on. What the kernel refuses to watch is tried again at the next tick.
    fn listen(&mut self, bound: Bound) {
        let before = mem::replace(&mut self.bound, bound);
        self.state.settings = Arc::clone(&self.bound.settings);
        if before.lets_in() != self.bound.lets_in() {
            self.part_from_guests();
        }
        let pairs = [(&before.socket, &self.bound.socket, SOCKET), (&before.http, &self.bound.http, HTTP)];
        for (old, new, tag) in pairs {
            if old.as_ref().map(Arc::as_ptr) == new.as_ref().map(Arc::as_ptr) {
                continue;
            }
            if let Some(old) = old {
                // Main may hold it for a moment longer, so that it need not close here.
                let _not_in_it_while_paused = self.readers.unwatch(old);
            }
            if let (Some(new), false) = (new, self.paused) {
                self.paused = self.readers.watch(new, tag).is_err();
            }
        }
        self.asked = self.bound.socket.is_some() || self.bound.http.is_some() || !self.readers.is_empty();
    }

    /// The control socket has other permissions: who came by it may not have come by these, and goes, unless none keep it out.
    fn part_from_guests(&mut self) {
        for key in self.readers.keys() {
            if self
                .readers
                .get(key)
                .is_some_and(|reader| reader.is_local() && !reader.visitor().who.is_ours())
            {
                self.readers.close(key, Gone::Done, &mut self.state);
            }
        }
    }

    fn accept(&mut self, tag: u8) {
        for _ in 0..BATCH {
            let listening = if tag == SOCKET { &self.bound.socket } else { &self.bound.http };
            let Some(listening) = listening else { return };
            match listening.accept() {
                Ok((socket, from)) => {
                    let visitor = match from {
                        Address::Inet(from) => {
                            Visitor::new(Who::Anybody, from.to_string(), &self.state.settings)
                        }
                        _ => bind::visitor(&self.state.settings, &socket),
                    };
                    let talk: Box<dyn Talk> = if tag == SOCKET {
                        Box::new(Commands::default())
                    } else {
                        Box::new(Http::new(Hosts::Configured, false))
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
        for listening in [&self.bound.socket, &self.bound.http].into_iter().flatten() {
            // One that is not in the set need not be taken out.
            let _out_of_it_now = self.readers.unwatch(listening);
        }
        self.paused = true;
    }

    fn resume(&mut self) -> io::Result<()> {
        if self.paused {
            for (listening, tag) in [(&self.bound.socket, SOCKET), (&self.bound.http, HTTP)] {
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
        let most = self.state.sources.limit.readers().min(READERS);
        let most_remote = most - KEPT.min(most / 2);
        if remote(reader)
            && self.readers.len() >= most_remote
            && self.readers.handlers().filter(|reader| remote(reader)).count() >= most_remote
        {
            return self.make_room(remote);
        }
        self.readers.len() < most || self.make_room(|_| true)
    }

    /// Lets one of those go that `may` go and have been still for a moment; false if nobody has been. Of these it is one of
    /// the largest crowd from the same place, and of that crowd the one that has been still for longest.
    fn make_room(&mut self, may: impl Fn(&Reader) -> bool) -> bool {
        let Some(before) = self.state.now.checked_sub(GRACE) else { return false };
        let mut crowds: HashMap<String, usize> = HashMap::new();
        for reader in self.readers.handlers() {
            *crowds.entry(reader.visitor().origin()).or_default() += 1;
        }
        let still = |key| {
            let reader = self.readers.get(key).filter(|reader| may(reader))?;
            let since = reader.still_since().filter(|since| *since <= before)?;
            Some((crowds.get(&reader.visitor().origin()).copied(), Reverse(since), key))
        };
        let goes = self.readers.keys().into_iter().filter_map(still);
        let goes = goes.max_by_key(|(crowd, since, _)| (*crowd, *since));
        if let Some((.., key)) = goes {
            self.readers.close(key, Gone::Stalled, &mut self.state);
        }
        goes.is_some()
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
