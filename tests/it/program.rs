// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary run in any way a test likes (any options, any wrapper, any log target), programs run beside it, and what
//! /proc tells of them. For the ordinary case, a foreground process that logs to stderr, `harness::Tunnel` is the
//! thing to use.
//!
//! Invariant: whatever is started here ends, at the latest by SIGKILL, with the value that stands for it; nothing else
//! is ever signalled.

use crate::harness::{
    Backend, End, Line, Listening, Options, PATIENCE, Peer, Pki, Rig, Sides, Tunnel, wait_for,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const TUNNEL: &str = env!("CARGO_BIN_EXE_tunnel");

/// A directory with a `tunnel.conf`, in which the binary is run.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new(config: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.write("tunnel.conf", config);
        place
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A file that is written to by somebody else, as a log.
    pub(crate) fn log(&self, name: &str) -> LogFile {
        LogFile(self.path(name))
    }

    /// Runs the binary to its end with the directory as its working directory.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_program(TUNNEL, arguments)
    }

    /// Runs any program to its end there.
    #[track_caller]
    pub(crate) fn run_program(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Outcome {
        // Files, not pipes: a daemon that outlives its parent would hold a pipe open.
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let child = Command::new(program)
            .args(arguments)
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .stdout(out.reopen().unwrap())
            .stderr(err.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut process = Process { child, exit: None, log: LogFile(err.path().to_owned()) };
        let code = process.wait_exit().code();
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Outcome { code, out: read(out.path()), err: read(err.path()) }
    }

    /// Runs the binary in the foreground with `-c tunnel.conf` and `arguments`; its stderr is `stderr` there.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_under(&[], arguments)
    }

    /// As [`Self::start`], through a program that executes it (`prlimit --nofile=64`).
    pub(crate) fn start_under(&self, wrapper: &[&str], arguments: &[&str]) -> Process {
        let mut line = wrapper.to_vec();
        line.extend([TUNNEL, "-c", "tunnel.conf"]);
        line.extend(arguments);
        self.spawn("stderr", &line)
    }

    /// Runs the program `line[0]` in the background; its output goes to the end of the file `output`.
    pub(crate) fn spawn(&self, output: &str, line: &[&str]) -> Process {
        let log = self.log(output);
        let file = File::options().create(true).append(true).open(&log.0).unwrap();
        let child = Command::new(line[0])
            .args(&line[1..])
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process { child, exit: None, log }
    }
}

/// How a program that ran to its end ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Outcome {
    /// # Panics
    /// When the exit status is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A log in a file.
#[derive(Clone, Debug)]
pub(crate) struct LogFile(pub(crate) PathBuf);

impl LogFile {
    /// What is there, "" when there is no such file.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.0).unwrap_or_default()).into_owned()
    }

    /// The complete lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let text = self.text();
        text[..text.rfind('\n').unwrap_or(0)].lines().map(Line::parse).collect()
    }

    /// Waits for a line and returns the first such.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let mut found = None;
        let guard = Print(self);
        wait_for(what, || {
            found = self.lines().into_iter().find(&wanted);
            found.is_some()
        });
        std::mem::forget(guard);
        found.unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_event(&self, event: &str) -> Line {
        self.wait(event, |line| line.is(event))
    }

    /// Where the newest listener of `service` listens.
    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        let lines = self.lines().into_iter().rev();
        let mut addresses = lines
            .filter(|line| line.is("listening") && line.get("service") == service)
            .map(|line| line.get("address").parse().unwrap());
        addresses.next().unwrap_or_else(|| panic!("{service} listens nowhere:\n{}", self.text()))
    }
}

/// Prints the end of a log when a wait for something in it fails.
struct Print<'a>(&'a LogFile);

impl Drop for Print<'_> {
    fn drop(&mut self) {
        let text = self.0.text();
        let tail: Vec<_> = text.lines().rev().take(30).collect();
        say(&format!("--- end of {}:", self.0.0.display()));
        tail.iter().rev().for_each(|line| say(line));
    }
}

/// A running child of the test.
pub(crate) struct Process {
    child: Child,
    exit: Option<ExitStatus>,
    /// What it writes to stdout and stderr.
    pub(crate) log: LogFile,
}

impl Process {
    /// Any command whose output is looked at elsewhere.
    pub(crate) fn of(child: Child) -> Self {
        Self { child, exit: None, log: LogFile(PathBuf::new()) }
    }

    /// Waits until its log, on stderr, says that it has started.
    #[track_caller]
    pub(crate) fn wait_started(&mut self) {
        wait_for("the process to start", || {
            assert!(self.is_alive(), "it ended at start:\n{}", self.log.text());
            self.log.lines().iter().any(|line| line.is("started"))
        });
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.exit = self.exit.or_else(|| self.child.try_wait().unwrap());
        self.exit.is_none()
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        wait_for("the process to end", || !self.is_alive());
        self.exit.unwrap()
    }

