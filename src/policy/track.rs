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

use super::bucket::{Level, Rate};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
#[expect(clippy::disallowed_types, reason = "taken at load only, never on the data path")]
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Instant;

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
    /// Its leaky buckets, by [`Kind`].
    levels: [Level; 3],
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

    /// The most sources it tracks.
    pub fn capacity(&self) -> usize {
        self.shape.sources
    }

    /// How many it tracks now: held by a connection, or with something to remember. Counted in 4096 buckets at most, spread
    /// evenly, and scaled up: exact for some 20,000 sources, an estimate beyond.
    pub fn tracked(&self, now: Instant) -> usize {
        const LOOKED_AT: usize = 4096;
        let now = self.time(now);
        let step = self.buckets.len().div_ceil(LOOKED_AT);
        let tracks = |(key, place): (&AtomicU64, &Place)| {
            let remembers = || place.levels.iter().any(|level| !level.is_empty(now));
            key.load(Relaxed) != 0 && (holders(place.state.load(Relaxed)) > 0 || remembers())
        };
        let in_bucket =
            |bucket: &Bucket| bucket.keys.iter().zip(&bucket.places).filter(|one| tracks(*one)).count();
        let (mut buckets, mut found) = (0, 0);
        for bucket in self.buckets.iter().step_by(step) {
            buckets += 1;
            found += in_bucket(bucket);
        }
        (found * self.buckets.len()).checked_div(buckets).unwrap_or(0)
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
        let empty = || place.levels.iter().all(|level| level.is_empty(now));
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
        self.level(kind).admit(rate, self.table.time(now))
    }

    /// Charges `count` events, however far beyond the rate that is.
    pub fn charge(&self, kind: Kind, count: u64, now: Instant) {
        let Some(rate) = self.table.shape.rates[kind as usize].filter(|_| count > 0) else { return };
        self.level(kind).charge(rate, count, self.table.time(now));
    }

    /// Whether `more` further events would be beyond the rate of their kind; with 0, whether those charged already are.
    pub fn is_beyond(&self, kind: Kind, more: u64, now: Instant) -> bool {
        let Some(rate) = self.table.shape.rates[kind as usize] else { return false };
        self.level(kind).is_beyond(rate, more, self.table.time(now))
    }

    /// Whether events of this kind are limited.
    pub fn limits(&self, kind: Kind) -> bool {
        self.table.shape.rates[kind as usize].is_some()
    }

    /// Its leaky bucket. Relaxed suffices: it is one number, and that it is seen by whoever claims the place after us follows
    /// from the order of the states.
    fn level(&self, kind: Kind) -> &Level {
        &self.table.place(self.at).1.levels[kind as usize]
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
mod tests;
