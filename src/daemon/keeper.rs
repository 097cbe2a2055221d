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
use crate::policy::watch::{Question, Targets, Watch};
use crate::resolver::{Answer, Failure, Resolver, Take};
use crate::sys::eventfd::EventFd;
use crossbeam_queue::ArrayQueue;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Threads that ask. A name server that hangs holds them all up, and nobody else.
const THREADS: usize = 4;

/// Names that are being asked for at once; the others are late by a moment.
const IN_FLIGHT: usize = 64;

/// Reports that wait: besides those of all that are under way, the few of a configuration before that came too late to know.
const REPORTS: usize = 2 * IN_FLIGHT;

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
    result: Result<Answer<Targets>, Failure>,
}

/// Where tasks report.
#[derive(Debug)]
struct Reports {
    /// Whose reports are wanted. Those of a configuration before would push them out.
    configuration: AtomicU64,
    queue: ArrayQueue<Report>,
    bell: EventFd,
}

/// A task's duty to report. It does so whatever becomes of it: before that its name is not asked for again.
struct Duty {
    reports: Arc<Reports>,
    report: Option<Report>,
}

impl Duty {
    fn is_wanted(&self) -> bool {
        let wanted = self.reports.configuration.load(Ordering::Relaxed);
        self.report.as_ref().is_some_and(|report| report.configuration == wanted)
    }

