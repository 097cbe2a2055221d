// SPDX-License-Identifier: MIT OR Apache-2.0
//! Civil time, local and UTC, as localtime_r(3) and gmtime_r(3) give it; and the time that a thread was at work.
//!
//! The zone is read by the C library at the first call and kept: call [`local`] once before a chroot(2), or the
//! zone's file is out of reach. Writing a date as text is not here.

#![expect(unsafe_code, reason = "localtime_r takes pointers; the safe crates have no local time")]

use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, in seconds since 1970-01-01T00:00:00Z with fractions: for what is shown, never for what is waited for.
#[must_use]
pub fn unix() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "shown to people, who think in times of day")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The time that the calling thread has had a processor (CLOCK_THREAD_CPUTIME_ID, clock_gettime(2)): what a piece of its work
/// took, whoever else was at work meanwhile. A system call.
#[must_use]
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours, which outlives the call.
    let _never_fails_on_linux = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

/// A moment as a local calendar and a local clock show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, 1970 for the epoch.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    /// 0 to 60: a leap second is possible where the zone data count them.
    pub second: u8,
    /// Seconds east of UTC.
    pub offset: i32,
}

impl LocalTime {
    /// What [`local`] answers for a moment the C library cannot express.
    const EPOCH: Self = Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, offset: 0 };
}

/// The local time `seconds` after 1970-01-01T00:00:00Z; the epoch itself where the year does not fit an `int`.
#[must_use]
pub fn local(seconds: i64) -> LocalTime {
    civil(seconds, libc::localtime_r)
}

/// The same in UTC.
#[must_use]
pub fn utc(seconds: i64) -> LocalTime {
    civil(seconds, libc::gmtime_r)
}

/// What `convert`, which is localtime_r(3) or gmtime_r(3), makes of a moment.
fn civil(
    seconds: i64,
    convert: unsafe extern "C" fn(*const libc::time_t, *mut libc::tm) -> *mut libc::tm,
) -> LocalTime {
    // Fits everywhere but where `time_t` has 32 bits.
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, the second for writing a whole `tm`. The functions are
    // thread-safe by POSIX; the local one reads the environment variable TZ, which nothing in this crate ever sets.
    let answer = unsafe { convert(&raw const seconds, broken_down.as_mut_ptr()) };
    if answer.is_null() {
        return LocalTime::EPOCH;
    }
    // SAFETY: zeroes are a valid `tm` (integers and a nullable pointer), and the call above has filled it in.
    let tm = unsafe { broken_down.assume_init() };
    let small = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
    LocalTime {
        year: tm.tm_year.saturating_add(1900),
        month: small(tm.tm_mon.saturating_add(1)),
        day: small(tm.tm_mday),
        hour: small(tm.tm_hour),
        minute: small(tm.tm_min),
        second: small(tm.tm_sec),
        offset: i32::try_from(tm.tm_gmtoff).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days since the epoch of a civil date, by counting: slow, obvious, and independent of the C library.
    fn days(year: i32, month: u8, day: u8) -> i64 {
        let leap = |y: i32| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        let mut total: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
        let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        total += lengths.iter().take(usize::from(month) - 1).sum::<i64>();
        total + i64::from(day) - 1
    }

    #[test]
    fn the_parts_and_the_offset_give_the_second_back() {
        for seconds in [0, 951_782_400, 1_709_164_799, 1_785_500_000, 1_795_262_400, 4_102_444_799] {
            let t = local(seconds);
            let clock = i64::from(t.hour) * 3600 + i64::from(t.minute) * 60 + i64::from(t.second);
            assert_eq!(days(t.year, t.month, t.day) * 86_400 + clock - i64::from(t.offset), seconds, "{t:?}");
        }
    }

    #[test]
    fn utc_has_no_offset() {
        let t = utc(951_782_399);
        let expected =
            LocalTime { year: 2000, month: 2, day: 28, hour: 23, minute: 59, second: 59, offset: 0 };
        assert_eq!(t, expected);
    }

    #[test]
    fn a_year_beyond_an_int_is_the_epoch() {
        assert_eq!(local(i64::MAX), LocalTime::EPOCH);
    }
}
