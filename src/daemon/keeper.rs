// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks for configured names anew before their answers end, for as long as the daemon runs.
//!
//! Main owns it: it knows what is due when, hands that to task threads of its own, and hears from them by a bell. Where no
//! name is configured there is no thread, no timer and no wake-up. Invariants: a name is asked for once at a time, however
//! many routes lead to it; what failed is tried again after a pause that doubles; a change, a failure and its end are
//! logged once each. Not here: how a name is asked for (`resolver/`), who uses the addresses (`policy/resolved.rs`).

use super::tasks::Tasks;
use crate::config::Kept;
use crate::log::{Level, Log};
use crate::policy::resolved::{Question, Watch};
use crate::resolver::{Failure, Resolver, Take};
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Threads that ask. A name server that hangs holds them all up, and nobody else.
const THREADS: usize = 4;

/// Names that are being asked for at once; the others are late by a moment.
const IN_FLIGHT: usize = 64;

/// What one question may take, over all servers and tries.
const BUDGET: Duration = Duration::from_secs(20);

/// The first pause after a failure, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Doublings of a pause that are counted; with fewer it is the longest.
const DOUBLINGS: u32 = 16;

/// The part of an answer's time that is left when it is asked for anew, and at most so much.
const AHEAD: u32 = 10;
const AHEAD_MOST: Duration = Duration::from_secs(10);

/// Addresses of a name that a line of the log lists.
const LISTED: usize = 8;

/// What a task reports.
#[derive(Debug)]
struct Report {
    /// Of which configuration.
    configuration: u64,
    name: usize,
    /// Until when the answer is in time, and whether an address came or went.
    result: Result<(Instant, bool), Failure>,
}

/// Where tasks report.
#[derive(Debug)]
struct Reports {
    queue: ArrayQueue<Report>,
    bell: EventFd,
}

#[derive(Debug)]
struct Name {
    question: Question,
    /// Every route that leads there.
    watches: Vec<Arc<Watch>>,
    /// Until when the last good answer is in time.
    good_until: Option<Instant>,
    /// In a row.
    failures: u32,
    /// That it failed has been logged.
    told: bool,
}

/// The configured names.
#[derive(Debug)]
pub struct Keeper {
    resolver: Arc<Resolver>,
    names: Vec<Name>,
    /// When each is due that is not being asked for.
    due: BTreeSet<(Instant, usize)>,
    in_flight: usize,
    configuration: u64,
    reports: Arc<Reports>,
    tasks: Option<Tasks>,
}

