// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a line was made, as text in local time.
//!
//! Two forms: `2026-11-21T13:00:00.123+01:00` (RFC 3339) for files and stderr, and `Nov 21 13:00:00` (RFC 3164
//! section 4.1.2: local time, the day padded with a space) for syslog. The calendar is worked out once per second.
//! Reading the clock is not here.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::time::{LocalTime, local};

/// The month names of RFC 3164, in English whatever the locale says.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds and milliseconds since the epoch; a clock before the epoch counts as the epoch.
fn split(moment: SystemTime) -> (i64, u32) {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(0), since.subsec_millis())
}

/// Writes moments, and remembers the last second's text.
#[derive(Debug, Default)]
pub(super) struct Stamper {
    /// The second the two texts below stand for.
    second: Option<i64>,
    /// `2026-11-21T13:00:00`
    date: String,
    /// `+01:00`
    zone: String,
    /// `Nov 21 13:00:00`
    bsd: String,
}

impl Stamper {
    /// Appends the RFC 3339 form with milliseconds and the zone's offset.
    pub(super) fn rfc3339(&mut self, moment: SystemTime, out: &mut String) {
        let (second, milliseconds) = split(moment);
        self.show(second);
        out.push_str(&self.date);
        // Writing to a string cannot fail.
        _ = write!(out, ".{milliseconds:03}");
        out.push_str(&self.zone);
    }

    /// Appends the RFC 3164 form.
    pub(super) fn rfc3164(&mut self, moment: SystemTime, out: &mut String) {
        let (second, _) = split(moment);
        self.show(second);
        out.push_str(&self.bsd);
    }

    fn show(&mut self, second: i64) {
        if self.second != Some(second) {
            self.second = Some(second);
            self.render(local(second));
        }
    }

    fn render(&mut self, t: LocalTime) {
        self.date.clear();
        self.zone.clear();
        self.bsd.clear();
        let LocalTime { year, month, day, hour, minute, second, offset } = t;
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.unsigned_abs() / 60;
        let name = MONTHS.get(usize::from(month).wrapping_sub(1)).copied().unwrap_or("Jan");
        // Writing to a string cannot fail.
        _ = write!(self.date, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        _ = write!(self.zone, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        _ = write!(self.bsd, "{name} {day:2} {hour:02}:{minute:02}:{second:02}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn parts_become_both_forms() {
        let table = [
            (
                LocalTime { year: 2026, month: 11, day: 21, hour: 13, minute: 0, second: 9, offset: 3600 },
                "2026-11-21T13:00:09",
                "+01:00",
                "Nov 21 13:00:09",
            ),
            (
                LocalTime { year: 2027, month: 1, day: 2, hour: 3, minute: 4, second: 5, offset: -12_600 },
                "2027-01-02T03:04:05",
                "-03:30",
                "Jan  2 03:04:05",
            ),
            (
                LocalTime { year: 2026, month: 12, day: 31, hour: 23, minute: 59, second: 60, offset: 0 },
                "2026-12-31T23:59:60",
                "+00:00",
                "Dec 31 23:59:60",
            ),
        ];
        for (parts, date, zone, bsd) in table {
            let mut stamper = Stamper::default();
            stamper.render(parts);
            assert_eq!((&*stamper.date, &*stamper.zone, &*stamper.bsd), (date, zone, bsd));
        }
    }

    #[test]
    fn the_remembered_second_is_left_when_time_goes_on_or_back() {
        let mut stamper = Stamper::default();
        let base = UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        let mut show = |moment| {
            let mut out = String::new();
            stamper.rfc3339(moment, &mut out);
            out
        };
        let first = show(base);
        assert!(first.contains(":00.000"), "{first}");
        let same = show(base + Duration::from_millis(7));
        assert_eq!(same, first.replace(".000", ".007"));
        let next = show(base + Duration::from_millis(1999));
        assert!(next.contains(":01.999"), "{next}");
        assert_eq!(show(base), first, "a clock set back shows");
    }

    #[test]
    fn a_clock_before_the_epoch_is_the_epoch() {
        assert_eq!(split(UNIX_EPOCH - Duration::from_secs(5)), (0, 0));
    }
}
