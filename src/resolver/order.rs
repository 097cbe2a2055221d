// SPDX-License-Identifier: MIT OR Apache-2.0
//! In which order the addresses of a host are tried (RFC 8305 section 4): the two families take turns, each in the order
//! of the answer.
//!
//! Which family begins is a rule simpler than RFC 6724: IPv6, where this machine has an address and a route for the first
//! IPv6 address of the answer; else IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// `addresses`, each once, in turns; `prefers_v6` is asked about the first of IPv6, if there are both.
pub(super) fn interleave(
    addresses: impl Iterator<Item = IpAddr>,
    prefers_v6: impl Fn(IpAddr) -> bool,
) -> Vec<IpAddr> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv4() { &mut v4 } else { &mut v6 };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let (Some(first), false) = (v6.first(), v4.is_empty()) else {
        v6.append(&mut v4);
        return v6;
    };
    let (first, second) = if prefers_v6(*first) { (v6, v4) } else { (v4, v6) };
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        turns.extend([first.next(), second.next()].into_iter().flatten());
    }
    turns
}

/// Whether the kernel knows a way to `address`. Nothing is sent.
pub(super) fn prefers_v6(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 9))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ordered = |text: &str, v6: bool| {
            let all = text.split(' ').map(|it| it.parse().unwrap());
            interleave(all, |_| v6).iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
        };
        for (answer, v6, expected) in [
            ("192.0.2.1 192.0.2.2 192.0.2.3 2001:db8::1", true, "2001:db8::1 192.0.2.1 192.0.2.2 192.0.2.3"),
            ("192.0.2.1 2001:db8::1 2001:db8::2 192.0.2.1", false, "192.0.2.1 2001:db8::1 2001:db8::2"),
            ("192.0.2.1 192.0.2.2", true, "192.0.2.1 192.0.2.2"),
            ("2001:db8::1", false, "2001:db8::1"),
        ] {
            assert_eq!(ordered(answer, v6), expected, "{answer}");
        }
        assert!(interleave(std::iter::empty(), |_| true).is_empty());
    }

    #[test]
    fn there_is_a_way_to_this_machine() {
        assert!(prefers_v6(Ipv4Addr::LOCALHOST.into()));
    }
}
