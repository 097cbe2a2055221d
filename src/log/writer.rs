// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log thread: takes lines from the queue, folds floods, writes, and reports what was lost.
//!
//! Invariants:
//!
//! * a line that the target refuses for now is kept and is the next one tried; nothing overtakes it;
//! * every line is written, folded into a count, or counted as lost; the count is told in the log itself when the
//!   target works again, at most once per [`REPORT_EVERY`];
//! * the thread waits only in [`Bell`](super::wake::Bell) and in a write to a blocking stderr; [`Writer::finish`]
//!   returns in bounded time even then.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::fold::{Fold, Summary};
use super::sink::{Entry, Later, Sink};
use super::text::Text;
use super::{Level, Record, Shared, now as wall_now};

/// How long the thread leaves the queue alone after work: a stream of lines wakes it once per nap.
pub(super) const NAP: Duration = Duration::from_millis(10);

/// Lines written before the thread looks at orders, windows and losses again.
const TURN: usize = 1024;

/// How often losses are told at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long the end may take while the target refuses lines.
const FINISH: Duration = Duration::from_secs(2);

/// How much longer [`Writer::finish`] waits for a thread that is caught in a write.
const FINISH_GRACE: Duration = Duration::from_secs(1);

/// The log thread as its owner holds it. Dropping it finishes it.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
}

impl Writer {
    /// Starts the thread; `errors` gets what cannot be logged.
    pub(super) fn start(
        shared: Arc<Shared>,
        sink: Box<dyn Sink>,
        errors: Box<dyn Write + Send>,
        nap: Duration,
    ) -> io::Result<Self> {
        let scribe = Scribe::new(Arc::clone(&shared), sink, errors, nap, monotonic_now());
        let (alive, ended) = channel();
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            scribe.run();
            drop(alive);
        })?;
        Ok(Self { shared, thread: Some(thread), ended })
    }

    /// Writes what is queued, for at most a few seconds, and ends the thread; what is sent later is dropped.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.finish.store(true, Ordering::Relaxed);
        self.shared.bell.summon();
        // A thread caught in a write that never returns is left behind: the process ends without it.
        if self.ended.recv_timeout(FINISH + FINISH_GRACE) == Err(RecvTimeoutError::Disconnected) {
            // A panic in it was reported by the panic hook; there is nothing to add.
            _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn monotonic_now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the log thread has no loop to lend it the time; it reads the clock once per turn"
    )]
    Instant::now()
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There was nothing to write.
    Idle,
    Worked,
    /// The target wants to be left alone for this time.
    Blocked(Duration),
}

/// The thread's own state.
struct Scribe {
    shared: Arc<Shared>,
    sink: Box<dyn Sink>,
    errors: Box<dyn Write + Send>,
    nap: Duration,
    fold: Fold,
    /// Lines that go before the queue: the one that was refused, and the thread's own. At most one per folded
    /// kind and a few more, for nothing is taken from the queue while the target refuses.
    first: VecDeque<Record>,
    /// How much of `Shared::lost` has been told.
    reported: u64,
    report_from: Instant,
    /// The last line that was written was not lost: the target works.
    works: bool,
}

impl Scribe {
    fn new(
        shared: Arc<Shared>,
        sink: Box<dyn Sink>,
        errors: Box<dyn Write + Send>,
        nap: Duration,
        now: Instant,
    ) -> Self {
        let (fold, first) = (Fold::default(), VecDeque::new());
        Self { shared, sink, errors, nap, fold, first, reported: 0, report_from: now, works: true }
    }

    fn run(mut self) {
        self.shared.bell.attach();
        // Before the first wait: a target that could not be reached at the start is told of at once.
        self.account(Turn::Idle);
        let mut deadline = None;
        loop {
            let now = monotonic_now();
            self.obey();
            if deadline.is_none() && self.shared.finish.load(Ordering::Relaxed) {
                deadline = Some(now + FINISH);
            }
            if deadline.is_some() {
                let Self { fold, first, shared, .. } = &mut self;
                fold.end_all(&shared.marks, &mut |summary| first.push_back(tell(summary)));
            }
            let turn = self.turn(now);
            self.account(turn);
            if self.report(turn, now, deadline.is_some()) {
                continue;
            }
            match deadline {
                None => self.rest(turn, now),
                Some(deadline) if turn == Turn::Idle || now >= deadline => break,
                Some(deadline) => {
                    if let Turn::Blocked(wait) = turn {
                        self.shared.bell.pause(wait.min(deadline - now));
                    }
                }
            }
        }
        self.leave();
    }

