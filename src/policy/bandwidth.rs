// SPDX-License-Identifier: MIT OR Apache-2.0
//! How bytes are rationed: a meter for each direction that has a limit.
//!
//! Whoever wants to read first *reserves* a ration in every bucket that applies: those of the connection alone, those it
//! shares with all others of its route and its service. A bucket answers when that ration will have leaked out of it, so those
//! who want more than there is stand in one queue without knowing of each other: reservations are served in the order in which
//! they were made, whichever worker made them, and nobody polls, for each knows its moment. What was reserved and not read is
//! taken back at the end of the turn.
//!
//! *Fair* is that nobody has more than one reservation at a time, and that rations are small: 10 ms of the rate, at most
//! `LARGEST`. A connection begins with a small one and doubles it as long as it uses all of it, so those that say little
//! keep little waiting.
//!
//! Not here: who is not read meanwhile (`channel/mod.rs`), who is woken when (`connection/alarms.rs`).

use super::bucket::Bucket;
use super::quota::{Quota, Ways};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The smallest ration, in bytes. Less would cost more in wake-ups than it could even out.
const SMALLEST: u64 = 1024;

/// The first ration of a connection, where the rate allows it.
const FIRST: u64 = 16 << 10;

/// The largest: about what a worker reads in one turn through a pipe.
const LARGEST: u64 = 256 << 10;

/// How many rations a second has.
const PER_SECOND: u64 = 100;

/// The longest that anybody is told to wait: a time beyond what the clock can count never comes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Both meters of a connection; a direction without a limit has none.
#[derive(Debug)]
pub struct Meters(pub Ways<Option<Meter>>);

impl Meters {
    /// What the `limit` of the service and of the route come to; nothing if neither limits bytes.
    pub fn new<'q>(quotas: impl Iterator<Item = &'q Quota> + Clone) -> Option<Self> {
        let up = quotas.clone().flat_map(|quota| {
            let own = quota.spec.connection_bandwidth.up.map(|rate| Arc::new(Bucket::new(rate)));
            [own, quota.bandwidth.up.clone()]
        });
        let down = quotas.flat_map(|quota| {
            let own = quota.spec.connection_bandwidth.down.map(|rate| Arc::new(Bucket::new(rate)));
            [own, quota.bandwidth.down.clone()]
        });
        let ways =
            Ways { up: Meter::new(up.flatten().collect()), down: Meter::new(down.flatten().collect()) };
        (ways.up.is_some() || ways.down.is_some()).then_some(Self(ways))
    }

    /// When the first of those who wait may read.
    pub fn due(&self) -> Option<Instant> {
        [&self.0.up, &self.0.down].into_iter().flatten().filter_map(|meter| meter.due).min()
    }
}

/// How a direction may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ration {
    /// So many bytes; none where it was not known that anything is there.
    Bytes(u64),
    /// Not before its moment has come.
    Later,
}

/// One direction's limits.
#[derive(Debug)]
pub struct Meter {
    /// At least one, at most four.
    buckets: Box<[Arc<Bucket>]>,
    /// The largest ration that suits all of them.
    largest: u64,
    /// The next one.
    next: u64,
    /// Bytes that are charged and not read yet.
    reserved: u64,
    /// When they may be read, if that is not yet.
    due: Option<Instant>,
}

impl Meter {
    fn new(buckets: Box<[Arc<Bucket>]>) -> Option<Self> {
        let largest = buckets.iter().map(|bucket| largest(bucket)).min()?;
        Some(Self { buckets, largest, next: FIRST.min(largest), reserved: 0, due: None })
    }

    /// What may be read now; `wants` tells whether there is something to read, for all we know.
    pub fn open(&mut self, wants: bool, now: Instant) -> Ration {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
        }
        if self.reserved == 0 && wants {
            self.reserve(now);
        }
        if self.due.is_some() { Ration::Later } else { Ration::Bytes(self.reserved) }
    }

    /// Tells that `read` of the ration were read in this turn. Whoever used up all of it reserves the next at once.
    pub fn settle(&mut self, read: u64, now: Instant) {
        let left = self.reserved.saturating_sub(read);
        if self.due.is_some() || self.reserved == 0 {
            return;
        }
        if left == 0 {
            self.next = (self.next * 2).min(self.largest);
            self.reserve(now);
        } else {
            self.give_back(left);
            if read > 0 {
                self.next = (read * 2).clamp(SMALLEST.min(self.largest), self.largest);
            }
        }
    }

    /// Whether it waits for its moment.
    pub fn waits(&self) -> bool {
        self.due.is_some()
    }

    /// Whether that has come.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Nothing more will be read.
    pub fn release(&mut self) {
        self.give_back(self.reserved);
        self.due = None;
    }

    fn reserve(&mut self, now: Instant) {
        let wait = self.buckets.iter().map(|bucket| bucket.reserve(self.next, now)).max();
        let wait = wait.unwrap_or_default().min(LONGEST);
        self.reserved = self.next;
        self.due = (!wait.is_zero()).then(|| now + wait);
    }

    fn give_back(&mut self, bytes: u64) {
        for bucket in &self.buckets {
            bucket.take_back(bytes);
        }
        self.reserved = 0;
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.release();
    }
}

