// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file as written: every value with its place, and readers that report what has the wrong type and go on.
//!
//! Invariant: a key that is not in [`TABLES`] is an error; nothing is ever ignored silently. Not here: the syntax
//! (`tree.rs`), which keys there are (`tables.rs`), what they mean (`check.rs` and what it calls).

use super::report::{Complaint, Place, Report, nearest};
use super::tables::{TABLES, TOP, Table};
use super::tree::{self, Entries, Item, Key, Value};
use super::values::{Counted, format_duration, format_size, parse_duration, parse_rate, parse_size};
use crate::policy::bucket::Rate;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A value and where it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// One file, parsed.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) file: usize,
    /// What its relative paths are relative to; absolute.
    pub(super) directory: PathBuf,
    /// The pattern of the main file that brought it in; none for the main file itself.
    pub(super) included_by: Option<Place>,
    root: Entries,
}

impl Document {
    /// Parses the text of `file`, reporting what is not TOML.
    pub(super) fn parse(
        file: usize,
        directory: PathBuf,
        included_by: Option<Place>,
        report: &mut Report,
    ) -> Self {
        let root = tree::parse(file, report);
        Self { file, directory, included_by, root }
    }

    /// The whole file as a table; unknown keys are reported.
    pub(super) fn fields(&self, report: &mut Report) -> Fields<'_> {
        Fields::open(&self.root, self.file, Place::file(self.file), &TOP, report)
    }

    /// As [`Self::fields`], for a look at one key ahead of everybody else.
    pub(super) fn peek(&self, key: &'static str) -> Option<Node<'_>> {
        Fields { table: &self.root, file: self.file, place: Place::file(self.file), spec: &TOP }.get(key)
    }

    /// The string under keys within keys, if that is what is there; nothing is reported.
    pub(super) fn text_of(&self, keys: &[&str]) -> Option<&str> {
        let (last, tables) = keys.split_last()?;
        let mut entries = &self.root;
        let value = |entries: &'_ Entries, name: &str| entries.iter().position(|(key, _)| key.name == name);
        for name in tables {
            let Value::Table(table) = &entries[value(entries, name)?].1.value else { return None };
            entries = table;
        }
        match &entries[value(entries, last)?].1.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// A table being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'t> {
    table: &'t [(Key, Item)],
    file: usize,
    /// The table itself: its header, or the value.
    pub(super) place: Place,
    spec: &'static Table,
}

impl<'t> Fields<'t> {
    fn open(
        table: &'t [(Key, Item)],
        file: usize,
        place: Place,
        spec: &'static Table,
        report: &mut Report,
    ) -> Self {
        for (key, item) in table.iter() {
            let name = key.name.as_str();
            if spec.keys.contains(&name) {
                continue;
            }
            let place = Place { file, start: key.span.start, end: key.span.end };
            let finding = report.error(place, format!("unknown key {name:?} in {}", spec.title));
            let elsewhere = TABLES.iter().find(|table| table.keys.contains(&name));
            if let Some(near) = nearest(name, spec.keys.iter().copied()) {
                finding.help(format!("did you mean `{near}`?"));
            } else if spec.keys.contains(&"service") && matches!(item.value, Value::Table(_)) {
                finding.help(format!("a service is written [[service]], with name = {name:?} in it"));
            } else if let Some(home) = elsewhere {
                finding.help(format!("`{name}` belongs into {}", home.title));
            } else {
                finding.help(format!("the keys here are {}", listed(spec.keys)));
            }
        }
        Self { table, file, place, spec }
    }

    /// Whether `key` was not written: nor as an unknown key that was taken for it, which has been told already.
    pub(super) fn lacks(&self, key: &'static str) -> bool {
        let unknown = self.table.iter().map(|(known, _)| known.name.as_str());
        let mut unknown = unknown.filter(|name| !self.spec.keys.contains(name));
        self.get(key).is_none()
            && !unknown.any(|name| nearest(name, self.spec.keys.iter().copied()) == Some(key))
    }

    /// Whether nothing was written, not even an unknown key.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The value of `key`, if it was written.
    pub(super) fn get(&self, key: &'static str) -> Option<Node<'t>> {
        debug_assert!(self.spec.keys.contains(&key), "{key} is not in the table of {}", self.spec.title);
        let entry = self.table.iter().find(|(known, _)| known.name == key);
        entry.map(|(_, value)| Node::new(key, self.file, value))
    }
}

/// One value being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'t> {
    pub(super) key: &'static str,
    pub(super) place: Place,
    value: &'t Value,
}

impl<'t> Node<'t> {
    fn new(key: &'static str, file: usize, value: &'t Item) -> Self {
        let place = Place { file, start: value.span.start, end: value.span.end };
        Self { key, place, value: &value.value }
    }

    fn at<T>(&self, value: T) -> At<T> {
        At { value, place: self.place }
    }

    /// Reports that this is not `expected`.
    pub(super) fn mismatch<'r>(
        &self,
        expected: &str,
        report: &'r mut Report,
    ) -> &'r mut super::report::Finding {
        let found = self.value.kind();
        report.error(self.place, format!("`{}` must be {expected}, not {found}", self.key))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.value, Value::String(_))
    }

    /// The string as it is, if it is one.
    pub(super) fn as_str(&self) -> Option<&'t str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The string, or the first of a list of them, as it is.
    pub(super) fn first_str(&self) -> Option<&'t str> {
        match self.value {
            Value::Array(items) => match items.first().map(|item| &item.value) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            },
            _ => self.as_str(),
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// A string without control characters: neither C nor a terminal nor a log line can take them.
    pub(super) fn string(&self, report: &mut Report) -> Option<At<&'t str>> {
        let Value::String(text) = self.value else {
            let plain = match self.value {
                Value::Integer { digits, radix: 10 } => Some(digits),
                Value::Float(digits) => Some(digits),
                _ => None,
            };
            let finding = self.mismatch("a string", report);
            if let Some(plain) = plain {
                finding.help(format!("did you mean \"{plain}\"?"));
            }
            return None;
        };
        if text.contains(char::is_control) {
            report.error(self.place, format!("`{}` must not have control characters", self.key));
            return None;
        }
        Some(self.at(text))
    }

    /// A string that may have several lines: of control characters, only line ends and tabs.
    pub(super) fn text(&self, bytes: RangeInclusive<usize>, report: &mut Report) -> Option<At<&'t str>> {
        let Value::String(text) = self.value else { return self.string(report) };
        let bad = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        if text.contains(bad) {
            let message = format!("`{}` must not have control characters but \\r, \\n and \\t", self.key);
            report.error(self.place, message);
            return None;
        }
        if !bytes.contains(&text.len()) {
            let (least, most) = (bytes.start(), bytes.end());
            let message = format!("`{}` must have {least} to {most} bytes, not {}", self.key, text.len());
            report.error(self.place, message);
            return None;
        }
        Some(self.at(text))
    }

    /// The tables of a list of tables, of which unknown keys are reported; `header` is how one is written.
    pub(super) fn tables(
        &self,
        header: &str,
        spec: &'static Table,
        report: &mut Report,
    ) -> Option<Vec<Fields<'t>>> {
        let Some(items) = self.items() else {
            let finding = self.mismatch("a list of tables", report);
            finding.help(format!("write {header}, with two brackets on either side"));
            return None;
        };
        Some(items.into_iter().filter_map(|item| item.fields(spec, report)).collect())
    }

    /// A string, or a list of at least one.
    pub(super) fn strings(&self, report: &mut Report) -> Vec<At<&'t str>> {
        match self.items() {
            Some(items) if items.is_empty() => {
                report.error(self.place, format!("`{}` must not be empty", self.key));
                Vec::new()
            }
            Some(items) => items.iter().filter_map(|item| item.string(report)).collect(),
            None if self.is_string() => self.string(report).into_iter().collect(),
            None => {
                self.mismatch("a string or a list of strings", report);
                Vec::new()
            }
        }
    }

    /// The elements, if this is an array.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let Value::Array(items) = self.value else { return None };
        Some(items.iter().map(|value| Node::new(self.key, self.place.file, value)).collect())
    }

    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        let value = self.as_bool();
        if value.is_none() {
            self.mismatch("true or false", report);
        }
        value
    }

    pub(super) fn integer(&self, bounds: RangeInclusive<usize>, report: &mut Report) -> Option<usize> {
        let Value::Integer { digits, radix } = self.value else {
            self.mismatch("a number", report);
            return None;
        };
        let value = usize::from_str_radix(digits, *radix).ok();
        let value = value.filter(|value| bounds.contains(value));
        if value.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            report.error(self.place, format!("`{}` must be between {least} and {most}", self.key));
        }
        value
    }

    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>, report: &mut Report) -> Option<Duration> {
        if let Value::Integer { digits, .. } = self.value {
            let help = format!("did you mean \"{digits}s\"?");
            self.mismatch("a duration with a unit", report).help(help);
            return None;
        }
        let text = self.string(report)?;
        let (least, most) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
        self.within(parse_duration(text.value), &bounds, &least, &most, report)
    }

    /// A size in bytes.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let size = match self.value {
            Value::Integer { digits, radix } => {
                let bytes = u64::from_str_radix(digits, *radix);
                bytes.map_err(|_| Complaint::new(format!("{digits} is not a size")))
            }
            _ => parse_size(self.string(report)?.value),
        };
        let (least, most) = (format_size(*bounds.start()), format_size(*bounds.end()));
        self.within(size, &bounds, &least, &most, report)
    }

    /// So much, within `most`, per so long, within `per`.
    pub(super) fn rate(
        &self,
        counted: Counted,
        most: &RangeInclusive<u64>,
        per: &RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Option<Rate> {
        if !self.is_string() {
            let help = format!("write how many in how long, as in {:?}", counted.example());
            self.mismatch("a string", report).help(help);
            return None;
        }
        let text = self.string(report)?;
        let rate = match parse_rate(text.value, counted) {
            Ok(rate) if most.contains(&rate.most) && per.contains(&rate.per) => return Some(rate),
            Ok(rate) => rate,
            Err(complaint) => {
                report.complain(self.place, complaint);
                return None;
            }
        };
        let (what, least, most) = if most.contains(&rate.most) {
            ("time", format_duration(*per.start()), format_duration(*per.end()))
        } else if counted == Counted::Bytes {
            ("size", format_size(*most.start()), format_size(*most.end()))
        } else {
            ("number", most.start().to_string(), most.end().to_string())
        };
        report.error(self.place, format!("the {what} of `{}` must be between {least} and {most}", self.key));
        None
    }

    fn within<T: PartialOrd>(
        &self,
        value: Result<T, Complaint>,
        bounds: &RangeInclusive<T>,
        least: &str,
        most: &str,
        report: &mut Report,
    ) -> Option<T> {
        match value {
            Ok(value) if bounds.contains(&value) => Some(value),
            Ok(_) => {
                report.error(self.place, format!("`{}` must be between {least} and {most}", self.key));
                None
            }
            Err(complaint) => {
                report.complain(self.place, complaint);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        let text = self.string(report)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            unknown_word(self.key, text, &words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), report);
        }
        found.map(|(_, value)| *value)
    }

    /// A path, made absolute from `directory`.
    pub(super) fn path(&self, directory: &Path, report: &mut Report) -> Option<PathBuf> {
        let text = self.string(report)?;
        if text.value.is_empty() {
            report.error(text.place, format!("`{}` must not be empty", self.key));
            return None;
        }
        Some(directory.join(text.value))
    }

    /// A table, of which unknown keys are reported.
    pub(super) fn fields(&self, spec: &'static Table, report: &mut Report) -> Option<Fields<'t>> {
        let Value::Table(table) = self.value else {
            self.mismatch("a table", report);
            return None;
        };
        Some(Fields::open(table, self.place.file, self.place, spec, report))
    }
}

/// Reports a word that is none of those `key` knows.
pub(super) fn unknown_word(key: &str, text: At<&str>, words: &[&str], report: &mut Report) {
    let finding = report.error(text.place, format!("unknown {key} {:?}", text.value));
    match nearest(text.value, words.iter().copied()) {
        Some(near) => finding.help(format!("did you mean {near:?}?")),
        None => finding.help(format!("write one of {}", listed(words))),
    };
}

/// Words in backquotes, with commas.
fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Document, Report) {
        let mut report = Report::default();
        let file = report.add_source("t.conf".into(), Some(text.into()));
        (Document::parse(file, PathBuf::new(), None, &mut report), report)
    }

    #[test]
    fn an_unclosed_bracket_is_told_once_and_nothing_after_it_is_believed() {
        for (text, place) in [
            ("include = [\"x\"\n[global]\nworkers = 1\n", "1:11: error: this `[` is never closed"),
            ("include = [\"x\", [\"y\"]\n", "1:11: error: this `[` is never closed"),
            ("[global]\nlog = { level = \"info\"\nworkers = 1\n", "2:7: error: this `{` is never closed"),
        ] {
            let (document, mut report) = parse(text);
            document.fields(&mut report);
            let rendered = report.to_string();
            assert!(rendered.starts_with(&format!("t.conf:{place}\n")), "{rendered}");
            assert!(rendered.ends_with("\n1 error\n"), "{rendered}");
        }
    }
}
