// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a client asks for to the number of a route: most specific first.
//!
//! Order: exact name, longest suffix, regular expression (in the order of the file), routes without names, fallback. Among
//! those of one name: the longest `source` prefix, then those with `alpn` (of the client's protocols the first that any
//! of them names), then those without. Where none of a name's routes takes the client, the next less specific name is
//! asked; a client whose name has routes, none of which takes it, counts as one of unknown name.
//!
//! Invariants: no two routes take the same client at the same place, or the table was not built; a lookup allocates
//! nothing and takes as many steps as the name has labels, whatever the number of routes; expressions alone are tried
//! one by one, and only where no name matched.
//!
//! Not here: what a name is (hostname.rs), and where a client's name comes from.

use super::hostname::{Pattern, suffixes};
use super::networks::Networks;
use place::{Place, canonical};
use std::collections::HashMap;
use std::net::IpAddr;

mod place;
#[cfg(test)]
mod tests;

/// What one route takes.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Any of these; empty: any client, whatever name it asks for, unless there is a `fallback`.
    pub names: Vec<Pattern>,
    /// Offers any of these; empty: no matter.
    pub alpn: Vec<Box<[u8]>>,
    pub source: Option<Networks>,
    pub fallback: Fallback,
}

/// Which clients a route takes beyond its names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    pub no_name: bool,
    pub unknown_name: bool,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Normalised.
    pub name: Option<&'a str>,
    /// In the client's order.
    pub alpn: &'a [Box<[u8]>],
    pub source: Option<IpAddr>,
}

/// Why no route takes a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    NoName,
    /// No route has its name, or none that has it takes this client.
    UnknownName,
}

/// Two routes that would take the same client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    pub first: usize,
    pub second: usize,
    /// What both have, as written: `"a.example.org"`, `fallback "no-name"`, …
    pub what: String,
}

/// The table.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, Place>,
    /// By what follows the `*.`.
    suffix: HashMap<Box<str>, Place>,
    regex: Vec<(Pattern, Place)>,
    /// Routes that take clients whatever their name.
    nameless: Place,
    no_name: Place,
    unknown_name: Place,
    /// What it was built of, for explanations.
    matches: Box<[Match]>,
}

impl RouteTable {
    /// Builds the table of `matches`, by their places.
    ///
    /// # Errors
    /// Every tie.
    pub fn build(matches: &[Match]) -> Result<Self, Vec<Tie>> {
        let mut table = Self { matches: matches.into(), ..Self::default() };
        let mut ties = Vec::new();
        let mut texts = HashMap::new();
        for (number, route) in matches.iter().enumerate() {
            for pattern in &route.names {
                let place = match pattern {
                    Pattern::Exact(name) => table.exact.entry(name.clone()).or_default(),
                    Pattern::Suffix(suffix) => table.suffix.entry(suffix.clone()).or_default(),
                    Pattern::Regex(_) => {
                        let at = *texts.entry(pattern.to_string()).or_insert(table.regex.len());
                        if at == table.regex.len() {
                            table.regex.push((pattern.clone(), Place::default()));
                        }
                        &mut table.regex[at].1
                    }
                };
                place.insert(number, route, |also| format!("\"{pattern}\"{also}"), &mut ties);
            }
            let Fallback { no_name, unknown_name } = route.fallback;
            if no_name {
                let what = |also: &str| format!("fallback \"no-name\"{also}");
                table.no_name.insert(number, route, what, &mut ties);
            }
            if unknown_name {
                let what = |also: &str| format!("fallback \"unknown-name\"{also}");
                table.unknown_name.insert(number, route, what, &mut ties);
            }
            if route.takes_any_name() {
                table.nameless.insert(number, route, |also| format!("any name{also}"), &mut ties);
            }
        }
        if ties.is_empty() { Ok(table) } else { Err(ties) }
    }

    /// What the route of that number takes.
    pub fn taken(&self, route: usize) -> Option<&Match> {
        self.matches.get(route)
    }

    /// The route for a client.
    ///
    /// # Errors
    /// That there is none.
    pub fn find(&self, query: &Query<'_>) -> Result<usize, Miss> {
        let query = &Query { source: query.source.map(|address| address.to_canonical()), ..*query };
        let by_name = query.name.and_then(|name| self.find_named(name, query));
        by_name.or_else(|| self.nameless.find(query)).map_or_else(
            || match query.name {
                Some(_) => self.unknown_name.find(query).ok_or(Miss::UnknownName),
                None => self.no_name.find(query).ok_or(Miss::NoName),
            },
            Ok,
        )
    }

    fn find_named(&self, name: &str, query: &Query<'_>) -> Option<usize> {
        let exact = self.exact.get(name).and_then(|place| place.find(query));
        let suffix = || suffixes(name).find_map(|suffix| self.suffix.get(suffix)?.find(query));
        let regex = || {
            let mut matching = self.regex.iter().filter(|(pattern, _)| pattern.matches(name));
            matching.find_map(|(_, place)| place.find(query))
        };
        exact.or_else(suffix).or_else(regex)
    }

    /// Why the routes that do not take a client do not, by their places, at most `most` of them. Linear: for people.
    pub fn explain(&self, query: &Query<'_>, most: usize) -> Vec<(usize, String)> {
        let found = self.find(query).ok();
        let others = self.matches.iter().enumerate().filter(|(number, _)| Some(*number) != found);
        others.take(most).map(|(number, route)| (number, route.refuses(query))).collect()
    }
}

impl Match {
    /// Whether a client's name is no matter to it. One with a fallback is for those that the fallback names.
    fn takes_any_name(&self) -> bool {
        self.names.is_empty() && self.fallback == Fallback::default()
    }

    /// Why it does not take a client; that another is more specific, if there is no reason of its own.
    fn refuses(&self, query: &Query<'_>) -> String {
        let named = query.name.is_some_and(|name| self.names.iter().any(|pattern| pattern.matches(name)));
        let fallback = match query.name {
            Some(_) => self.fallback.unknown_name,
            None => self.fallback.no_name,
        };
        if !named && !fallback && !self.takes_any_name() {
            return match query.name {
                Some(_) if self.names.is_empty() => "it is for clients without a name".to_owned(),
                Some(name) => format!("it does not have the name {name:?}"),
                None => "the client asks for no name".to_owned(),
            };
        }
        if !self.alpn.is_empty() && !self.alpn.iter().any(|protocol| query.alpn.contains(protocol)) {
            return "the client offers none of its protocols".to_owned();
        }
        match (&self.source, query.source) {
            (Some(_), None) => "it is for certain networks, and the client has no IP address".to_owned(),
            (Some(networks), Some(address)) if !is_from(networks, address) => {
                format!("{address} is in none of its networks")
            }
            _ => "another route is more specific".to_owned(),
        }
    }
}

fn is_from(networks: &Networks, address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.written().iter().any(|network| canonical(*network).contains(&address))
}
