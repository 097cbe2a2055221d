// SPDX-License-Identifier: MIT OR Apache-2.0
//! What sources have done lately: a bounded table per rule, shared by all workers without a lock.
//!
//! A table is fixed when it is made: buckets of `WAYS` places, where a source may stand in one of two buckets, chosen by a
//! hash whose key is random, so that nobody can aim at a bucket. A place takes 40 bytes, and there are half as many again as
//! sources: 60 bytes per source. A place counts who *holds* it, that is, which connections of its source there are, and
//! has a leaky bucket per kind of event. It is free when nobody holds it and all of its leaky buckets are empty: a source that
//! keeps still is as good as one never seen, so expiry needs no timer, and the first that needs a place takes it. Where both
//! buckets are full of sources that are not free, the table is full for this source, and whoever asks must refuse it.
//!
//! # How a place changes hands
//!
//! `state` is a version (upper half) and the number of holders (lower half, or `LOCKED`); `keys` says whose place it is.
//!
//! 1. *Join*, the common case: load the state; see that it is not locked; load the key; see that it is ours; exchange the
//!    state for one with a higher version and one more holder. Keys change under a locked state only and the version never
//!    returns (in 2^32 joins), so an exchange that succeeds proves that the key was ours all along.
//! 2. *Leave*: one holder less.
//! 3. *Claim*, when no place has the key: load the state of a place; see no holder and empty leaky buckets; exchange the
//!    state for a locked one. Only holders fill leaky buckets, and a holder in between would have left a higher version: so
//!    they are empty still, and nothing is forgotten. Then store the key, then the state with one holder. Between the first
//!    and the last of these the old source finds its place gone, as it was about to; nobody waits for anybody.
//! 4. *Settle*, after every claim: two workers may claim two places for one new source, because neither saw the other. Look
//!    through all places in their order once more; if an earlier one has our key, join it and leave our own, which is free at
//!    once, for nothing was charged to it.
//!
//! All of it is sequentially consistent, which decides what [`Held::connections`] may say: it adds up the holders of *all*
//! places with the key, after its own was counted. Among connections of one source that are held at the same time, the one
//! counted last sees every other, wherever it stands. So **never more than `connections` of them are told that they are
//! within the limit**, even while a source has two places; when several come at one instant it may be fewer.
//!
//! A second place remains where the later worker claimed an earlier place, which takes that an earlier place became free
//! between their looks; it gets no new holders, and is free when those it has are gone and it is empty. Until then what is
//! charged through these holders is counted apart: of rates and failures at most one event for each worker that claimed at
//! the same instant, of bytes what these connections carry.
//!
//! Not here: what a limit does to a connection (rules.rs). No clock: time is nanoseconds since the table was first used, made
//! from what callers pass.

#![expect(clippy::disallowed_types, reason = "the one lock is taken at load, never on the data path")]

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
#[expect(clippy::disallowed_types, reason = "taken at load only, never on the data path")]
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// "100/10s": so many per so long, enforced as a leaky bucket that holds `most` and leaks them evenly over `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub most: u64,
    pub per: Duration,
}

/// What one source may do; what is not named is not limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections.
    pub rate: Option<Rate>,
    /// Failed handshakes.
    pub handshake_failures: Option<Rate>,
    /// Payload bytes, both directions together.
    pub bytes: Option<Rate>,
    /// What counts as one source: this many leading bits of an address.
    pub v4_prefix: u8,
    pub v6_prefix: u8,
    /// The most sources tracked at once, 1 to [`MOST_SOURCES`]. A table of more than [`EXACT`] has some more places than that.
    pub sources: usize,
}

impl Limits {
    /// None; every address is a source of its own in IPv4, every network of 64 bits in IPv6.
    pub const NONE: Self = Self {
        connections: None,
        rate: None,
        handshake_failures: None,
        bytes: None,
        v4_prefix: 32,
        v6_prefix: 64,
        sources: 100_000,
    };
}

/// A kind of event that a source is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    Connection,
    HandshakeFailure,
    Byte,
}

/// No place is left for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Up to so many sources a table has exactly as many places; beyond, half as many again, because a source has only
/// 2 × `WAYS` places to go to: of a table with `sources` in it one bucket in a thousand is full, so one new source in a
/// million finds no place.
pub const EXACT: usize = 2 * WAYS;

