// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names that rules and routes are for (`sni`, `host` and their `_regex`), and the names that rules and routes have
//! themselves.
//!
//! Not here: what a pattern matches (`policy/hostname.rs`).

use super::raw::{At, Fields, Node};
use super::report::{Complaint, Place, Report};
use super::settings::NameList;
use crate::policy::hostname::Pattern;
use std::collections::{HashMap, HashSet};

/// The longest name of a service, a rule or a route; it stands in log lines.
pub(super) const NAME_MAX: usize = 64;

/// Reads a list of names and one of regular expressions, either of which may be absent.
pub(super) fn check_names(
    fields: Fields<'_>,
    names: &'static str,
    regexes: &'static str,
    report: &mut Report,
) -> NameList {
    let mut list = NameList::default();
    if let Some(node) = fields.get(names) {
        list.names = check_list(node, Pattern::name, &mut list.patterns, report);
    }
    if let Some(node) = fields.get(regexes) {
        list.regexes = check_list(node, Pattern::regex, &mut list.patterns, report);
    }
    list
}

/// Reads a list of names that may be absent.
pub(super) fn check_patterns(fields: Fields<'_>, names: &'static str, report: &mut Report) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    if let Some(node) = fields.get(names) {
        check_list(node, Pattern::name, &mut patterns, report);
    }
    patterns
}

fn check_list(
    node: Node<'_>,
    parse: fn(&str) -> Result<Pattern, String>,
    patterns: &mut Vec<Pattern>,
    report: &mut Report,
) -> Vec<At<String>> {
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    for text in node.strings(report) {
        if text.value.is_empty() {
            report.error(text.place, format!("`{}` must not be empty", node.key));
            continue;
        }
        match parse(text.value) {
            Ok(pattern) if seen.insert(pattern.to_string()) => {
                patterns.push(pattern);
                list.push(At { value: text.value.to_owned(), place: text.place });
            }
            Ok(_) => {
                report.error(text.place, format!("{:?} stands in `{}` twice", text.value, node.key));
            }
            Err(reason) => {
                report.complain(text.place, Complaint::new(reason));
            }
        }
    }
    list
}

/// Whether `name` may be what a service, a rule or a route is called.
pub(super) fn is_name(name: &str, more: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c);
    (1..=NAME_MAX).contains(&name.len()) && name.chars().all(good)
}

/// The names of the rules, or of the routes, of one service: all different, those that were not written counted.
#[derive(Debug)]
pub(super) struct Labels<'t> {
    /// What is named: "rule" or "route".
    what: &'static str,
    written: HashMap<&'t str, Place>,
    defaults: HashSet<String>,
}

/// What rules and routes may be called beside letters and digits: a name they are for is their default name.
const MORE: &str = "*";

impl<'t> Labels<'t> {
    /// Takes in what is written in all `tables`, so that no default takes a name that is written further down.
    pub(super) fn read(what: &'static str, tables: &[Fields<'t>], report: &mut Report) -> Self {
        let mut written: HashMap<&'t str, Place> = HashMap::new();
        for name in tables.iter().filter_map(|fields| fields.get("name")) {
            let Some(name) = name.string(report) else { continue };
            if !is_name(name.value, MORE) {
                let message = format!("{:?} cannot be the name of a {what}", name.value);
                report.error(name.place, message).help(format!(
                    "up to {NAME_MAX} letters, digits, `-`, `_`, `.` and `*`: it stands in logs"
                ));
            } else if let Some(first) = written.get(name.value) {
                let message = format!("a second {what} with the name {:?} in this service", name.value);
                report.error(name.place, message).note(*first, "the first is here");
            } else {
                written.insert(name.value, name.place);
            }
        }
        Self { what, written, defaults: HashSet::new() }
    }

    /// The name of the table at `index` (from 0): as written, else `wanted`, else "rule-1" and so on.
    pub(super) fn of(&mut self, index: usize, fields: Fields<'t>, wanted: Option<&str>) -> String {
        if let Some(name) = fields.get("name").and_then(|node| node.as_str()) {
            return name.to_owned();
        }
        let counted = (index + 1..).map(|number| format!("{}-{number}", self.what));
        let wanted = wanted.filter(|name| is_name(name, MORE)).map(str::to_owned);
        let free = |name: &String| !self.written.contains_key(name.as_str()) && !self.defaults.contains(name);
        let name = wanted.into_iter().chain(counted).find(free).unwrap_or_default();
        self.defaults.insert(name.clone());
        name
    }
}
