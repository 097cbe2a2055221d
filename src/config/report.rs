// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a configuration, told so that it can be mended: every problem of every file at once, each with
//! its place, the source line, a caret and, where one is near, the right word.
//!
//! Invariants: a [`Place`] belongs to the report whose sources it was made from; rendering never panics whatever the
//! bytes of the file are, and what it prints is bounded. Not here: any knowledge of keys or values.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// How many findings back the same one is looked for.
const RECENT: usize = 16;

/// The most problems that are printed in full; the rest is only counted.
const SHOWN: usize = 100;

/// The most characters of a source line that are printed, and how many of them stand before the caret at most.
const WIDTH: usize = 120;
const BEFORE: usize = 60;

/// The longest word that is compared with known words.
const LONGEST_WORD: usize = 40;

/// A range of bytes of one source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    /// The beginning of a file.
    pub(super) fn file(file: usize) -> Self {
        Self { file, start: 0, end: 0 }
    }
}

/// What is wrong with one value, said by a leaf that knows no places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The file is not TOML here.
    Syntax,
    /// Something should be there that is not; not believed in a file with syntax errors, which may have hidden it.
    Missing,
    Error,
    Warning,
}

/// One thing that is wrong, or dubious.
#[derive(Debug)]
pub(super) struct Finding {
    kind: Kind,
    place: Place,
    message: String,
    notes: Vec<(Place, String)>,
    help: Option<String>,
}

impl Finding {
    /// Adds another place that belongs to the problem.
    pub(super) fn note(&mut self, place: Place, message: impl Into<String>) -> &mut Self {
        self.notes.push((place, message.into()));
        self
    }

    /// Adds what to do about it.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}

/// A file as it was read.
#[derive(Debug)]
struct Source {
    /// The path as the user wrote it.
    name: String,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    /// False when there is no text to point into.
    readable: bool,
    /// Lines (from 0) with syntax errors: what else seems wrong there is not reported.
    broken_lines: BTreeSet<usize>,
    /// Where a bracket was opened that is never closed: nothing after it is believed.
    broken_from: Option<usize>,
}

impl Source {
    fn new(name: String, text: Option<String>) -> Self {
        let readable = text.is_some();
        let text = text.unwrap_or_default();
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(newline, _)| newline + 1));
        Self { name, text, lines, readable, broken_lines: BTreeSet::new(), broken_from: None }
    }

    /// The line of a byte, from 0.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The column of a byte in characters, from 0.
    fn column(&self, at: usize) -> usize {
        let start = self.lines.get(self.line(at)).copied().unwrap_or(0);
        self.text.get(start..at).map_or(0, |before| before.chars().count())
    }

    /// A line, without its end.
    fn text_of(&self, line: usize) -> &str {
        let start = self.lines.get(line).copied().unwrap_or(self.text.len());
        self.text[start..].lines().next().unwrap_or("").trim_end_matches('\r')
    }

    fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    fn believes(&self, finding: &Finding) -> bool {
        let broken = self.is_broken();
        match finding.kind {
            Kind::Syntax => true,
            Kind::Missing if broken => false,
            Kind::Missing | Kind::Error | Kind::Warning => {
                self.broken_from.is_none_or(|from| finding.place.start < from)
                    && (!broken || !self.broken_lines.contains(&self.line(finding.place.start)))
            }
        }
    }
}

/// Everything that was found in a configuration, and the files it was found in.
#[derive(Debug, Default)]
pub struct Report {
    sources: Vec<Source>,
    findings: Vec<Finding>,
}