/// The most sources of a table: 960 MB.
pub const MOST_SOURCES: usize = 16_000_000;

/// Places per bucket: their keys fill one cache line.
const WAYS: usize = 8;

/// Holders of a place that is being claimed.
const LOCKED: u64 = u32::MAX as u64;

/// One more holder, and a version that no place had before.
const JOIN: u64 = (1 << 32) | 1;

/// How often a claim may be lost to other workers before the table is called full. Each loss is another worker's success
/// in the same sixteen places, so this many in a row do not happen.
const ATTEMPTS: usize = 64;

/// The sources of one rule.
#[derive(Debug)]
pub struct Table {
    shape: Shape,
    hasher: RandomState,
    buckets: Box<[Bucket]>,
    /// Fewer than `WAYS` only in the last bucket of a small table.
    last_ways: usize,
    /// When time begins: at the first use.
    epoch: OnceLock<Instant>,
}

/// What a table must have in common with the limits that use it. How many connections are too many is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    v4_prefix: u8,
    v6_prefix: u8,
    sources: usize,
    /// By [`Kind`].
    rates: [Option<Rate>; 3],
}

/// Places next to each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// Whose place it is: a hash that is not 0; 0 for a place never used.
    keys: [AtomicU64; WAYS],
    places: [Place; WAYS],
}

/// One source.
#[derive(Debug, Default)]
struct Place {
    /// Version and holders.
    state: AtomicU64,
    /// By [`Kind`]: when the leaky bucket will be empty. (The "theoretical arrival time" of the generic cell rate algorithm,
    /// ITU-T I.371.)
    empty_at: [AtomicU64; 3],
}

/// Where a place is: bucket and way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u32, u8);

/// A connection's hold on its source. Dropping lets go.
#[derive(Debug)]
pub struct Held {
    table: Arc<Table>,
    key: u64,
    at: At,
}

impl Table {
    fn new(shape: Shape) -> Self {
        let sources = shape.sources.clamp(1, MOST_SOURCES);
        let places = if sources <= EXACT { sources } else { sources + sources / 2 };
        let buckets = places.div_ceil(WAYS);
        let last_ways = if sources <= EXACT { places - (buckets - 1) * WAYS } else { WAYS };
        Self {
            shape,
            hasher: RandomState::new(),
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            last_ways,
            epoch: OnceLock::new(),
        }
    }

    /// Counts a connection from `source` (none: a unix socket; they are one source) until what is returned is dropped.
    ///
    /// # Errors
    /// There is no place for its source: it must be refused.
    pub fn hold(self: &Arc<Self>, source: Option<IpAddr>, now: Instant) -> Result<Held, Full> {
        let key = self.key(source);
        let now = self.time(now);
        for _ in 0..ATTEMPTS {
            if let Some(at) = self.places(key).find(|at| self.join(*at, key)) {
                return Ok(self.held(key, at));
            }
            let at = self.find_free(key, now)?;
            if self.claim(at, key, now) {
                return Ok(self.held(key, self.settle(at, key)));
            }
            // Somebody else took it: perhaps for this very source.
        }
        Err(Full)
    }

    fn held(self: &Arc<Self>, key: u64, at: At) -> Held {
        Held { table: Arc::clone(self), key, at }
    }

    /// A source as a number other than 0. Two sources have one number with a probability of 2^-64; they would be counted as one.
    fn key(&self, source: Option<IpAddr>) -> u64 {
        let hash = match source.map(|address| address.to_canonical()) {
            None => self.hasher.hash_one(0_u8),
            Some(IpAddr::V4(address)) => {
                self.hasher.hash_one((4_u8, v4_prefix(address.to_bits(), self.shape.v4_prefix)))
            }
            Some(IpAddr::V6(address)) => {
                self.hasher.hash_one((6_u8, v6_prefix(address.to_bits(), self.shape.v6_prefix)))
            }
        };
        hash.max(1)
    }

    /// Where a key may stand, in the one order in which everybody looks.
    fn places(&self, key: u64) -> impl Iterator<Item = At> {
        let [first, second] = self.choices(key);
        let one = (0..self.ways(first)).map(move |way| At(first, way));
        let other = (0..self.ways(second)).map(move |way| At(second, way));
        one.chain(other.filter(move |_| first != second))
    }

