// SPDX-License-Identifier: MIT OR Apache-2.0
//! The text format of Prometheus: families one after the other, each with its help, its type and its samples.
//!
//! Invariant: no two samples of a family have the same labels, whatever is told twice: a scrape with such a pair is refused
//! as a whole.

use super::{Kind, Value};
use crate::control::model::Timing;
use std::collections::HashSet;
use std::fmt::Write;

/// Metrics on their way to text.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    name: &'static str,
    /// The labels of the present family's samples so far, as they were written.
    told: HashSet<String>,
}

impl Text {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        self.told.clear();
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        escape(help, false, &mut self.out);
        let _never_fails = write!(self.out, "\n# TYPE {name} {}\n", kind.name());
    }

    /// One sample of a counter or gauge.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let value = value.into();
        let labels = written(labels);
        if value != Value::Absent && self.told.insert(labels.clone()) {
            self.line("", &labels, None, value);
        }
    }

    /// One histogram. Its last bucket and its count are the same number, even if they were counted a moment apart.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], timing: &Timing) {
        let labels = written(labels);
        if !self.told.insert(labels.clone()) {
            return;
        }
        let mut all = timing.count;
        for bucket in &timing.buckets {
            match bucket.le {
                Some(le) => {
                    all = all.max(bucket.count);
                    self.line("_bucket", &labels, Some(&number(le)), bucket.count.into());
                }
                None => all = all.max(bucket.count),
            }
        }
        self.line("_bucket", &labels, Some("+Inf"), all.into());
        self.line("_sum", &labels, None, timing.sum.into());
        self.line("_count", &labels, None, all.into());
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, suffix: &str, labels: &str, le: Option<&str>, value: Value) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        let le = le.map(|le| format!("le=\"{le}\""));
        match (labels.is_empty(), le) {
            (true, None) => {}
            (false, None) => self.out.extend(["{", labels, "}"]),
            (true, Some(le)) => self.out.extend(["{", &le, "}"]),
            (false, Some(le)) => self.out.extend(["{", labels, ",", &le, "}"]),
        }
        self.out.push(' ');
        match value {
            Value::Count(count) => self.out.push_str(&count.to_string()),
            Value::Real(real) => self.out.push_str(&number(real)),
            Value::Absent => self.out.push_str("NaN"),
        }
        self.out.push('\n');
    }
}

/// Labels as they stand between the braces.
fn written(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        escape(value, true, &mut out);
        out.push('"');
    }
    out
}

/// The escapes of the format; quotes only inside of them.
fn escape(text: &str, quoted: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value == f64::INFINITY => "+Inf".to_owned(),
        value if value == f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}
