// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts a peer's system calls with `strace -c` (strace(1)).
//!
//! Not here: the load meanwhile (`runner.rs`).

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Fallible;
use super::peers::find_program;
use super::process::Process;

/// How long strace may take to attach or to write its summary.
const LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks whether it has attached.
const LOOK: Duration = Duration::from_millis(10);

/// A strace attached to all threads of a tree of processes.
pub(super) struct Trace {
    strace: Process,
    summary: PathBuf,
}

impl Trace {
    /// Attaches to `tree` and waits until nothing runs untraced.
    pub(super) fn attach(tree: &[u32], dir: &Path) -> Fallible<Self> {
        let program = find_program("strace").ok_or("strace is not installed")?;
        let summary = dir.join("strace.out");
        let mut words = vec![program.to_string_lossy().into_owned()];
        words.extend(["-c", "-f", "-o"].map(String::from));
        words.push(summary.to_string_lossy().into_owned());
        words.extend(tree.iter().flat_map(|pid| ["-p".into(), pid.to_string()]));
        let mut strace = Process::start(&words, dir, &dir.join("strace.log"))?;
        let start = Instant::now();
        while !tree.iter().all(|pid| is_traced(*pid)) {
            if !strace.is_running() || start.elapsed() > LIMIT {
                let said = fs::read_to_string(dir.join("strace.log")).unwrap_or_default();
                return Err(format!("strace does not attach: {}", said.trim()).into());
            }
            thread::sleep(LOOK);
        }
        Ok(Self { strace, summary })
    }

    /// Detaches and returns how often each call was made, the most frequent first.
    pub(super) fn counts(mut self) -> Fallible<Vec<(String, u64)>> {
        self.strace.signal(Signal::SIGINT)?;
        if !self.strace.wait(LIMIT) {
            return Err("strace does not end".into());
        }
        Ok(parse(&fs::read_to_string(&self.summary)?))
    }
}

/// Whether every thread of `pid` has a tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|tracer| tracer.trim() != "0")
    })
}

/// Reads the summary: share, seconds, microseconds per call, calls, errors (may be missing), name.
fn parse(summary: &str) -> Vec<(String, u64)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        let name = words.get(4..)?.last()?;
        let calls = words.get(3)?.parse().ok()?;
        (*name != "total").then(|| ((*name).to_string(), calls))
    };
    let mut counts: Vec<(String, u64)> = summary.lines().filter_map(row).collect();
    counts.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    counts
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    #[test]
    fn reads_strace_s_summary() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000060           1        31        12 read
 40.00    0.000040           1        40           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000100           1        71        12 total
";
        assert_eq!(parse(summary), [("sendto".to_string(), 40), ("read".to_string(), 31)]);
    }

    #[test]
    fn an_empty_summary_counts_nothing() {
        assert!(parse("").is_empty());
    }
}
