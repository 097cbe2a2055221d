// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clients agree on with us: versions, ciphers, groups, each counted by name out of a fixed list; what is not on it is
//! "other", so no peer can make it grow.

use super::scope::{load, raise};
use std::array;
use std::sync::atomic::AtomicU64;

/// Protocol versions, as the TLS library calls them.
pub const VERSIONS: [&str; 5] = ["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", OTHER];

/// Cipher suites: those of TLS 1.3, then the modern ones of TLS 1.2, then those that should go.
pub const CIPHERS: [&str; 22] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AES128-SHA",
    OTHER,
];

/// Groups of the key exchange, as [`crate::sys::openssl::group`] calls them; the empty one is for exchanges without.
pub const GROUPS: [&str; 10] = [
    "X25519",
    "X25519MLKEM768",
    "P-256",
    "P-384",
    "P-521",
    "X448",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
    "none",
    OTHER,
];

const OTHER: &str = "other";

/// What was agreed on in one handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed<'a> {
    pub version: &'a str,
    pub cipher: &'a str,
    /// Empty: none, or unknown.
    pub group: &'a str,
    pub resumed: bool,
}

/// One worker's counts.
#[derive(Debug)]
pub struct Shares {
    versions: [AtomicU64; VERSIONS.len()],
    ciphers: [AtomicU64; CIPHERS.len()],
    groups: [AtomicU64; GROUPS.len()],
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            versions: array::from_fn(|_| AtomicU64::new(0)),
            ciphers: array::from_fn(|_| AtomicU64::new(0)),
            groups: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// The place of `name` in a list that ends with "other".
fn find(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).unwrap_or(names.len() - 1)
}

impl Shares {
    /// Counts a handshake; for the owner of the cell only.
    pub fn count(&self, agreed: &Agreed<'_>) {
        let group = if agreed.group.is_empty() { "none" } else { agreed.group };
        raise(&self.versions[find(&VERSIONS, agreed.version)], 1);
        raise(&self.ciphers[find(&CIPHERS, agreed.cipher)], 1);
        raise(&self.groups[find(&GROUPS, group)], 1);
    }
}

/// The counts of many workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    versions: [u64; VERSIONS.len()],
    ciphers: [u64; CIPHERS.len()],
    groups: [u64; GROUPS.len()],
}

impl Sums {
    pub fn add(&mut self, shares: &Shares) {
        fn join(sums: &mut [u64], counts: &[AtomicU64]) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += load(count);
            }
        }
        join(&mut self.versions, &shares.versions);
        join(&mut self.ciphers, &shares.ciphers);
        join(&mut self.groups, &shares.groups);
    }

    /// Names with their counts, the most frequent first, without those that never came.
    pub fn versions(&self) -> Vec<(&'static str, u64)> {
        ranked(&VERSIONS, &self.versions)
    }

    /// The same of ciphers.
    pub fn ciphers(&self) -> Vec<(&'static str, u64)> {
        ranked(&CIPHERS, &self.ciphers)
    }

    /// The same of groups.
    pub fn groups(&self) -> Vec<(&'static str, u64)> {
        ranked(&GROUPS, &self.groups)
    }
}

fn ranked(names: &[&'static str], counts: &[u64]) -> Vec<(&'static str, u64)> {
    let mut all: Vec<_> = names.iter().copied().zip(counts.iter().copied()).filter(|(_, n)| *n > 0).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_and_strange_ones_are_others() {
        let shares = Shares::default();
        let modern =
            Agreed { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384", group: "X25519", resumed: false };
        shares.count(&Agreed { version: "TLSv1.2", cipher: "GOST", group: "", resumed: true });
        shares.count(&modern);
        shares.count(&modern);
        let mut sums = Sums::default();
        sums.add(&shares);
        sums.add(&Shares::default());
        assert_eq!(sums.versions(), [("TLSv1.3", 2), ("TLSv1.2", 1)]);
        assert_eq!(sums.ciphers(), [("TLS_AES_256_GCM_SHA384", 2), ("other", 1)]);
        assert_eq!(sums.groups(), [("X25519", 2), ("none", 1)]);
    }
}
