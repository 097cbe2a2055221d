// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that checks: begins each check in time and tells servers what it came to.
//!
//! It is started when there is something to check for the first time, and sleeps while there is nothing. Checks of a target come
//! at a moment of its interval that chance chooses, and those that are due within a tick are begun together: ten
//! thousand servers wake it a hundred times a second, not five thousand times.
//!
//! Invariants: at most [`RUNNING`] checks run, and of each target one; those beyond wait their turn. Main only drops new
//! targets into a queue and rings.

use super::probe::{Over, Probe, Round};
use super::target::{Asked, Target, User};
use crate::event::Key;
use crate::event::event_loop::Loop;
use crate::event::slots::Slots;
use crate::log::{Level, Log};
use crate::policy::marks::Marks;
use crate::stats::Clock;
use crate::sys::eventfd::EventFd;
use crate::sys::process;
use crossbeam_queue::ArrayQueue;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BELL: u8 = 0;

/// Checks that run at once, each with a descriptor.
const RUNNING: usize = 4096;

/// Checks begun per turn: between them those are heard that run.
const BATCH: usize = 256;

/// Batches are at least so far apart.
const TICK: Duration = Duration::from_millis(10);

/// The first check of a target comes within this, or within its interval.
const FIRST: Duration = Duration::from_secs(1);

/// How long to wait after an error of the system, whatever it is.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread, as main sees it.
#[derive(Debug)]
pub struct Checks {
    shared: Arc<Shared>,
    started: bool,
}

#[derive(Debug)]
struct Shared {
    /// What is to be checked from now on; a newer one takes the place of one that was not heard yet.
    orders: ArrayQueue<Vec<Target>>,
    bell: EventFd,
    log: Log,
    clock: Clock,
}

impl Checks {
    /// # Errors
    /// When the system has no descriptor to give.
    pub fn new(log: Log, clock: Clock) -> io::Result<Self> {
        let shared = Shared { orders: ArrayQueue::new(1), bell: EventFd::new()?, log, clock };
        Ok(Self { shared: Arc::new(shared), started: false })
    }

    /// From now on these are checked and no others. Those that go on keep their time.
    ///
    /// # Errors
    /// When the system gives no thread; nothing is checked then.
    pub fn settle(&mut self, targets: Vec<Target>) -> io::Result<()> {
        if targets.is_empty() && !self.started {
            return Ok(());
        }
        drop(self.shared.orders.force_push(targets));
        if self.started {
            self.shared.bell.signal();
            return Ok(());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("checks".to_owned()).spawn(move || match Checking::new(shared) {
            Ok(mut checking) => {
                process::step_back();
                let _main_waits = sender.send(Ok(()));
                checking.run();
            }
            Err(error) => drop(sender.send(Err(error))),
        })?;
        receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        self.started = true;
        Ok(())
    }

    /// How many descriptors `targets` may need at once.
    pub fn descriptors(targets: &[Target]) -> usize {
        targets.len().min(RUNNING)
    }
}

/// A target, and how it stands with its checks.
#[derive(Debug)]
struct Entry {
    asked: Arc<Asked>,
    users: Vec<User>,
    /// The check that runs.
    probe: Option<Key>,
    /// The number of the address to begin with.
    first: usize,
    /// It was never checked.
    is_new: bool,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Checking {
    shared: Arc<Shared>,
    probes: Loop<Probe>,
    targets: Slots<Entry>,
    round: Round,
    /// When the next check of each target begins; what has gone is found when its time comes.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// When the next batch may begin.
    next: Instant,
    random: RandomState,
    drawn: u64,
}

impl Checking {
    fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let probes = Loop::new()?;
        probes.watch(&shared.bell, BELL)?;
        let now = clock();
        let round = Round::new(now, shared.clock);
        let mut checking = Self {
            shared,
            probes,
            targets: Slots::default(),
            round,
            due: BinaryHeap::new(),
            next: now,
            random: RandomState::new(),
            drawn: 0,
        };
        checking.hear();
        Ok(checking)
    }

    /// Until the process ends. What panics here costs what it was about.
    fn run(&mut self) {
        loop {
            let error = match panic::catch_unwind(AssertUnwindSafe(|| self.turns())) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a panic outside of any check".to_owned(),
            };
            self.shared.log.line(Level::Error, "checks-failed").field("error", error).send();
            thread::sleep(AGAIN);
        }
    }

