// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables against a model, under threads, full, and found again.

use super::*;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

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
            assert!(rate.cost(1) * most <= per && rate.cost(1) * (most + 1) > per, "{rate:?}");
        }
        let whole = rate.cost(most);
        assert!(whole.abs_diff(per) <= 1, "{rate:?}: {whole}");
    }
    let huge = Rate { most: 1 << 40, per: Duration::from_secs(86_400) };
    assert_eq!(huge.cost(1 << 40), 86_400_000_000_000, "does not overflow on the way");
    assert_eq!(Rate { most: 0, per: Duration::MAX }.cost(u64::MAX), u64::MAX);
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