    /// The two buckets of a key: one for each half of it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both are below the number of buckets, which is below 2^32"
    )]
    fn choices(&self, key: u64) -> [u32; 2] {
        let count = self.buckets.len() as u64;
        let first = ((key >> 32) * count) >> 32;
        let second = ((key & 0xffff_ffff) * count) >> 32;
        [first as u32, if first == second { ((second + 1) % count) as u32 } else { second as u32 }]
    }

    #[expect(clippy::cast_possible_truncation, reason = "WAYS at most")]
    fn ways(&self, bucket: u32) -> u8 {
        (if bucket as usize + 1 == self.buckets.len() { self.last_ways } else { WAYS }) as u8
    }

    fn place(&self, at: At) -> (&AtomicU64, &Place) {
        let bucket = &self.buckets[at.0 as usize];
        (&bucket.keys[usize::from(at.1)], &bucket.places[usize::from(at.1)])
    }

    /// One more holder of a place, if it is the key's.
    fn join(&self, at: At, key: u64) -> bool {
        let (whose, place) = self.place(at);
        if whose.load(Relaxed) != key {
            return false; // a hint, to pass by the states of others
        }
        let mut state = place.state.load(SeqCst);
        while whose.load(SeqCst) == key && holders(state) < LOCKED - 1 {
            match place.state.compare_exchange_weak(state, state.wrapping_add(JOIN), SeqCst, SeqCst) {
                Ok(_) => return true,
                Err(changed) => state = changed,
            }
        }
        false
    }

    fn leave(&self, at: At) {
        // There is a holder, the caller, so the lower half does not borrow from the version.
        self.place(at).1.state.fetch_sub(1, SeqCst);
    }

    /// A place to claim: of the two buckets, in the one that has more free ones, which keeps both from filling up early.
    fn find_free(&self, key: u64, now: u64) -> Result<At, Full> {
        let mut best: Option<(At, usize)> = None;
        for bucket in self.choices(key) {
            let mut free = (0..self.ways(bucket))
                .map(|way| At(bucket, way))
                .filter(|at| self.free_state(*at, now).is_some());
            if let Some(at) = free.next() {
                let more = free.count();
                if best.is_none_or(|(_, most)| more > most) {
                    best = Some((at, more));
                }
            }
        }
        best.map(|(at, _)| at).ok_or(Full)
    }

    /// The state of a place that nobody holds and that has nothing to remember.
    fn free_state(&self, at: At, now: u64) -> Option<u64> {
        let (_, place) = self.place(at);
        let state = place.state.load(SeqCst);
        let empty = || place.empty_at.iter().all(|empty_at| empty_at.load(Relaxed) <= now);
        (holders(state) == 0 && empty()).then_some(state)
    }

    /// Makes a free place the key's, with one holder.
    fn claim(&self, at: At, key: u64, now: u64) -> bool {
        let (whose, place) = self.place(at);
        let Some(state) = self.free_state(at, now) else { return false };
        if place.state.compare_exchange(state, state | LOCKED, SeqCst, Relaxed).is_err() {
            return false;
        }
        whose.store(key, SeqCst);
        place.state.store(state.wrapping_add(JOIN), SeqCst);
        true
    }

    /// After a claim: moves to an earlier place of the same key, if there is one.
    fn settle(&self, at: At, key: u64) -> At {
        let earlier = self.places(key).take_while(|other| *other != at).find(|other| self.join(*other, key));
        if earlier.is_some() {
            self.leave(at);
        }
        earlier.unwrap_or(at)
    }

    /// Nanoseconds since the first use; 584 years fit.
    fn time(&self, now: Instant) -> u64 {
        let epoch = self.epoch.get_or_init(|| now);
        u64::try_from(now.saturating_duration_since(*epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Held {
    /// How many connections of this source there are, this one among them. See above what it promises.
    pub fn connections(&self) -> u64 {
        let holds = |at: At| {
            let (whose, place) = self.table.place(at);
            // In this order: whoever takes the place in between leaves us the old state, which has no holders.
            let state = place.state.load(SeqCst);
            let counts = whose.load(SeqCst) == self.key && holders(state) != LOCKED;
            if counts { holders(state) } else { 0 }
        };
        self.table.places(self.key).map(holds).sum()
    }

    /// Charges one event, unless it would go beyond the rate of its kind: then it answers false and charges nothing.
    pub fn admit(&self, kind: Kind, now: Instant) -> bool {
        let Some(rate) = self.table.shape.rates[kind as usize] else { return true };
        let now = self.table.time(now);
        let (cost, most) = (cost(rate, 1), nanoseconds(rate.per));
        let next = |empty_at: u64| {
            let after = empty_at.max(now).saturating_add(cost);
            (after - now <= most).then_some(after)
        };
        self.cell(kind).fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Charges `count` events, however far beyond the rate that is.
    pub fn charge(&self, kind: Kind, count: u64, now: Instant) {
        let Some(rate) = self.table.shape.rates[kind as usize].filter(|_| count > 0) else { return };
        let now = self.table.time(now);
        let cost = cost(rate, count);
        let next = |empty_at: u64| Some(empty_at.max(now).saturating_add(cost));
        let _always_some = self.cell(kind).fetch_update(Relaxed, Relaxed, next);
    }

    /// Whether `more` further events would be beyond the rate of their kind; with 0, whether those charged already are.
    pub fn is_beyond(&self, kind: Kind, more: u64, now: Instant) -> bool {
        let Some(rate) = self.table.shape.rates[kind as usize] else { return false };
        let now = self.table.time(now);
        let level = self.cell(kind).load(Relaxed).saturating_sub(now);
        level.saturating_add(if more > 0 { cost(rate, more) } else { 0 }) > nanoseconds(rate.per)
    }

    /// Whether events of this kind are limited.
    pub fn limits(&self, kind: Kind) -> bool {
        self.table.shape.rates[kind as usize].is_some()
    }

    /// Its leaky bucket. Relaxed suffices: it is one number, and that it is seen by whoever claims the place after us follows
    /// from the order of the states.
    fn cell(&self, kind: Kind) -> &AtomicU64 {
        &self.table.place(self.at).1.empty_at[kind as usize]
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.table.leave(self.at);
    }
}

fn holders(state: u64) -> u64 {
    state & LOCKED
}

/// The time in which `count` events leak away, rounded down, so that `most` of them always fit; at least a nanosecond.
fn cost(rate: Rate, count: u64) -> u64 {
    let (per, most) = (nanoseconds(rate.per), rate.most.max(1));
    let exact = match per.checked_mul(count) {
        Some(product) => product / most,
        None => u64::try_from(u128::from(per) * u128::from(count) / u128::from(most)).unwrap_or(u64::MAX),
    };
    exact.max(1)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The leading `length` bits.
fn v4_prefix(bits: u32, length: u8) -> u32 {
    bits & u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0)
}

/// The leading `length` bits.
fn v6_prefix(bits: u128, length: u8) -> u128 {
    bits & u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0)
}

/// The tables of all rules, by service and rule. They outlive the plans that use them: the rule of a new configuration finds
/// what the one of that name has counted, as long as it counts in the same way.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    rules: Arc<Mutex<HashMap<RuleName, Vec<Weak<Table>>>>>,
}

/// Service and rule.
type RuleName = (Box<str>, Box<str>);

impl Tables {
    /// The table of a rule, made when first asked for. Only what shapes it must be the same: a rule whose prefixes, number of
    /// sources or rates are others gets a new one, with nothing counted. A table goes with the last plan and connection that
    /// use it; that an older one is kept for as long lets a configuration that fails to load change nothing.
    pub fn find(&self, service: &str, rule: &str, limits: &Limits) -> Arc<Table> {
        let shape = Shape {
            v4_prefix: limits.v4_prefix,
            v6_prefix: limits.v6_prefix,
            sources: limits.sources,
            rates: [limits.rate, limits.handshake_failures, limits.bytes],
        };
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|_, tables| {
            tables.retain(|table| table.strong_count() > 0);
            !tables.is_empty()
        });
        let tables = rules.entry((service.into(), rule.into())).or_default();
        let known = tables.iter().rev().filter_map(Weak::upgrade).find(|table| table.shape == shape);
        known.unwrap_or_else(|| {
            let table = Arc::new(Table::new(shape));
            tables.push(Arc::downgrade(&table));
            table
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU32, AtomicU64};

    const UNLIMITED: Limits = Limits { sources: 1000, ..Limits::NONE };

    fn per_second(most: u64) -> Option<Rate> {
        Some(Rate { most, per: Duration::from_secs(1) })
    }

    fn table(limits: Limits) -> Arc<Table> {
        Tables::default().find("web", "rule", &limits)
    }

    /// A point in time that a test calls 0.
    #[expect(clippy::disallowed_methods, reason = "a test begins its own time somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    fn v4(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Places that are not free.
    fn used(table: &Table, now: Instant) -> usize {
        let now = table.time(now);
        let buckets = u32::try_from(table.buckets.len()).unwrap();
        let all = (0..buckets).flat_map(|b| (0..table.ways(b)).map(move |way| At(b, way)));
        all.filter(|at| table.free_state(*at, now).is_none()).count()
    }

    #[test]
    fn a_place_takes_forty_bytes() {
        assert_eq!(size_of::<Bucket>(), WAYS * 40);
        let table = Table::new(Shape { v4_prefix: 32, v6_prefix: 64, sources: 100_000, rates: [None; 3] });
        assert!(table.buckets.len() * size_of::<Bucket>() <= 100_000 * 60 + size_of::<Bucket>());
    }

    #[test]
    fn connections_are_counted_while_they_are_held() {
        let (table, now) = (table(UNLIMITED), start());
        let first = table.hold(v4(1), now).unwrap();
        let second = table.hold(v4(1), now).unwrap();
        let other = table.hold(v4(2), now).unwrap();
        assert_eq!((first.connections(), second.connections(), other.connections()), (2, 2, 1));
        drop(first);
        assert_eq!(second.connections(), 1);
        drop((second, other));
        assert_eq!(used(&table, now), 0);
    }

    #[test]
    fn what_counts_as_one_source_is_a_prefix() {
        let now = start();
        let together = |limits: Limits, one: &str, other: &str| {
            let table = table(limits);
            let _first = table.hold(ip(one), now).unwrap();
            table.hold(ip(other), now).unwrap().connections() == 2
        };
        assert!(!together(UNLIMITED, "192.0.2.1", "192.0.2.2"));
        assert!(together(UNLIMITED, "192.0.2.1", "::ffff:192.0.2.1"));
        assert!(together(UNLIMITED, "2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!together(UNLIMITED, "2001:db8::1", "2001:db8:0:1::1"));
        let wide = Limits { v4_prefix: 24, v6_prefix: 48, ..UNLIMITED };
        assert!(together(wide, "192.0.2.1", "192.0.2.255"));
        assert!(!together(wide, "192.0.2.1", "192.0.3.1"));
        assert!(together(wide, "2001:db8::1", "2001:db8:0:ffff::1"));
        let all = Limits { v4_prefix: 0, v6_prefix: 0, ..UNLIMITED };
        assert!(together(all, "0.0.0.1", "255.0.0.1"));
        assert!(together(all, "::1", "ffff::1"));
        assert!(!together(all, "0.0.0.0", "::1"), "the families are sources of their own");
        let whole = Limits { v6_prefix: 128, ..UNLIMITED };
        assert!(!together(whole, "2001:db8::1", "2001:db8::2"));
    }

    #[test]
    fn clients_without_an_address_are_one_source() {
        let (table, now) = (table(UNLIMITED), start());
        let _first = table.hold(None, now).unwrap();
        assert_eq!(table.hold(None, now).unwrap().connections(), 2);
        assert_eq!(table.hold(v4(0), now).unwrap().connections(), 1);
    }

    #[test]
    fn a_rate_admits_so_many_at_once_and_then_as_they_leak() {
        let (table, now) = (table(Limits { rate: per_second(4), ..UNLIMITED }), start());
        let held = table.hold(v4(1), now).unwrap();
        let admitted = |at| (0..10).filter(|_| held.admit(Kind::Connection, at)).count();
        assert_eq!(admitted(now), 4);
        assert_eq!(admitted(now + Duration::from_millis(249)), 0);
        assert_eq!(admitted(now + Duration::from_millis(250)), 1);
        assert_eq!(admitted(now + Duration::from_millis(1000)), 3);
        assert_eq!(admitted(now + Duration::from_secs(100)), 4, "never more than the bucket holds");
        assert!(table.hold(v4(2), now).unwrap().admit(Kind::Connection, now), "sources are apart");
        assert!(held.admit(Kind::Byte, now), "what is not limited is admitted");
    }

    #[test]
    fn rates_that_do_not_divide_admit_what_they_say() {
        for (most, per) in [(3, 10), (7, 1_000_000_000), (1_000_000_007, 1_000_000_000), (1, 1), (3, 2)] {
            let rate = Rate { most, per: Duration::from_nanos(per) };
            if most <= per {
                assert!(cost(rate, 1) * most <= per && cost(rate, 1) * (most + 1) > per, "{rate:?}");
            }
            let whole = cost(rate, most);
            assert!(whole.abs_diff(per) <= 1, "{rate:?}: {whole}");
        }
        let huge = Rate { most: 1 << 40, per: Duration::from_secs(86_400) };
        assert_eq!(cost(huge, 1 << 40), 86_400_000_000_000, "does not overflow on the way");
        assert_eq!(cost(Rate { most: 0, per: Duration::MAX }, u64::MAX), u64::MAX);
    }

    #[test]
    fn charges_go_beyond_and_leak_away() {
        let limits = Limits { bytes: per_second(1000), handshake_failures: per_second(2), ..UNLIMITED };
        let (table, now) = (table(limits), start());
        let held = table.hold(v4(1), now).unwrap();
        held.charge(Kind::Byte, 1000, now);
        assert!(!held.is_beyond(Kind::Byte, 0, now));
        held.charge(Kind::Byte, 2000, now);
        assert!(held.is_beyond(Kind::Byte, 0, now));
        assert!(held.is_beyond(Kind::Byte, 0, now + Duration::from_millis(1999)));
        assert!(!held.is_beyond(Kind::Byte, 0, now + Duration::from_secs(2)));
        held.charge(Kind::HandshakeFailure, 1, now);
        assert!(!held.is_beyond(Kind::HandshakeFailure, 1, now));
        held.charge(Kind::HandshakeFailure, 1, now);
        assert!(held.is_beyond(Kind::HandshakeFailure, 1, now), "a third would be too many");
        assert!(!held.is_beyond(Kind::HandshakeFailure, 1, now + Duration::from_millis(500)));
        held.charge(Kind::Byte, u64::MAX, now);
        held.charge(Kind::Byte, u64::MAX, now);
        assert!(held.is_beyond(Kind::Byte, 0, now + Duration::from_secs(1 << 33)));
        assert_eq!((held.limits(Kind::Byte), held.limits(Kind::Connection)), (true, false));
    }

    #[test]
    fn a_full_table_refuses_and_expiry_makes_room() {
        let limits = Limits { rate: per_second(1), sources: 11, ..UNLIMITED };
        let (table, now) = (table(limits), start());
        let mut held: Vec<Held> = (0..11).map(|source| table.hold(v4(source), now).unwrap()).collect();
        assert_eq!(table.hold(v4(11), now).err(), Some(Full));
        assert!(table.hold(v4(3), now).is_ok(), "one that has a place keeps it");
        assert!(held[5].admit(Kind::Connection, now));
        held.remove(5);
        assert_eq!(table.hold(v4(11), now).err(), Some(Full), "gone, but not forgotten yet");
        assert!(!table.hold(v4(5), now).unwrap().admit(Kind::Connection, now));
        let later = now + Duration::from_secs(1);
        held.push(table.hold(v4(11), later).unwrap());
        assert!(held[10].admit(Kind::Connection, later), "nothing is inherited");
        assert_eq!(table.hold(v4(5), later).err(), Some(Full));
        drop(held);
        assert_eq!(used(&table, later + Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_large_table_is_full_only_when_it_is_nearly_full() {
        let (table, now) = (table(Limits { sources: 20_000, ..UNLIMITED }), start());
        let held: Vec<Held> = (0..30_000).map_while(|source| table.hold(v4(source), now).ok()).collect();
        // Random keys: at `sources` about one in a million fails, so this many never do.
        assert!(held.len() >= 19_000, "{}", held.len());
        assert!(table.buckets.len() * WAYS <= 30_000 + WAYS);
    }

    /// What the table does, done the slow and obvious way.
    #[derive(Default)]
    struct Model {
        connections: u64,
        /// Empty at, in nanoseconds.
        empty_at: [u64; 3],
    }

    #[test]
    fn random_events_leave_what_a_map_would_hold() {
        let limits = Limits {
            rate: per_second(3),
            handshake_failures: per_second(5),
            bytes: per_second(1000),
            ..UNLIMITED
        };
        let (table, begin) = (table(limits), start());
        let mut models: HashMap<u32, Model> = HashMap::new();
        let mut held: Vec<(u32, Held)> = Vec::new();
        let (mut seed, mut time) = (7, 0);
        for _ in 0..50_000 {
            seed = random(seed);
            time += (seed >> 40) % 20_000_000;
            let now = begin + Duration::from_nanos(time);
            let source = (seed % 40) as u32;
            let pick = (seed >> 16) as usize;
            match (seed >> 8) % 5 {
                0 if held.len() < 60 => {
                    held.push((source, table.hold(v4(source), now).unwrap()));
                    models.entry(source).or_default().connections += 1;
                }
                1 if !held.is_empty() => {
                    let (source, gone) = held.swap_remove(pick % held.len());
                    drop(gone);
                    models.get_mut(&source).unwrap().connections -= 1;
                }
                2.. if !held.is_empty() => {
                    let (source, one) = &held[pick % held.len()];
                    let model = models.get_mut(source).unwrap();
                    assert_eq!(one.connections(), model.connections);
                    let next = |kind: Kind, cost: u64| model.empty_at[kind as usize].max(time) + cost;
                    let (rate, failure, bytes) = (
                        next(Kind::Connection, 333_333_333),
                        next(Kind::HandshakeFailure, 200_000_000),
                        next(Kind::Byte, (seed >> 50) % 700 * 1_000_000),
                    );
                    let fits = rate - time <= 1_000_000_000;
                    assert_eq!(one.admit(Kind::Connection, now), fits);
                    if fits {
                        model.empty_at[0] = rate;
                    }
                    assert_eq!(one.is_beyond(Kind::HandshakeFailure, 1, now), failure - time > 1_000_000_000);
                    if pick % 4 == 0 {
                        one.charge(Kind::HandshakeFailure, 1, now);
                        model.empty_at[1] = failure;
                    }
                    one.charge(Kind::Byte, (seed >> 50) % 700, now);
                    model.empty_at[2] = bytes;
                    assert_eq!(one.is_beyond(Kind::Byte, 0, now), bytes.saturating_sub(time) > 1_000_000_000);
                }
                _ => {}
            }
        }
        assert!(used(&table, begin + Duration::from_nanos(time)) <= 40, "a source has one place");
    }

    fn random(seed: u64) -> u64 {
        // Marsaglia's xorshift: the tests depend on no crate for it.
        let mut next = seed;
        next ^= next << 13;
        next ^= next >> 7;
        next ^ (next << 17)
    }

    #[test]
    fn eight_threads_never_admit_more_than_the_limit_and_leave_nothing_behind() {
        const LIMIT: u32 = 3;
        const SOURCES: u32 = 12;
        const ROUNDS: u32 = 40_000;
        // Fewer places than sources, so that places change hands all the time.
        let (table, now) = (table(Limits { sources: 10, ..UNLIMITED }), start());
        let admitted: Vec<AtomicU32> = (0..SOURCES).map(|_| AtomicU32::new(0)).collect();
        let (most, refused, full) = (AtomicU32::new(0), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (table, admitted) = (&table, &admitted);
                let (most, refused, full) = (&most, &refused, &full);
                scope.spawn(move || {
                    let mut seed = thread + 1;
                    let mut kept = Vec::new();
                    for round in 1..=ROUNDS {
                        seed = random(seed);
                        let source = u32::try_from((seed >> 20) % u64::from(SOURCES)).unwrap();
                        match table.hold(v4(source), now) {
                            Ok(held) if held.connections() <= u64::from(LIMIT) => {
                                let at_once = admitted[source as usize].fetch_add(1, SeqCst) + 1;
                                most.fetch_max(at_once, SeqCst);
                                kept.push((source, held));
                            }
                            Ok(_) => _ = refused.fetch_add(1, SeqCst),
                            Err(Full) => _ = full.fetch_add(1, SeqCst),
                        }
                        let keep = if round == ROUNDS { 0 } else { (seed >> 50) as usize % 4 };
                        while kept.len() > keep {
                            let (source, held) = kept.swap_remove(0);
                            admitted[source as usize].fetch_sub(1, SeqCst);
                            drop(held);
                        }
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), LIMIT, "the limit is reached and never passed");
        assert!(refused.into_inner() > 0 && full.into_inner() > 0, "the test meets what it is about");
        assert_eq!(used(&table, now), 0);
        for source in 0..SOURCES {
            assert_eq!(table.hold(v4(source), now).unwrap().connections(), 1);
        }
    }

    #[test]
    fn threads_that_bring_one_new_source_at_once_share_its_place() {
        let table =
            table(Limits { rate: Some(Rate { most: 1000, per: Duration::from_secs(1000) }), ..UNLIMITED });
        let now = start();
        for round in 0..2_000 {
            let barrier = std::sync::Barrier::new(4);
            let counted = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let held = table.hold(v4(round), now).unwrap();
                            barrier.wait();
                            held.connections()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).max()
            });
            assert_eq!(counted, Some(4));
        }
    }

    #[test]
    fn two_places_of_one_source_count_together_until_one_is_left() {
        let (table, now) = (table(UNLIMITED), start());
        let key = table.key(v4(1));
        let places: Vec<At> = table.places(key).collect();
        // As if two workers had claimed at once and the later one the earlier place.
        assert!(table.claim(places[1], key, 0) && table.claim(places[0], key, 0));
        let (early, late) = (table.held(key, places[0]), table.held(key, places[1]));
        assert_eq!((early.connections(), late.connections()), (2, 2));
        assert_eq!(table.hold(v4(1), now).unwrap().at, places[0], "who comes later goes to the first");
        drop(late);
        assert_eq!((used(&table, now), early.connections()), (1, 1));
        // The other way round the later one sees the other and moves.
        assert!(table.claim(places[1], key, 0));
        assert_eq!(table.settle(places[1], key), places[0]);
        assert_eq!((used(&table, now), early.connections()), (1, 2));
        table.leave(places[0]);
    }

    #[test]
    fn a_table_is_found_again_while_it_is_used_and_counts_in_the_same_way() {
        let tables = Tables::default();
        let limits = Limits { connections: Some(20), rate: per_second(5), ..UNLIMITED };
        let first = tables.find("web", "flood", &limits);
        let same = |limits: &Limits| Arc::ptr_eq(&first, &tables.find("web", "flood", limits));
        assert!(same(&limits));
        assert!(same(&Limits { connections: Some(30), ..limits }), "the count goes on under another limit");
        for other in [
            Limits { rate: per_second(6), ..limits },
            Limits { bytes: per_second(6), ..limits },
            Limits { handshake_failures: per_second(6), ..limits },
            Limits { v4_prefix: 24, ..limits },
            Limits { v6_prefix: 56, ..limits },
            Limits { sources: 999, ..limits },
        ] {
            assert!(!same(&other), "{other:?}");
        }
        assert!(same(&limits), "a configuration that came to nothing has changed nothing");
        assert!(!Arc::ptr_eq(&first, &tables.find("mail", "flood", &limits)));
        assert!(!Arc::ptr_eq(&first, &tables.find("web", "other", &limits)));
        let (held, now) = (first.hold(v4(1), start()).unwrap(), start());
        drop(first);
        let again = tables.find("web", "flood", &limits);
        assert_eq!(again.hold(v4(1), now).unwrap().connections(), 2, "a connection keeps its table");
        drop((again, held));
        assert_eq!(tables.find("web", "flood", &limits).hold(v4(1), now).unwrap().connections(), 1);
        assert_eq!(tables.rules.lock().unwrap().len(), 1, "those nobody uses are gone");
    }
}