    /// SIGTERM, and the status 0 that must follow.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_exit();
        assert!(status.success(), "{status}:\n{}", self.log.text());
    }

    pub(crate) fn kill(&mut self) {
        if self.is_alive() {
            self.child.kill().unwrap();
            self.wait_exit();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A process that is no child of the test: the daemon that `-D` left behind. Killed at the end, if it is still ours.
pub(crate) struct Stranger(pub(crate) Pid);

impl Stranger {
    /// The process named in a pid file.
    #[track_caller]
    pub(crate) fn from_pid_file(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        Self(Pid::from_raw(text.trim().parse().unwrap()))
    }

    /// Whether a process of that number exists and runs the binary under test.
    pub(crate) fn is_alive(&self) -> bool {
        let exe = fs::read_link(format!("/proc/{}/exe", self.0));
        exe.is_ok_and(|exe| exe == fs::canonicalize(TUNNEL).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.is_alive());
        kill(self.0, signal).unwrap();
    }

    #[track_caller]
    pub(crate) fn wait_gone(&self) {
        wait_for("the daemon to end", || !self.is_alive());
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// strace(1) attached to a process, to watch its system calls or to make them fail.
pub(crate) struct Strace {
    process: Process,
    dir: TempDir,
}

impl Strace {
    /// Attaches to `pid` and its threads, or to one thread alone; `options` say what to trace and to inject. `None`
    /// where that is impossible (no strace, or no right to trace): the test says so and goes without.
    pub(crate) fn attach(pid: Pid, threads: bool, options: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let output = File::create(dir.path().join("messages")).unwrap();
        let mut command = Command::new("strace");
        command.args(threads.then_some("-f")).args(options);
        command.arg("-o").arg(dir.path().join("calls")).arg("-p").arg(pid.to_string());
        let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn() else {
            say("skipped: strace is not installed");
            return None;
        };
        let mut strace = Self { process: Process::of(child), dir };
        let messages = strace.dir.path().join("messages");
        let mut alive = true;
        wait_for("strace to attach", || {
            alive = strace.process.is_alive();
            !alive || fs::read_to_string(&messages).unwrap().contains(" attached")
        });
        if !alive {
            say(&format!("skipped: {}", fs::read_to_string(&messages).unwrap()));
        }
        alive.then_some(strace)
    }

    /// The calls seen so far, one line each.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets go of the process.
    pub(crate) fn detach(mut self) {
        self.process.signal(Signal::SIGINT);
        self.process.wait_exit();
    }
}

/// What every descriptor of `pid` is, sorted; numbers that differ from one socket to the next are left out.
pub(crate) fn descriptors(pid: Pid) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let mut kinds: Vec<_> = targets
        .map(|target| {
            // A file the test program itself left open when it started this one may be gone meanwhile.
            let target = target.to_str().unwrap().trim_end_matches(" (deleted)").to_owned();
            match target.split_once(":[") {
                Some((kind @ ("socket" | "pipe"), _)) => kind.to_owned(),
                _ => target,
            }
        })
        .collect();
    kinds.sort();
    kinds
}

/// The threads of `pid` whose name contains `name`: number and time on a CPU in nanoseconds.
pub(crate) fn threads(pid: Pid, name: &str) -> Vec<(Pid, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap().contains(name));
    named
        .map(|task| {
            let number: i32 = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let times = fs::read_to_string(task.join("schedstat")).unwrap();
            (Pid::from_raw(number), times.split(' ').next().unwrap().parse().unwrap())
        })
        .collect()
}

/// Lets a time of measurement pass. Not for waiting on something to happen.
pub(crate) fn observe_for(span: Duration) {
    let begin = Instant::now();
    wait_for("the time of measurement to pass", || begin.elapsed() >= span);
}

/// An address of 127.0.0.1 nobody listens on just now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A plain service called `name` from a free port to `server`.
pub(crate) fn plain(name: &str, server: SocketAddr) -> String {
    plain_at(name, "127.0.0.1:0", server)
}

/// A plain service from `address` to `server`.
pub(crate) fn plain_at(name: &str, address: impl std::fmt::Display, server: SocketAddr) -> String {
    format!("[[service]]\nname = \"{name}\"\naccept = \"{address}\"\nconnect = \"{server}\"\n\n")
}

/// A [`Rig`] that echoes, with its tunnel started as `options` say.
pub(crate) fn echoing(sides: Sides, options: Options) -> Rig<u64> {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::tls_if(sides.server_tls(), &pki));
    let tunnel = Tunnel::start_with(&sides.service("web", &pki, backend.address(), ""), options);
    Rig { tunnel, backend, pki, sides }
}

/// Connects to a plain service that will have nothing to say, and reads to the end: how it ended. The end may come
/// before the connect has returned.
pub(crate) fn knock(address: SocketAddr) -> End {
    match TcpStream::connect(address) {
        Ok(socket) => {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Peer::Plain(socket).receive_all().1
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{error}"),
    }
}

/// Sends `bytes` and expects them back.
#[track_caller]
pub(crate) fn echo(peer: &mut Peer, bytes: &[u8]) {
    peer.send(bytes);
    assert_eq!(peer.receive(bytes.len()), bytes);
}

/// A line in the test's output, which libtest shows when the test fails (or with `--nocapture`).
pub(crate) fn say(line: &str) {
    #[expect(clippy::disallowed_macros, reason = "tests have no other way to speak")]
    {
        eprintln!("{line}");
    }
}
