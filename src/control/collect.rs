// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the sources to a [`Snapshot`].

use super::model::{Certificate, Failure, Process, Snapshot};
use super::problems::problems;
use super::state::State;

impl State {
    /// Everything but the connections, as it is now.
    pub fn snapshot(&mut self) -> Snapshot {
        let running = self.running();
        let process = Process {
            name: "tunnel".to_owned(),
            version: env!("TUNNEL_VERSION").to_owned(),
            config: running.config.clone(),
            ..Process::default()
        };
        let mut snapshot = Snapshot {
            process,
            certificates: self.certificates(),
            certificates_total: self.certificates.total(),
            ..Snapshot::default()
        };
        snapshot.process.problems = problems(&snapshot);
        snapshot
    }

    /// The last failures, the newest first.
    pub fn failures(&self) -> Vec<Failure> {
        Vec::new()
    }

    /// The certificates alone, as in a snapshot.
    pub fn certificates(&mut self) -> Vec<Certificate> {
        let running = self.running();
        self.certificates.look(&running)
    }

    /// The configuration in effect, as `tunnel -T` shows it.
    pub fn effective(&mut self) -> String {
        self.running().effective.clone()
    }

    /// Once a second: rates, history, what was noted meanwhile.
    pub fn tick(&mut self) {}
}
