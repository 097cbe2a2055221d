// SPDX-License-Identifier: MIT OR Apache-2.0
//! Durations, sizes and rates as text: "500ms", "5m", "256KiB", "100/10s". Pure functions, each the inverse of its
//! neighbour.
//!
//! Not here: which values a key may have; the caller knows the bounds.

use super::report::Complaint;
use crate::policy::bucket::Rate;
use std::time::Duration;

/// Units of time, the largest first; the value is in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size, the largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units that mean 1000 to some and 1024 to others, and what is probably meant.
const DOUBTFUL_UNITS: [(&str, &str); 9] = [
    ("KB", "KiB"),
    ("kB", "KiB"),
    ("kb", "KiB"),
    ("K", "KiB"),
    ("k", "KiB"),
    ("MB", "MiB"),
    ("M", "MiB"),
    ("GB", "GiB"),
    ("G", "GiB"),
];

/// Reads "10s": a whole number and one of ms, s, m, h, d.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Complaint> {
    const HELP: &str = r#"write a whole number and a unit, as in "500ms", "10s", "5m", "1h" or "1d""#;
    let (number, unit) = split(text);
    if !number.is_empty() && unit.is_empty() {
        let complaint = Complaint::new(format!("the duration {text:?} has no unit"));
        return Err(complaint.help(format!("did you mean \"{number}s\"?")));
    }
    let milliseconds = multiply(number, unit, &TIME_UNITS);
    let bad = || Complaint::new(format!("{text:?} is not a duration")).help(HELP);
    milliseconds.map(Duration::from_millis).ok_or_else(bad)
}

/// Writes a duration in the largest unit that divides it; parts of a millisecond are dropped.
pub(crate) fn format_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format_in(milliseconds, &TIME_UNITS, "0s")
}

/// Reads "64KiB", "1B": a whole number and one of B, KiB, MiB, GiB. Bytes are also meant by a number alone.
pub(super) fn parse_size(text: &str) -> Result<u64, Complaint> {
    const HELP: &str = r#"write a whole number and a unit, as in "1B", "64KiB" or "1MiB""#;
    let (number, unit) = split(text);
    let doubtful = DOUBTFUL_UNITS.iter().find(|(doubtful, _)| *doubtful == unit);
    if let (Some((_, meant)), false) = (doubtful, number.is_empty()) {
        let complaint = Complaint::new(format!("the unit of {text:?} may mean 1000 or 1024"));
        return Err(complaint.help(format!("did you mean \"{number}{meant}\"?")));
    }
    let unit = if unit.is_empty() { "B" } else { unit };
    multiply(number, unit, &SIZE_UNITS)
        .ok_or_else(|| Complaint::new(format!("{text:?} is not a size")).help(HELP))
}

/// Writes a size in the largest unit that divides it.
pub(super) fn format_size(bytes: u64) -> String {
    format_in(bytes, &SIZE_UNITS, "0B")
}

/// What is counted by a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// "100/10s"
    Events,
    /// "100MiB/1m"
    Bytes,
}

impl Counted {
    /// What a rate of it looks like.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Events => "100/10s",
            Self::Bytes => "100MiB/1m",
        }
    }
}

/// Reads "100/10s" or "100MiB/1m": so much per so long.
pub(super) fn parse_rate(text: &str, counted: Counted) -> Result<Rate, Complaint> {
    let Some((most, per)) = text.split_once('/') else {
        let complaint = Complaint::new(format!("{text:?} is not a rate"));
        return Err(complaint.help(format!("write how many in how long, as in {:?}", counted.example())));
    };
    let most = match counted {
        Counted::Bytes => parse_size(most)?,
        Counted::Events => {
            let digits = !most.is_empty() && most.bytes().all(|byte| byte.is_ascii_digit());
            let bad = || Complaint::new(format!("{most:?} in {text:?} is not a number"));
            digits.then(|| most.parse().ok()).flatten().ok_or_else(bad)?
        }
    };
    let per = match split(per) {
        ("", unit) if TIME_UNITS.iter().any(|(known, _)| *known == unit) => {
            let complaint = Complaint::new(format!("{text:?} does not say how many {unit:?}"));
            return Err(
                complaint.help(format!("did you mean \"{}/1{unit}\"?", text.split('/').next().unwrap_or("")))
            );
        }
        _ => parse_duration(per)?,
    };
    Ok(Rate { most, per })
}

