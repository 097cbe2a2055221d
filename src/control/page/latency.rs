// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long handshakes, connects and connections take: a histogram of all, a heat strip per service.

use super::Sight;
use super::draw::{heat, histogram};
use super::parts::{Column, cell, nothing, number, picture, plain_table, section, table, text};
use super::words::{count, percent, plural, span, timing};
use crate::control::model::{Service, Timing};
use maud::{Markup, html};

/// What is measured: its place in the page, its name, and where its figures are.
struct Measure {
    key: &'static str,
    title: &'static str,
    what: &'static str,
    of: fn(&Service) -> &Timing,
}

const MEASURES: &[Measure] = &[
    Measure {
        key: "handshake",
        title: "Handshakes with clients",
        what: "From the first byte of TLS to the end of the handshake.",
        of: |service| &service.handshakes,
    },
    Measure {
        key: "connect",
        title: "Connects to servers",
        what: "From the first attempt to a connected server.",
        of: |service| &service.connects,
    },
    Measure {
        key: "lifetime",
        title: "Lives of connections",
        what: "From accept to the end.",
        of: |service| &service.lifetimes,
    },
];

pub(super) fn draw(sight: &Sight) -> Markup {
    let process = &sight.snapshot.process;
    let totals = [&process.handshakes, &process.connects, &process.lifetimes];
    html! {
        h1 { "Latency" }
        @for (measure, total) in MEASURES.iter().zip(totals) {
            (section(measure.key, measure.title, &part(sight, measure, total)))
        }
    }
}

fn part(sight: &Sight, measure: &Measure, total: &Timing) -> Markup {
    const COLUMNS: &[Column] = &[
        text("Service"),
        picture("Distribution"),
        number("Count"),
        number("Mean"),
        number("p50"),
        number("p99"),
    ];
    if total.count == 0 {
        return nothing("Nothing has been measured yet.");
    }
    let cells = cells(total);
    let seen = format!(
        "{} measured, half within {}, 99 % within {}",
        count(total.count),
        span(total.p50),
        span(total.p99)
    );
    let rows = html! {
        @for service in sight.snapshot.services.iter().filter(|service| (measure.of)(service).count > 0) {
            @let timing_of = (measure.of)(service);
            tr data-key=(service.name) {
                th scope="row" { (service.name) }
                td.wide { (strip(timing_of, &service.name)) }
                (cell(timing_of.count, &count(timing_of.count)))
                @let mean = timing_of.sum / timing_of.count as f64;
                (cell(mean, &timing(mean)))
                (cell(timing_of.p50, &timing(timing_of.p50)))
                (cell(timing_of.p99, &timing(timing_of.p99)))
            }
        }
    };
    html! {
        p.muted { (measure.what) " " (seen) "." }
        @if !cells.is_empty() {
            figure {
                (histogram(&cells, measure.title, &seen))
                (axis(total))
                details data-key="figures" { summary { "As a table" } (figures(measure, total)) }
            }
        }
        (plain_table(&format!("{}-services", measure.key), &format!("{}, by service", measure.title), COLUMNS, &rows))
    }
}

fn strip(timing: &Timing, whose: &str) -> Markup {
    let seen = format!("half within {}, 99 % within {}", span(timing.p50), span(timing.p99));
    heat(&cells(timing), &format!("Distribution of {whose}"), &seen)
}

/// The counts of the buckets, no longer cumulative, each with its label.
fn cells(timing: &Timing) -> Vec<(String, u64)> {
    let mut below = 0;
    let mut from = None;
    let mut cells = Vec::with_capacity(timing.buckets.len());
    for bucket in &timing.buckets {
        let here = bucket.count.saturating_sub(below);
        let range = range(from, bucket.le);
        cells.push((format!("{range}: {} ({})", count(here), percent(here, timing.count)), here));
        below = bucket.count;
        from = bucket.le;
    }
    cells
}

fn range(from: Option<f64>, to: Option<f64>) -> String {
    match (from, to) {
        (None, Some(to)) => format!("up to {}", span(to)),
        (Some(from), Some(to)) => format!("{} to {}", span(from), span(to)),
        (Some(from), None) => format!("above {}", span(from)),
        (None, None) => "all".to_owned(),
    }
}

/// Bounds under the histogram: as many as fit on a small screen.
fn axis(timing: &Timing) -> Markup {
    const LABELS: usize = 5;
    let bounds: Vec<f64> = timing.buckets.iter().filter_map(|bucket| bucket.le).collect();
    let last = bounds.len().saturating_sub(1);
    let chosen = (0..LABELS).filter_map(|index| bounds.get(index * last / (LABELS - 1)));
    html! { div.axis aria-hidden="true" { @for bound in chosen { span { "≤ " (span(*bound)) } } } }
}

fn figures(measure: &Measure, timing: &Timing) -> Markup {
    const COLUMNS: &[Column] = &[text("Range"), number("Count"), number("Share")];
    let mut below = 0;
    let mut from = None;
    let mut rows = Vec::with_capacity(timing.buckets.len());
    for bucket in &timing.buckets {
        rows.push((range(from, bucket.le), bucket.count.saturating_sub(below)));
        below = bucket.count;
        from = bucket.le;
    }
    let rows = html! {
        @for (index, (range, here)) in rows.iter().enumerate() {
            tr data-key=(index) {
                th scope="row" data-value=(index) { (range) }
                (cell(*here, &count(*here)))
                (cell(*here, &percent(*here, timing.count)))
            }
        }
    };
    let caption = format!("{}: {}", measure.title, plural(timing.count, "measured", "measured"));
    table(&format!("{}-figures", measure.key), &caption, COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::model::Bucket;

    #[test]
    fn cumulative_counts_become_counts_per_bucket() {
        let bucket = |le, count| Bucket { le, count };
        let buckets = vec![bucket(Some(0.001), 3), bucket(Some(0.01), 10), bucket(None, 12)];
        let timing = Timing { count: 12, buckets, ..Timing::default() };
        assert_eq!(
            cells(&timing),
            [
                ("up to 1.00 ms: 3 (25.0 %)".to_owned(), 3),
                ("1.00 ms to 10.0 ms: 7 (58.3 %)".to_owned(), 7),
                ("above 10.0 ms: 2 (16.7 %)".to_owned(), 2),
            ]
        );
    }
}
