// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers as people read them: few digits, a unit, never more than seven columns.

use tunnel::sys::time::local;

/// A count: "0", "9999", "12.3k", "4.56M".
pub(crate) fn count(number: u64) -> String {
    if number < 10_000 {
        number.to_string()
    } else {
        scaled(float(number), 1000.0, &["", "k", "M", "G", "T", "P", "E"])
    }
}

/// Bytes in binary multiples: "0B", "1023B", "1.50K", "12.3M".
pub(crate) fn bytes(number: u64) -> String {
    amount(float(number))
}

/// Bytes per second.
pub(crate) fn byte_rate(number: f64) -> String {
    amount(number) + "/s"
}

fn amount(number: f64) -> String {
    if number < 999.5 {
        return format!("{:.0}B", number.max(0.0));
    }
    scaled(number, 1024.0, &["B", "K", "M", "G", "T", "P", "E"])
}

/// Things per second: "0", "0.2", "12", "3.40k".
pub(crate) fn rate(number: f64) -> String {
    match number {
        n if n < 0.05 => "0".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 9999.5 => format!("{n:.0}"),
        n => scaled(n, 1000.0, &["", "k", "M", "G", "T"]),
    }
}

/// Three digits and a unit.
fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = match number {
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{}", units[unit])
}

/// The counters of one life are far below 2^53, above which the last digits go, which nobody sees here.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A span in seconds: "0", "15µs", "1.2ms", "350ms", "4.2s", "59s", "12m03s", "3h04m", "2d05h", "812d".
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_000_5 => "0".to_owned(),
        s if s < 0.000_999_5 => format!("{:.0}µs", s * 1e6),
        s if s < 0.009_95 => format!("{:.1}ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0}ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1}s"),
        s if s < 59.5 => format!("{s:.0}s"),
        s if s < 3_599.5 => two(s, 60.0, "m", "s"),
        s if s < 86_370.0 => two(s / 60.0, 60.0, "h", "m"),
        s if s < 8_640_000.0 => two(s / 3600.0, 24.0, "d", "h"),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

/// `number` of the lower unit, `base` of which make one of the upper.
fn two(number: f64, base: f64, upper: &str, lower: &str) -> String {
    let number = number.round();
    format!("{:.0}{upper}{:02.0}{lower}", (number / base).floor(), number % base)
}

/// A share of one: "0%", "0.5%", "42%".
pub(crate) fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "-".to_owned();
    }
    let percent = part / whole * 100.0;
    if percent > 0.0 && percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// A moment, local: "2026-11-21 20:15:03"; "never" for 0.
pub(crate) fn moment(seconds: f64) -> String {
    match whole(seconds) {
        None => "never".to_owned(),
        Some(seconds) => {
            let t = local(seconds);
            format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", t.year, t.month, t.day, t.hour, t.minute, t.second)
        }
    }
}

/// A day, local: "2026-11-21"; "-" for 0.
pub(crate) fn day(seconds: f64) -> String {
    match whole(seconds) {
        None => "-".to_owned(),
        Some(seconds) => {
            let t = local(seconds);
            format!("{:04}-{:02}-{:02}", t.year, t.month, t.day)
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast to an integer saturates, and the calendar knows the bounds"
)]
fn whole(seconds: f64) -> Option<i64> {
    (seconds > 0.0).then_some(seconds as i64)
}

/// How long ago `then` was at `now`: "5.0s ago", "never" for 0.
pub(crate) fn ago(then: f64, now: f64) -> String {
    if then <= 0.0 { "never".to_owned() } else { format!("{} ago", span((now - then).max(0.0))) }
}

/// A row of samples as a line of blocks, the newest last, at most `columns` of them; the highest is full.
pub(crate) fn spark(samples: &[f64], columns: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &samples[samples.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    let block = |sample: &f64| {
        let part = if most > 0.0 { (sample / most).clamp(0.0, 1.0) } else { 0.0 };
        BLOCKS
            .into_iter()
            .rev()
            .zip((1..8_u32).rev())
            .find(|(_, step)| part * 8.0 > f64::from(*step))
            .map_or(BLOCKS[0], |(block, _)| block)
    };
    shown.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    #[test]
    fn numbers_are_short_and_round_to_the_next_unit() {
        for (number, text) in
            [(0, "0"), (9_999, "9999"), (10_000, "10.0k"), (999_499, "999k"), (999_500, "1.00M")]
        {
            assert_eq!(count(number), text);
        }
        for (number, text) in
            [(0, "0B"), (999, "999B"), (1000, "0.98K"), (1024, "1.00K"), (1536, "1.50K"), (1 << 20, "1.00M")]
        {
            assert_eq!(bytes(number), text);
        }
        assert_eq!((byte_rate(0.2), byte_rate(2048.0)), ("0B/s".to_owned(), "2.00K/s".to_owned()));
        for (number, text) in [(0.0, "0"), (0.04, "0"), (0.25, "0.2"), (12.4, "12"), (12_345.0, "12.3k")] {
            assert_eq!(rate(number), text);
        }
        for exponent in 0..64 {
            for number in [1_u64 << exponent, (1_u64 << exponent) - 1] {
                assert!(width(&count(number)) <= 7 && width(&bytes(number)) <= 7, "{number}");
            }
        }
    }

    #[test]
    fn spans_never_show_sixty_of_anything() {
        for (seconds, text) in [
            (0.0, "0"),
            (0.000_015, "15µs"),
            (0.0012, "1.2ms"),
            (0.35, "350ms"),
            (0.9996, "1.0s"),
            (4.24, "4.2s"),
            (59.4, "59s"),
            (59.6, "1m00s"),
            (723.0, "12m03s"),
            (3599.6, "1h00m"),
            (11_040.0, "3h04m"),
            (86_399.0, "1d00h"),
            (190_800.0, "2d05h"),
            (70_156_800.0, "812d"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
        let mut seconds = 0.000_001;
        while seconds < 1e10 {
            let text = span(seconds);
            let sixty =
                ["60s", "60m", "m60"].iter().any(|sixty| text.contains(sixty) && !text.contains("60ms"));
            assert!(width(&text) <= 7 && !sixty, "{seconds}: {text}");
            seconds *= 1.013;
        }
    }

    #[test]
    fn shares_and_moments_of_nothing_are_no_numbers() {
        assert_eq!(
            (share(1.0, 0.0), share(1.0, 200.0), share(1.0, 2.0)),
            ("-".into(), "0.5%".into(), "50%".into())
        );
        assert_eq!((moment(0.0), day(0.0), ago(0.0, 5.0)), ("never".into(), "-".into(), "never".into()));
        assert_eq!(ago(95.0, 100.0), "5.0s ago");
        assert_eq!(moment(1e300), moment(f64::MAX), "beyond the calendar nothing breaks");
        assert_eq!((moment(86_400.0 * 20_000.0).len(), day(86_400.0 * 20_000.0).len()), (19, 10));
    }

    #[test]
    fn a_spark_shows_the_newest_against_the_highest() {
        assert_eq!(spark(&[], 5), "");
        assert_eq!(spark(&[0.0, 0.0], 5), "▁▁");
        assert_eq!(spark(&[9.0, 0.0, 1.0, 4.0, 8.0], 4), "▁▁▄█");
    }
}
