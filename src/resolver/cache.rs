// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was answered, by name: until it ends, and beyond that as the last good answer.
//!
//! Invariants: bounded, the one that ends first makes room; what says that there is no such name replaces what was good,
//! what says nothing does not (RFC 8767 section 4). Only task threads come here, and who
//! counts for whoever looks, so a lock is good enough.

#![expect(clippy::disallowed_types, reason = "task threads only, never where bytes move")]

use super::{Answer, Failure, Written};
use crate::wire::dns::Record;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Answers that are kept. Clients may ask for any name at all: up to some 1000 bytes each, mostly 300. Those of configured
/// names, in a cache of their own, have up to 512 addresses.
const ENTRIES: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Lower case, without the dot at its end.
    name: Box<str>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Host { in_full: bool },
    Service,
}

impl Key {
    pub(super) fn host(name: &str, written: Written) -> Self {
        // In full is in full, whoever wrote it.
        let in_full = written != Written::Here || name.ends_with('.');
        Self { name: plain(name), what: What::Host { in_full } }
    }

    pub(super) fn service(name: &str) -> Self {
        Self { name: plain(name), what: What::Service }
    }
}

fn plain(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

#[derive(Debug)]
struct Entry {
    /// The last answer.
    last: Result<(), Failure>,
    until: Instant,
    /// The last good one, and since when it is over; empty: none.
    good: Arc<[Record]>,
    good_until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Key, Entry>>);

impl Cache {
    /// The answer that is kept for `key`, if it is in time.
    pub(super) fn fresh(&self, key: &Key, now: Instant) -> Option<Result<Answer<Arc<[Record]>>, Failure>> {
        let entries = self.lock();
        let entry = entries.get(key).filter(|entry| entry.until > now)?;
        Some(match &entry.last {
            Ok(()) => Ok(Answer { found: Arc::clone(&entry.good), until: entry.until }),
            // The last good one was told when asking failed, and is told until that is done again.
            Err(Failure::Unanswered(_)) if !entry.good.is_empty() => {
                Ok(Answer { found: Arc::clone(&entry.good), until: entry.until })
            }
            Err(failure) => Err(failure.clone()),
        })
    }

    /// The last good answer, if it ended less than `stale` ago.
    pub(super) fn last_good(
        &self,
        key: &Key,
        now: Instant,
        stale: Duration,
    ) -> Option<Answer<Arc<[Record]>>> {
        let entries = self.lock();
        let told = |entry: &&Entry| {
            !entry.good.is_empty() && now.saturating_duration_since(entry.good_until) < stale
        };
        let entry = entries.get(key).filter(told)?;
        Some(Answer { found: Arc::clone(&entry.good), until: entry.until })
    }

    /// Keeps a good answer, for so long.
    pub(super) fn keep(
        &self,
        key: Key,
        records: Arc<[Record]>,
        now: Instant,
        lasts: Duration,
    ) -> Answer<Arc<[Record]>> {
        let until = now + lasts;
        let entry = Entry { last: Ok(()), until, good: Arc::clone(&records), good_until: until };
        insert(&mut self.lock(), key, entry);
        Answer { found: records, until }
    }

    /// Keeps the addresses of one family, for so long, where nobody could say what the other has: that keeps those it had,
    /// if they ended less than `stale` ago.
    pub(super) fn keep_part(
        &self,
        key: Key,
        mut records: Vec<Record>,
        now: Instant,
        lasts: Duration,
        stale: Duration,
    ) -> Answer<Arc<[Record]>> {
        let mut entries = self.lock();
        let until = now + lasts;
        let old = entries.get(&key).filter(|old| now.saturating_duration_since(old.good_until) < stale);
        let is_v6 = |record: &Record| matches!(record, Record::Address(IpAddr::V6(_)));
        let told = records.iter().any(is_v6);
        let kept = old.into_iter().flat_map(|old| old.good.iter());
        let kept: Vec<Record> = kept.filter(|record| is_v6(record) != told).cloned().collect();
        // The whole is as old as its oldest part.
        let good_until = old.filter(|_| !kept.is_empty()).map_or(until, |old| old.good_until);
        records.extend(kept);
        let good: Arc<[Record]> = records.into();
        insert(&mut entries, key, Entry { last: Ok(()), until, good: Arc::clone(&good), good_until });
        Answer { found: good, until }
    }

    /// Keeps a failure, for so long; the last good answer, if asking failed and it ended less than `stale` ago.
    pub(super) fn keep_failure(
        &self,
        key: Key,
        failure: &Failure,
        now: Instant,
        lasts: Duration,
        stale: Duration,
    ) -> Option<Answer<Arc<[Record]>>> {
        let mut entries = self.lock();
        let until = now + lasts;
        let old = entries.remove(&key).filter(|old| {
            matches!(failure, Failure::Unanswered(_)) && now.saturating_duration_since(old.good_until) < stale
        });
        let (good, good_until) = old.map_or_else(|| (Arc::default(), now), |old| (old.good, old.good_until));
        let told = (!good.is_empty()).then(|| Answer { found: Arc::clone(&good), until });
        insert(&mut entries, key, Entry { last: Err(failure.clone()), until, good, good_until });
        told
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Inserts, and makes room for it where there is none.
fn insert(entries: &mut HashMap<Key, Entry>, key: Key, entry: Entry) {
    if entries.len() >= ENTRIES && !entries.contains_key(&key) {
        // A walk over all of them, by who has just waited for the network.
        let first = entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
        first.map(|first| entries.remove(&first));
    }
    entries.insert(key, entry);
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        Key::host(name, Written::Elsewhere)
    }

    fn records(last: u8) -> Arc<[Record]> {
        [Record::Address(IpAddr::from([192, 0, 2, last]))].into()
    }

    fn silence() -> Failure {
        Failure::Unanswered("nobody answered".into())
    }

    #[test]
    fn an_answer_is_kept_until_it_ends() {
        let (cache, now) = (Cache::default(), clock());
        assert_eq!(cache.fresh(&key("a"), now), None);
        let kept = cache.keep(key("A."), records(1), now, SECOND);
        assert_eq!(cache.fresh(&key("a"), now), Some(Ok(kept)));
        assert_eq!(cache.fresh(&key("a"), now + SECOND), None);
        assert_eq!(cache.fresh(&Key::host("a", Written::Here), now), None, "may be another name");
        assert!(cache.fresh(&Key::host("a.", Written::Here), now).is_some());
        assert_eq!(cache.fresh(&Key::service("a"), now), None);
    }

    #[test]
    fn the_last_good_answer_outlives_silence_but_not_the_end_of_the_name() {
        let (cache, now) = (Cache::default(), clock());
        let stale = SECOND * 10;
        cache.keep(key("a"), records(1), now, SECOND);
        let later = now + SECOND * 2;
        let told = cache.keep_failure(key("a"), &silence(), later, SECOND, stale);
        assert_eq!(told.unwrap().found, records(1));
        assert_eq!(cache.fresh(&key("a"), later).unwrap().unwrap().found, records(1));
        assert_eq!(cache.fresh(&key("a"), later + SECOND), None, "it is asked again");
        assert_eq!(cache.last_good(&key("a"), later + SECOND, stale).unwrap().found, records(1));
        assert_eq!(cache.last_good(&key("a"), now + SECOND + stale, stale), None);
        let gone = Failure::NoName("no such name".into());
        assert_eq!(cache.keep_failure(key("a"), &gone, later, SECOND, stale), None);
        assert_eq!(cache.fresh(&key("a"), later), Some(Err(gone)));
        assert_eq!(cache.keep_failure(key("a"), &silence(), later, SECOND, stale), None);

        cache.keep(key("b"), records(2), now, SECOND);
        let too_late = now + SECOND + stale;
        assert_eq!(cache.keep_failure(key("b"), &silence(), too_late, SECOND, stale), None);
    }

    #[test]
    fn a_family_of_which_nobody_could_say_keeps_what_it_had_and_grows_no_younger() {
        let (cache, now, stale) = (Cache::default(), clock(), SECOND * 10);
        let six = Record::Address("2001:db8::1".parse().unwrap());
        let (four, both) = (records(1), [records(1), [six].into()].concat());
        let part = |at| cache.keep_part(key("a"), four.to_vec(), at, SECOND, stale).found;
        assert_eq!(part(now), four, "nothing was known");
        cache.keep(key("a"), both.clone().into(), now, SECOND);
        for seconds in [2, 6, 10] {
            assert_eq!(*part(now + SECOND * seconds), both);
        }
        assert_eq!(part(now + SECOND + stale), four);
        assert_eq!(
            cache.last_good(&key("a"), now + SECOND + stale * 2, stale),
            Some(Answer { found: four, until: now + SECOND * 2 + stale })
        );
    }

    #[test]
    fn the_one_that_ends_first_makes_room() {
        let (cache, now) = (Cache::default(), clock());
        for number in 0..ENTRIES + 10 {
            let lasts = SECOND + Duration::from_millis(u64::try_from(number).unwrap());
            cache.keep(key(&number.to_string()), records(1), now, lasts);
        }
        assert_eq!(cache.len(), ENTRIES);
        assert!(cache.fresh(&key("9"), now).is_none() && cache.fresh(&key("10"), now).is_some());
    }
}
