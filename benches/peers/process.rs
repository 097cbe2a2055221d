// SPDX-License-Identifier: MIT OR Apache-2.0
//! Child processes: started on a core of their own, measured as a tree, ended for certain.
//!
//! CPU time is user plus system time of a process and all its descendants, dead and waited-for ones included, from
//! `/proc/PID/stat` (proc(5)); memory is the proportional set size from `/proc/PID/smaps_rollup`, which counts a
//! page that workers share once.
//! Invariant: the tree ends with the value, and with this program if it dies: `setpriv --pdeathsig` (util-linux)
//! has the kernel send SIGTERM to the child then.
//! Not here: what is started (`peers.rs`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Pause between two looks at a child.
const LOOK: Duration = Duration::from_millis(10);

/// Restricts the calling thread, and what it starts from now on, to one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A running child and its descendants.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts `words` in `dir` with its output in the file `log`. It runs where the calling thread runs.
    pub(super) fn start(words: &[String], dir: &Path, log: &Path) -> io::Result<Self> {
        let log = File::create(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .args(words)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child })
    }

    /// Whether the first process still runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The process ids of the whole tree, the first process first.
    pub(super) fn tree(&self) -> Vec<u32> {
        let children = children();
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            tree.extend(children.get(pid).into_iter().flatten());
            next += 1;
        }
        tree
    }

    /// CPU time of the whole tree so far.
    pub(super) fn cpu(&self) -> Duration {
        let ticks: u64 = self.tree().into_iter().filter_map(stat).map(|stat| stat.ticks).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let per_second = per_second.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(100);
        Duration::from_secs(ticks) / per_second
    }

    /// Memory of the whole tree in bytes.
    pub(super) fn memory(&self) -> u64 {
        let rollup = |pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
        self.tree().into_iter().filter_map(rollup).filter_map(|text| pss(&text)).sum()
    }

    /// Sends a signal to the first process.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(pid_of(self.child.id()), signal)?)
    }

    /// Waits until the first process has ended, at most `limit`; `false` if it has not.
    pub(super) fn wait(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        while self.is_running() {
            if start.elapsed() > limit {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let tree: Vec<(u32, Stat)> =
            self.tree().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
        // Signals may fail: a process that has ended meanwhile is what they are for.
        for (pid, _) in &tree {
            let _ = kill(pid_of(*pid), Signal::SIGTERM);
        }
        if !self.wait(GRACE) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Children may outlive the first process; the start time tells them from later owners of their ids.
        let start = Instant::now();
        for (pid, before) in &tree {
            let lives = || stat(*pid).is_some_and(|now| now.started == before.started && now.state != 'Z');
            while lives() && start.elapsed() < GRACE {
                thread::sleep(LOOK);
            }
            if lives() {
                let _ = kill(pid_of(*pid), Signal::SIGKILL);
            }
        }
    }
}

/// What the benchmark reads of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// `Z` once the process has ended and is only waited for.
    state: char,
    parent: u32,
    /// utime, stime, cutime and cstime together, in clock ticks.
    ticks: u64,
    /// When it started, in clock ticks since the machine did; with the id it names a process for good.
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name may hold blanks and parentheses, so fields are counted from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let parent = fields.get(1)?.parse().ok()?;
    let started = fields.get(19)?.parse().ok()?;
    let mut ticks = 0;
    for field in fields.get(11..15)? {
        ticks += field.parse::<u64>().ok()?;
    }
    Some(Stat { state, parent, ticks, started })
}

/// The line `Pss:` of smaps_rollup, in bytes.
fn pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// All processes by their parent.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    children
}

/// A process id as the kernel's calls take it. Ids fit by definition (`pid_max` is below 2^22).
fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    #[test]
    fn reads_times_behind_a_hostile_name() {
        let text = "7 (a) b (c)) S 42 1 1 0 -1 4194560 9 8 7 6 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(text), Some(Stat { state: 'S', parent: 42, ticks: 127, started: 5 }));
        assert_eq!(parse_stat("7 (a) S 42"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn reads_the_proportional_size() {
        assert_eq!(pss("Rss:  900 kB\nPss:   12 kB\nPss_Dirty: 5 kB\n"), Some(12 * 1024));
        assert_eq!(pss("Rss: 900 kB\n"), None);
    }

    #[test]
    fn a_tree_is_measured_and_ends_with_its_value() {
        let dir = tempfile::tempdir().unwrap();
        let words = ["sh", "-c", "sleep 1000 & wait"].map(String::from);
        let process = Process::start(&words, dir.path(), &dir.path().join("log")).unwrap();
        let start = Instant::now();
        while process.tree().len() < 2 && start.elapsed() < GRACE {
            thread::yield_now();
        }
        let tree = process.tree();
        assert_eq!(tree.len(), 2);
        assert!(process.memory() > 0);
        drop(process);
        for pid in tree {
            assert!(stat(pid).is_none_or(|stat| stat.state == 'Z'), "process {pid} is still there");
        }
    }
}
