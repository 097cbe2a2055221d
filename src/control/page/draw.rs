// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small pictures as SVG: lines, bars, strips.
//!
//! Geometry is in attributes and colour in classes, for the page allows no inline style. A picture that is stretched has
//! a view box and no text; one with text or shapes that must stay has percentages instead. Each has a title and says in
//! its description what can be seen, so that nobody needs to see it.

use super::words::share;
use maud::{Markup, html};
use std::fmt::Write;

/// Width and height of the view box of what is stretched.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 40.0;

/// Colours there are for parts of a whole; the rest share the last.
pub(super) const COLOURS: usize = 7;

/// How strong a cell of a heat strip may be.
const HEATS: usize = 9;

/// Marks that differ by shape as well as by colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Warn,
    Bad,
    /// Neither: paused on purpose, unknown, idle.
    Idle,
}

impl Mood {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }

    /// The shape alone, as decoration of a word: a disc with a tick, a triangle, an octagon with a cross, a ring.
    pub(super) fn shape(self) -> Markup {
        let (body, mark) = match self {
            Self::Good => ("M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1z", "M4.5 8.3l2.4 2.4 4.6-5"),
            Self::Warn => ("M8 1.2L15.4 14.6H.6z", "M8 6v4M8 12v.6"),
            Self::Bad => ("M5 1h6l4 4v6l-4 4H5l-4-4V5z", "M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4"),
            Self::Idle => ("M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z", "M5 8h6"),
        };
        html! {
            svg.shape viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                path.body d=(body) {}
                path.mark d=(mark) {}
            }
        }
    }
}

/// A word with its shape and colour.
pub(super) fn state(mood: Mood, word: &str) -> Markup {
    html! { span class={ "state " (mood.class()) } { (mood.shape()) (word) } }
}

/// A line over time with the area below it filled; its right edge is now, and it has room for `places` values.
pub(super) fn sparkline(values: &[f64], places: f64, title: &str, seen: &str) -> Markup {
    let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let last = values.len().saturating_sub(1) as f64;
    let step = WIDTH / last.max(places - 1.0).max(1.0);
    let mut line = String::new();
    for (index, value) in values.iter().enumerate() {
        let x = WIDTH - (last - index as f64) * step;
        let y = HEIGHT - 2.0 - if most > 0.0 { value.clamp(0.0, most) / most * (HEIGHT - 5.0) } else { 0.0 };
        // Writing to a string cannot fail.
        let _ = write!(line, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
    }
    html! {
        svg.spark role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
            title { (title) }
            desc { (seen) }
            @if values.len() > 1 {
                path.area d={ (line) "V" (HEIGHT) "H" (number(WIDTH - last * step)) "Z" } {}
                path.line d=(line) {}
            } @else {
                path.line d={ "M0 " (HEIGHT - 2.0) "H" (WIDTH) } {}
            }
        }
    }
}

/// Parts of a whole, side by side.
pub(super) fn parts(counts: &[u64], title: &str, seen: &str) -> Markup {
    let whole: u64 = counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    let mut from = 0.0;
    let mut next = |count: u64| {
        let width = share(count, whole) * 100.0;
        from += width;
        (from - width, width)
    };
    html! {
        svg.parts role="img" {
            title { (title) }
            desc { (seen) }
            rect.trough width="100%" height="100%" {}
            @for (index, count) in counts.iter().enumerate() {
                @let (x, width) = next(*count);
                rect class=(colour(index)) x=(percent(x)) width=(percent(width)) height="100%" {}
            }
        }
    }
}

/// How full something is, 0 to 1.
pub(super) fn gauge(fraction: f64, mood: Mood, title: &str) -> Markup {
    let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        svg class={ "gauge " (mood.class()) } role="img" {
            title { (title) }
            rect.trough width="100%" height="100%" rx="3" {}
            rect.level width=(percent(fraction * 100.0)) height="100%" rx="3" {}
        }
    }
}

/// A row of cells, the stronger the larger their share of the greatest.
pub(super) fn heat(cells: &[(String, u64)], title: &str, seen: &str) -> Markup {
    let most = cells.iter().map(|cell| cell.1).max().unwrap_or(0);
    let width = 100.0 / cells.len().max(1) as f64;
    html! {
        svg.heat role="img" {
            title { (title) }
            desc { (seen) }
            @for (index, (label, count)) in cells.iter().enumerate() {
                rect class={ "h" (strength(*count, most)) } x=(percent(index as f64 * width))
                    width=(percent(width)) height="100%" { title { (label) } }
            }
        }
    }
}

/// 0 for nothing, else 1 to [`HEATS`] by the square root: what is rare shall be seen too.
fn strength(count: u64, most: u64) -> usize {
    let steps = share(count, most).sqrt() * HEATS as f64;
    (0..=HEATS).find(|step| steps <= *step as f64).unwrap_or(HEATS)
}