    fn say(mut self, result: Result<Answer<Targets>, Failure>) {
        self.report = self.report.take().map(|report| Report { result, ..report });
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        let is_wanted = self.is_wanted();
        if let Some(report) = self.report.take().filter(|_| is_wanted) {
            drop(self.reports.queue.force_push(report));
            self.reports.bell.signal();
        }
    }
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
            reports: Arc::new(Reports {
                configuration: AtomicU64::new(0),
                queue: ArrayQueue::new(REPORTS),
                bell: EventFd::new()?,
            }),
            tasks: None,
        })
    }

    /// Readable when a task has reported.
    pub fn bell(&self) -> &EventFd {
        &self.reports.bell
    }

    /// Looks after the names of a configuration, and no others any more. What was told before, or while loading, is not
    /// told again; what was known before is as old as it was.
    pub fn take(&mut self, resolver: &Arc<Resolver>, names: &[Kept], now: Instant) {
        self.resolver = Arc::clone(resolver);
        // Whoever is still asking reports in vain.
        self.reports.configuration.fetch_add(1, Ordering::Relaxed);
        while self.reports.queue.pop().is_some() {}
        self.in_flight = 0;
        let before = self.names.drain(..).map(|name| (name.question.clone(), name));
        let before: HashMap<Question, Name> = before.collect();
        self.due.clear();
        let mut places: HashMap<&Question, usize> = HashMap::new();
        for Kept { watch, until } in names {
            let place = *places.entry(&watch.question).or_insert(self.names.len());
            if let Some(name) = self.names.get_mut(place) {
                name.watches.push(Arc::clone(watch));
                continue;
            }
            let before = before.get(&watch.question);
            let (good_until, told, due) = match until {
                Some(until) => (Some(*until), false, ahead(now, *until)),
                None if watch.is_usable() => {
                    let good_until = before.and_then(|name| name.good_until).unwrap_or(now);
                    (Some(good_until), before.is_some_and(|name| name.told), now)
                }
                None => (None, true, now + PAUSE),
            };
            let (question, watches) = (watch.question.clone(), vec![Arc::clone(watch)]);
            let failures = u32::from(good_until.is_none());
            self.names.push(Name { question, watches, good_until, failures, told });
            self.due.insert((due, place));
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
        for _ in 0..REPORTS {
            let Some(report) = self.reports.queue.pop() else { break };
            if report.configuration == self.reports.configuration.load(Ordering::Relaxed) {
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
        let question = self.names.get(name)?.question.clone();
        let (resolver, reports) = (Arc::clone(&self.resolver), Arc::clone(&self.reports));
        let report = Some(self.report_of(name));
        let task = move || {
            // Not before it runs: a task that finds no place is none.
            let duty = Duty { reports, report };
            // Those of an old configuration are in the way of the present one's.
            if duty.is_wanted() {
                let result = resolver.answer(&question, Take::New, now + BUDGET);
                duty.say(result);
            }
        };
        if self.tasks.is_none() {
            self.tasks = Tasks::start("keep", THREADS).ok();
        }
        self.tasks.as_ref()?.submit(Box::new(task)).ok()
    }

    /// What is reported of a name if nothing else is.
    fn report_of(&self, name: usize) -> Report {
        let configuration = self.reports.configuration.load(Ordering::Relaxed);
        Report { configuration, name, result: Err(Failure::Unanswered("the resolver failed".into())) }
    }

    fn settle(&mut self, report: Report, now: Instant, log: &Log) {
        let stale = self.resolver.settings().stale;
        let Some(name) = self.names.get_mut(report.name) else { return };
        let due = match report.result {
            Ok(Answer { found, until }) => {
                // Here and not in the task: configurations share watches, and an answer from those whom the one before
                // asked is none any more. Of all watches, for each is to be filled.
                let changed = name.watches.iter().filter(|watch| watch.take(&found)).count();
                let word = if name.told { "name-resolved" } else { "name-changed" };
                if name.told || changed > 0 {
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;
    use crate::policy::resolved::{Addresses, State};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reload_makes_no_answer_younger_and_tells_no_failure_again() {
        let mut keeper = Keeper::new().unwrap();
        let (resolver, log) = (Arc::new(Resolver::default()), Log::to_memory(Level::Error).0);
        let now = Instant::now();
        let stale = resolver.settings().stale;
        let watch = Arc::new(Watch::new(Question::Host("a.example".into(), 1), 1));
        watch.take(&vec![Addresses::new([([192, 0, 2, 1], 1).into()], 1, false)]);
        let kept = |until| [Kept { watch: Arc::clone(&watch), until }];
        keeper.take(&resolver, &kept(Some(now + SECOND)), now);
        assert!(keeper.due.first().unwrap().0 > now);
        let fail = |keeper: &mut Keeper, now| {
            let result = Err(Failure::NoName("gone".into()));
            keeper.settle(Report { configuration: 1, name: 0, result }, now, &log);
            keeper.names[0].told
        };
        assert!(fail(&mut keeper, now + SECOND * 2));
        keeper.take(&resolver, &kept(None), now + SECOND * 3);
        assert_eq!(keeper.due.first(), Some(&(now + SECOND * 3, 0)), "it is asked for at once");
        assert!(keeper.names[0].told);
        fail(&mut keeper, now + stale);
        assert_eq!(watch.places[0].state(), State::Stale);
        keeper.take(&resolver, &kept(None), now + stale);
        fail(&mut keeper, now + stale + SECOND * 2);
        assert!(!watch.is_usable());
    }

    #[test]
    fn a_task_that_fails_reports_and_one_of_an_old_configuration_does_not() {
        let mut keeper = Keeper::new().unwrap();
        let (resolver, log) = (Arc::new(Resolver::default()), Log::to_memory(Level::Error).0);
        let now = Instant::now();
        let watch = Arc::new(Watch::new(Question::Host("a.example".into(), 1), 1));
        let kept = [Kept { watch, until: None }];
        keeper.take(&resolver, &kept, now);
        keeper.due.clear();
        keeper.in_flight = 1;
        let duty = |keeper: &Keeper| {
            let (reports, report) = (Arc::clone(&keeper.reports), Some(keeper.report_of(0)));
            Duty { reports, report }
        };
        let failing = duty(&keeper);
        let task = move || {
            let _failing = failing;
            panic!("a task that fails")
        };
        assert!(catch_unwind(AssertUnwindSafe(task)).is_err());
        let old: Vec<Duty> = (0..2 * REPORTS).map(|_| duty(&keeper)).collect();
        keeper.turn(now, &log);
        assert_eq!((keeper.in_flight, keeper.due.len()), (0, 1), "it is asked for again");
        keeper.take(&resolver, &kept, now);
        drop(duty(&keeper));
        drop(old);
        assert_eq!(keeper.reports.queue.len(), 1);
        assert_eq!(keeper.reports.queue.pop().unwrap().configuration, 2);
    }
}