    /// Carries out what was ordered since the last turn.
    fn obey(&mut self) {
        if let Some(sink) = self.shared.switch.pop() {
            // What the old target does not take at once is lost with it.
            _ = self.sink.flush();
            self.account(Turn::Idle);
            self.lose(self.sink.unwritten());
            self.sink = sink;
            self.works = true;
        }
        if self.shared.reopen.swap(false, Ordering::Relaxed) {
            match self.sink.reopen() {
                Ok(None) => {}
                Ok(Some(file)) => self.note(Level::Notice, "log-reopened", |text| text.field("file", file)),
                Err(error) => {
                    self.warn(&format!("the log stays as it was: {error}"));
                    self.note(Level::Error, "log-reopen-failed", |text| text.field("error", error));
                }
            }
        }
    }

    /// Writes what there is, up to [`TURN`] lines.
    fn turn(&mut self, now: Instant) -> Turn {
        let Self { fold, first, shared, .. } = self;
        fold.expire(now, &shared.marks, &mut |summary| first.push_back(tell(summary)));
        let mut turn = Turn::Idle;
        for _ in 0..TURN {
            let Some(record) = self.first.pop_front().or_else(|| self.shared.queue.pop()) else { break };
            turn = Turn::Worked;
            if let Err(Later(wait)) = self.write(record, now) {
                return Turn::Blocked(wait);
            }
        }
        match self.sink.flush() {
            Ok(()) => turn,
            Err(Later(wait)) => Turn::Blocked(wait),
        }
    }

    /// Writes or folds one line; keeps it when the target refuses.
    fn write(&mut self, mut record: Record, now: Instant) -> Result<(), Later> {
        if let Some(kind) = record.kind.take() {
            let Self { fold, first, shared, .. } = self;
            let mut push = |summary| first.push_back(tell(summary));
            if !fold.admit(&kind, record.level, now, &shared.marks, &mut push) {
                return Ok(());
            }
        }
        let entry = Entry { made: record.made, level: record.level, text: &record.text };
        let outcome = self.sink.put(&entry);
        if outcome.is_err() {
            self.first.push_front(record);
        }
        outcome
    }

    /// Takes note of what the sink lost, and hands its warning on.
    fn account(&mut self, turn: Turn) {
        let trouble = self.sink.trouble();
        self.lose(trouble.lost);
        if trouble.lost > 0 {
            self.works = false;
        } else if turn == Turn::Worked {
            self.works = true;
        }
        if let Some(warning) = trouble.warning {
            self.warn(&warning);
        }
    }

    /// Puts the report of lost lines where it is written next, if there is one to make.
    fn report(&mut self, turn: Turn, now: Instant, at_once: bool) -> bool {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let possible = self.works && !matches!(turn, Turn::Blocked(_));
        if lost == self.reported || !possible || (now < self.report_from && !at_once) {
            return false;
        }
        let more = lost - self.reported;
        self.reported = lost;
        self.report_from = now + REPORT_EVERY;
        self.note(Level::Warning, "lines-lost", |text| text.field("lines", more));
        true
    }

    /// Waits for more to do.
    fn rest(&self, turn: Turn, now: Instant) {
        let Shared { bell, .. } = &*self.shared;
        match turn {
            Turn::Blocked(wait) => bell.pause(wait),
            Turn::Worked if !self.nap.is_zero() => bell.nap(|| self.shared.is_filling(), self.nap),
            Turn::Worked => {}
            Turn::Idle => {
                let unreported = self.works && self.shared.lost.load(Ordering::Relaxed) != self.reported;
                let report = unreported.then_some(self.report_from);
                let next = self.fold.next().into_iter().chain(report).min();
                let limit = next.map(|next| next.saturating_duration_since(now));
                bell.sleep(|| self.shared.is_quiet(), limit);
            }
        }
    }

    /// The end: nothing is taken any more, and what is left is told on stderr.
    fn leave(&mut self) {
        self.shared.levels.store(0, Ordering::Relaxed);
        let mut left = self.sink.unwritten() + self.first.drain(..).map(|_| 1).sum::<u64>();
        while self.shared.queue.pop().is_some() {
            left += 1;
        }
        self.lose(left);
        let untold = self.shared.lost.load(Ordering::Relaxed) - self.reported;
        if untold > 0 {
            self.warn(&format!("{untold} log lines lost"));
        }
    }

    fn lose(&self, lines: u64) {
        if lines > 0 {
            self.shared.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// A line of the thread's own, if its level is wanted.
    fn note(&mut self, level: Level, event: &'static str, fields: impl FnOnce(&mut Text)) {
        if self.shared.wants(level) {
            let mut text = Text::new(event);
            fields(&mut text);
            self.first.push_back(Record { made: wall_now(), level, text: text.into_string(), kind: None });
        }
    }

    fn warn(&mut self, warning: &str) {
        // Nothing is left to tell it to.
        _ = writeln!(self.errors, "tunnel: {warning}");
    }
}

/// The line at a window's end.
fn tell(summary: Summary) -> Record {
    let mut text = Text::new(summary.event);
    text.field("service", summary.subject);
    text.field("more", summary.more);
    Record { made: wall_now(), level: summary.level, text: text.into_string(), kind: None }
}