    fn turns(&mut self) -> io::Result<()> {
        loop {
            self.probes.wait(self.patience())?;
            self.turn(clock());
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> Option<Duration> {
        let now = self.round.now;
        let is_full = self.probes.len() >= RUNNING;
        let due = self.due.peek().filter(|_| !is_full).map(|Reverse((due, _))| *due);
        let due = due.map(|due| due.max(self.next).saturating_duration_since(now));
        [due, self.probes.patience(now)].into_iter().flatten().min()
    }

    /// What a turn does, once it is awake and knows the time.
    fn turn(&mut self, now: Instant) {
        self.round.now = now;
        let woken = self.probes.run(now, &mut self.round);
        if woken.by(BELL) {
            self.shared.bell.drain();
            self.hear();
        }
        self.begin(now);
        self.tell();
    }

    /// Begins what is due.
    fn begin(&mut self, now: Instant) {
        if now < self.next {
            return;
        }
        let mut begun = 0;
        while let Some(Reverse((due, token))) = self.due.peek().copied() {
            if due > now {
                break;
            }
            if begun == BATCH || self.probes.len() >= RUNNING {
                // Those that run are heard first.
                return;
            }
            self.due.pop();
            begun += 1;
            let key = Key::from_bits(token);
            let Some(entry) = self.targets.get_mut(key) else { continue };
            let interval = entry.asked.interval;
            let is_new = mem::take(&mut entry.is_new);
            // The first checks come soon, and soon after one another; the second ones spread over the interval.
            let next = if is_new { now + self.part_of(interval) } else { following(due, interval, now) };
            self.due.push(Reverse((next, token)));
            let Some(entry) = self.targets.get(key) else { continue };
            let unwanted = entry.probe.is_some() || !entry.users.iter().any(User::wants);
            // While its name leads nowhere there is nothing to be found out, and it takes nobody.
            if unwanted || entry.asked.addresses().is_empty() {
                continue;
            }
            let probe = Probe::new(Arc::clone(&entry.asked), key, entry.first, now);
            let probe = self.probes.insert(probe, now, &mut self.round);
            if let Some(entry) = self.targets.get_mut(key) {
                entry.probe = Some(probe);
            }
        }
        self.next = now + TICK;
    }

    /// Tells what checks have come to.
    fn tell(&mut self) {
        for (key, outcome) in self.round.results.drain(..) {
            let Some(entry) = self.targets.get_mut(key) else { continue };
            if !outcome.is_ok() {
                // With several addresses, another one has its turn.
                entry.first = entry.first.wrapping_add(1);
            }
            for user in entry.users.iter().filter(|user| user.wants()) {
                user.told(&outcome, &self.shared.log);
            }
        }
        for key in self.round.gone.drain(..) {
            if let Some(entry) = self.targets.get_mut(key) {
                entry.probe = None;
            }
        }
    }

    /// Takes over what is to be checked from now on. What stays keeps its time and the check that runs.
    #[expect(
        clippy::mutable_key_type,
        reason = "a place is compared by where it is kept, which never changes"
    )]
    fn hear(&mut self) {
        let Some(targets) = self.shared.orders.pop() else { return };
        let mut known: HashMap<Arc<Asked>, (Instant, Key)> = HashMap::new();
        let mut watched: HashMap<*const Marks, Arc<Marks>> = HashMap::new();
        for Reverse((due, token)) in mem::take(&mut self.due) {
            let key = Key::from_bits(token);
            let Some(entry) = self.targets.get(key) else { continue };
            known.insert(Arc::clone(&entry.asked), (due, key));
            let marks = entry.users.iter().map(|user| &user.marks);
            watched.extend(marks.map(|marks| (Arc::as_ptr(marks), Arc::clone(marks))));
        }
        for Target { asked, users } in targets {
            for user in &users {
                watched.remove(&Arc::as_ptr(&user.marks));
            }
            if let Some((due, key)) = known.remove(&asked) {
                if let Some(entry) = self.targets.get_mut(key) {
                    entry.users = users;
                    self.due.push(Reverse((due, key.to_bits())));
                }
                continue;
            }
            let due = self.round.now + self.part_of(asked.interval.min(FIRST));
            let entry = Entry { asked: Arc::new(asked), users, probe: None, first: 0, is_new: true };
            let key = self.targets.insert(entry);
            self.due.push(Reverse((due, key.to_bits())));
        }
        for (_, (_, key)) in known {
            if let Some(probe) = self.targets.remove(key).and_then(|entry| entry.probe) {
                self.probes.close(probe, Over::Unwanted, &mut self.round);
            }
        }
        let now = self.shared.clock.at(self.round.now);
        for marks in watched.into_values() {
            marks.health.forget_checks(now);
        }
    }

    /// A part of `time` that chance chooses.
    fn part_of(&mut self, time: Duration) -> Duration {
        self.drawn += 1;
        let [.., high, low] = self.random.hash_one(self.drawn).to_le_bytes();
        time * u32::from(u16::from_le_bytes([high, low])) / (1 << 16)
    }
}

/// The first moment after `now` that is a whole number of intervals behind `due`.
fn following(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next > now {
        return next;
    }
    // Late by more than a whole one: the process was stopped, or too much is to be checked.
    let late = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    due + interval * u32::try_from(late + 1).unwrap_or(u32::MAX)
}

/// The thread's look at the clock, after it has waited.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "here it is read, for all below")]
    Instant::now()
}
