// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary under test, run in the foreground with its log in a file.
//!
//! When a [`Tunnel`] is dropped at the end of a test that went well, it must be alive, at rest (no CPU time) and end
//! with status 0 on SIGTERM. When the test failed, its log is printed instead.

use super::{PATIENCE, pause, wait_for, wait_up_to};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a tunnel is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Lines of `[global]` beside `log`.
    pub(crate) global: String,
    /// Log level.
    pub(crate) level: &'static str,
    /// How long the test may take: then the tunnel dumps its state to its log and is killed, which ends every
    /// connection and with them the test.
    pub(crate) limit: Duration,
    /// Whether the process must come to rest at the end (G11).
    pub(crate) idle_check: bool,
    /// Further environment variables.
    pub(crate) environment: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            global: "workers = 2".to_owned(),
            level: "info",
            limit: if super::soaking() { Duration::from_secs(3600) } else { Duration::from_secs(120) },
            idle_check: true,
            environment: Vec::new(),
        }
    }
}

impl Options {
    /// The default with other lines of `[global]`.
    pub(crate) fn global(lines: &str) -> Self {
        Self { global: lines.to_owned(), ..Self::default() }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    fields: HashMap<String, String>,
}

impl Line {
    /// Takes `key=value` and `key="quoted value"` out of a line; the rest is left alone.
    pub(crate) fn parse(text: &str) -> Self {
        let mut fields = HashMap::new();
        let mut rest = text;
        while let Some(at) = rest.find('=') {
            let key = rest[..at].rsplit(' ').next().unwrap_or_default().to_owned();
            let (value, length) = value(&rest[at + 1..]);
            fields.entry(key).or_insert(value);
            rest = &rest[at + 1 + length..];
        }
        Self { text: text.to_owned(), fields }
    }

    /// The value of `key`, or "" when the line does not have it.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }

    /// Whether the line is of that event.
    pub(crate) fn is(&self, event: &str) -> bool {
        self.get("event") == event
    }

    /// A number.
    ///
    /// # Panics
    /// When `key` is missing or no number.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or_else(|_| panic!("no number {key} in: {}", self.text))
    }
}

/// The value at the start of `text` and how many bytes of `text` it takes.
fn value(text: &str) -> (String, usize) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return (text[..end].to_owned(), end);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, at + 2),
            _ => value.push(character),
        }
    }
    (value, text.len())
}

/// What /proc says about the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// CPU time of all threads, in nanoseconds.
    pub(crate) cpu: u64,
    /// Open descriptors.
    pub(crate) fds: usize,
    /// Resident memory, in KiB.
    pub(crate) rss: u64,
    pub(crate) threads: usize,
}

/// The running process.
pub(crate) struct Tunnel {
    child: Child,
    dir: TempDir,
    log: PathBuf,
    options: Options,
    exit: Option<ExitStatus>,
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Tunnel {
    /// Starts it with `services` (the `[[service]]` tables) and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(services: &str) -> Self {
        Self::start_with(services, Options::default())
    }

