// SPDX-License-Identifier: MIT OR Apache-2.0
//! The syntax: TOML to a tree in which every key and value knows its place.
//!
//! The parser is asked to go on after an error, so that one missing quote does not hide the rest. Not here: any key.

use super::report::{Place, Report};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most syntax errors that are reported of one file; with more it is something else than a configuration.
const ERRORS_MAX: usize = 50;

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
    let unclosed = errors.iter().any(|(_, message)| message.starts_with("unclosed"));
    let bracket = if unclosed { outermost_open(root, &text) } else { None };
    let mut last_line = None;
    let mut reported = 0;
    for (span, message) in &errors {
        if bracket.is_some_and(|bracket| span.start >= bracket) {
            break;
        }
        let line = report.line(place(span.clone()));
        if last_line.replace(line) == Some(line) {
            continue;
        }
        reported += 1;
        if reported > ERRORS_MAX {
            report.distrust_from(place(span.clone()));
            break;
        }
        let word = text.get(span.clone()).unwrap_or("");
        if message == "duplicate key" {
            let finding = report.syntax(place(span.clone()), format!("{word:?} is defined a second time"));
            if let Some(first) = earlier_key(root, word, span.start) {
                finding.note(place(first), "it was first defined here");
            }
        } else if word.is_empty() && message.starts_with("string values must be quoted") {
            report.syntax(place(span.clone()), "a value is missing");
        } else if message.starts_with("invalid") && (message.ends_with("`\"`") || message.ends_with("`'`")) {
            report.syntax(place(span.clone()), "the string has no closing quote");
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

/// Where the outermost array or inline table begins that has no end.
fn outermost_open(table: &[(Key, Item)], text: &str) -> Option<usize> {
    fn look(item: &Item, text: &str) -> Option<usize> {
        let own = text.get(item.span.clone()).unwrap_or("");
        // A last bracket that belongs to the last value inside does not close what is around it.
        let inner = match &item.value {
            Value::Array(items) => items.last().map(|item| item.span.end),
            Value::Table(table) => table.iter().map(|(_, item)| item.span.end).max(),
            _ => None,
        };
        let open = |begin: char, end: char| {
            own.starts_with(begin) && (own.len() == 1 || !own.ends_with(end) || inner == Some(item.span.end))
        };
        match &item.value {
            // A list of tables under headers spans its first header, as does its first table.
            Value::Array(items) if open('[', ']') && items.iter().all(|inner| inner.span != item.span) => {
                Some(item.span.start)
            }
            Value::Table(_) if open('{', '}') => Some(item.span.start),
            Value::Array(items) => items.iter().filter_map(|item| look(item, text)).min(),
            Value::Table(table) => outermost_open(table, text),
            _ => None,
        }
    }
    table.iter().filter_map(|(_, item)| look(item, text)).min()
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
    fn a_file_of_something_else_is_told_in_few_words() {
        let text = errors_of(&"x y = z\n".repeat(100_000));
        assert!(text.ends_with("\n50 errors\n"), "{text}");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_stack_overflow() {
        for open in ["[", "{a="] {
            assert!(errors_of(&format!("a = {}", open.repeat(20_000))).contains("error: "));
        }
    }
}
