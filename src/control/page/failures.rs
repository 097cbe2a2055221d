// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why connections failed: over time, by cause with what to do about it, and the last ones one by one.

use super::Sight;
use super::draw::{COLOURS, key, stack};
use super::parts::{Column, cell, moment, nothing, number, places, section, table, text};
use super::words::{clock, count, percent, plural, rate};
use crate::control::model::{Failure, Failures, History};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// How far the causes of the noted failures may fall short of the counted ones and still be shown in their place.
const CLOSE: f64 = 0.9;

/// What each part of the bars stands for, and its values.
type Series = Vec<(String, Vec<f64>)>;

pub(super) fn draw(sight: &Sight) -> Markup {
    html! {
        h1 { "Failures" }
        (section("over-time", "The last five minutes", &over_time(sight)))
        (section("causes", "Causes", &causes(sight)))
        (section("last", "The last failures", &last(sight)))
    }
}

fn over_time(sight: &Sight) -> Markup {
    let history = &sight.snapshot.process.history;
    let total: f64 = history.failures.iter().sum::<f64>() * history.step;
    if history.failures.is_empty() || total <= 0.0 {
        return nothing("No connection has failed in the last five minutes.");
    }
    let (by, series) = match by_cause(&sight.failures, history, total) {
        Some(series) => ("cause", series),
        None => ("service", by_service(sight)),
    };
    let most = history.failures.iter().copied().fold(0.0, f64::max);
    let seen = format!("{total:.0} failures by {by}, {} at most", rate(most));
    let begin = history.last - history.step * places(history).max(history.failures.len() as f64);
    html! {
        figure {
            (stack(&series, places(history), "Failures per second over the last five minutes", &seen))
            div.axis aria-hidden="true" { span { (clock(begin)) } span { (clock(history.last)) } }
            figcaption {
                ul.legend {
                    @for (index, (name, values)) in series.iter().enumerate() {
                        @let sum = values.iter().sum::<f64>() * history.step;
                        li { (key(index)) (name) " " b { (format!("{sum:.0}")) } }
                    }
                }
                p.muted { (seen) }
            }
        }
    }
}

/// From the noted failures, if they are nearly all there were.
fn by_cause(failures: &[Failure], history: &History, total: f64) -> Option<Series> {
    let bins = history.failures.len();
    let mut series: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut noted = 0.0;
    for failure in failures {
        // The last bin ends at `last`.
        let back = (history.last - failure.at) / history.step;
        let Some(bin) = (0..bins).find(|bin| back <= (bins - bin) as f64 && back > (bins - bin - 1) as f64)
        else {
            continue;
        };
        series.entry(&failure.cause).or_insert_with(|| vec![0.0; bins])[bin] += 1.0 / history.step;
        noted += 1.0;
    }
    (noted >= total * CLOSE)
        .then(|| largest(series.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()))
}

fn by_service(sight: &Sight) -> Series {
    let services = sight.snapshot.services.iter();
    let failing = services.filter(|service| service.history.failures.iter().any(|rate| *rate > 0.0));
    largest(failing.map(|service| (service.name.clone(), service.history.failures.clone())).collect())
}

/// The largest first; what has no colour of its own becomes one.
fn largest(mut series: Series) -> Series {
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    series.sort_by(|a, b| sum(&b.1).total_cmp(&sum(&a.1)));
    if series.len() > COLOURS {
        let rest = series.split_off(COLOURS - 1);
        let bins = rest.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let at = |bin: usize| rest.iter().filter_map(|(_, values)| values.get(bin)).sum();
        series.push(("others".to_owned(), (0..bins).map(at).collect()));
    }
    series
}

fn causes(sight: &Sight) -> Markup {
    const COLUMNS: &[Column] = &[
        text("Cause"),
        number("Count"),
        number("Share"),
        text("What it means"),
        text("Last client"),
        text("Last seen"),
        text("Services"),
    ];
    let snapshot = &sight.snapshot;
    let mut causes: Vec<&Failures> =
        snapshot.process.failures.iter().filter(|cause| cause.count > 0).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    if causes.is_empty() {
        return nothing("Nothing has failed since the daemon started.");
    }
    let total = causes.iter().fold(0, |sum: u64, cause| sum.saturating_add(cause.count));
    let where_from = |cause: &str| -> Vec<(&str, u64)> {
        let services = snapshot.services.iter();
        let counts = services.map(|service| {
            let count =
                service.failures.iter().find(|failures| failures.cause == cause).map_or(0, |f| f.count);
            (service.name.as_str(), count)
        });
        counts.filter(|(_, count)| *count > 0).take(5).collect()
    };
    let rows = html! {
        @for cause in &causes {
            tr data-key=(cause.cause) {
                th scope="row" { code { (cause.cause) } }
                (cell(cause.count, &count(cause.count)))
                (cell(cause.count, &percent(cause.count, total)))
                td.prose { (cause.hint) }
                td { code { (cause.last_client) } }
                td data-value=(cause.last) { (moment(cause.last, snapshot.at)) }
                td {
                    @for (index, (service, count)) in where_from(&cause.cause).iter().enumerate() {
                        @if index > 0 { ", " }
                        (service) " " (count)
                    }
                }
            }
        }
    };
    table(
        "by-cause",
        &format!("{} since the start, by cause", plural(total, "failure", "failures")),
        COLUMNS,
        &rows,
    )
}

fn last(sight: &Sight) -> Markup {
    const COLUMNS: &[Column] = &[
        text("When"),
        text("Service"),
        text("Client"),
        text("Name asked for"),
        text("Cause"),
        text("While"),
        text("What happened"),
    ];
    /// Rows; the API has the rest.
    const MOST: usize = 50;
    if sight.failures.is_empty() {
        return nothing("None is remembered.");
    }
    let now = sight.snapshot.at;
    let rows = html! {
        @for failure in sight.failures.iter().take(MOST) {
            tr data-key={ (failure.worker) "-" (failure.id) } {
                th scope="row" data-value=(failure.at) { (moment(failure.at, now)) }
                td { (failure.service) @if !failure.route.is_empty() { small { (failure.route) } } }
                td { code { (failure.client) } }
                td { code.peer { (failure.name) } }
                td { code { (failure.cause) } }
                td { (failure.doing) }
                td.prose {
                    (failure.text)
                    @if !failure.server.is_empty() { " " span.muted { "server " code { (failure.server) } } }
                    @if !failure.hint.is_empty() { small { (failure.hint) } }
                }
            }
        }
    };
    table("by-time", "Failures, the newest first", COLUMNS, &rows)
}