    /// As [`Self::start`].
    ///
    /// # Panics
    /// When the process ends instead of getting ready; its log is in the message.
    #[track_caller]
    pub(crate) fn start_with(services: &str, options: Options) -> Self {
        let mut tunnel = Self::spawn(services, options);
        wait_for("the tunnel to start", || {
            assert!(tunnel.is_alive(), "the tunnel ended at start:\n{}", tunnel.log_text());
            tunnel.log_lines().iter().any(|line| line.is("started"))
        });
        tunnel
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(services: &str, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        write_config(dir.path(), services, &options);
        let output = File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tunnel"))
            .arg("-c")
            .arg(dir.path().join("tunnel.conf"))
            .current_dir(dir.path())
            .envs(options.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let watchdog = watchdog(Pid::from_raw(child.id().try_into().unwrap()), options.limit);
        Self { child, dir, log, options, exit: None, watchdog: Some(watchdog) }
    }

    /// Writes another configuration in the place of the first; SIGHUP makes the tunnel read it.
    pub(crate) fn rewrite(&self, services: &str) {
        write_config(self.dir.path(), services, &self.options);
    }

    /// The directory of `tunnel.conf`.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("tunnel.conf")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Where the newest listener of `service` listens.
    ///
    /// # Panics
    /// When the log names none.
    #[track_caller]
    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        self.addresses(service)
            .pop()
            .unwrap_or_else(|| panic!("{service} listens nowhere:\n{}", self.log_text()))
    }

    /// All addresses on which `service` was said to listen, oldest first.
    pub(crate) fn addresses(&self, service: &str) -> Vec<SocketAddr> {
        let lines = self.log_lines().into_iter();
        let mine = lines.filter(|line| line.is("listening") && line.get("service") == service);
        mine.filter_map(|line| line.get("address").parse().ok()).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The complete lines of the log so far.
    pub(crate) fn log_lines(&self) -> Vec<Line> {
        let text = self.log_text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(Line::parse).collect()
    }

    /// Waits for a line of the log and returns the first such.
    #[track_caller]
    pub(crate) fn wait_log(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let mut found = None;
        let begin = Instant::now();
        wait_up_to(PATIENCE * 2, what, || {
            found = self.log_lines().into_iter().find(&wanted);
            assert!(
                found.is_some() || begin.elapsed() < PATIENCE,
                "no line for {what} in:\n{}",
                self.log_text()
            );
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until `count` connections are logged as closed and returns their lines.
    #[track_caller]
    pub(crate) fn wait_closed(&self, count: usize) -> Vec<Line> {
        let mut closed = Vec::new();
        wait_for("connections to be logged as closed", || {
            closed = self.log_lines();
            closed.retain(|line| line.is("connection-closed"));
            closed.len() >= count
        });
        closed
    }

    /// Waits for the line of a connection that closed for `reason`.
    #[track_caller]
    pub(crate) fn wait_reason(&self, reason: &str) -> Line {
        self.wait_log(reason, |line| line.get("reason") == reason)
    }

    pub(crate) fn figures(&self) -> Figures {
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let activity = self.activity();
        Figures {
            cpu: activity.iter().map(|thread| thread.cpu).sum(),
            fds: fs::read_dir(proc.join("fd")).unwrap().count(),
            rss: rss.trim().trim_end_matches(" kB").parse().unwrap(),
            threads: activity.len(),
        }
    }

    /// Waits until the process has been at rest for [`REST`]: every thread asleep, and the CPU time of none grown.
    ///
    /// The scheduler's own counter (nanoseconds, /proc/PID/task/TID/schedstat) is compared, not clock ticks, so
    /// that a single wake-up shows. A timer that is still due (a line that is folded, say) only starts the measure anew; a
    /// process that spins, or polls more often than once in [`REST`], never comes to rest and fails the test. A thread
    /// that is runnable but gets no CPU because the machine is busy is not at rest: its state is not "S".
    #[track_caller]
    pub(crate) fn assert_rest(&self) {
        let mut last = self.activity();
        let mut since = Instant::now();
        wait_for("the process to use no CPU time while nothing moves", || {
            let now = self.activity();
            if now != last || now.iter().any(|thread| thread.state != 'S') {
                last = now;
                since = Instant::now();
            }
            since.elapsed() >= REST
        });
    }

    /// Stops the process while `act` runs, so that it meets everything `act` did in one wake-up.
    pub(crate) fn frozen<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(Signal::SIGSTOP);
        wait_for("all threads to stop", || self.activity().iter().all(|thread| thread.state == 'T'));
        let result = act();
        self.signal(Signal::SIGCONT);
        result
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.exit = self.exit.or_else(|| self.child.try_wait().unwrap());
        self.exit.is_none()
    }

    /// Waits until the process has ended; nothing is checked at drop then.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the tunnel to end", || !self.is_alive());
        self.exit.unwrap()
    }

    fn activity(&self) -> Vec<Activity> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()));
        let mut threads = Vec::new();
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            // A thread that ends meanwhile is gone from the list the next time.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let run = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let cpu = run.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
            threads.push(Activity { name: task.file_name().into_string().unwrap(), cpu, state });
        }
        threads
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let text = self.log_text();
            let tail: Vec<_> = text.lines().rev().take(40).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            #[expect(clippy::disallowed_macros, reason = "libtest shows it with the failure")]
            {
                eprintln!("--- the tunnel's log (last 40 lines):\n{}\n---", tail.join("\n"));
            }
        } else if self.exit.is_none() {
            self.check_at_end();
        }
        if let Some((cancel, thread)) = self.watchdog.take() {
            drop(cancel);
            let _ = thread.join();
        }
    }
}

