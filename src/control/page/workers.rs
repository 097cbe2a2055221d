// SPDX-License-Identifier: MIT OR Apache-2.0
//! Worker threads, and how evenly the work is spread among them.

use super::Sight;
use super::draw::{Mood, gauge};
use super::parts::{Column, cell, condition, nothing, number, plain_table, section, text};
use super::words::{bits, count, percent, plural, share, span, timing};
use crate::control::model::Worker;
use maud::{Markup, html};

const COLUMNS: &[Column] = &[
    number("Worker"),
    text("State"),
    text("Load"),
    text("Connections"),
    number("Total"),
    number("Traffic"),
    number("Turns"),
    number("p50"),
    number("p99"),
    number("Longest"),
    number("Inbox"),
    number("Bookmarks"),
    number("Panics"),
];

/// From here on a worker is at its limit.
const LOADED: f64 = 0.8;

pub(super) fn draw(sight: &Sight) -> Markup {
    let workers = &sight.snapshot.workers;
    let most = workers.iter().map(|worker| worker.connections).max().unwrap_or(0);
    let rows = html! { @for worker in workers { (row(worker, most)) } };
    html! {
        h1 { "Workers" }
        @if workers.is_empty() {
            (nothing("No worker has told of itself yet."))
        } @else {
            p { (balance(workers)) " p50, p99 and the longest are those of turns of its loop." }
            (section("threads", "Threads", &plain_table("by-worker", "Workers over the last second", COLUMNS, &rows)))
        }
    }
}

/// In words: how the largest share compares with an even one.
fn balance(workers: &[Worker]) -> String {
    let total = workers.iter().fold(0, |sum: u64, worker| sum.saturating_add(worker.connections));
    let most = workers.iter().map(|worker| worker.connections).max().unwrap_or(0);
    if total == 0 {
        return format!("{}, and no connections.", plural(workers.len() as u64, "worker", "workers"));
    }
    format!(
        "{} on {}: the fullest has {}, an even share would be {}.",
        plural(total, "connection", "connections"),
        plural(workers.len() as u64, "worker", "workers"),
        percent(most, total),
        percent(1, workers.len() as u64)
    )
}

fn row(worker: &Worker, most: u64) -> Markup {
    let mood = if worker.load >= LOADED { Mood::Warn } else { Mood::Good };
    html! {
        tr data-key=(worker.number) {
            th.number scope="row" data-value=(worker.number) { (worker.number) }
            td {
                (condition(&worker.state))
                @if worker.busy_for > 0.0 && !worker.doing.is_empty() {
                    small { (worker.doing) " for " (span(worker.busy_for)) }
                }
            }
            td data-value=(worker.load) {
                (format!("{:.0} %", worker.load * 100.0))
                (gauge(worker.load, mood, &format!("Load of worker {}", worker.number)))
            }
            td data-value=(worker.connections) {
                (count(worker.connections))
                (gauge(share(worker.connections, most), Mood::Idle, &format!("Connections of worker {}, compared with the fullest", worker.number)))
            }
            (cell(worker.traffic.total, &count(worker.traffic.total)))
            @let rate = worker.traffic.rate_in + worker.traffic.rate_out;
            (cell(rate, &bits(rate)))
            (cell(worker.turns, &count(worker.turns)))
            (cell(worker.turn.p50, &timing(worker.turn.p50)))
            (cell(worker.turn.p99, &timing(worker.turn.p99)))
            (cell(worker.longest, &timing(worker.longest)))
            (cell(worker.inbox, &count(worker.inbox)))
            (cell(worker.bookmarks, &count(worker.bookmarks)))
            (cell(worker.panics, &count(worker.panics)))
        }
    }
}
