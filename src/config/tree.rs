// SPDX-License-Identifier: MIT OR Apache-2.0
//! The syntax: TOML to a tree in which every key and value knows its place.
//!
//! The parser is asked to go on after an error, so that one missing quote does not hide the rest. Not here: any key.

use super::report::{Place, Report};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The entries of a table, in the order of their names.
pub(super) type Entries = Vec<(Key, Item)>;

/// A key and its bytes in the file.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

/// A value and its bytes in the file; of a table under a header, those of the header.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

/// A TOML value. Numbers are kept as text: only the reader knows what they must fit.
#[derive(Debug)]
pub(super) enum Value {
    String(String),
    /// As `from_str_radix` takes it.
    Integer {
        digits: String,
        radix: u32,
    },
    Float(String),
    Boolean(bool),
    Datetime,
    Array(Vec<Item>),
    Table(Entries),
}

impl Value {
    /// What this is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer { .. } => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses the text of `file`, reporting what is not TOML; what could be understood is returned.
pub(super) fn parse(file: usize, report: &mut Report) -> Entries {
    let (root, errors) = DeTable::parse_recoverable(report.text(file));
    let root = entries(root.get_ref());
    let errors =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message().to_owned())).collect();
    report_syntax(file, &root, errors, report);
    root
}

/// The parser bounds the depth, hence this recursion.
fn entries(table: &DeTable<'_>) -> Entries {
    let key =
        |key: &Spanned<std::borrow::Cow<'_, str>>| Key { name: key.get_ref().to_string(), span: key.span() };
    table.iter().map(|(name, value)| (key(name), item(value))).collect()
}

fn item(value: &Spanned<DeValue<'_>>) -> Item {
    let span = value.span();
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            Value::Integer { digits: number.as_str().to_owned(), radix: number.radix() }
        }
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => Value::Array(array.iter().map(item).collect()),
        DeValue::Table(table) => Value::Table(entries(table)),
    };
    Item { value, span }
}

/// Reports syntax errors, one per line, in words of ours where the parser's would puzzle.
fn report_syntax(
    file: usize,
    root: &[(Key, Item)],
    mut errors: Vec<(Range<usize>, String)>,
    report: &mut Report,
) {
    if errors.is_empty() {
        return;
    }
    let text = report.text(file).to_owned();
    errors.sort_by_key(|(span, _)| span.start);
    let place = |span: Range<usize>| Place { file, start: span.start, end: span.end };
    // After a bracket that is never closed the parser stumbles over every line: only the bracket is worth telling.
    let unclosed = errors.iter().find(|(_, message)| message.starts_with("unclosed"));
    let bracket = unclosed.and_then(|(span, _)| outermost_open(root, span.start));
    let mut last_line = None;
    for (span, message) in &errors {
        if bracket.as_ref().is_some_and(|bracket| span.start >= *bracket) {
            break;
        }
        let line = text.get(..span.start).map(|before| before.matches('\n').count());
        if last_line.replace(line) == Some(line) {
            continue;
        }
        let word = text.get(span.clone()).unwrap_or("");
        if message == "duplicate key" {
            let finding = report.syntax(place(span.clone()), format!("{word:?} is defined a second time"));
            if let Some(first) = earlier_key(root, word, span.start) {
                finding.note(place(first), "it was first defined here");
            }
        } else if word.is_empty() && message.starts_with("string values must be quoted") {
            report.syntax(place(span.clone()), "a value is missing");
        } else {
            let message = message.strip_suffix(", expected literal string").unwrap_or(message);
            report.syntax(place(span.clone()), message);
        }
    }
    if let Some(start) = bracket {
        let bracket = Place { file, start, end: start + 1 };
        let sign = text.get(start..=start).unwrap_or("[");
        report.syntax(bracket, format!("this `{sign}` is never closed"));
        report.distrust_from(bracket);
    }
}

/// Where the outermost array or inline table begins that was still open at `end`.
fn outermost_open(table: &[(Key, Item)], end: usize) -> Option<usize> {
    fn look(value: &Item, end: usize) -> Option<usize> {
        let span = value.span.clone();
        let bracket = match &value.value {
            Value::Array(array) if !array.iter().any(|item| item.span == span) => true,
            Value::Table(_) => true,
            _ => false,
        };
        // Tables under a header span the header only, so that no such table reaches `end`.
        if bracket && span.start < end && span.end + 1 >= end && span.end > span.start + 1 {
            return Some(span.start);
        }
        match &value.value {
            Value::Array(array) => array.iter().filter_map(|item| look(item, end)).min(),
            Value::Table(table) => outermost_open(table, end),
            _ => None,
        }
    }
    table.iter().filter_map(|(_, value)| look(value, end)).min()
}

/// The last key called `name` before `before` that is not inside a value which ended before it.
fn earlier_key(table: &[(Key, Item)], name: &str, before: usize) -> Option<Range<usize>> {
    fn inside(value: &Item, name: &str, before: usize) -> Option<Range<usize>> {
        match &value.value {
            Value::Table(table) => earlier_key(table, name, before),
            Value::Array(array) => {
                array.iter().filter_map(|item| inside(item, name, before)).max_by_key(|span| span.start)
            }
            _ => None,
        }
    }
    let own = table.iter().filter(|(key, _)| key.name == name).map(|(key, _)| key.span.clone());
    let own = own.filter(|span| span.start < before).max_by_key(|span| span.start);
    own.or_else(|| {
        table.iter().filter_map(|(_, value)| inside(value, name, before)).max_by_key(|span| span.start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(text: &str) -> String {
        let mut report = Report::default();
        let file = report.add_source("t.conf".into(), Some(text.into()));
        parse(file, &mut report);
        report.to_string()
    }

    #[test]
    fn several_syntax_errors_are_told_at_once() {
        let rendered = errors_of("a = \nb = 'x\nc = what\nd = 1 2\n");
        let heads: Vec<&str> = rendered.lines().filter(|line| line.contains("error: ")).collect();
        assert_eq!(heads.len(), 4, "{rendered}");
        assert_eq!(heads[0], "t.conf:1:5: error: a value is missing");
    }

    #[test]
    fn a_duplicate_key_names_both_places() {
        let rendered = errors_of("[global]\nlog = { level = \"info\" }\nworkers = 1\nworkers = 2\n");
        assert!(
            rendered.starts_with("t.conf:4:1: error: \"workers\" is defined a second time\n"),
            "{rendered}"
        );
        assert!(rendered.contains("t.conf:3:1: note: it was first defined here"), "{rendered}");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_stack_overflow() {
        for open in ["[", "{a="] {
            assert!(errors_of(&format!("a = {}", open.repeat(20_000))).contains("error: "));
        }
    }
}
