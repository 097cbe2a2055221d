// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table.
//!
//! Figures of one repetition were taken within seconds of each other, so ratios are taken within a repetition and
//! only then condensed: slow drift of the machine cancels out.
//! Not here: taking figures (`runner.rs`).

use std::fmt::Write;

use super::peers::TUNNEL;
use super::stats::{median, range};

/// One figure of one peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// The cost in the case's unit.
    pub(super) value: f64,
    /// Units of work per second of wall time; 0 where that says nothing.
    pub(super) rate: f64,
    /// Further figures, by name.
    pub(super) notes: Vec<(String, f64)>,
}

/// All figures of one peer in one case.
#[derive(Debug)]
pub(super) struct Row {
    /// The peer's name.
    pub(super) peer: &'static str,
    /// By repetition; `None` where the run failed.
    pub(super) samples: Vec<Option<Sample>>,
}

/// One case.
#[derive(Debug)]
pub(super) struct Table {
    /// Scenario and title.
    pub(super) heading: String,
    /// What `Sample::value` counts.
    pub(super) unit: &'static str,
    /// One per peer.
    pub(super) rows: Vec<Row>,
}

impl Row {
    fn values(&self) -> Vec<f64> {
        self.samples.iter().flatten().map(|sample| sample.value).collect()
    }

    /// The median of the ratios to `other` within each repetition.
    fn ratio_to(&self, other: &Self) -> Option<f64> {
        let pairs = self.samples.iter().zip(&other.samples);
        let ratio = |(mine, theirs): (&Option<Sample>, &Option<Sample>)| {
            Some(mine.as_ref()?.value / theirs.as_ref()?.value).filter(|ratio| ratio.is_finite())
        };
        median(&pairs.filter_map(ratio).collect::<Vec<_>>())
    }

    /// Medians of the further figures, in the order of their first appearance.
    fn notes(&self) -> String {
        let all = || self.samples.iter().flatten().flat_map(|sample| &sample.notes);
        let mut names: Vec<&String> = Vec::new();
        for (name, _) in all() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let note = |name: &String| {
            let values: Vec<f64> =
                all().filter(|(other, _)| other == name).map(|(_, value)| *value).collect();
            Some(format!("{name} {}", short(median(&values)?)))
        };
        names.into_iter().filter_map(note).collect::<Vec<_>>().join(", ")
    }
}

impl Table {
    /// The peer to compare with: the cheapest by its median, tunnel apart.
    fn best_other(&self) -> Option<&Row> {
        let others = self.rows.iter().filter(|row| !row.peer.starts_with(TUNNEL));
        let costs = others.filter_map(|row| Some((median(&row.values())?, row)));
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, row)| row)
    }

    /// The table in Markdown, its heading included.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "\n### {}\n\n| peer | {} | min–max | × best other | per second | notes |\n|---|---|---|---|---|---|\n",
            self.heading, self.unit
        );
        let best = self.best_other();
        for row in &self.rows {
            let values = row.values();
            let (Some(middle), Some((least, most))) = (median(&values), range(&values)) else { continue };
            let ratio = best.and_then(|best| row.ratio_to(best));
            let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let rates: Vec<f64> = row.samples.iter().flatten().map(|sample| sample.rate).collect();
            let rate = median(&rates).filter(|rate| *rate > 0.0).map(short).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {}–{} | {ratio} | {rate} | {} |",
                row.peer,
                short(middle),
                short(least),
                short(most),
                row.notes()
            );
        }
        text
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let decimals = [(100.0, 0), (10.0, 1), (1.0, 2), (0.0, 3)];
    let decimals =
        decimals.iter().find(|(least, _)| value.abs() >= *least).map_or(0, |(_, decimals)| *decimals);
    format!("{value:.decimals$}")
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    fn row(peer: &'static str, values: &[Option<f64>]) -> Row {
        let sample = |value| Sample { value, ..Sample::default() };
        Row { peer, samples: values.iter().map(|value| value.map(sample)).collect() }
    }

    #[test]
    fn drift_between_repetitions_cancels_out() {
        let rows = vec![
            row(TUNNEL, &[Some(1.0), Some(2.0), Some(5.0)]),
            row("hitch", &[Some(2.0), Some(4.0), Some(10.0)]),
            row("stunnel", &[Some(3.0), None, Some(15.0)]),
        ];
        let text = Table { heading: "h".into(), unit: "u", rows }.markdown();
        assert!(text.contains("| tunnel | 2.00 | 1.00–5.00 | 0.50 |"), "{text}");
        assert!(text.contains("| hitch | 4.00 | 2.00–10.0 | 1.00 |"), "{text}");
        assert!(text.contains("| stunnel | 9.00 | 3.00–15.0 | 1.50 |"), "{text}");
    }

    #[test]
    fn tunnel_is_never_its_own_measure() {
        let rows = vec![row(TUNNEL, &[Some(1.0)]), row("tunnel-plain", &[Some(0.5)])];
        let text = Table { heading: "h".into(), unit: "u", rows }.markdown();
        assert!(text.contains("| tunnel | 1.00 | 1.00–1.00 |  |"), "{text}");
    }

    #[test]
    fn a_peer_that_never_succeeded_has_no_row() {
        let rows = vec![row("nginx", &[None, None])];
        assert!(!Table { heading: "h".into(), unit: "u", rows }.markdown().contains("nginx"));
    }

    #[test]
    fn notes_are_medians() {
        let mut row = row("nginx", &[Some(1.0), Some(1.0), Some(1.0)]);
        for (sample, value) in row.samples.iter_mut().flatten().zip([7.0, 900.0, 8.0]) {
            sample.notes.push(("p99 µs".into(), value));
        }
        assert_eq!(row.notes(), "p99 µs 8.00");
    }
}
