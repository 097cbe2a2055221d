// SPDX-License-Identifier: MIT OR Apache-2.0
//! `limit` of a service or of a route: how many connections at once, how many new ones, how many bytes, for how long.
//!
//! What is counted belongs to the name of the service and the route, not to a configuration: [`QuotaBook`] finds it again at
//! a reload, so that connections which follow an older plan go on counting. A [`Place`] is one connection's; dropping it gives
//! it back, wherever that happens. Nothing is locked but while a configuration is loaded.
//!
//! Not here: what a refused connection is told (`handshake/limits.rs`), how bytes are rationed (bandwidth.rs), the limits of
//! one source (track.rs), the places of the whole process (`connection/guard.rs`).

#![expect(clippy::disallowed_types, reason = "the one lock is taken at load, never on the data path")]

use super::bucket::{Bucket, Rate};
use crate::error::Excess;
use std::collections::HashMap;
#[expect(clippy::disallowed_types, reason = "taken at load only, never on the data path")]
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Something for each direction: out of the client, and into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways<T> {
    pub up: T,
    pub down: T,
}

/// What `limit` says; what is not named is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaSpec {
    /// Connections at once.
    pub max_connections: Option<u64>,
    /// New connections.
    pub rate: Option<Rate>,
    /// Payload bytes of all its connections together.
    pub bandwidth: Ways<Option<Rate>>,
    /// Payload bytes of each of them.
    pub connection_bandwidth: Ways<Option<Rate>>,
    /// From accept; the end comes at most `lifetime_jitter` earlier.
    pub lifetime: Option<Duration>,
    pub lifetime_jitter: Duration,
}

/// A `limit` with what it counts.
#[derive(Debug)]
pub struct Quota {
    pub spec: QuotaSpec,
    places: Arc<Places>,
    rate: Option<Arc<Bucket>>,
    pub bandwidth: Ways<Option<Arc<Bucket>>>,
}

impl Quota {
    /// Lets one connection in.
    ///
    /// # Errors
    /// What would be exceeded. One that finds no place is not charged to the rate.
    pub fn admit(&self, now: Instant) -> Result<Place, Excess> {
        let most = self.spec.max_connections.unwrap_or(u64::MAX);
        let place = Places::enter(&self.places, most).ok_or(Excess::Connections)?;
        match &self.rate {
            Some(rate) if !rate.admit(now) => Err(Excess::Rate),
            _ => Ok(place),
        }
    }

    /// How many are in.
    pub fn active(&self) -> u64 {
        self.places.0.load(Relaxed)
    }

    /// How long a connection may live; `random` decides on the jitter.
    pub fn lifetime(&self, random: u64) -> Option<Duration> {
        let most = self.spec.lifetime?;
        let jitter = u64::try_from(self.spec.lifetime_jitter.as_millis()).unwrap_or(u64::MAX);
        Some(most.saturating_sub(Duration::from_millis(random % jitter.saturating_add(1).max(1))))
    }
}

/// How many connections there are.
#[derive(Debug, Default)]
struct Places(AtomicU64);

