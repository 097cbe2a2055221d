// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file as written: the table of all keys, every value with its place, and readers that report
//! what has the wrong type and go on.
//!
//! Invariant: a key that is not in [`TABLES`] is an error; nothing is ever ignored silently. Not here: the syntax
//! (`tree.rs`), what keys mean (`check.rs`).

use super::report::{Complaint, Place, Report, nearest};
use super::tree::{self, Entries, Item, Key, Value};
use super::values::{format_duration, format_size, parse_duration, parse_size};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A kind of table in the configuration file.
#[derive(Debug)]
pub struct Table {
    /// As messages and the manual's headings call it.
    pub title: &'static str,
    /// Every key it may have.
    pub keys: &'static [&'static str],
}

pub(super) const TOP: Table = Table { title: "top level", keys: &["include", "global", "service"] };
pub(super) const GLOBAL: Table =
    Table { title: "[global]", keys: &["workers", "max_connections", "log", "shutdown_timeout"] };
pub(super) const LOG: Table =
    Table { title: "[global] log", keys: &["target", "facility", "level", "socket"] };
pub(super) const SERVICE: Table = Table {
    title: "[[service]]",
    keys: &["name", "mode", "accept", "connect", "timeout", "buffer", "truncation"],
};
pub(super) const TIMEOUT: Table =
    Table { title: "[[service]] timeout", keys: &["handshake", "connect", "idle", "half_close", "linger"] };
pub(super) const ACCEPT: Table = Table { title: "[[service]] accept", keys: &["address", "tls"] };
pub(super) const CONNECT: Table = Table { title: "[[service]] connect", keys: &["address", "tls"] };
pub(super) const ACCEPT_TLS: Table = Table {
    title: "[[service]] accept.tls",
    keys: &[
        "certificate",
        "key",
        "min_version",
        "max_version",
        "ciphers",
        "ciphersuites",
        "groups",
        "alpn",
        "client_ca",
        "verify",
    ],
};
pub(super) const CONNECT_TLS: Table = Table {
    title: "[[service]] connect.tls",
    keys: &[
        "ca",
        "server_name",
        "verify",
        "certificate",
        "key",
        "min_version",
        "max_version",
        "ciphers",
        "ciphersuites",
        "groups",
        "alpn",
    ],
};

/// Every table with every key: what the manual, the sample and the readers are tested against.
pub const TABLES: [&Table; 9] =
    [&TOP, &GLOBAL, &LOG, &SERVICE, &TIMEOUT, &ACCEPT, &CONNECT, &ACCEPT_TLS, &CONNECT_TLS];

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
        for (key, _) in table.iter() {
            let name = key.name.as_str();
            if spec.keys.contains(&name) {
                continue;
            }
            let place = Place { file, start: key.span.start, end: key.span.end };
            let finding = report.error(place, format!("unknown key {name:?} in {}", spec.title));
            let elsewhere = TABLES.iter().find(|table| table.keys.contains(&name));
            if let Some(near) = nearest(name, spec.keys.iter().copied()) {
                finding.help(format!("did you mean `{near}`?"));
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
    fn no_table_names_a_key_twice() {
        for table in TABLES {
            for (index, key) in table.keys.iter().enumerate() {
                assert!(!table.keys[..index].contains(key), "{key} in {}", table.title);
            }
        }
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
