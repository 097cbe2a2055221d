// SPDX-License-Identifier: MIT OR Apache-2.0
//! Logging that never blocks a worker.
//!
//! A caller makes a line ([`Log::line`], [`Line::field`], [`Line::send`]) and pushes it onto one bounded lock-free
//! queue; one thread ([`Writer`]) writes to the target. A caller takes no lock and does no I/O; what does not fit
//! into the queue is counted as lost, and the log itself reports the count.
//!
//! What is where: `text` a line's grammar and escaping; `wake` how the thread sleeps and is woken; `fold` floods of
//! failures; `stamp` local time as text; `sink` targets, with `stream` (stderr, files) and `syslog_socket`;
//! `writer` the thread; [`events`] the table of event words, which tunnel-log(7) documents. What is logged and when
//! is not here.

pub mod events;
mod fold;
mod sink;
mod stamp;
mod stream;
mod syslog_socket;
mod text;
mod wake;
mod writer;

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_queue::ArrayQueue;

use fold::{Kind, Marks};
use sink::Sink;
use text::Text;
pub use text::escaped;
use wake::Bell;
pub use writer::Writer;

/// Lines that may wait for the writer. At some 400 bytes a line that is 3 MiB when syslog has stopped for long.
const QUEUE: usize = 8192;

/// What `[global] log` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub target: Target,
    pub level: Level,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The local syslog daemon through `socket` (/dev/log unless told otherwise).
    Syslog {
        facility: Facility,
        socket: PathBuf,
    },
    Stderr,
    /// Appended to; created with mode 0640; a symbolic link at the path's end is refused.
    File(PathBuf),
}

/// A syslog facility code (RFC 5424 section 6.2.1), already multiplied by nothing: kern is 0, daemon 3, local0 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

impl Facility {
    /// The names of syslog.conf(5) with their codes; kern is the kernel's own and cannot be chosen.
    const TABLE: [(&'static str, u8); 19] = [
        ("auth", 4),
        ("authpriv", 10),
        ("cron", 9),
        ("daemon", 3),
        ("ftp", 11),
        ("lpr", 6),
        ("mail", 2),
        ("news", 7),
        ("syslog", 5),
        ("user", 1),
        ("uucp", 8),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];

    const fn names() -> [&'static str; Self::TABLE.len()] {
        let mut names = [""; Self::TABLE.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::TABLE[index].0;
            index += 1;
        }
        names
    }

    /// Every name [`Self::from_name`] knows.
    pub const NAMES: &'static [&'static str] = &Self::names();

    /// "daemon", "user", "local0" … by name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(known, _)| *known == name).map(|(_, code)| Self(*code))
    }

    /// The name of a facility that has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::TABLE.iter().find(|(_, code)| *code == self.0).map(|(name, _)| *name)
    }
}

/// How grave a line is; the first is the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// Every level, the gravest first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Notice, Self::Info, Self::Debug];

    /// Every name [`Self::from_name`] knows.
    pub const NAMES: &'static [&'static str] = &["error", "warning", "notice", "info", "debug"];

    /// The level called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// "error", "warning", "notice", "info" or "debug".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line on its way to the writer.
#[derive(Debug)]
struct Record {
    made: SystemTime,
    level: Level,
    text: String,
    /// What to fold it under; `None` once that is decided, and for lines that never fold.
    kind: Option<Box<Kind>>,
}

/// What callers and writer share; every part is lock-free.
#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Record>,
    /// How many levels are written: 0 after the end, 5 at `debug`.
    levels: AtomicU8,
    /// Lines that were never written, since the start.
    lost: AtomicU64,
    bell: Bell,
    marks: Marks,
    /// Orders to the writer; the bell is summoned after each.
    reopen: AtomicBool,
    finish: AtomicBool,
    /// A new target, opened already; a newer one takes the place of one not yet taken.
    switch: ArrayQueue<Box<dyn Sink>>,
}

impl Shared {
    fn new(level: Level, capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity),
            levels: AtomicU8::new(levels(level)),
            lost: AtomicU64::new(0),
            bell: Bell::default(),
            marks: Marks::new(),
            reopen: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            switch: ArrayQueue::new(1),
        }
    }

    fn wants(&self, level: Level) -> bool {
        levels(level) <= self.levels.load(Ordering::Relaxed)
    }

    fn push(&self, record: Record) {
        if self.queue.push(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.bell.ring(|| self.is_filling());
    }

    /// The queue is half full: the writer should not nap now.
    fn is_filling(&self) -> bool {
        self.queue.len() >= self.queue.capacity() / 2
    }

    /// Nothing is left for the writer to do.
    fn is_quiet(&self) -> bool {
        self.queue.is_empty()
            && self.switch.is_empty()
            && !self.reopen.load(Ordering::Relaxed)
            && !self.finish.load(Ordering::Relaxed)
    }
}

