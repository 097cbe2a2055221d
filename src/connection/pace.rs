// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a connection's bytes moved last, how fast they move, and how many have been counted: 32 bytes in every connection,
//! touched only where bytes moved.
//!
//! Stamps are the low 32 bits of [`Clock::at`], totals are kept by their low 32 bits: differences are what is wanted, and
//! those are right for 49 days, and for 4 GiB in a turn. Not here: the totals themselves (`channel/`).
//!
//! [`Clock::at`]: crate::stats::Clock::at

use super::connection::Connection;
use super::context::Ctx;
use std::time::Duration;

/// How long rates are taken over, at least, in milliseconds.
const WINDOW: u32 = 1000;

/// Bytes after which a window closes early, so that its difference always fits.
const FULL: u32 = 1 << 31;

/// Both directions: from the client, to the client.
type Both<T> = [T; 2];

/// See the head of the file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When bytes moved last.
    moved: u32,
    /// When the window began, and the totals then.
    began: u32,
    base: Both<u32>,
    /// Bytes per second in the window before.
    rate: Both<f32>,
    /// Totals that the statistics have.
    counted: Both<u32>,
}

/// The low bits.
pub(super) fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

fn seconds(millis: u32) -> f64 {
    Duration::from_millis(millis.into()).as_secs_f64()
}

impl Pace {
    /// Of a connection that begins at `at`.
    pub(super) fn new(at: u64) -> Self {
        Self { moved: low(at), began: low(at), ..Self::default() }
    }

    /// Takes note of the `totals` at `at`; what has come since this was last asked, if anything has.
    pub(super) fn note(&mut self, totals: Both<u64>, at: u64) -> Option<Both<u64>> {
        let totals = totals.map(low);
        if totals == self.counted {
            return None;
        }
        let [up, down] = [0, 1].map(|way| u64::from(totals[way].wrapping_sub(self.counted[way])));
        self.counted = totals;
        self.moved = low(at);
        let (open, moved) = (low(at).wrapping_sub(self.began), self.in_window());
        if open >= WINDOW || moved.into_iter().any(|bytes| bytes >= FULL) {
            self.rate = moved.map(|bytes| rate(bytes, open));
            self.base = totals;
            self.began = low(at);
        }
        Some([up, down])
    }

    /// How long nothing has moved, in seconds.
    pub(super) fn idle(&self, at: u64) -> f64 {
        seconds(low(at).wrapping_sub(self.moved))
    }

    /// Bytes per second over the last second, or for as long as nothing moved.
    pub(super) fn rates(&self, at: u64) -> Both<f64> {
        let open = low(at).wrapping_sub(self.began);
        let rates = if open >= WINDOW { self.in_window().map(|bytes| rate(bytes, open)) } else { self.rate };
        rates.map(f64::from)
    }

    fn in_window(&self) -> Both<u32> {
        [0, 1].map(|way| self.counted[way].wrapping_sub(self.base[way]))
    }
}

fn rate(bytes: u32, millis: u32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a rate of seven digits is as good")]
    let rate = (f64::from(bytes) / seconds(millis.max(1))) as f32;
    rate
}

impl Connection {
    /// Counts what has moved since this was last called, wherever the connection is counted. After each turn that may have
    /// moved something: it costs a comparison where nothing did, else two additions in each of four cells of this worker.
    pub(super) fn count_bytes(&mut self, ctx: &Ctx) {
        let totals = [self.pair.up.read(), self.pair.down.written()];
        if let Some([up, down]) = self.pace.note(totals, ctx.at()) {
            for scope in self.pair.stays.scopes() {
                scope.add_bytes(ctx.worker, up, down);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE_WRAP: u64 = u32::MAX as u64 - 10;

    #[test]
    fn every_byte_is_told_once_whatever_wraps() {
        let mut pace = Pace::new(BEFORE_WRAP);
        let mut told = [0, 0];
        let mut totals = [0_u64, 0];
        for (at, step) in
            [(0, 10), (3, 0), (7, 1 << 31), (20, 1 << 31), (2000, u64::from(u32::MAX)), (2001, 1)]
        {
            totals = [totals[0] + step, totals[1] + step / 2];
            for (sum, new) in told.iter_mut().zip(pace.note(totals, BEFORE_WRAP + at).unwrap_or([0, 0])) {
                *sum += new;
            }
            assert_eq!(told, totals);
        }
    }

    #[test]
    fn rates_are_of_the_last_second_and_fade() {
        let near =
            |left: f64, right: f64| assert!((left - right).abs() < right * 1e-6 + 1e-9, "{left} {right}");
        let mut pace = Pace::new(BEFORE_WRAP);
        pace.note([500, 0], BEFORE_WRAP + 500);
        near(pace.rates(BEFORE_WRAP + 600)[0], 0.0);
        pace.note([2_000, 100], BEFORE_WRAP + 1_000);
        near(pace.rates(BEFORE_WRAP + 1_500)[0], 2_000.0);
        near(pace.rates(BEFORE_WRAP + 1_500)[1], 100.0);
        pace.note([2_600, 100], BEFORE_WRAP + 1_600);
        near(pace.rates(BEFORE_WRAP + 3_000)[0], 300.0);
        near(pace.idle(BEFORE_WRAP + 3_000), 1.4);
        near(pace.rates(BEFORE_WRAP + 1_001_000)[0], 0.6);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Pace>() <= 32, "{}", size_of::<Pace>());
    }
}
