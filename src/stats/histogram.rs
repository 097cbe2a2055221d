// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long things take: counts by bucket, and their sum.
//!
//! The buckets are log-like, three to a decade over six decades: a quantile interpolated between two bounds is off by no
//! more than their distance, a factor of 2.5. One cell is 168 bytes.

use super::scope::{load, raise};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Upper bounds of the buckets in microseconds; one more bucket, without a bound, is behind them.
const BOUNDS: [u64; 19] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// What the bounds are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 100 µs to 100 s: handshakes, connects, turns.
    Short,
    /// 10 ms to 10,000 s: lives of connections.
    Long,
}

impl Scale {
    fn factor(self) -> u64 {
        match self {
            Self::Short => 1,
            Self::Long => 100,
        }
    }
}

/// One worker's counts.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// Nanoseconds.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one that took `time`; for the owner of the cell only.
    pub fn count(&self, scale: Scale, time: Duration) {
        let micros = u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| bound * scale.factor() < micros);
        raise(&self.buckets[bucket], 1);
        raise(&self.sum, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// The counts of many workers together.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    scale: Scale,
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl Distribution {
    /// Of nothing yet.
    pub fn new(scale: Scale) -> Self {
        Self { scale, buckets: [0; BUCKETS], nanos: 0 }
    }

    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += load(bucket);
        }
        self.nanos = self.nanos.wrapping_add(load(&histogram.sum));
    }

    /// Adds one of the same scale.
    pub fn join(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += bucket;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All together, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// Upper bound in seconds, and how many took at most that; the last has no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let mut total = 0;
        (0..BUCKETS).map(move |index| {
            total += self.buckets[index];
            (self.bound(index), total)
        })
    }

    /// What the share `q` (0 to 1) of all did not exceed, in seconds, as if each bucket were filled evenly; 0 when there
    /// was nothing, the greatest bound when it lies beyond.
    pub fn quantile(&self, q: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count beyond 2^53 would be off by one in ten to the 16"
        )]
        let (rank, float) = (q * self.count() as f64, |count: u64| count as f64);
        let mut before = 0;
        for (index, &here) in self.buckets.iter().enumerate() {
            if here > 0 && float(before + here) >= rank {
                let low = index.checked_sub(1).and_then(|index| self.bound(index)).unwrap_or(0.0);
                let Some(high) = self.bound(index) else { return low };
                return low + (high - low) * ((rank - float(before)) / float(here)).clamp(0.0, 1.0);
            }
            before += here;
        }
        0.0
    }

    fn bound(&self, index: usize) -> Option<f64> {
        BOUNDS.get(index).map(|bound| Duration::from_micros(bound * self.scale.factor()).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scale: Scale, micros: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        for micros in micros {
            histogram.count(scale, Duration::from_micros(*micros));
        }
        let mut all = Distribution::new(scale);
        all.add(&histogram);
        all
    }

    #[test]
    fn a_time_at_the_bound_is_within_it() {
        let all = of(Scale::Short, &[100, 101, 100_000_000, 100_000_001]);
        let counts: Vec<_> = all.cumulative().collect();
        assert_eq!(counts[0], (Some(0.0001), 1));
        assert_eq!(counts[1], (Some(0.00025), 2));
        assert_eq!(counts[BUCKETS - 2], (Some(100.0), 3));
        assert_eq!(counts[BUCKETS - 1], (None, 4));
        assert!((all.sum() - 200.000_202).abs() < 1e-6, "{}", all.sum());
        assert_eq!(of(Scale::Long, &[10_000]).cumulative().next(), Some((Some(0.01), 1)));
    }

    #[test]
    fn quantiles_lie_between_the_bounds() {
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-9, "{left} {right}");
        near(of(Scale::Short, &[]).quantile(0.5), 0.0);
        near(of(Scale::Short, &[10; 100]).quantile(0.5), 0.000_05);
        near(of(Scale::Short, &[600; 100]).quantile(0.99), 0.0005 + 0.0005 * 0.99);
        // 98 below, 2 above: the 99th of 100 is the first half of the upper bucket.
        let mut times = vec![10; 98];
        times.extend([2_000, 2_000]);
        near(of(Scale::Short, &times).quantile(0.99), 0.001 + 0.0015 * 0.5);
        near(of(Scale::Short, &[u64::MAX / 2000]).quantile(0.5), 100.0);
    }

    #[test]
    fn parts_add_up() {
        let (mut left, right) = (of(Scale::Short, &[10, 1_000]), of(Scale::Short, &[2_000]));
        left.join(&right);
        assert_eq!(left, of(Scale::Short, &[10, 1_000, 2_000]));
        assert_eq!(left.count(), 3);
    }
}