impl Places {
    fn enter(places: &Arc<Self>, most: u64) -> Option<Place> {
        let next = |active: u64| (active < most).then(|| active + 1);
        places.0.fetch_update(Relaxed, Relaxed, next).ok()?;
        Some(Place(Arc::clone(places)))
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// What is counted for every `limit`, over all configurations.
#[derive(Clone, Debug, Default)]
pub struct QuotaBook {
    known: Arc<Mutex<HashMap<Box<str>, Known>>>,
}

/// Of one service or route. What nobody uses any more goes.
#[derive(Debug, Default)]
struct Known {
    places: Weak<Places>,
    /// New connections, bytes up, bytes down: of each all that are in use, one for each rate. Connections of an older plan go
    /// on with theirs; who comes back to that rate, as after a reload that was refused in the end, shares it with them.
    buckets: [Vec<Weak<Bucket>>; 3],
}

impl QuotaBook {
    /// The `limit` of a service, or of one of its routes. A rate that has changed begins anew.
    pub fn find(&self, service: &str, route: Option<&str>, spec: QuotaSpec) -> Quota {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, known| {
            for buckets in &mut known.buckets {
                buckets.retain(|bucket| bucket.strong_count() > 0);
            }
            known.places.strong_count() > 0 || known.buckets.iter().any(|buckets| !buckets.is_empty())
        });
        // No name has a NUL: control characters are refused in the configuration.
        let key = route.map_or_else(|| service.to_owned(), |route| format!("{service}\0{route}"));
        let known = all.entry(key.into_boxed_str()).or_default();
        let places = known.places.upgrade().unwrap_or_default();
        known.places = Arc::downgrade(&places);
        let rates = [spec.rate, spec.bandwidth.up, spec.bandwidth.down];
        let mut buckets = [None, None, None];
        for ((known, found), rate) in known.buckets.iter_mut().zip(&mut buckets).zip(rates) {
            let Some(rate) = rate else { continue };
            let same = known.iter().filter_map(Weak::upgrade).find(|bucket| bucket.rate == rate);
            *found = Some(same.unwrap_or_else(|| {
                let bucket = Arc::new(Bucket::new(rate));
                known.push(Arc::downgrade(&bucket));
                bucket
            }));
        }
        let [rate, up, down] = buckets;
        Quota { spec, places, rate, bandwidth: Ways { up, down } }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;

    fn spec(max_connections: Option<u64>, rate: Option<u64>) -> QuotaSpec {
        let rate = rate.map(|most| Rate { most, per: Duration::from_secs(1) });
        QuotaSpec { max_connections, rate, ..QuotaSpec::default() }
    }

    #[test]
    fn places_come_back_fifty_times_and_nobody_beyond_is_let_in() {
        let quota = QuotaBook::default().find("web", None, spec(Some(3), None));
        let now = Instant::now();
        for _ in 0..50 {
            let inside: Vec<_> = (0..3).map(|_| quota.admit(now).unwrap()).collect();
            assert_eq!(quota.admit(now).unwrap_err(), Excess::Connections);
            assert_eq!(quota.active(), 3);
            drop(inside);
            assert_eq!(quota.active(), 0);
        }
    }

    #[test]
    fn whoever_finds_no_place_is_not_charged_to_the_rate() {
        let quota = QuotaBook::default().find("web", None, spec(Some(1), Some(2)));
        let now = Instant::now();
        let inside = quota.admit(now).unwrap();
        assert_eq!(quota.admit(now).unwrap_err(), Excess::Connections);
        drop(inside);
        drop(quota.admit(now).unwrap());
        assert_eq!(quota.admit(now).unwrap_err(), Excess::Rate);
        assert_eq!(quota.active(), 0, "who is too fast keeps no place");
        assert!(quota.admit(now + Duration::from_millis(500)).is_ok());
    }

    #[test]
    fn a_reload_finds_what_was_counted_and_a_changed_rate_begins_anew() {
        let (book, now) = (QuotaBook::default(), Instant::now());
        let old = book.find("web", Some("a"), spec(Some(1), Some(1)));
        let inside = old.admit(now).unwrap();
        let same = book.find("web", Some("a"), spec(Some(2), Some(1)));
        assert_eq!(same.admit(now).unwrap_err(), Excess::Rate);
        let faster = book.find("web", Some("a"), spec(Some(1), Some(5)));
        assert_eq!(faster.admit(now).unwrap_err(), Excess::Connections, "the place is still taken");
        assert!(book.find("web", None, spec(Some(1), None)).admit(now).is_ok(), "the service is another");
        drop((inside, old, same));
        assert!(faster.admit(now).is_ok());
        drop(faster);
        drop(book.find("x", None, spec(None, None)));
        assert!(book.known.lock().unwrap().len() <= 1, "what nobody uses is forgotten");
    }

    #[test]
    fn a_rate_that_was_never_applied_leaves_the_one_in_use_as_it_is() {
        let (book, now) = (QuotaBook::default(), Instant::now());
        let used = book.find("web", None, spec(None, Some(1)));
        assert!(used.admit(now).is_ok());
        drop(book.find("web", None, spec(None, Some(5))));
        let again = book.find("web", None, spec(None, Some(1)));
        assert_eq!(again.admit(now).unwrap_err(), Excess::Rate);
        let known = || book.known.lock().unwrap().values().map(|known| known.buckets[0].len()).sum::<usize>();
        assert_eq!(known(), 1, "the other one is gone");
        drop((used, again));
        assert!(book.find("other", None, spec(None, None)).rate.is_none());
        assert_eq!(known(), 0);
    }

    #[test]
    fn many_threads_never_take_more_places_than_there_are() {
        let quota = QuotaBook::default().find("web", None, spec(Some(4), None));
        let (now, most) = (Instant::now(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let place = quota.admit(now);
                        most.fetch_max(quota.active(), Relaxed);
                        drop(place);
                    }
                });
            }
        });
        assert!(most.load(Relaxed) <= 4);
        assert_eq!(quota.active(), 0);
    }

    #[test]
    fn jitter_only_shortens_a_life_and_by_no_more_than_it_says() {
        let lifetime = Some(Duration::from_secs(10));
        let with = |lifetime_jitter| QuotaSpec { lifetime, lifetime_jitter, ..QuotaSpec::default() };
        let book = QuotaBook::default();
        let exact = book.find("a", None, with(Duration::ZERO));
        assert_eq!(exact.lifetime(u64::MAX), lifetime);
        let spread = book.find("b", None, with(Duration::from_secs(4)));
        for random in [0, 1, 3999, 4000, 4001, 123_456_789, u64::MAX] {
            let life = spread.lifetime(random).unwrap();
            assert!((6..=10).contains(&life.as_secs()) && life <= Duration::from_secs(10), "{life:?}");
        }
        assert_ne!(spread.lifetime(1), spread.lifetime(2));
    }
}
