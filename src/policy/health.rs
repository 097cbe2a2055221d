// SPDX-License-Identifier: MIT OR Apache-2.0
//! The health of one server: what connections have met (passive), and what checks say of it (active).
//!
//! It is a part of the server's marks, so it outlives every reload and all workers share it. All of it is atomics, save the
//! last results for whoever looks at them. Each change of state is told to exactly one caller, who logs it.
//!
//! Invariants: a healthy server costs a connection two loads and writes nothing; a server that checks have found down gets
//! nobody; one that is merely *paused*, because connections to it failed, gets one trial connection when its pause is over,
//! and everybody while no other server is there to be had: that is for whoever chooses among servers to see to.
//!
//! Not here: who chooses (`handshake/connect.rs`), who makes checks (`checks/`).

mod active;
mod history;
mod passive;
mod tell;

pub use active::{Seen, Thresholds};
pub use history::{Outcome, Status};
pub use passive::Passive;
pub use tell::{Told, tell};

use active::Verdicts;
use history::History;
use passive::{Failed, Pauses};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Whether a server gets new connections, as far as its health is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Up,
    /// Its pause is over: one connection may find out how it is. Whoever wants to be that one calls [`Health::claim`].
    Trial,
    /// Connections to it failed lately. It is tried only where every other server is paused or down, too.
    Paused,
    /// Checks found it down, or the operator says that it is stopping.
    Down,
}

/// A change of state. Who is told of it logs it ([`tell()`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Connections failed: no more of them for so long, then one trial.
    Paused(Duration),
    /// A connection succeeded.
    Resumed,
    /// Checks succeed again.
    Up,
    /// Checks fail.
    Down,
}

/// What is known of a server's health. Moments are those of [`crate::stats::Clock::at`]: milliseconds, 0 for "never".
#[derive(Debug, Default)]
pub struct Health {
    pauses: Pauses,
    verdicts: Verdicts,
    /// The operator wants no checks.
    unwatched: AtomicBool,
    /// The last change of state.
    changed: AtomicU64,
    /// Since when checks have found it down; 0: they have not.
    down_since: AtomicU64,
    counts: Counts,
    history: History,
}

/// For statistics, since the process began.
#[derive(Debug, Default)]
struct Counts {
    checks: AtomicU64,
    failed: AtomicU64,
    downs: AtomicU64,
    pauses: AtomicU64,
    /// Milliseconds, without the present time down.
    down: AtomicU64,
}

/// What has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Checks made, and those of them that failed.
    pub checks: u64,
    pub failed: u64,
    /// Changes to *down*, and to *paused*.
    pub downs: u64,
    pub pauses: u64,
    /// How long it was down, the present time included.
    pub down: Duration,
}

impl Health {
    /// How it stands. Only looks.
    pub fn standing(&self, now: u64) -> Standing {
        if self.verdicts.takes_none() { Standing::Down } else { self.pauses.standing(now) }
    }

    /// Takes the trial of a server that stands at [`Standing::Trial`]; false: another one was faster.
    pub fn claim(&self, now: u64) -> bool {
        self.pauses.claim(now)
    }

    /// As [`Self::standing`]; the trial, if there is one, is taken for the caller, and nobody else is offered it.
    pub fn usable(&self, now: u64) -> Standing {
        match self.standing(now) {
            Standing::Trial if !self.claim(now) => Standing::Paused,
            standing => standing,
        }
    }

    /// A connection with it was made.
    pub fn connected(&self, now: u64) -> Option<Change> {
        let resumed = self.pauses.connected(now) && !self.verdicts.takes_none();
        resumed.then(|| self.change(Change::Resumed, now))
    }