/// How many levels are written when `level` is the least grave of them.
fn levels(level: Level) -> u8 {
    match level {
        Level::Error => 1,
        Level::Warning => 2,
        Level::Notice => 3,
        Level::Info => 4,
        Level::Debug => 5,
    }
}

/// The moment a line is made. Read here and not by the writer: a line that waits for syslog to come back keeps
/// its time.
fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "a line bears the time it was made; the clock's vDSO read is no system call and no worker's time"
    )]
    SystemTime::now()
}

/// A target to switch to, open already.
pub struct Opened {
    sink: Box<dyn Sink>,
    level: Level,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("level", &self.level).finish_non_exhaustive()
    }
}

/// A handle to the log; clones share one bounded queue and one writer thread.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
    /// What stands before the PID in a syslog tag, and the PID.
    tag: Arc<str>,
}

impl Log {
    /// Opens the target and starts the writer thread: after the last fork, before a chroot. `ident` and `pid` make
    /// the tag of syslog lines, `tunnel[123]`.
    ///
    /// A syslog daemon that is not there is no error: that is said once on stderr, and lines wait for it.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened, or a thread that cannot be made.
    pub fn start(settings: &Settings, ident: &str, pid: u32) -> io::Result<(Self, Writer)> {
        let tag: Arc<str> = format!("{ident}[{pid}]").into();
        let sink = sink::open(&settings.target, &tag)?;
        let shared = Arc::new(Shared::new(settings.level, QUEUE));
        let writer = Writer::start(Arc::clone(&shared), sink, Box::new(io::stderr()), writer::NAP)?;
        Ok((Self { shared, tag }, writer))
    }

    /// A log without target and thread, for tests: [`Memory::take`] gives what was sent. Nothing folds.
    #[must_use]
    pub fn to_memory(level: Level) -> (Self, Memory) {
        let shared = Arc::new(Shared::new(level, QUEUE));
        (Self { shared: Arc::clone(&shared), tag: "tunnel[0]".into() }, Memory { shared })
    }

    /// Begins a line; nothing is formatted when `level` is not wanted. `event` is a stable word of tunnel-log(7).
    pub fn line(&self, level: Level, event: &'static str) -> Line<'_> {
        let draft = self.shared.wants(level).then(|| self.draft(level, event, None));
        Line { draft }
    }

    /// As [`Self::line`], for failures that may come in floods: repeated lines of one `event` and `subject`
    /// (a service's name) fold into "N more", and are then not even formatted. The subject is not made a field.
    pub fn failure(&self, level: Level, event: &'static str, subject: &str) -> Line<'_> {
        if !self.shared.wants(level) {
            return Line { draft: None };
        }
        let hash = self.shared.marks.hash(event, subject);
        if self.shared.marks.count(hash) {
            return Line { draft: None };
        }
        let kind = Box::new(Kind { event, subject: subject.into(), hash });
        Line { draft: Some(self.draft(level, event, Some(kind))) }
    }

    /// Opens log files anew (SIGUSR1), in the writer thread: what is sent from now on goes to the new file. When
    /// that fails the log and stderr say so, and the old file stays. Targets without a file do nothing.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
        self.shared.bell.summon();
    }

    /// Writes lines from `level` on, from now on.
    pub fn set_level(&self, level: Level) {
        self.shared.levels.store(levels(level), Ordering::Relaxed);
    }

    /// Opens the target of other settings (reload), in the caller's thread; nothing changes until [`Self::switch`].
    ///
    /// # Errors
    ///
    /// A file that cannot be opened.
    pub fn open(&self, settings: &Settings) -> io::Result<Opened> {
        Ok(Opened { sink: sink::open(&settings.target, &self.tag)?, level: settings.level })
    }

    /// Takes over other settings, whose target is open.
    pub fn switch(&self, opened: Opened) {
        self.shared.levels.store(levels(opened.level), Ordering::Relaxed);
        // A target not yet taken by the writer is superseded.
        drop(self.shared.switch.force_push(opened.sink));
        self.shared.bell.summon();
    }

    /// Lines that were never written, since the start: the queue was full, or the target refused them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn draft(&self, level: Level, event: &'static str, kind: Option<Box<Kind>>) -> Draft<'_> {
        Draft { shared: &self.shared, level, kind, text: Text::new(event) }
    }
}

