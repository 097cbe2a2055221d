// SPDX-License-Identifier: MIT OR Apache-2.0
//! The workers: what their boards say, how busy they were in the last second, and their part of all services' traffic.

use super::View;
use super::meters::{Rates, Totals};
use super::shapes::timing;
use crate::control::model::{Traffic, Worker};
use crate::control::state::Sources;
use crate::stats::Scope;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is remembered of each worker from tick to tick.
#[derive(Debug, Default)]
pub(super) struct Loads(Vec<Load>);

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Nanoseconds in turns, and traffic, at the last tick.
    busy: u64,
    before: Totals,
    /// The share of the last second that it was not asleep.
    share: f64,
    rates: Rates,
    /// It has been looked at before.
    known: bool,
}

impl Loads {
    pub(super) fn tick(&mut self, sources: &Sources, now: Instant, elapsed: f64) {
        let services = sources.registry.services();
        self.0.resize(sources.workers, Load::default());
        for (worker, load) in self.0.iter_mut().enumerate() {
            let Some(board) = sources.registry.board(worker) else { continue };
            let seen = board.see(sources.registry.clock(), now);
            let totals = totals(&services, worker);
            let busy = Duration::from_nanos(seen.busy.saturating_sub(load.busy)).as_secs_f64();
            load.share = (busy / elapsed).clamp(0.0, 1.0);
            if load.known {
                load.rates.update(totals, load.before, elapsed);
            }
            (load.busy, load.before, load.known) = (seen.busy, totals, true);
        }
    }
}

fn totals(services: &[(Box<str>, Arc<Scope>)], worker: usize) -> Totals {
    let each = services.iter().map(|(_, scope)| Totals::of_worker(scope, worker));
    each.fold(Totals::default(), Totals::plus)
}

pub(super) fn workers(view: &View<'_>) -> Vec<Worker> {
    let services = view.state.sources.registry.services();
    let worker = |number| worker(view, &services, number);
    (0..view.state.sources.workers).filter_map(worker).collect()
}

fn worker(view: &View<'_>, services: &[(Box<str>, Arc<Scope>)], number: usize) -> Option<Worker> {
    let sources = &view.state.sources;
    let board = sources.registry.board(number)?;
    let seen = board.see(view.clock, view.state.now);
    let load = view.collected().loads.0.get(number).copied().unwrap_or_default();
    let totals = totals(services, number);
    let state = match seen.busy_for {
        _ if !seen.serves => "gone",
        Some(_) => "busy",
        None => "asleep",
    };
    let last = services.iter().map(|(_, scope)| scope.last()).max().unwrap_or(0);
    Some(Worker {
        number: number as u64,
        state: state.to_owned(),
        busy_for: seconds(seen.busy_for.unwrap_or(0)),
        doing: String::new(),
        load: load.share,
        connections: seen.connections,
        traffic: Traffic {
            active: seen.connections,
            peak: seen.most,
            total: totals.connections,
            failed: totals.failures,
            rate: load.rates.connections,
            peak_rate: load.rates.peak,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            rate_in: load.rates.bytes_in,
            rate_out: load.rates.bytes_out,
            // Whose it was is not kept: what came last may be another worker's.
            last: if totals.connections > 0 { view.clock.unix(last) } else { 0.0 },
        },
        turns: seen.turns,
        turn: timing(&board.turns()),
        longest: seconds(seen.longest),
        inbox: sources.inboxes.len(number) as u64,
        bookmarks: seen.bookmarks,
        panics: seen.panics,
    })
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