    /// A connection with it could not be made, for its fault. `random` spreads pauses that begin together; any number does.
    pub fn failed(&self, now: u64, random: u64, limits: &Passive) -> Option<Change> {
        match self.pauses.failed(now, random, limits) {
            // That connections which were begun before fail, too, is no news of a server that gets no more of them.
            Failed::Paused(pause) if !self.verdicts.takes_none() => {
                self.counts.pauses.fetch_add(1, Ordering::Relaxed);
                Some(self.change(Change::Paused(pause), now))
            }
            Failed::Counted | Failed::Paused(_) => None,
        }
    }

    /// A check ended.
    pub fn checked(&self, outcome: Outcome, limits: Thresholds) -> Option<Change> {
        let (ok, now, is_ours) = (outcome.is_ok(), outcome.at, outcome.status == Status::System);
        if is_ours {
            // That we could not ask says nothing of the server.
            self.history.note(outcome);
            return None;
        }
        self.counts.checks.fetch_add(1, Ordering::Relaxed);
        self.counts.failed.fetch_add(u64::from(!ok), Ordering::Relaxed);
        self.history.note(outcome);
        let (before, after) = self.verdicts.judge(ok, limits)?;
        self.moved(before, after, now)
    }

    /// The operator says how it is; checks may find otherwise later.
    pub fn set_seen(&self, seen: Seen, now: u64) -> Option<Change> {
        let before = self.verdicts.set(seen);
        self.moved(before, seen, now)
    }

    /// Nobody checks it any more: what checks have said of it counts no more.
    pub fn forget_checks(&self, now: u64) {
        let before = self.verdicts.set(Seen::Unchecked);
        self.moved(before, Seen::Unchecked, now);
        self.history.clear();
    }

    /// What checks say of it.
    pub fn seen(&self) -> Seen {
        self.verdicts.seen()
    }

    /// In one word: that of [`Self::seen`], or "paused".
    pub fn word(&self, now: u64) -> &'static str {
        match (self.seen(), self.pauses.standing(now)) {
            (seen @ (Seen::Down | Seen::Stopping), _) | (seen, Standing::Up) => seen.name(),
            _ => "paused",
        }
    }

    /// Whether checks of it are to be made, as far as the operator is concerned.
    pub fn is_watched(&self) -> bool {
        !self.unwatched.load(Ordering::Relaxed)
    }

    /// The operator says whether they are.
    pub fn watch(&self, watched: bool) {
        self.unwatched.store(!watched, Ordering::Relaxed);
    }

    /// When its state changed last.
    pub fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    /// How many checks in a row said otherwise than its state.
    pub fn streak(&self) -> u8 {
        self.verdicts.streak()
    }

    /// The last results, the newest first.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.history.outcomes()
    }

    pub fn counted(&self, now: u64) -> Counted {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let present = match load(&self.down_since) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        Counted {
            checks: load(&self.counts.checks),
            failed: load(&self.counts.failed),
            downs: load(&self.counts.downs),
            pauses: load(&self.counts.pauses),
            down: Duration::from_millis(load(&self.counts.down) + present),
        }
    }

    /// The operator or checks have changed what is seen of it.
    fn moved(&self, before: Seen, after: Seen, now: u64) -> Option<Change> {
        if before == after {
            return None;
        }
        if before == Seen::Down {
            let since = self.down_since.swap(0, Ordering::Relaxed);
            self.counts.down.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        }
        match after {
            Seen::Down => {
                self.counts.downs.fetch_add(1, Ordering::Relaxed);
                self.down_since.store(now.max(1), Ordering::Relaxed);
                Some(self.change(Change::Down, now))
            }
            // It is back: what connections met before says nothing any more.
            Seen::Up if before != Seen::Unchecked => {
                self.pauses.connected(now);
                Some(self.change(Change::Up, now))
            }
            _ => {
                self.changed.store(now, Ordering::Relaxed);
                None
            }
        }
    }

    fn change(&self, change: Change, now: u64) -> Change {
        self.changed.store(now, Ordering::Relaxed);
        change
    }
}

#[cfg(test)]
mod tests;
