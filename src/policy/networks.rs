// SPDX-License-Identifier: MIT OR Apache-2.0
//! A set of networks ("10.0.0.0/8", "2001:db8::/32"), looked up by binary search.
//!
//! Networks overlap, so they are cut into stretches of addresses that begin where another longest prefix begins: one search
//! among these answers both whether an address is in the set and how specific the best network is, whatever their number.
//! IPv4 and IPv6 are kept apart; what is mapped (::ffff:192.0.2.1, RFC 4291 section 2.5.5.2) is IPv4, on either side of the
//! comparison.
//!
//! Not here: how networks are written (config/networks.rs).

use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// Networks, immutable. An address that is mapped (::ffff:192.0.2.1) counts as what it stands for; `::/0` has no IPv4
/// address.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// As configured, for dumps.
    written: Box<[IpNet]>,
    v4: Stretches<u32>,
    v6: Stretches<u128>,
}

impl Networks {
    /// The set of `networks`; bits beyond a prefix are ignored.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let written: Box<[IpNet]> = networks.into_iter().collect();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &written {
            match unmapped(*network) {
                IpNet::V4(net) => v4.push(Span {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    length: net.prefix_len(),
                }),
                IpNet::V6(net) => v6.push(Span {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    length: net.prefix_len(),
                }),
            }
        }
        Self {
            written,
            v4: Stretches::new(v4, |last| last.checked_add(1)),
            v6: Stretches::new(v6, |last| last.checked_add(1)),
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.longest(address).is_some()
    }

    /// The length of the longest prefix that has `address`; the shorter a match, the less specific.
    pub fn longest(&self, address: IpAddr) -> Option<u8> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }

    /// As written.
    pub fn written(&self) -> &[IpNet] {
        &self.written
    }
}

/// One network, by its addresses as numbers.
#[derive(Clone, Copy, Debug)]
struct Span<T> {
    first: T,
    last: T,
    length: u8,
}

/// Where along all addresses the longest prefix changes: from each address on, until the next, it is as long as stands
/// there. Ascending; before the first there is none.
#[derive(Clone, Debug)]
struct Stretches<T>(Box<[(T, Option<u8>)]>);

impl<T> Default for Stretches<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Copy + Ord> Stretches<T> {
    /// Cuts `spans`, of which any two are nested or apart, as prefixes always are. `after` is the next address.
    fn new(mut spans: Vec<Span<T>>, after: impl Fn(T) -> Option<T>) -> Self {
        // Those outside come before those inside them.
        spans.sort_unstable_by_key(|span| (span.first, span.length));
        let mut stretches = Vec::with_capacity(2 * spans.len());
        let mut open: Vec<Span<T>> = Vec::new(); // at most one of each length
        for span in spans {
            close(&mut open, Some(span.first), &mut stretches, &after);
            cut(&mut stretches, span.first, Some(span.length));
            open.push(span);
        }
        close(&mut open, None, &mut stretches, &after);
        Self(stretches.into())
    }

    fn find(&self, address: T) -> Option<u8> {
        let behind = self.0.partition_point(|(from, _)| *from <= address);
        self.0.get(behind.checked_sub(1)?)?.1
    }
}

/// Ends the networks that end before `until`, innermost first: behind each, what is around it goes on.
fn close<T: Copy + Ord>(
    open: &mut Vec<Span<T>>,
    until: Option<T>,
    stretches: &mut Vec<(T, Option<u8>)>,
    after: impl Fn(T) -> Option<T>,
) {
    let ends = |span: &Span<T>| until.is_none_or(|until| span.last < until);
    while let Some(ended) = open.last().copied().filter(ends) {
        open.pop();
        if let Some(from) = after(ended.last) {
            cut(stretches, from, open.last().map(|around| around.length));
        }
    }
}

/// From `from` on the longest prefix is `length`. A later cut at one address replaces an earlier one.
fn cut<T: Copy + Ord>(stretches: &mut Vec<(T, Option<u8>)>, from: T, length: Option<u8>) {
    while stretches.last().is_some_and(|(last, _)| *last >= from) {
        stretches.pop();
    }
    if stretches.last().map(|(_, last)| *last) != Some(length) {
        stretches.push((from, length));
    }
}

/// How many bits of a mapped address stand in front of the IPv4 address.
const MAPPED_BITS: u8 = 96;