impl Keeper {
    /// # Errors
    /// When the system has no descriptor to give.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            resolver: Arc::default(),
            names: Vec::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            configuration: 0,
            reports: Arc::new(Reports { queue: ArrayQueue::new(IN_FLIGHT), bell: EventFd::new()? }),
            tasks: None,
        })
    }

    /// Readable when a task has reported.
    pub fn bell(&self) -> &EventFd {
        &self.reports.bell
    }

    /// Looks after the names of a configuration, and no others any more. What was told while loading is not told again.
    pub fn take(&mut self, resolver: &Arc<Resolver>, names: &[Kept], now: Instant) {
        self.resolver = Arc::clone(resolver);
        // Whoever is still asking reports in vain.
        self.configuration += 1;
        self.in_flight = 0;
        self.names.clear();
        self.due.clear();
        let mut places: HashMap<&Question, usize> = HashMap::new();
        for Kept { watch, until } in names {
            let place = *places.entry(&watch.question).or_insert(self.names.len());
            if let Some(name) = self.names.get_mut(place) {
                name.watches.push(Arc::clone(watch));
                continue;
            }
            self.names.push(Name {
                question: watch.question.clone(),
                watches: vec![Arc::clone(watch)],
                good_until: *until,
                failures: u32::from(until.is_none()),
                told: until.is_none(),
            });
            self.due.insert((until.map_or(now + PAUSE, |until| ahead(now, until)), place));
        }
        if self.names.is_empty() {
            self.tasks = None;
        }
    }

    /// When the next name is due.
    pub fn patience(&self, now: Instant) -> Option<Duration> {
        // With so many under way, the next report is the next occasion.
        let next = self.due.first().filter(|_| self.in_flight < IN_FLIGHT);
        next.map(|(due, _)| due.saturating_duration_since(now))
    }

    /// Takes in what tasks have reported, and has asked what is due.
    pub fn turn(&mut self, now: Instant, log: &Log) {
        for _ in 0..IN_FLIGHT {
            let Some(report) = self.reports.queue.pop() else { break };
            if report.configuration == self.configuration {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.settle(report, now, log);
            }
        }
        while self.in_flight < IN_FLIGHT {
            let Some((due, name)) = self.due.first().copied() else { break };
            if due > now {
                break;
            }
            self.due.pop_first();
            if self.ask(name, now).is_some() {
                self.in_flight += 1;
            } else {
                self.due.insert((now + PAUSE, name));
                break;
            }
        }
    }

    /// The bell has rung.
    pub fn hear(&self) {
        self.reports.bell.drain();
    }

    /// Has a task ask for a name; none if that cannot be.
    fn ask(&mut self, name: usize, now: Instant) -> Option<()> {
        let Name { question, watches, .. } = self.names.get(name)?;
        let (question, watches) = (question.clone(), watches.clone());
        let (resolver, reports) = (Arc::clone(&self.resolver), Arc::clone(&self.reports));
        let configuration = self.configuration;
        let task = move || {
            let answer = resolver.answer(&question, Take::New, now + BUDGET);
            let result = answer.map(|answer| {
                let changed = watches.iter().filter(|watch| watch.take(&answer.found)).count();
                (answer.until, changed > 0)
            });
            // As many fit as are under way; those of an old configuration may push each other out.
            drop(reports.queue.force_push(Report { configuration, name, result }));
            reports.bell.signal();
        };
        if self.tasks.is_none() {
            self.tasks = Tasks::start("keep", THREADS).ok();
        }
        self.tasks.as_ref()?.submit(Box::new(task)).ok()
    }

    fn settle(&mut self, report: Report, now: Instant, log: &Log) {
        let stale = self.resolver.settings().stale;
        let Some(name) = self.names.get_mut(report.name) else { return };
        let due = match report.result {
            Ok((until, changed)) => {
                let word = if name.told { "name-resolved" } else { "name-changed" };
                if name.told || changed {
                    name.say(Level::Notice, word, log).send();
                }
                (name.good_until, name.failures, name.told) = (Some(until), 0, false);
                ahead(now, until)
            }
            Err(failure) => {
                let was_usable = name.watches.iter().any(|watch| watch.is_usable());
                let keep = name.good_until.is_some_and(|until| now.saturating_duration_since(until) < stale);
                for watch in &name.watches {
                    watch.fail(keep);
                }
                // Once that it fails, and once that nothing is left.
                if !name.told || was_usable && !keep {
                    name.say(Level::Warning, "name-failed", log).field("error", failure).send();
                }
                name.told = true;
                let pause = (PAUSE * 2_u32.saturating_pow(name.failures)).min(LONGEST_PAUSE);
                name.failures = (name.failures + 1).min(DOUBLINGS);
                now + pause
            }
        };
        self.due.insert((due, report.name));
    }
}

impl Name {
    /// A line about it, with its addresses as they are now.
    fn say<'l>(&self, level: Level, word: &'static str, log: &'l Log) -> crate::log::Line<'l> {
        let mut addresses = self.watches.first().map(|watch| watch.addresses()).unwrap_or_default();
        addresses.truncate(LISTED);
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let state = if addresses.is_empty() { "unresolved" } else { "resolved" };
        let line = log.line(level, word).field("name", &self.question).field("state", state);
        line.field("addresses", addresses.join(","))
    }
}

/// When an answer that lasts until then is asked for anew: a little before, so that the next one is there in time.
fn ahead(now: Instant, until: Instant) -> Instant {
    let lasts = until.saturating_duration_since(now);
    now + (lasts - (lasts / AHEAD).min(AHEAD_MOST))
}
