// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of several servers the next connection goes to.
//!
//! Every kind looks at all candidates once, so a choice costs as much as the route has servers; what it needs to know of them
//! beyond their own state is one number each, their *turn*, and one of the route, so workers choose without waiting for each
//! other. Two who choose at the same moment may prefer the same server; what they note down afterwards makes up for it.
//! Not here: who is a candidate (`upstream.rs`).

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicU64};

/// How often random servers are drawn before the first that could serve is taken.
const DRAWS: usize = 32;

/// What a server of weight 1 waits for between two of its turns: far more than any weight, so that shares are exact.
const ROUND: u64 = 1 << 32;

/// `balance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The first in the order of the configuration that has room.
    #[default]
    First,
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConn,
    /// The one with fewer connections of two drawn by weight: nearly as even as `LeastConn`, and workers that act on the same
    /// old picture do not all run to the same server (Mitzenmacher, "The power of two choices").
    Random2,
    /// The same client address has the same server.
    Source,
    /// The same name that clients ask for has the same server; who asks for none is known by its address.
    Sni,
}

impl Kind {
    /// Every kind with its word.
    pub const ALL: [(&'static str, Self); 6] = [
        ("first", Self::First),
        ("roundrobin", Self::RoundRobin),
        ("leastconn", Self::LeastConn),
        ("random2", Self::Random2),
        ("source", Self::Source),
        ("sni", Self::Sni),
    ];

    /// The word after `balance =`.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// How the servers of one route are chosen from.
#[derive(Debug, Default)]
pub struct Balance {
    pub kind: Kind,
    /// Whose turn it was last: who was away does not make up for it.
    last: AtomicU64,
}

/// A server that could take one more connection.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub place: u32,
    /// Its weight as it is now, in 256ths; not 0.
    pub share: u32,
    /// Connections it has.
    pub active: u32,
    /// When it is its turn again.
    pub turn: u64,
    /// [`hash`] of its name.
    pub seed: u64,
}

impl Balance {
    /// `turns` are those that the servers are known to have had.
    pub fn new(kind: Kind, turns: impl Iterator<Item = u64>) -> Self {
        Self { kind, last: AtomicU64::new(turns.max().unwrap_or(0)) }
    }

    /// The place of the one to be preferred.
    pub fn choose(&self, among: impl Iterator<Item = Candidate>, hash: u64, random: u64) -> Option<u32> {
        let mut among = among;
        let last = self.last.load(atomic::Ordering::Relaxed);
        let chosen = match self.kind {
            Kind::First => among.next(),
            Kind::RoundRobin => among.min_by_key(|one| one.turn.max(last)),
            Kind::LeastConn => among.min_by(|one, other| {
                by_load(one, other).then_with(|| one.turn.max(last).cmp(&other.turn.max(last)))
            }),
            Kind::Random2 => return two_choices(&among.collect::<Vec<_>>(), random),
            Kind::Source | Kind::Sni => {
                among.min_by(|one, other| one.distance(hash).total_cmp(&other.distance(hash)))
            }
        };
        Some(chosen?.place)
    }