/// A line being made, logfmt-like.
#[derive(Debug)]
#[must_use = "a line is written only when it is sent"]
pub struct Line<'a> {
    /// `None` for a line nobody wants, or one that is folded.
    draft: Option<Draft<'a>>,
}

#[derive(Debug)]
struct Draft<'a> {
    shared: &'a Shared,
    level: Level,
    kind: Option<Box<Kind>>,
    text: Text,
}

impl Line<'_> {
    /// `key=value`, the value quoted and escaped as needed: nothing a peer controls can break a line.
    pub fn field(mut self, key: &'static str, value: impl Display) -> Self {
        if let Some(draft) = &mut self.draft {
            draft.text.field(key, value);
        }
        self
    }

    /// As [`Self::field`], for bytes that need not be UTF-8 (a server name, a certificate's subject).
    pub fn bytes(mut self, key: &'static str, value: &[u8]) -> Self {
        if let Some(draft) = &mut self.draft {
            draft.text.bytes(key, value);
        }
        self
    }

    /// Whether the line will be sent: for callers whose fields cost something to find out.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.draft.is_some()
    }

    /// Queues the line; counts it as lost when the queue is full.
    pub fn send(self) {
        if let Some(Draft { shared, level, kind, text }) = self.draft {
            shared.push(Record { made: now(), level, text: text.into_string(), kind });
        }
    }
}

/// Where the lines of [`Log::to_memory`] stay.
#[derive(Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

impl Memory {
    /// The texts sent since the last call, the oldest first, without time and level.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::iter::from_fn(|| self.shared.queue.pop()).map(|record| record.text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when `condition` holds; fails the test after 30 s.
    pub(super) fn wait_for(condition: impl Fn() -> bool) {
        #[expect(clippy::disallowed_methods, reason = "a test's own patience")]
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed().as_secs() < 30, "waited too long");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_line_is_its_event_and_its_fields() {
        let (log, memory) = Log::to_memory(Level::Debug);
        log.line(Level::Info, "x").field("id", 7).field("sni", "a b").bytes("alpn", b"\xff").send();
        log.line(Level::Info, "bare").send();
        assert_eq!(memory.take(), [r#"event=x id=7 sni="a b" alpn="\xff""#, "event=bare"]);
        assert_eq!(memory.take(), [""; 0]);
    }

    #[test]
    fn levels_below_the_wanted_one_are_not_even_formatted() {
        struct Untouchable;
        impl Display for Untouchable {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("formatted a line nobody wants")
            }
        }
        for (index, threshold) in Level::ALL.into_iter().enumerate() {
            let (log, memory) = Log::to_memory(threshold);
            for level in Level::ALL {
                let line = log.line(level, "x");
                assert_eq!(line.is_wanted(), level <= threshold);
                let line = if line.is_wanted() { line } else { line.field("k", Untouchable) };
                line.send();
                log.failure(level, "f", "web").send();
            }
            assert_eq!(memory.take().len(), 2 * (index + 1));
        }
    }

    #[test]
    fn a_full_queue_counts_what_it_does_not_take() {
        let (log, memory) = Log::to_memory(Level::Info);
        for number in 0..QUEUE + 17 {
            log.line(Level::Info, "x").field("n", number).send();
        }
        assert_eq!(log.lost(), 17);
        let lines = memory.take();
        assert_eq!(lines.len(), QUEUE);
        assert_eq!(lines[QUEUE - 1], format!("event=x n={}", QUEUE - 1));
    }

    #[test]
    fn names_and_values_of_facilities_and_levels_are_a_bijection() {
        for name in Facility::NAMES {
            assert_eq!(Facility::from_name(name).and_then(Facility::name), Some(*name));
        }
        assert_eq!(Facility::from_name("daemon"), Some(Facility(3)));
        for number in 0..8 {
            assert_eq!(Facility::from_name(&format!("local{number}")), Some(Facility(16 + number)));
        }
        for name in ["", "kern", "local8", "Daemon", "daem"] {
            assert_eq!(Facility::from_name(name), None, "{name}");
        }
        let names: Vec<_> = Level::ALL.into_iter().map(Level::name).collect();
        assert_eq!(names, Level::NAMES);
        assert!(
            Level::NAMES.iter().all(|name| Level::from_name(name).is_some_and(|level| level.name() == *name))
        );
        assert_eq!(Level::from_name("warn"), None);
    }
}