/// The largest ration of a bucket: 10 ms of its rate, and never more than it holds.
fn largest(bucket: &Bucket) -> u64 {
    let per_second = u128::from(bucket.rate.most) * 1_000_000_000 / u128::from(bucket.rate.window().max(1));
    let ration = u64::try_from(per_second / u128::from(PER_SECOND)).unwrap_or(u64::MAX);
    ration.clamp(SMALLEST, LARGEST).min(bucket.rate.most).max(1)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;
    use crate::policy::bucket::Rate;
    use crate::policy::quota::{QuotaBook, QuotaSpec};

    fn rate(bytes: u64, milliseconds: u64) -> Rate {
        Rate { most: bytes, per: Duration::from_millis(milliseconds) }
    }

    fn quota(shared: Option<Rate>, own: Option<Rate>) -> Quota {
        let up = |up| Ways { up, down: None };
        let spec = QuotaSpec { bandwidth: up(shared), connection_bandwidth: up(own), ..QuotaSpec::default() };
        QuotaBook::default().find("web", None, spec)
    }

    fn meter(quota: &Quota) -> Meter {
        Meters::new([quota].into_iter()).unwrap().0.up.unwrap()
    }

    /// Lets every meter read as fast as it may for so many milliseconds; how much each got.
    fn run(meters: &mut [Meter], milliseconds: u64) -> Vec<u64> {
        let (begin, mut got) = (Instant::now(), vec![0; meters.len()]);
        for millisecond in 0..milliseconds {
            let now = begin + Duration::from_millis(millisecond);
            for (meter, got) in meters.iter_mut().zip(&mut got) {
                while let Ration::Bytes(bytes) = meter.open(true, now) {
                    *got += bytes;
                    meter.settle(bytes, now);
                }
            }
        }
        got
    }

    #[test]
    fn a_shared_bucket_is_shared_evenly_and_never_exceeded() {
        let quota = quota(Some(rate(10_000, 10)), None);
        let mut meters: Vec<_> = (0..10).map(|_| meter(&quota)).collect();
        let got = run(&mut meters, 5000);
        let all: u64 = got.iter().sum();
        assert!((4_900_000..=5_100_000).contains(&all), "{all} of 5,000,000 and one bucket");
        for one in got {
            assert!((450_000..=550_000).contains(&one), "{one} of 500,000");
        }
    }

    #[test]
    fn the_strictest_of_several_limits_holds() {
        let quota = quota(Some(rate(1_000_000, 100)), Some(rate(10_000, 100)));
        let got = run(&mut [meter(&quota), meter(&quota)], 1000);
        for one in got {
            assert!((95_000..=110_000).contains(&one), "{one} of 100,000 and one bucket");
        }
    }

    #[test]
    fn who_reads_less_than_its_ration_keeps_nobody_waiting_for_the_rest() {
        let quota = quota(Some(rate(1_000_000, 1000)), None);
        let (mut quiet, now) = (meter(&quota), Instant::now());
        for _ in 0..1000 {
            let Ration::Bytes(ration) = quiet.open(true, now) else { panic!("held back") };
            assert!(ration >= 100);
            quiet.settle(100, now);
        }
        assert_eq!(quiet.open(false, now), Ration::Bytes(0), "nothing is reserved in advance");
        let got = run(&mut [meter(&quota)], 1);
        assert!(got[0] >= 880_000, "{} of 900,000", got[0]);
    }

    #[test]
    fn what_goes_gives_its_reservation_back() {
        let quota = quota(Some(rate(20_000, 1000)), None);
        let now = Instant::now();
        let mut greedy = meter(&quota);
        while let Ration::Bytes(bytes) = greedy.open(true, now) {
            greedy.settle(bytes, now);
        }
        assert!(greedy.waits());
        let mut second = meter(&quota);
        assert_eq!(second.open(true, now), Ration::Later);
        let before = second.due;
        drop(greedy);
        let mut third = meter(&quota);
        assert_eq!(third.open(true, now), Ration::Later);
        assert!(third.due <= before, "it stands where the first stood");
        second.release();
        assert_eq!(second.due, None);
    }

    #[test]
    fn rations_suit_the_rate() {
        for (rate, expected) in [
            (rate(10 << 20, 1000), 104_857),
            (rate(1 << 40, 1000), LARGEST),
            (rate(100, 1000), 100),
            (rate(1, 1), 1),
            (rate(1 << 20, 86_400_000), SMALLEST),
        ] {
            assert_eq!(largest(&Bucket::new(rate)), expected, "{rate:?}");
        }
    }
}