impl Report {
    /// Whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind != Kind::Warning)
    }

    /// Each warning as one line, "FILE:LINE:COL: warning: …".
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.believed().into_iter().filter(|finding| finding.kind == Kind::Warning);
        warnings.map(|finding| self.headline(finding.place, "warning", &finding.message)).collect()
    }

    /// Each error as one line, "FILE:LINE:COL: error: …".
    pub fn errors(&self) -> Vec<String> {
        let errors = self.believed().into_iter().filter(|finding| finding.kind != Kind::Warning);
        errors.map(|finding| self.headline(finding.place, "error", &finding.message)).collect()
    }

    /// Takes in a file; its number is for [`Place::file`]. `None` stands for a file that cannot be read.
    pub(super) fn add_source(&mut self, name: String, text: Option<String>) -> usize {
        self.sources.push(Source::new(name, text));
        self.sources.len() - 1
    }

    /// Whether a file is not TOML everywhere, so that part of it may not have been seen.
    pub(super) fn is_broken(&self, file: usize) -> bool {
        self.sources.get(file).is_some_and(Source::is_broken)
    }

    /// The text of a file, as it was given to [`Self::add_source`].
    pub(super) fn text(&self, file: usize) -> &str {
        self.sources.get(file).map_or("", |source| &source.text)
    }

    /// The line of a place, from 0.
    pub(super) fn line(&self, place: Place) -> usize {
        self.sources.get(place.file).map_or(0, |source| source.line(place.start))
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        self.push(Kind::Error, place, message.into())
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        self.push(Kind::Warning, place, message.into())
    }

    /// An error about something that is absent.
    pub(super) fn missing(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        self.push(Kind::Missing, place, message.into())
    }

    /// An error of syntax: from now on nothing else on its line is believed.
    pub(super) fn syntax(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        if let Some(source) = self.sources.get_mut(place.file) {
            let line = source.line(place.start);
            source.broken_lines.insert(line);
        }
        self.push(Kind::Syntax, place, message.into())
    }

    /// From `place` on, nothing but syntax errors is believed of this file.
    pub(super) fn distrust_from(&mut self, place: Place) {
        if let Some(source) = self.sources.get_mut(place.file) {
            source.broken_from = Some(place.start);
        }
    }

    pub(super) fn complain(&mut self, place: Place, complaint: Complaint) -> &mut Finding {
        let finding = self.push(Kind::Error, place, complaint.message);
        finding.help = complaint.help;
        finding
    }

    /// The same about the same place is told once: a file may be read for more than one purpose.
    fn push(&mut self, kind: Kind, place: Place, message: String) -> &mut Finding {
        let told = |finding: &Finding| finding.place == place && finding.message == message;
        let recent = self.findings.len().saturating_sub(RECENT);
        if let Some(at) = self.findings[recent..].iter().position(told) {
            return &mut self.findings[recent + at];
        }
        self.findings.push(Finding { kind, place, message, notes: Vec::new(), help: None });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// The findings that are no mere consequence of a syntax error, in the order of the files.
    fn believed(&self) -> Vec<&Finding> {
        let believes = |finding: &&Finding| {
            self.sources.get(finding.place.file).is_none_or(|source| source.believes(finding))
        };
        let mut believed: Vec<&Finding> = self.findings.iter().filter(believes).collect();
        let missing = |finding: &Finding| finding.kind == Kind::Missing;
        believed.sort_by_key(|finding| (finding.place.file, finding.place.start, missing(finding)));
        believed
    }

    fn headline(&self, place: Place, severity: &str, message: &str) -> String {
        match self.sources.get(place.file) {
            Some(source) if source.readable => {
                let (line, column) = (source.line(place.start), source.column(place.start));
                format!("{}:{}:{}: {severity}: {message}", source.name, line + 1, column + 1)
            }
            Some(source) => format!("{}: {severity}: {message}", source.name),
            None => format!("{severity}: {message}"),
        }
    }

    /// The source line with carets under the range; as much of it as fits.
    fn excerpt(&self, place: Place, out: &mut String) -> fmt::Result {
        let Some(source) = self.sources.get(place.file) else { return Ok(()) };
        let line = source.text_of(source.line(place.start));
        if line.is_empty() || place == Place::file(place.file) {
            return Ok(());
        }
        let (number, column) = (source.line(place.start), source.column(place.start));
        let marked = source.text.get(place.start..place.end).unwrap_or("");
        let marked = marked.lines().next().unwrap_or("").trim_end_matches('\r').chars().count().max(1);
        let skipped = column.saturating_sub(BEFORE);
        let lead = if skipped > 0 { "…" } else { "" };
        let shown: String = line.chars().skip(skipped).take(WIDTH).map(printable).collect();
        let more = if line.chars().count() > skipped + WIDTH { "…" } else { "" };
        let carets = "^".repeat(marked.min(WIDTH.saturating_sub(column - skipped)).max(1));
        // The same tabs above and below keep the caret in its column.
        let pad: String =
            shown.chars().take(column - skipped).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let lead_pad = " ".repeat(lead.chars().count());
        let number = (number + 1).to_string();
        let gutter = " ".repeat(number.len());
        writeln!(out, " {number} | {lead}{shown}{more}")?;
        writeln!(out, " {gutter} | {lead_pad}{pad}{carets}")
    }

    fn write_finding(&self, finding: &Finding, out: &mut String) -> fmt::Result {
        let severity = if finding.kind == Kind::Warning { "warning" } else { "error" };
        writeln!(out, "{}", self.headline(finding.place, severity, &finding.message))?;
        self.excerpt(finding.place, out)?;
        for (place, message) in &finding.notes {
            writeln!(out, "{}", self.headline(*place, "note", message))?;
            self.excerpt(*place, out)?;
        }
        match &finding.help {
            Some(help) => writeln!(out, "help: {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    /// Every problem in full and a last line with their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let believed = self.believed();
        let mut out = String::new();
        for finding in believed.iter().take(SHOWN) {
            self.write_finding(finding, &mut out)?;
        }
        if believed.len() > SHOWN {
            writeln!(out, "… and {} more", believed.len() - SHOWN)?;
        }
        let warnings = believed.iter().filter(|finding| finding.kind == Kind::Warning).count();
        let errors = believed.len() - warnings;
        match (errors, warnings) {
            (0, 0) => {}
            (0, _) => writeln!(out, "{}", counted(warnings, "warning"))?,
            (_, 0) => writeln!(out, "{}", counted(errors, "error"))?,
            _ => writeln!(out, "{}, {}", counted(errors, "error"), counted(warnings, "warning"))?,
        }
        f.write_str(&out)
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A character as it may reach a terminal.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

/// The word among `known` that `word` is most likely a slip of, if one is near.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let normal: String =
        word.chars().take(LONGEST_WORD + 1).collect::<String>().to_lowercase().replace('-', "_");
    let length = normal.chars().count();
    if length > LONGEST_WORD {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    let ranked = known.into_iter().map(|candidate| (distance(&normal, candidate), candidate));
    ranked
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many single-character edits, or swaps of neighbours, lie between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.add_source("t.conf".into(), Some(text.into()));
        report
    }

    #[test]
    fn a_finding_shows_its_line_with_carets_under_the_range() {
        let mut report = report("a = 1\nbb = \"é\" # x\nc = 3\n");
        report.error(Place { file: 0, start: 11, end: 15 }, "bad").help("try c");
        let expected = "t.conf:2:6: error: bad\n 2 | bb = \"é\" # x\n   |      ^^^\nhelp: try c\n1 error\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn columns_count_characters_and_tabs_stay_tabs() {
        let mut report = report("\té = x\r\n");
        report.error(Place { file: 0, start: 6, end: 7 }, "bad");
        assert_eq!(report.to_string(), "t.conf:1:6: error: bad\n 1 | \té = x\n   | \t    ^\n1 error\n");
    }

    #[test]
    fn findings_come_in_the_order_of_the_file_and_notes_name_the_other_place() {
        let mut report = report("a\nb\n");
        report
            .error(Place { file: 0, start: 2, end: 3 }, "second")
            .note(Place { file: 0, start: 0, end: 1 }, "see");
        report.warning(Place { file: 0, start: 0, end: 1 }, "first");
        let text = report.to_string();
        let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
        let expected = [
            "t.conf:1:1: warning: first",
            "t.conf:2:1: error: second",
            "t.conf:1:1: note: see",
            "1 error, 1 warning",
        ];
        assert_eq!(heads, expected);
        assert_eq!(report.warnings(), ["t.conf:1:1: warning: first"]);
    }

    #[test]
    fn what_follows_from_a_syntax_error_is_not_reported() {
        let mut report = report("a\nb\nc\nd\n");
        let at = |start| Place { file: 0, start, end: start + 1 };
        report.syntax(at(2), "not TOML");
        report.error(at(2), "same line");
        report.missing(at(0), "no c");
        report.error(at(0), "other line");
        report.distrust_from(at(4));
        report.error(at(6), "after the break");
        let text = report.to_string();
        assert!(text.contains("not TOML") && text.contains("other line"), "{text}");
        assert!(text.ends_with("2 errors\n"), "{text}");
    }

    #[test]
    fn ranges_outside_the_text_or_inside_a_character_do_no_harm() {
        for (start, end) in [(0, 900), (1, 2), (900, 901), (4, 2)] {
            let mut report = report("é\n");
            report.error(Place { file: 0, start, end }, "x");
            assert!(report.to_string().starts_with("t.conf:"), "{start}..{end}");
        }
        let mut lost = Report::default();
        lost.error(Place::file(7), "x");
        assert_eq!(lost.to_string(), "error: x\n1 error\n");
    }

    #[test]
    fn long_lines_and_long_lists_are_cut() {
        let mut report = report(&format!("{}X{}\u{1b}", "a".repeat(5000), "b".repeat(5000)));
        for number in 0..SHOWN + 5 {
            report.error(Place { file: 0, start: 5000, end: 9000 }, format!("x {number}"));
            report.error(Place { file: 0, start: 5000, end: 9000 }, format!("x {number}"));
        }
        let text = report.to_string();
        assert!(text.lines().all(|line| line.chars().count() < 160), "a line is too long");
        assert!(text.contains("… and 5 more\n105 errors\n"));
        let mut lines = text.lines().skip(1);
        let (source, caret) = (lines.next().unwrap(), lines.next().unwrap());
        let column = caret.chars().position(|c| c == '^').unwrap();
        assert_eq!(source.chars().nth(column), Some('X'));
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["accept", "connect", "timeout", "idle"];
        for (word, right) in [
            ("acept", Some("accept")),
            ("Accept", Some("accept")),
            ("time-out", Some("timeout")),
            ("idel", Some("idle")),
            ("conect", Some("connect")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), right, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), known), None);
    }

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (a, b, edits) in
            [("", "", 0), ("a", "", 1), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }
}