    /// It was its turn: a server of that share has its next one later by so much.
    pub fn note(&self, turn: &AtomicU64, share: u32) {
        let relaxed = atomic::Ordering::Relaxed;
        let last = self.last.load(relaxed);
        let step = ROUND / u64::from(share.max(1));
        let had = turn.fetch_update(relaxed, relaxed, |turn| Some(turn.max(last).saturating_add(step)));
        self.last.fetch_max(had.unwrap_or(0).max(last), relaxed);
    }
}

/// The one with fewer connections for its weight, if it had one more.
fn by_load(one: &Candidate, other: &Candidate) -> Ordering {
    let load =
        |of: &Candidate, for_share_of: &Candidate| (u64::from(of.active) + 1) * u64::from(for_share_of.share);
    load(one, other).cmp(&load(other, one))
}

/// Draws two by weight, different ones if there are two.
fn two_choices(among: &[Candidate], random: u64) -> Option<u32> {
    let heaviest = among.iter().map(|one| one.share).max()?;
    let mut random = random;
    let mut draw = |not: Option<u32>| {
        for _ in 0..DRAWS {
            random = mix(random);
            let one = among[below(random, among.len())];
            random = mix(random);
            let falls = random % u64::from(heaviest) < u64::from(one.share);
            if falls && Some(one.place) != not {
                return Some(one);
            }
        }
        among.iter().find(|one| Some(one.place) != not).copied()
    };
    let one = draw(None)?;
    let Some(other) = draw(Some(one.place)) else { return Some(one.place) };
    Some(if by_load(&other, &one).is_lt() { other.place } else { one.place })
}

/// A number from 0, below `bound`, from 64 random bits.
fn below(random: u64, bound: usize) -> usize {
    // The product's upper half is below the bound.
    usize::try_from((u128::from(random) * bound as u128) >> 64).unwrap_or(0)
}

impl Candidate {
    /// How far a client is from this server: each client is next to one of them, whatever others there are, so one that comes
    /// or goes moves only its own clients (highest random weight, Thaler and Ravishankar 1998; the logarithm makes weights
    /// exact shares).
    fn distance(&self, hash: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are kept, which is what it shall have")]
        let uniform = ((mix(self.seed ^ hash) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -uniform.ln() / f64::from(self.share)
    }
}

/// A hash that is the same in every process and version (FNV-1a, 64 bits, then mixed).
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads the bits of a number over all of its bits (the finalizer of SplitMix64, Steele and others 2014).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers with these weights, none with a connection.
    fn servers(weights: &[u32]) -> Vec<(Candidate, AtomicU64)> {
        let server = |(place, weight): (u32, &u32)| {
            let seed = hash(format!("10.0.0.{place}:443").as_bytes());
            (Candidate { place, share: weight * 256, active: 0, turn: 0, seed }, AtomicU64::new(0))
        };
        (0..).zip(weights).map(server).collect()
    }

    /// Chooses so often, and counts who was chosen; connections last if `keep`.
    fn count(kind: Kind, servers: &mut [(Candidate, AtomicU64)], times: u64, keep: bool) -> Vec<u32> {
        let turns = servers.iter().map(|(_, turn)| turn.load(atomic::Ordering::Relaxed));
        let balance = Balance::new(kind, turns);
        let mut counts = vec![0; servers.len()];
        for time in 0..times {
            let now = servers
                .iter()
                .map(|(one, turn)| Candidate { turn: turn.load(atomic::Ordering::Relaxed), ..*one });
            let place = balance.choose(now, mix(time), mix(!time)).unwrap() as usize;
            balance.note(&servers[place].1, servers[place].0.share);
            servers[place].0.active += u32::from(keep);
            counts[place] += 1;
        }
        counts
    }

    #[test]
    fn turns_are_shared_by_weight_and_spread_evenly() {
        assert_eq!(count(Kind::RoundRobin, &mut servers(&[1, 1, 1]), 300, false), [100, 100, 100]);
        let mut uneven = servers(&[1, 2, 5]);
        assert_eq!(count(Kind::RoundRobin, &mut uneven, 80, false), [10, 20, 50]);
        // No burst: in every eight turns each has its share.
        let mut eight = servers(&[1, 2, 5]);
        for _ in 0..5 {
            assert_eq!(count(Kind::RoundRobin, &mut eight, 8, false), [1, 2, 5]);
        }
    }

    #[test]
    fn who_was_away_does_not_make_up_for_it() {
        let mut servers = servers(&[1, 1]);
        let balance = Balance::new(Kind::RoundRobin, std::iter::empty());
        for _ in 0..1000 {
            balance.note(&servers[0].1, 256);
        }
        let mut counts = [0, 0];
        for _ in 0..100 {
            for (one, turn) in &mut servers {
                one.turn = turn.load(atomic::Ordering::Relaxed);
            }
            let place = balance.choose(servers.iter().map(|(one, _)| *one), 0, 0).unwrap() as usize;
            balance.note(&servers[place].1, 256);
            counts[place] += 1;
        }
        assert!(counts[1] <= 52, "{counts:?}");
        // Nor does one that is new after a reload.
        servers[1].1.store(0, atomic::Ordering::Relaxed);
        let counts = count(Kind::RoundRobin, &mut servers, 100, false);
        assert!(counts[1] <= 52, "{counts:?}");
    }

    #[test]
    fn the_fewest_connections_for_the_weight() {
        assert_eq!(count(Kind::LeastConn, &mut servers(&[1, 1, 2]), 400, true), [100, 100, 200]);
        // Without connections that last it goes round.
        assert_eq!(count(Kind::LeastConn, &mut servers(&[1, 1]), 10, false), [5, 5]);
    }

    #[test]
    fn two_choices_are_nearly_even() {
        let counts = count(Kind::Random2, &mut servers(&[1; 10]), 10_000, true);
        assert!(counts.iter().all(|count| (990..=1010).contains(count)), "{counts:?}");
        let counts = count(Kind::Random2, &mut servers(&[1, 3]), 4000, true);
        assert!((950..=1050).contains(&counts[0]), "{counts:?}");
        assert_eq!(count(Kind::Random2, &mut servers(&[1]), 5, true), [5]);
        assert_eq!(two_choices(&[], 7), None);
    }

    #[test]
    fn a_server_that_goes_moves_only_its_own_clients() {
        let all = servers(&[1; 10]);
        let balance = Balance::new(Kind::Source, std::iter::empty());
        let choose = |without: Option<u32>, client: u64| {
            let among = all.iter().map(|(one, _)| *one).filter(|one| Some(one.place) != without);
            balance.choose(among, hash(&client.to_be_bytes()), 0).unwrap()
        };
        let mut moved = 0;
        for client in 0..10_000 {
            let (before, after) = (choose(None, client), choose(Some(3), client));
            assert!(before == after || before == 3, "client {client} moved from {before} to {after}");
            moved += u32::from(before != after);
        }
        // A tenth, and at most the 12 % that are promised.
        assert!((800..=1200).contains(&moved), "{moved}");
    }

    #[test]
    fn hashed_clients_are_shared_by_weight() {
        let counts = count(Kind::Sni, &mut servers(&[1, 2, 1]), 10_000, false);
        assert!((4700..=5300).contains(&counts[1]) && (2300..=2700).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn the_first_with_room_serves() {
        assert_eq!(count(Kind::First, &mut servers(&[1, 9]), 10, true), [10, 0]);
    }
}
