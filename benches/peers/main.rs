// SPDX-License-Identifier: MIT OR Apache-2.0
//! The peer benchmark: CPU time per unit of work of tunnel beside haproxy, nginx, hitch, stunnel and sniproxy.
//!
//! `cargo bench --bench peers` (or `make bench`, which installs the others first). docs/benchmarks.md says what each
//! row means. The parts, from the bottom up:
//!
//! - `pattern`, `records`, `stats`: the bytes, their record headers, the figures' middle
//! - `tls`, `hello`, `link`, `sender`: one connection of the load generator
//! - `backend`, `client`: the generator's two ends
//! - `process`, `trace`, `configs`, `peers`: the programs under measurement
//! - `scenarios`, `options`, `runner`, `report`: what to run, running it, the table
//!
//! Invariants: peers run on one core, everything else on another; all children end with this program; ports are of
//! the kernel's choice; nothing is written outside a scratch directory.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; it has no event loop's turn")]

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

mod backend;
mod client;
mod configs;
mod hello;
mod link;
mod options;
mod pattern;
mod peers;
mod process;
mod records;
mod report;
mod runner;
mod scenarios;
mod sender;
mod stats;
mod tls;
mod trace;

use options::{Options, Request};
use peers::PEERS;
use scenarios::SCENARIOS;

/// A result whose error is only ever shown to the user.
type Fallible<T> = Result<T, Box<dyn Error>>;

/// Descriptors the peers and the generator need for `configs::CONNECTIONS` and haproxy's pipes.
const DESCRIPTORS: u64 = 10_500;

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Fallible<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::parse(&words)? {
        Request::Print(text) => return show(&text),
        Request::Run(options) => options,
    };
    if options.list {
        return show(&list());
    }
    raise_descriptor_limit()?;
    let (core, home) = cores()?;
    process::pin(home)?;
    for peer in options.peers.iter().filter(|peer| peer.find().is_none()) {
        progress(&format!("{} is not installed: skipped", peer.name));
    }
    let dir = tempfile::Builder::new().prefix("tunnel-bench-").tempdir()?;
    let pem = tls::write_certificate(dir.path())?;
    let pattern = Arc::new(pattern::Pattern::new());
    let runner = runner::Runner { options: &options, pattern, pem: &pem, dir: dir.path(), core, home };
    show(&heading(&options, core, home))?;
    for scenario in &options.scenarios {
        for table in runner.scenario(scenario)? {
            show(&table.markdown())?;
        }
    }
    Ok(())
}

/// What was run, for whoever reads the table later.
fn heading(options: &Options, core: usize, home: usize) -> String {
    format!(
        "# Peer benchmark\n\nPeers on core {core}, load on core {home}; {} repetition(s); runs of {:.1} s or {:.1} GB \
         (plain TCP twice that). Medians; ratios within one repetition to the best peer other than tunnel. \
         Differences under 10 % are noise: repeat.\n",
        options.reps,
        options.length.as_secs_f64(),
        options.bytes as f64 / 1e9
    )
}

fn list() -> String {
    let mut text = String::from("Scenarios:\n");
    for scenario in SCENARIOS {
        for case in scenario.cases {
            text += &format!("  {:18} {}\n", scenario.name, case.title);
        }
    }
    text += "Peers:\n";
    for peer in PEERS {
        let place = peer.find().map_or_else(|| "not installed".into(), |path| path.display().to_string());
        text += &format!("  {:18} {place}\n", peer.name);
    }
    text
}

/// The core of the peers and the core of everything else: the first two this program may use.
fn cores() -> Fallible<(usize, usize)> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let first = cores.next().ok_or("no core to run on")?;
    let second = cores.next().unwrap_or(first);
    if second == first {
        progress("there is only one core: peers and load share it, and ratios are less exact");
    }
    Ok((first, second))
}

/// Children inherit the limit.
fn raise_descriptor_limit() -> Fallible<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    if hard < DESCRIPTORS {
        progress(&format!(
            "only {hard} file descriptors: some peers may not start (ulimit -Hn {DESCRIPTORS})"
        ));
    }
    Ok(())
}

/// Writes to standard output.
fn show(text: &str) -> Fallible<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

/// Writes a line to standard error; the run does not depend on whether anyone reads it.
fn progress(line: &str) {
    let _ = writeln!(io::stderr(), "peers: {line}");
}
