// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log lines of changes: one for each, folded where a whole service falls or flaps.

use super::Change;
use crate::log::{Level, Log};

/// Whose health changed, why, and what that leaves.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub service: &'a str,
    pub route: &'a str,
    pub server: &'a str,
    /// What was met: why it failed, what a check was answered.
    pub why: &'a str,
    /// Servers of the route that get new connections now.
    pub left: usize,
}

/// Logs `change`.
pub fn tell(log: &Log, change: Change, told: Told<'_>) {
    let line = match change {
        Change::Down => log.failure(Level::Warning, "server-down", told.service),
        Change::Up => log.failure(Level::Notice, "server-up", told.service),
        Change::Paused(_) => log.failure(Level::Warning, "server-paused", told.service),
        Change::Resumed => log.failure(Level::Notice, "server-resumed", told.service),
    };
    let mut line =
        line.field("service", told.service).field("route", told.route).field("server", told.server);
    if let Change::Paused(pause) = change {
        line = line.field("pause", format_args!("{:.3}", pause.as_secs_f64()));
    }
    if !told.why.is_empty() {
        line = line.field("reason", told.why);
    }
    line.field("left", told.left).send();
}