/// An IPv4 network that is written in IPv6's mapped form, in its own.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let length = v6.prefix_len().checked_sub(MAPPED_BITS);
    let (Some(address), Some(length)) = (v6.network().to_ipv4_mapped(), length) else { return network };
    Ipv4Net::new(address, length).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn set(written: &[&str]) -> Networks {
        Networks::new(written.iter().map(|net| net.parse::<IpNet>().unwrap()))
    }

    fn longest(networks: &Networks, address: &str) -> Option<u8> {
        networks.longest(address.parse().unwrap())
    }

    #[test]
    fn the_longest_prefix_wins_and_what_is_around_goes_on_behind_it() {
        let nets = set(&["10.0.0.0/8", "10.1.0.0/16", "10.1.255.0/24", "10.2.0.0/16", "192.0.2.7/32"]);
        for (address, length) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(8)),
            ("10.1.0.0", Some(16)),
            ("10.1.254.255", Some(16)),
            ("10.1.255.255", Some(24)),
            ("10.2.0.0", Some(16)),
            ("10.3.0.0", Some(8)),
            ("10.255.255.255", Some(8)),
            ("11.0.0.0", None),
            ("192.0.2.6", None),
            ("192.0.2.7", Some(32)),
            ("192.0.2.8", None),
            ("::a00:1", None),
        ] {
            assert_eq!(longest(&nets, address), length, "{address}");
        }
        assert_eq!(nets.written().len(), 5);
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_special_case() {
        let nets = set(&["0.0.0.0/0", "255.255.255.255/32", "::/0", "ffff::/16"]);
        for (address, length) in
            [("0.0.0.0", 0), ("255.255.255.254", 0), ("255.255.255.255", 32), ("::", 0), ("ffff::1", 16)]
        {
            assert_eq!(longest(&nets, address), Some(length), "{address}");
        }
        assert_eq!(longest(&set(&[]), "0.0.0.0"), None);
        assert_eq!(longest(&set(&["255.0.0.0/8"]), "::"), None);
    }

    #[test]
    fn a_mapped_address_or_network_is_ipv4() {
        let nets = set(&["192.0.2.0/24"]);
        assert_eq!(longest(&nets, "::ffff:192.0.2.1"), Some(24));
        assert_eq!(longest(&set(&["::ffff:192.0.2.0/120"]), "192.0.2.1"), Some(24));
        assert_eq!(longest(&set(&["::/0"]), "192.0.2.1"), None);
        assert_eq!(longest(&set(&["::/0"]), "::ffff:192.0.2.1"), None);
    }

    #[test]
    fn bits_beyond_a_prefix_and_duplicates_do_not_matter() {
        let nets = set(&["10.1.2.3/8", "10.0.0.0/8", "10.0.0.0/8"]);
        assert_eq!(longest(&nets, "10.255.0.1"), Some(8));
        assert_eq!(longest(&nets, "11.0.0.1"), None);
    }

    /// A generator of its own: the tests depend on no crate for it (Vigna's splitmix64).
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn low(bits: u64) -> u32 {
        u32::try_from(bits & 0xffff_ffff).unwrap()
    }

    #[test]
    fn random_sets_answer_as_a_walk_over_all_networks_does() {
        let mut state = 1;
        for _ in 0..300 {
            // Few bits, so that networks nest, touch and coincide.
            let count = random(&mut state) % 12;
            let written: Vec<IpNet> = (0..count)
                .flat_map(|_| {
                    let (bits, length) = (random(&mut state), random(&mut state));
                    let v4 = Ipv4Addr::from_bits(low(bits) & 0xff00_0003);
                    let v6 = Ipv6Addr::from_bits(u128::from(bits & 3) | u128::from(bits & 0xf0) << 120);
                    [
                        IpNet::new(v4.into(), (length % 33) as u8).unwrap(),
                        IpNet::new(v6.into(), (length % 129) as u8).unwrap(),
                    ]
                })
                .collect();
            let nets = Networks::new(written.iter().copied());
            for _ in 0..100 {
                let bits = random(&mut state);
                for address in [
                    IpAddr::from(Ipv4Addr::from_bits(low(bits) & 0xff00_0007)),
                    IpAddr::from(Ipv6Addr::from_bits(u128::from(bits & 7) | u128::from(bits & 0xf0) << 120)),
                ] {
                    let expected =
                        written.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max();
                    assert_eq!(nets.longest(address), expected, "{address} in {written:?}");
                }
            }
        }
    }

    #[test]
    fn a_hundred_thousand_networks_take_few_steps() {
        let many = (0..100_000).map(|number| {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + number * 2);
            IpNet::new(address.into(), 32).unwrap()
        });
        let nets = Networks::new(many.chain(["10.0.0.0/8".parse().unwrap()]));
        assert_eq!(longest(&nets, "10.0.0.2"), Some(32));
        assert_eq!(longest(&nets, "10.0.0.3"), Some(8));
        // Twice as many stretches as networks: the search takes 18 steps.
        assert!(nets.v4.0.len() <= 200_002, "{}", nets.v4.0.len());
    }
}