/// One bar of a histogram per cell.
pub(super) fn histogram(cells: &[(String, u64)], title: &str, seen: &str) -> Markup {
    let most = cells.iter().map(|cell| cell.1).max().unwrap_or(0);
    let width = 100.0 / cells.len().max(1) as f64;
    html! {
        svg.histogram role="img" {
            title { (title) }
            desc { (seen) }
            @for (index, (label, count)) in cells.iter().enumerate() {
                @let height = share(*count, most) * 100.0;
                // What there is must be seen.
                @let height = if *count > 0 { height.max(2.0) } else { 0.0 };
                rect.bar x=(percent(index as f64 * width + width * 0.08)) width=(percent(width * 0.84))
                    y=(percent(100.0 - height)) height=(percent(height)) { title { (label) } }
            }
        }
    }
}

/// Bars over time, each made of one part per series; the right edge is now, and there is room for `places` bars.
pub(super) fn stack(series: &[(String, Vec<f64>)], places: f64, title: &str, seen: &str) -> Markup {
    let bins = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let sum = |bin: usize| series.iter().filter_map(|(_, values)| values.get(bin)).sum::<f64>();
    let most = (0..bins).map(sum).fold(0.0, f64::max);
    let width = WIDTH / (bins as f64).max(places).max(1.0);
    let begin = WIDTH - bins as f64 * width;
    let mut bars = Vec::new();
    for bin in 0..bins {
        let mut top = HEIGHT;
        for (index, (_, values)) in series.iter().enumerate() {
            let value = values.get(bin).copied().unwrap_or(0.0);
            if value > 0.0 && most > 0.0 {
                let height = value / most * HEIGHT;
                top -= height;
                bars.push((index, begin + bin as f64 * width, top, height));
            }
        }
    }
    html! {
        svg.stack role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
            title { (title) }
            desc { (seen) }
            path.base d={ "M0 " (HEIGHT) "H" (WIDTH) } {}
            @for (index, x, y, height) in bars {
                rect class=(colour(index)) x=(number(x + width * 0.08)) y=(number(y))
                    width=(number(width * 0.84)) height=(number(height)) {}
            }
        }
    }
}

/// Outcomes from the oldest to the newest: what went well is tall, what failed is a short block with another colour.
pub(super) fn checks(outcomes: &[(bool, String)], title: &str, seen: &str) -> Markup {
    /// Places of a strip.
    const PLACES: usize = 24;
    let outcomes = &outcomes[outcomes.len().saturating_sub(PLACES)..];
    let width = 100.0 / PLACES as f64;
    html! {
        svg.checks role="img" {
            title { (title) }
            desc { (seen) }
            @for (index, (well, label)) in outcomes.iter().enumerate() {
                @let (class, y, height) = if *well { ("good", "0", "100%") } else { ("bad", "50%", "50%") };
                rect class=(class) x=(percent(index as f64 * width + width * 0.12)) y=(y)
                    width=(percent(width * 0.76)) height=(height) rx="1" { title { (label) } }
            }
        }
    }
}

/// What the colour of a part stands for.
pub(super) fn key(index: usize) -> Markup {
    html! {
        svg.key viewBox="0 0 10 10" aria-hidden="true" focusable="false" {
            rect class=(colour(index)) width="10" height="10" rx="2" {}
        }
    }
}

pub(super) fn colour(index: usize) -> String {
    format!("c{}", index.min(COLOURS - 1))
}

/// An attribute's percentage.
pub(super) fn percent(value: f64) -> String {
    format!("{value:.3}%")
}

fn number(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_inside_its_box() {
        let values = [0.0, 5.0, f64::NAN, f64::INFINITY, -3.0];
        let text = sparkline(&values, 5.0, "rate", "seen").into_string();
        assert!(text.contains("M0.0 38.0L60.0 3.0"), "{text}");
        for values in [&[][..], &[1.0], &[0.0, 0.0]] {
            let text = sparkline(values, 60.0, "rate", "seen").into_string();
            assert!(text.contains("<title>rate</title><desc>seen</desc>") && !text.contains("NaN"), "{text}");
        }
    }

    #[test]
    fn parts_fill_the_whole() {
        let text = parts(&[1, 3], "shares", "seen").into_string();
        assert!(text.contains(r#"x="0.000%" width="25.000%""#), "{text}");
        assert!(text.contains(r#"x="25.000%" width="75.000%""#), "{text}");
        assert!(!parts(&[0, 0], "", "").into_string().contains("NaN"));
    }

    #[test]
    fn the_largest_cell_is_the_strongest_and_none_is_nothing() {
        assert_eq!(
            [strength(0, 0), strength(0, 9), strength(1, 1_000_000), strength(9, 9)],
            [0, 0, 1, HEATS]
        );
    }

    #[test]
    fn a_gauge_is_never_more_than_full() {
        for (fraction, width) in [(2.0, "100.000%"), (-1.0, "0.000%"), (f64::NAN, "0.000%"), (0.5, "50.000%")]
        {
            assert!(gauge(fraction, Mood::Good, "").into_string().contains(width), "{fraction}");
        }
    }

    #[test]
    fn there_is_a_colour_for_every_part() {
        assert_eq!([colour(0), colour(6), colour(99)], ["c0", "c6", "c6"]);
    }
}
