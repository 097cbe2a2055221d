// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the scenarios: starts the peers, checks them, loads them in turn and collects figures.
//!
//! All peers of a scenario stand at the same time and idle while another is loaded. Repetitions are interleaved
//! and each begins with another peer, so that neither drift nor neighbourhood favours one.
//! Invariant: a peer that changes or loses bytes, or does not start, has no figures.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::backend::Backend;
use super::client::bulk::{Bulk, Transfer};
use super::client::ping::Ping;
use super::client::sources::Sources;
use super::client::{Fleet, Target, connect};
use super::configs::{LIMIT, Role, SOURCES};
use super::hello;
use super::options::Options;
use super::pattern::Pattern;
use super::peers::{Peer, Running, Setting};
use super::report::{Row, Sample, Table};
use super::scenarios::{AT_ONCE, Case, MESSAGE, PINGING, Scenario, Work};
use super::stats::quantile;
use super::tls::{ClientTls, Version};
use super::trace::Trace;
use super::{Fallible, progress};

/// Transfers of the check before the figures.
const CHECK: Transfer = Transfer { up: false, connections: 3, bytes: 12_000_000, check: true };
/// Transfers that are traced: strace makes a call many times dearer, and counts need no long run.
const TRACED: Transfer = Transfer { up: false, connections: 1, bytes: 32_000_000, check: false };
/// Connections that warm a fresh peer before its memory is read.
const WARM_UP: usize = 32;
/// How long a peer's table of sources is filled, or a limit tried, between two looks whether that is enough.
const FILLING: Duration = Duration::from_secs(1);
/// A peer counts as quiet when its figures have not moved for this long.
const QUIET: Duration = Duration::from_millis(100);
/// The longest wait for that.
const QUIET_LIMIT: Duration = Duration::from_secs(2);
/// Share of failed connections up to which a run counts.
const FAILED_MAX: f64 = 0.01;
/// Payload a system call figure refers to, in bytes.
const CALLS_PER: f64 = 16_384.0;

/// What all runs share.
pub(super) struct Runner<'a> {
    /// What the command line asks for.
    pub(super) options: &'a Options,
    /// The bytes of transfers.
    pub(super) pattern: Arc<Pattern>,
    /// Certificate and key.
    pub(super) pem: &'a Path,
    /// Scratch directory.
    pub(super) dir: &'a Path,
    /// The core of the peers.
    pub(super) core: usize,
    /// The core of generator and backend.
    pub(super) home: usize,
}

