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
            let turn = self.turn(now);
            self.account(turn);
            if self.report(turn, now, deadline.is_some()) {
                continue;
            }
            match deadline {
                None => self.rest(turn, now),
                Some(deadline) if now >= deadline => break,
                // Nothing is queued any more: what was folded is told, and then that is all.
                Some(_) if turn == Turn::Idle => {
                    self.end_windows();
                    if self.first.is_empty() {
                        break;
                    }
                }
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

    fn end_windows(&mut self) {
        let Self { fold, first, shared, .. } = self;
        fold.end_all(&shared.marks, &mut |summary| first.push_back(tell(summary)));
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
        // Whatever the level: who finds no such line must be able to trust that none is missing.
        self.push(Level::Warning, "lines-lost", |text| text.field("lines", more));
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
        self.end_windows();
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
            self.push(level, event, fields);
        }
    }

    fn push(&mut self, level: Level, event: &'static str, fields: impl FnOnce(&mut Text)) {
        let mut text = Text::new(event);
        fields(&mut text);
        self.first.push_back(Record { made: wall_now(), level, text: text.into_string(), kind: None });
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

#[cfg(test)]
mod tests {
    use super::super::tests::wait_for;
    use super::super::{Facility, Log, QUEUE, Settings, Target, sink};
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    /// What the test sees of a [`Script`], and how it steers it.
    #[derive(Debug, Default)]
    struct Stage {
        lines: crossbeam_queue::SegQueue<String>,
        written: AtomicU64,
        blocked: AtomicBool,
        losing: AtomicBool,
    }

    impl Stage {
        fn take(&self) -> Vec<String> {
            std::iter::from_fn(|| self.lines.pop()).collect()
        }

        fn written(&self) -> u64 {
            self.written.load(Ordering::SeqCst)
        }
    }

    /// A sink that does as told; the loss is noticed when it flushes, as with a file.
    struct Script {
        stage: Arc<Stage>,
        lost: u64,
    }

    impl Sink for Script {
        fn put(&mut self, entry: &Entry<'_>) -> Result<(), Later> {
            if self.stage.blocked.load(Ordering::SeqCst) {
                return Err(Later(Duration::from_millis(1)));
            }
            if self.stage.losing.load(Ordering::SeqCst) {
                self.lost += 1;
            } else {
                self.stage.lines.push(entry.text.to_owned());
            }
            self.stage.written.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn flush(&mut self) -> Result<(), Later> {
            Ok(())
        }
        fn reopen(&mut self) -> io::Result<Option<String>> {
            Err(io::Error::other("no such thing"))
        }
        fn trouble(&mut self) -> sink::Trouble {
            let lost = std::mem::take(&mut self.lost);
            sink::Trouble { lost, warning: (lost > 0).then(|| "it hurts".into()) }
        }
        fn unwritten(&self) -> u64 {
            0
        }
    }

    /// What would go to stderr.
    #[derive(Clone, Default)]
    struct Errors(Arc<crossbeam_queue::SegQueue<u8>>);

    impl Errors {
        fn take(&self) -> String {
            let bytes = std::iter::from_fn(|| self.0.pop()).collect();
            String::from_utf8(bytes).unwrap()
        }
    }

    impl Write for Errors {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            bytes.iter().for_each(|byte| self.0.push(*byte));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(sink: Box<dyn Sink>, capacity: usize) -> (Log, Writer, Errors) {
        let errors = Errors::default();
        let shared = Arc::new(Shared::new(Level::Info, capacity));
        let log = Log { shared: Arc::clone(&shared), tag: "tunnel[1]".into() };
        let writer = Writer::start(shared, sink, Box::new(errors.clone()), Duration::ZERO).unwrap();
        (log, writer, errors)
    }

    fn script(capacity: usize) -> (Log, Writer, Errors, Arc<Stage>) {
        let stage = Arc::new(Stage::default());
        let (log, writer, errors) = start(Box::new(Script { stage: Arc::clone(&stage), lost: 0 }), capacity);
        (log, writer, errors, stage)
    }

    #[test]
    fn lines_come_in_order_and_the_end_writes_what_is_queued() {
        let (log, writer, errors, stage) = script(QUEUE);
        for number in 0..5000 {
            log.line(Level::Info, "x").field("n", number).send();
        }
        writer.finish();
        let expected: Vec<_> = (0..5000).map(|number| format!("event=x n={number}")).collect();
        assert_eq!(stage.take(), expected);
        assert_eq!((log.lost(), errors.take()), (0, String::new()));
        log.line(Level::Error, "late").send();
        assert!(log.shared.queue.is_empty(), "what is sent after the end stays nowhere");
    }

    #[test]
    fn several_threads_lose_nothing_the_queue_can_hold() {
        let (log, writer, _, stage) = script(QUEUE);
        thread::scope(|scope| {
            for thread in 0..4 {
                let log = log.clone();
                scope.spawn(move || {
                    for number in 0..2000 {
                        log.line(Level::Info, "x").field("t", thread).field("n", number).send();
                    }
                });
            }
        });
        wait_for(|| stage.written() == 8000);
        drop(writer);
        let lines = stage.take();
        for thread in 0..4 {
            let of = format!("event=x t={thread} ");
            let mine: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&of)).collect();
            assert_eq!(mine.len(), 2000);
            assert!(mine.iter().enumerate().all(|(number, line)| *line == format!("n={number}")));
        }
    }

    #[test]
    fn an_idle_writer_takes_no_turn_and_a_line_wakes_it() {
        let (log, writer, _, stage) = script(QUEUE);
        for number in 1..=200 {
            log.line(Level::Info, "x").send();
            // Asleep without a limit: nothing but a push or an order wakes it again, and the next round proves that
            // the push does.
            wait_for(|| stage.written() == number && log.shared.bell.is_asleep());
        }
        writer.finish();
    }

    #[test]
    fn a_blocked_target_costs_what_the_queue_cannot_hold_and_tells_so() {
        let (log, writer, errors, stage) = script(64);
        stage.blocked.store(true, Ordering::SeqCst);
        log.line(Level::Info, "x").field("n", 0).send();
        // The writer holds the first line; from now on it takes none from the queue.
        wait_for(|| log.shared.queue.is_empty());
        for number in 1..=64 + 36 {
            log.line(Level::Info, "x").field("n", number).send();
        }
        assert_eq!(log.lost(), 36);
        stage.blocked.store(false, Ordering::SeqCst);
        wait_for(|| stage.written() == 66);
        let lines = stage.take();
        for (number, line) in lines[..65].iter().enumerate() {
            assert_eq!(*line, format!("event=x n={number}"));
        }
        assert_eq!(lines[65..], ["event=lines-lost lines=36"]);
        writer.finish();
        assert_eq!(errors.take(), "", "told in the log, so not on stderr");
    }

    #[test]
    fn a_target_blocked_for_ever_does_not_hold_up_the_end() {
        let (log, writer, errors, stage) = script(64);
        stage.blocked.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            log.line(Level::Info, "x").send();
        }
        writer.finish();
        assert_eq!(errors.take(), "tunnel: 5 log lines lost\n");
        assert_eq!(log.lost(), 5);
    }

    #[test]
    fn lines_a_target_loses_are_counted_and_told_when_it_works_again() {
        let (log, writer, errors, stage) = script(QUEUE);
        stage.losing.store(true, Ordering::SeqCst);
        for number in 1..=3 {
            log.line(Level::Info, "x").send();
            wait_for(|| log.lost() == number);
        }
        stage.losing.store(false, Ordering::SeqCst);
        log.line(Level::Info, "y").send();
        wait_for(|| stage.written() == 5);
        assert_eq!(stage.take(), ["event=y", "event=lines-lost lines=3"]);
        writer.finish();
        assert_eq!(errors.take(), "tunnel: it hurts\n".repeat(3), "each warning of the sink is handed on");
    }

    #[test]
    fn a_flood_of_failures_folds_and_the_rest_is_told() {
        let (log, writer, _, stage) = script(QUEUE);
        for number in 0..1000 {
            log.failure(Level::Warning, "handshake-failed", "web").field("n", number).send();
            log.failure(Level::Debug, "handshake-failed", "web").send();
        }
        log.failure(Level::Warning, "handshake-failed", "mail").send();
        log.line(Level::Warning, "handshake-failed").send();
        writer.finish();
        let mut expected: Vec<_> = (0..10).map(|n| format!("event=handshake-failed n={n}")).collect();
        expected.push("event=handshake-failed".into());
        expected.push("event=handshake-failed".into());
        expected.push("event=handshake-failed service=web more=990".into());
        assert_eq!(stage.take(), expected);
    }

    #[test]
    fn a_folded_line_is_not_formatted() {
        let (log, writer, _, stage) = script(QUEUE);
        for _ in 0..11 {
            log.failure(Level::Warning, "connect-failed", "web").send();
        }
        wait_for(|| {
            stage.written() == 10 && !log.failure(Level::Warning, "connect-failed", "web").is_wanted()
        });
        assert!(log.line(Level::Warning, "connect-failed").is_wanted());
        writer.finish();
    }

    fn file(path: &Path, level: Level) -> Settings {
        Settings { target: Target::File(path.to_owned()), level }
    }

    fn texts(path: &Path) -> Vec<String> {
        let all = std::fs::read_to_string(path).unwrap();
        all.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn a_reload_changes_target_and_level() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let (log, writer) = Log::start(&file(&one, Level::Info), "tunnel", 1).unwrap();
        log.line(Level::Info, "a").send();
        log.line(Level::Debug, "b").send();
        wait_for(|| texts(&one).len() == 1);
        log.switch(log.open(&file(&two, Level::Debug)).unwrap());
        assert!(log.open(&file(&dir.path().join("none/log"), Level::Error)).is_err());
        wait_for(|| log.shared.switch.is_empty());
        log.line(Level::Debug, "c").send();
        writer.finish();
        assert_eq!(texts(&one), ["info event=a"]);
        assert_eq!(texts(&two), ["debug event=c"], "and the failed switch changed nothing");
    }

    #[test]
    fn a_signal_reopens_the_file_and_a_failure_is_told_in_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let (log, writer) = Log::start(&file(&path, Level::Info), "tunnel", 1).unwrap();
        log.line(Level::Info, "a").send();
        wait_for(|| texts(&path).len() == 1);
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        wait_for(|| path.exists() && texts(&path).len() == 1);
        log.line(Level::Info, "b").send();
        writer.finish();
        assert_eq!(texts(&old), ["info event=a"]);
        let reopened = format!("notice event=log-reopened file={}", path.display());
        assert_eq!(texts(&path), [reopened.as_str(), "info event=b"]);

        let (log, writer, errors, stage) = script(64);
        log.reopen();
        wait_for(|| stage.written() == 1);
        writer.finish();
        assert_eq!(stage.take(), ["event=log-reopen-failed error=\"no such thing\""]);
        assert_eq!(errors.take(), "tunnel: the log stays as it was: no such thing\n");
    }

    #[test]
    fn a_full_disk_warns_once_and_stops_nobody() {
        let sink = sink::open(&Target::File("/dev/full".into()), "tunnel[1]").unwrap();
        let (log, writer, errors) = start(sink, QUEUE);
        for number in 1..=100 {
            log.line(Level::Info, "x").send();
            wait_for(|| log.lost() == number);
        }
        writer.finish();
        let told = errors.take();
        let (warning, rest) = told.split_once('\n').unwrap();
        assert!(warning.starts_with("tunnel: /dev/full: cannot write the log: "), "{told}");
        assert_eq!(rest, "tunnel: 100 log lines lost\n");
    }

    fn receive(daemon: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let count = daemon.recv(&mut bytes).unwrap();
        std::str::from_utf8(&bytes[..count]).unwrap().split_once("]: ").unwrap().1.to_owned()
    }

    #[test]
    fn syslog_may_come_late_stop_reading_and_be_restarted_without_a_line_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let target = Target::Syslog { facility: Facility(3), socket: path.clone() };
        let (log, writer, errors) = start(sink::open(&target, "tunnel[1]").unwrap(), QUEUE);
        let send = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                log.line(Level::Info, "x").field("n", number).send();
            }
        };
        let expect = |daemon: &UnixDatagram, numbers: std::ops::Range<u32>| {
            for number in numbers {
                assert_eq!(receive(daemon), format!("event=x n={number}"));
            }
        };
        // Not there at the start.
        send(0..100);
        let daemon = UnixDatagram::bind(&path).unwrap();
        expect(&daemon, 0..100);
        let told = errors.take();
        assert!(told.contains("syslog cannot be reached") && told.lines().count() == 1, "{told}");
        // Does not read: the kernel's queue fills, the rest waits in ours.
        send(100..2000);
        wait_for(|| !log.shared.queue.is_empty());
        expect(&daemon, 100..2000);
        // Gone and back.
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        send(2000..2500);
        let daemon = UnixDatagram::bind(&path).unwrap();
        expect(&daemon, 2000..2500);
        assert_eq!(log.lost(), 0);
        writer.finish();
    }
}
