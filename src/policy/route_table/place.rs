// SPDX-License-Identifier: MIT OR Apache-2.0
//! The routes at one place of the table, which differ in their further conditions: from where, with which protocols.
//!
//! Invariant: for each prefix of an address, and for none, a protocol leads to one route, and no protocol to one.

use super::{Match, Query, Tie};
use ipnet::{IpNet, Ipv4Net};
use std::collections::HashMap;
use std::net::IpAddr;

/// Routes for one name, or without one.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Routes with `source`; most places have none.
    by_source: Option<Box<BySource>>,
    anywhere: Choice,
}

#[derive(Debug, Default)]
struct BySource {
    networks: HashMap<IpNet, Choice>,
    /// The lengths of prefixes there are, by family, the longest first: so many lookups does an address take at most.
    v4_lengths: Vec<u8>,
    v6_lengths: Vec<u8>,
}

/// Routes that differ by protocol only.
#[derive(Debug, Default)]
struct Choice {
    /// Sorted.
    protocols: Vec<(Box<[u8]>, u32)>,
    any: Option<u32>,
}

impl Place {
    /// Adds `route` with its conditions; `what` names the place, followed by the conditions it is given.
    pub(super) fn insert(
        &mut self,
        number: usize,
        route: &Match,
        what: impl Fn(&str) -> String,
        ties: &mut Vec<Tie>,
    ) {
        let Ok(short) = u32::try_from(number) else { return };
        let mut tie = |first: u32, also: &str| {
            let tie = Tie { first: first as usize, second: number, what: what(also) };
            // A route may name a thing twice; of its ties there are few.
            if !ties.iter().rev().take_while(|known| known.second == number).any(|known| *known == tie) {
                ties.push(tie);
            }
        };
        let Some(source) = &route.source else {
            self.anywhere.insert(short, &route.alpn, |first, also| tie(first, also));
            return;
        };
        let by_source = self.by_source.get_or_insert_default();
        for network in source.written() {
            let network = canonical(*network);
            let lengths = match network {
                IpNet::V4(_) => &mut by_source.v4_lengths,
                IpNet::V6(_) => &mut by_source.v6_lengths,
            };
            let length = network.prefix_len();
            if let Err(at) = lengths.binary_search_by(|known| length.cmp(known)) {
                lengths.insert(at, length);
            }
            let choice = by_source.networks.entry(network).or_default();
            choice.insert(short, &route.alpn, |first, also| tie(first, &format!(" from {network}{also}")));
        }
    }

    /// The route that takes a client whose address is canonical.
    pub(super) fn find(&self, query: &Query<'_>) -> Option<usize> {
        let near = self.by_source.as_ref().zip(query.source);
        near.and_then(|(by_source, address)| by_source.find(address, query.alpn))
            .or_else(|| self.anywhere.find(query.alpn))
            .map(|number| number as usize)
    }
}

impl BySource {
    fn find(&self, address: IpAddr, offered: &[Box<[u8]>]) -> Option<u32> {
        let lengths = if address.is_ipv4() { &self.v4_lengths } else { &self.v6_lengths };
        lengths.iter().find_map(|length| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            self.networks.get(&network)?.find(offered)
        })
    }
}

impl Choice {
    /// Adds a route; `tie` is told of one that is there already, and with which protocol.
    fn insert(&mut self, number: u32, alpn: &[Box<[u8]>], mut tie: impl FnMut(u32, &str)) {
        if alpn.is_empty() {
            match *self.any.get_or_insert(number) {
                first if first != number => tie(first, ""),
                _ => {}
            }
        }
        for protocol in alpn {
            match self.protocols.binary_search_by(|(known, _)| known.cmp(protocol)) {
                Ok(at) if self.protocols[at].1 != number => {
                    tie(self.protocols[at].1, &format!(" with the protocol \"{}\"", protocol.escape_ascii()));
                }
                Ok(_) => {}
                Err(at) => self.protocols.insert(at, (protocol.clone(), number)),
            }
        }
    }

    fn find(&self, offered: &[Box<[u8]>]) -> Option<u32> {
        let known = |protocol: &[u8]| {
            let at = self.protocols.binary_search_by(|(known, _)| (**known).cmp(protocol)).ok()?;
            self.protocols.get(at).map(|(_, number)| *number)
        };
        offered.iter().find_map(|protocol| known(protocol)).or(self.any)
    }
}

/// `network` without bits behind its prefix, one of mapped addresses (::ffff:0:0/96) as what they stand for.
pub(super) fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}
