// SPDX-License-Identifier: MIT OR Apache-2.0
//! A set of networks ("10.0.0.0/8", "2001:db8::/32"), looked up by binary search.

use ipnet::IpNet;
use std::net::IpAddr;

/// Networks, immutable. An address that is mapped (::ffff:192.0.2.1) counts as what it stands for.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    /// As configured, for dumps.
    written: Box<[IpNet]>,
}

impl Networks {
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { written: networks.into_iter().collect() }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.longest(address).is_some()
    }

    /// The length of the longest prefix that has `address`; the shorter a match, the less specific.
    pub fn longest(&self, address: IpAddr) -> Option<u8> {
        self.written.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()
    }

    /// As written.
    pub fn written(&self) -> &[IpNet] {
        &self.written
    }
}