/// Writes a rate.
pub(super) fn format_rate(rate: Rate, counted: Counted) -> String {
    let most = match counted {
        Counted::Events => rate.most.to_string(),
        Counted::Bytes => format_size(rate.most),
    };
    format!("{most}/{}", format_duration(rate.per))
}

/// The digits at the beginning, and the rest.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn multiply(number: &str, unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format_in(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let fits = |unit: &&(&str, u64)| value != 0 && value % unit.1 == 0;
    units
        .iter()
        .find(fits)
        .map_or_else(|| zero.to_owned(), |(name, factor)| format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(format_duration(duration), text);
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::MAX), format!("{}ms", u64::MAX));
    }

    #[test]
    fn bad_durations_are_refused() {
        for text in
            ["", "s", "-1s", "1.5s", "1 s", "1S", "1m30s", "5 minutes", "99999999999999999999s", "1w", "１s"]
        {
            assert_eq!(parse_duration(text).unwrap_err().message, format!("{text:?} is not a duration"));
        }
        assert!(parse_duration(&format!("{}d", u64::MAX)).is_err());
        assert_eq!(parse_duration("10").unwrap_err().help.as_deref(), Some("did you mean \"10s\"?"));
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("0B", 0)] {
            assert_eq!(parse_size(text).unwrap(), bytes);
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(parse_size("1500").unwrap(), 1500);
        assert_eq!(format_size(1025), "1025B");
    }

    #[test]
    fn bad_sizes_are_refused() {
        for text in ["", "B", "-1B", "1.5MiB", "1 KiB", "1kib", "99999999999999999999B", "17179869184GiB"] {
            assert_eq!(parse_size(text).unwrap_err().message, format!("{text:?} is not a size"));
        }
        assert_eq!(parse_size("64KB").unwrap_err().help.as_deref(), Some("did you mean \"64KiB\"?"));
    }

    #[test]
    fn rates_are_read_and_written() {
        for (text, counted, most, seconds) in [
            ("100/10s", Counted::Events, 100, 10),
            ("1/1d", Counted::Events, 1, 86_400),
            ("100MiB/1m", Counted::Bytes, 100 << 20, 60),
        ] {
            let rate = parse_rate(text, counted).unwrap();
            assert_eq!(rate, Rate { most, per: Duration::from_secs(seconds) }, "{text}");
            assert_eq!(format_rate(rate, counted), text);
        }
        for (text, message) in [
            ("", "\"\" is not a rate"),
            ("100", "\"100\" is not a rate"),
            ("/10s", "\"\" in \"/10s\" is not a number"),
            ("+1/10s", "\"+1\" in \"+1/10s\" is not a number"),
            ("1.5/10s", "\"1.5\" in \"1.5/10s\" is not a number"),
            (
                "99999999999999999999/1s",
                "\"99999999999999999999\" in \"99999999999999999999/1s\" is not a number",
            ),
            ("100/10", "the duration \"10\" has no unit"),
            ("100/s", "\"100/s\" does not say how many \"s\""),
            ("100/", "\"\" is not a duration"),
            ("1/1s/1s", "\"1s/1s\" is not a duration"),
        ] {
            assert_eq!(parse_rate(text, Counted::Events).unwrap_err().message, message, "{text}");
        }
        assert!(parse_rate("10MB/1m", Counted::Bytes).unwrap_err().message.contains("1000 or 1024"));
        let help = parse_rate("100/s", Counted::Events).unwrap_err().help;
        assert_eq!(help.as_deref(), Some("did you mean \"100/1s\"?"));
    }
}
