// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which certificates answer for which name: exact names and `*.suffix`, grouped so that certificates of different
//! key types for one name are offered together.
//!
//! Invariants: names are lower case without a trailing dot; an exact name beats a wildcard; of two certificates of one
//! key type for one name the one configured first wins; group 0 is the default.
//!
//! Not here: certificates (certificate.rs) and TLS contexts (tls_server.rs); this file knows only their numbers.

use std::collections::HashMap;

/// What the table needs to know of one certificate.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    /// Certificates of different kinds may be offered side by side; the number itself means nothing here.
    pub(super) kind: i32,
    /// Normalised names and `*.suffix` patterns.
    pub(super) names: &'a [Box<str>],
}

/// From a name to the number of a group.
#[derive(Debug)]
pub(super) struct NameTable {
    exact: HashMap<Box<str>, usize>,
    /// By what follows the `*.`.
    wildcard: HashMap<Box<str>, usize>,
}

impl NameTable {
    /// Groups `candidates` (at least one). The groups are lists of their numbers; group 0, the default, is the first
    /// candidate together with those of other kinds for exactly the same names.
    pub(super) fn build(candidates: &[Candidate<'_>]) -> (Self, Vec<Vec<usize>>) {
        let mut groups = vec![default_group(candidates)];
        let mut table = Self { exact: HashMap::new(), wildcard: HashMap::new() };
        for name in candidates.iter().flat_map(|candidate| candidate.names) {
            let group = members(candidates, |candidate| candidate.names.contains(name));
            let number = groups.iter().position(|known| *known == group).unwrap_or_else(|| {
                groups.push(group);
                groups.len() - 1
            });
            match name.strip_prefix("*.") {
                Some(suffix) => table.wildcard.insert(suffix.into(), number),
                None => table.exact.insert(name.clone(), number),
            };
        }
        (table, groups)
    }

    /// The group for a normalised name: exact, else by wildcard (exactly one label), else none.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        if let Some(group) = self.exact.get(name) {
            return Some(*group);
        }
        let (label, suffix) = name.split_once('.')?;
        if label.is_empty() {
            return None;
        }
        self.wildcard.get(suffix).copied()
    }
}

/// The first candidate of each kind among those that `belongs` accepts.
fn members(candidates: &[Candidate<'_>], belongs: impl Fn(&Candidate<'_>) -> bool) -> Vec<usize> {
    let mut group: Vec<usize> = Vec::new();
    for (number, candidate) in candidates.iter().enumerate() {
        let taken = group.iter().any(|other| candidates[*other].kind == candidate.kind);
        if !taken && belongs(candidate) {
            group.push(number);
        }
    }
    group
}

fn default_group(candidates: &[Candidate<'_>]) -> Vec<usize> {
    let same =
        |a: &[Box<str>], b: &[Box<str>]| a.iter().all(|n| b.contains(n)) && b.iter().all(|n| a.contains(n));
    members(candidates, |candidate| same(candidate.names, candidates[0].names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(certificates: &[(i32, &[&str])]) -> (NameTable, Vec<Vec<usize>>) {
        let names: Vec<Vec<Box<str>>> =
            certificates.iter().map(|(_, names)| names.iter().map(|n| (*n).into()).collect()).collect();
        let candidates: Vec<_> = certificates
            .iter()
            .zip(&names)
            .map(|((kind, _), names)| Candidate { kind: *kind, names })
            .collect();
        NameTable::build(&candidates)
    }

    #[test]
    fn one_name_with_two_kinds_is_one_group_and_the_default() {
        let (table, groups) = build(&[(1, &["a.test"]), (2, &["a.test"])]);
        assert_eq!(groups, [[0, 1]]);
        assert_eq!(table.find("a.test"), Some(0));
    }

    #[test]
    fn different_names_are_different_groups() {
        let (table, groups) = build(&[(1, &["a.test"]), (1, &["b.test"]), (2, &["b.test", "c.test"])]);
        assert_eq!(table.find("a.test").map(|g| &*groups[g]), Some(&[0][..]));
        assert_eq!(table.find("b.test").map(|g| &*groups[g]), Some(&[1, 2][..]));
        assert_eq!(table.find("c.test").map(|g| &*groups[g]), Some(&[2][..]));
        assert_eq!(table.find("d.test"), None);
        assert_eq!(groups[0], [0]);
    }

    #[test]
    fn of_one_kind_the_first_configured_wins() {
        let (table, groups) = build(&[(1, &["a.test"]), (1, &["a.test"])]);
        assert_eq!(table.find("a.test").map(|g| &*groups[g]), Some(&[0][..]));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let (table, _) = build(&[(1, &["x.test"]), (1, &["*.b.test"])]);
        assert_eq!(table.find("a.b.test"), Some(1));
        for other in ["b.test", "a.a.b.test", ".b.test", "a.c.test", "*.b.tes", ""] {
            assert_eq!(table.find(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_exact_name_beats_a_wildcard_whatever_the_order() {
        let (table, groups) = build(&[(1, &["*.test"]), (1, &["a.test"])]);
        assert_eq!(table.find("a.test").map(|g| &*groups[g]), Some(&[1][..]));
        assert_eq!(table.find("b.test").map(|g| &*groups[g]), Some(&[0][..]));
    }

    #[test]
    fn certificates_without_names_still_make_a_default() {
        let (table, groups) = build(&[(1, &[]), (2, &[]), (2, &["a.test"])]);
        assert_eq!(groups[0], [0, 1]);
        assert_eq!(table.find("a.test").map(|g| &*groups[g]), Some(&[2][..]));
    }
}