impl Tunnel {
    fn check_at_end(&mut self) {
        if self.is_alive() && self.options.idle_check {
            // Not to be left running when it is found restless.
            let pid = self.pid();
            let guard = KillOnPanic(pid);
            self.assert_rest();
            std::mem::forget(guard);
        }
        assert!(self.is_alive(), "the tunnel died ({:?}):\n{}", self.exit, self.log_text());
        // The first signal drains; its repetition closes at once whatever connections the test has left open.
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < PATIENCE {
            self.signal(Signal::SIGTERM);
            pause();
        }
        if self.is_alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            panic!("the tunnel did not end on SIGTERM:\n{}", self.log_text());
        }
        let status = self.exit.unwrap();
        assert!(status.success(), "the tunnel ended with {status}:\n{}", self.log_text());
        let text = self.log_text();
        assert!(!text.contains("reason=panic"), "something panicked:\n{text}");
    }
}

struct KillOnPanic(Pid);

impl Drop for KillOnPanic {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

/// How long a process must use no CPU time to be at rest.
const REST: Duration = Duration::from_millis(300);

/// One thread, as [`Tunnel::assert_rest`] compares it.
#[derive(Clone, PartialEq, Eq)]
struct Activity {
    name: String,
    /// Nanoseconds on a CPU.
    cpu: u64,
    /// As in proc(5): 'S' asleep, 'R' running or runnable, 'T' stopped.
    state: char,
}

fn write_config(dir: &Path, services: &str, options: &Options) {
    let Options { global, level, .. } = options;
    let text =
        format!("[global]\nlog = {{ target = \"stderr\", level = \"{level}\" }}\n{global}\n\n{services}");
    fs::write(dir.join("tunnel.conf"), text).unwrap();
}

/// Ends the process when the test takes too long: SIGQUIT, so that its log says what it was doing, then SIGKILL.
fn watchdog(pid: Pid, limit: Duration) -> (Sender<()>, JoinHandle<()>) {
    let (cancel, cancelled) = channel::<()>();
    let thread = std::thread::spawn(move || {
        for (patience, signal) in [(limit, Signal::SIGQUIT), (Duration::from_secs(2), Signal::SIGKILL)] {
            if cancelled.recv_timeout(patience) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            // The process is not waited for before this thread is, so the number is still its own.
            let _ = kill(pid, signal);
        }
    });
    (cancel, thread)
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("pid", &self.pid()).field("log", &self.log).finish_non_exhaustive()
    }
}

#[test]
fn a_log_line_is_taken_apart() {
    let line = Line::parse(r#"2026-01-01 tunnel[7]: event=connection-closed sni="a b\"c" in=12 reason=done"#);
    assert!(line.is("connection-closed"));
    assert_eq!(line.get("sni"), "a b\"c");
    assert_eq!(line.number("in"), 12);
    assert_eq!(line.get("reason"), "done");
    assert_eq!(line.get("nothing"), "");
}