impl Runner<'_> {
    /// Runs one scenario.
    pub(super) fn scenario(&self, scenario: &Scenario) -> Fallible<Vec<Table>> {
        let start = Instant::now();
        let pem = (scenario.role == Role::Originate).then_some(self.pem);
        let backend = Backend::start(Arc::clone(&self.pattern), pem)?;
        let dir = self.dir.join(scenario.name);
        let setting =
            Setting { core: self.core, home: self.home, pem: self.pem, dir: &dir, backend: backend.port };
        let mut peers = self.start_peers(scenario, &setting);
        let mut tables: Vec<Table> =
            scenario.cases.iter().map(|case| self.table(scenario, case, &peers)).collect();
        for rep in 0..self.options.reps {
            if rep > 0 && start.elapsed() > self.options.share {
                progress(&format!("{}: its time is up after {rep} repetition(s)", scenario.name));
                break;
            }
            for (case, table) in scenario.cases.iter().zip(&mut tables) {
                for turn in 0..peers.len() {
                    let index = (rep + turn) % peers.len();
                    let (peer, running) = &mut peers[index];
                    let Some(row) = table.rows.iter_mut().find(|row| row.peer == peer.name) else { continue };
                    let sample = if case.work == Work::Idle && rep > 0 {
                        // What a peer has once used it may keep for the next connections: only a fresh one counts.
                        peer.start(scenario.role, &setting).and_then(|fresh| {
                            *running = fresh;
                            self.measure(scenario.role, case, running)
                        })
                    } else {
                        self.measure(scenario.role, case, running)
                    };
                    if let Err(error) = &sample {
                        progress(&format!("{}: {}: {error}", scenario.name, peer.name));
                    }
                    row.samples.push(sample.ok());
                }
            }
        }
        progress(&format!("{}: {:.0} s", scenario.name, start.elapsed().as_secs_f64()));
        Ok(tables)
    }

    /// Starts the peers that take part; each passes the check or is dropped with a word.
    fn start_peers(&self, scenario: &Scenario, setting: &Setting<'_>) -> Vec<(&'static Peer, Running)> {
        let bulk = scenario.cases.iter().any(|case| case.work.is_bulk());
        let fresh = scenario.cases.iter().any(|case| case.work == Work::Idle);
        let mut peers = Vec::new();
        for peer in &self.options.peers {
            if !peer.plays(scenario.role, bulk) || peer.find().is_none() {
                continue;
            }
            let started = peer.start(scenario.role, setting).and_then(|running| {
                // The check would leave buffers behind that idle connections are then measured without.
                if !fresh {
                    self.check(peer, scenario.role, &running)?;
                }
                Ok(running)
            });
            match started {
                Ok(running) => peers.push((*peer, running)),
                Err(error) => progress(&format!("{}: {} left out: {error}", scenario.name, peer.name)),
            }
        }
        peers
    }

    fn table(&self, scenario: &Scenario, case: &Case, peers: &[(&'static Peer, Running)]) -> Table {
        let number = if case.work == Work::Idle { format!("{} ", self.options.idle) } else { String::new() };
        let plays = |peer: &Peer| peer.plays(scenario.role, case.work.is_bulk());
        let rows = peers.iter().filter(|(peer, _)| plays(peer));
        Table {
            heading: format!("{}: {number}{}", scenario.name, case.title),
            unit: case.work.unit(),
            rows: rows.map(|(peer, _)| Row { peer: peer.name, samples: Vec::new() }).collect(),
        }
    }

    /// Moves bytes both ways and compares them; one that keeps track of addresses gets to know them, and must
    /// refuse one that comes too often.
    fn check(&self, peer: &Peer, role: Role, running: &Running) -> Fallible<()> {
        let version = (role == Role::Terminate).then_some(Version::V13);
        let target = target(role, version, running)?;
        for up in [false, true] {
            Bulk::open(&target, Transfer { up, ..CHECK }, &self.pattern)?.run()?;
        }
        if role == Role::Limit {
            introduce(&target)?;
            if peer.minds() {
                exceed(&Target { sources: None, ..target })?;
            }
        }
        Ok(())
    }

    fn measure(&self, role: Role, case: &Case, running: &Running) -> Fallible<Sample> {
        let target = target(role, case.tls, running)?;
        match case.work {
            Work::Connect { resume } => self.connect(target, resume, running),
            Work::Bulk { up, connections } => {
                let bytes = if case.tls.is_some() { self.options.bytes } else { 2 * self.options.bytes };
                self.bulk(&target, Transfer { up, connections, bytes, check: false }, running)
            }
            Work::Ping => self.ping(&target, running),
            Work::Idle => self.idle(&target, running),
            Work::SystemCalls { up, connections } => {
                self.system_calls(&target, Transfer { up, connections, ..TRACED }, running)
            }
        }
    }

    fn connect(&self, mut target: Target, resume: bool, running: &Running) -> Fallible<Sample> {
        if let (true, Some(tls)) = (resume, target.tls.clone()) {
            let session = connect::fetch_session(&target)?;
            target.tls = Some(tls.offering(session));
        }
        settle(|| running.process.cpu());
        let before = running.process.cpu();
        let outcome = connect::run(&target, AT_ONCE, self.options.length)?;
        // Closing goes on for a moment after the last byte, and is part of the work.
        settle(|| running.process.cpu());
        let cpu = running.process.cpu() - before;
        let done = outcome.done as f64;
        if done < 1.0 || outcome.failed as f64 > FAILED_MAX * done {
            return Err(format!(
                "{} of {} connections failed",
                outcome.failed,
                outcome.done + outcome.failed
            )
            .into());
        }
        let resumed = ("resumed %".to_string(), 100.0 * outcome.resumed as f64 / done);
        Ok(Sample {
            value: cpu.as_secs_f64() * 1e3 / done,
            rate: done / outcome.elapsed.as_secs_f64(),
            notes: if resume { vec![resumed] } else { Vec::new() },
        })
    }

    fn bulk(&self, target: &Target, transfer: Transfer, running: &Running) -> Fallible<Sample> {
        let mut bulk = Bulk::open(target, transfer, &self.pattern)?;
        settle(|| running.process.cpu());
        let before = running.process.cpu();
        let elapsed = bulk.run()?;
        let cpu = running.process.cpu() - before;
        let gigabytes = transfer.bytes as f64 / 1e9;
        let rate = gigabytes / elapsed.as_secs_f64();
        Ok(Sample { value: cpu.as_secs_f64() / gigabytes, rate, notes: Vec::new() })
    }

    fn ping(&self, target: &Target, running: &Running) -> Fallible<Sample> {
        let mut ping = Ping::open(target, PINGING, MESSAGE)?;
        settle(|| running.process.cpu());
        let before = running.process.cpu();
        let mut outcome = ping.run(self.options.length)?;
        let cpu = running.process.cpu() - before;
        let trips = outcome.latencies_us.len() as f64;
        let latencies = [("p50 µs", 0.5), ("p99 µs", 0.99)];
        Ok(Sample {
            value: cpu.as_secs_f64() * 1e6 / trips,
            rate: trips / outcome.elapsed.as_secs_f64(),
            notes: latencies
                .map(|(name, share)| (name.into(), quantile(&mut outcome.latencies_us, share)))
                .into(),
        })
    }

    fn idle(&self, target: &Target, running: &Running) -> Fallible<Sample> {
        drop(Fleet::open(target, WARM_UP, true)?);
        let before = settle(|| running.process.memory());
        let fleet = Fleet::open(target, self.options.idle, true)?;
        let after = settle(|| running.process.memory());
        drop(fleet);
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        Ok(Sample {
            value: (kib(after) - kib(before)) / self.options.idle as f64,
            rate: 0.0,
            notes: vec![("MiB before".into(), kib(before) / 1024.0)],
        })
    }

    fn system_calls(&self, target: &Target, transfer: Transfer, running: &Running) -> Fallible<Sample> {
        let mut bulk = Bulk::open(target, transfer, &self.pattern)?;
        let trace = Trace::attach(&running.process.tree(), self.dir)?;
        let run = bulk.run();
        let counts = trace.counts()?;
        run?;
        let per = CALLS_PER / transfer.bytes as f64;
        let notes: Vec<_> = counts.into_iter().map(|(name, calls)| (name, calls as f64 * per)).collect();
        let value = notes.iter().map(|(_, calls)| calls).sum();
        // Calls made once or twice are not part of the work.
        let notes = notes.into_iter().filter(|(_, calls)| *calls >= 0.005).collect();
        Ok(Sample { value, rate: 0.0, notes })
    }
}

/// The way to a peer in that role, in plain or in TLS of that version.
fn target(role: Role, tls: Option<Version>, running: &Running) -> Fallible<Target> {
    Ok(Target {
        port: running.port,
        tls: tls.map(ClientTls::new).transpose()?,
        opening: if role == Role::RouteByName { hello::client_hello()? } else { Vec::new() },
        sources: (role == Role::Limit).then(|| Sources::new(SOURCES)),
    })
}

/// Lets every address of the load connect once, so that the peer's table is full from the first figure on.
fn introduce(target: &Target) -> Fallible<()> {
    let mut known = 0;
    while known < u64::from(SOURCES) {
        let outcome = connect::run(target, AT_ONCE, FILLING)?;
        if outcome.failed > 0 {
            return Err(format!("it refused {} of the load's addresses", outcome.failed).into());
        }
        known += outcome.done;
    }
    Ok(())
}

/// Connects from one address until the peer refuses it, as it must.
fn exceed(target: &Target) -> Fallible<()> {
    let mut accepted = 0;
    while accepted <= 2 * u64::from(LIMIT) {
        match connect::run(target, AT_ONCE, FILLING) {
            Ok(outcome) if outcome.failed == 0 => accepted += outcome.done,
            Ok(_) => return Ok(()),
            // Refused so soon that even connecting or asking failed.
            Err(error) => match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => return Ok(()),
                _ => return Err(error),
            },
        }
    }
    Err(format!("it let one address connect {accepted} times").into())
}

/// Waits until a figure has stopped moving; returns it.
fn settle<T: PartialEq>(figure: impl Fn() -> T) -> T {
    let start = Instant::now();
    let mut last = figure();
    loop {
        thread::sleep(QUIET);
        let now = figure();
        if now == last || start.elapsed() > QUIET_LIMIT {
            return now;
        }
        last = now;
    }
}
