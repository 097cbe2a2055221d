// SPDX-License-Identifier: MIT OR Apache-2.0
//! Figures as people read them: counts, sizes, spans, shares, moments.
//!
//! Everything here takes the units of `control/model.rs` and answers text; nothing is escaped, nothing is HTML.

use crate::sys::time;

/// "1,234,567".
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "thing" or "things", with how many.
pub(super) fn plural(number: u64, one: &str, more: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {more}", count(number)) }
}

/// Three digits and a prefix: "950", "1.24 k", "56.1 M".
fn scaled(number: f64, base: f64, prefixes: &[&str]) -> (String, String) {
    let mut value = if number.is_finite() { number.max(0.0) } else { 0.0 };
    let mut prefix = "";
    for next in prefixes {
        // 999.5 would be written as 1000.
        if value < 999.5 {
            break;
        }
        value /= base;
        prefix = next;
    }
    let digits = match value {
        _ if prefix.is_empty() && (value.fract() == 0.0 || value >= 99.95) => 0,
        value if value < 9.995 && !prefix.is_empty() => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    (format!("{value:.digits$}"), prefix.to_owned())
}

/// Bytes: "1.24 MiB".
pub(super) fn bytes(number: u64) -> String {
    let (digits, prefix) = scaled(number as f64, 1024.0, &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    format!("{digits} {prefix}B")
}

/// Bytes per second as bits: "12.4 Mbit/s".
pub(super) fn bits(bytes_per_second: f64) -> String {
    let (digits, prefix) = scaled(bytes_per_second * 8.0, 1000.0, &["k", "M", "G", "T", "P"]);
    format!("{digits} {prefix}bit/s")
}

/// Events per second: "12.4/s".
pub(super) fn rate(per_second: f64) -> String {
    let (digits, prefix) = scaled(per_second, 1000.0, &["k", "M", "G"]);
    if prefix.is_empty() { format!("{digits}/s") } else { format!("{digits} {prefix}/s") }
}

/// Seconds: "350 µs", "12.4 ms", "3.2 s", "5 min 3 s", "6 d 4 h".
pub(super) fn span(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let two = |value: f64, large: f64, names: (&str, &str), small: f64| {
        let (whole, rest) = ((value / large).floor(), ((value % large) / small).floor());
        if rest == 0.0 {
            format!("{whole} {}", names.0)
        } else {
            format!("{whole} {} {rest} {}", names.0, names.1)
        }
    };
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.000_999_5 => format!("{:.0} µs", (s * 1e6).max(1.0)),
        s if s < 0.009_995 => format!("{:.2} ms", s * 1e3),
        s if s < 0.099_95 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3600.0 => two(s, 60.0, ("min", "s"), 1.0),
        s if s < 86_400.0 => two(s, 3600.0, ("h", "min"), 60.0),
        s => two(s, 86_400.0, ("d", "h"), 3600.0),
    }
}

/// A span, or a dash where nothing was measured.
pub(super) fn timing(seconds: f64) -> String {
    if seconds > 0.0 { span(seconds) } else { "–".to_owned() }
}

/// How long ago: "12 s ago"; "never" for 0.
pub(super) fn ago(at: f64, now: f64) -> String {
    match now - at {
        _ if at <= 0.0 => "never".to_owned(),
        passed if passed < 1.0 => "just now".to_owned(),
        passed if passed < 60.0 => format!("{:.0} s ago", passed.floor()),
        passed => format!("{} ago", span(passed.floor())),
    }
}

/// Whole days from now to then: "in 6 days", "2 days ago".
pub(super) fn days(at: f64, now: f64) -> String {
    let days = (at - now) / 86_400.0;
    match days {
        d if d < 0.0 && d > -1.0 => format!("{} ago", span(now - at)),
        d if d < 0.0 => format!("{:.0} d ago", -d.ceil()),
        d if d < 2.0 => format!("in {}", span(at - now)),
        d => format!("in {:.0} d", d.floor()),
    }
}

/// A share: "99.97 %". What is not all is never shown as 100 %, what is not nothing never as 0 %.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match part as f64 / whole as f64 * 100.0 {
        _ if part == whole => "100 %".to_owned(),
        _ if part == 0 => "0 %".to_owned(),
        p if p > 99.99 => ">99.99 %".to_owned(),
        p if p < 0.01 => "<0.01 %".to_owned(),
        p if !(1.0..99.0).contains(&p) => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

/// `part` of `whole`, 0 to 1.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and no such time is ever shown")]
fn calendar(at: f64) -> time::LocalTime {
    time::local(at.floor() as i64)
}

/// The machine's form of a moment: "2026-11-21T20:01:30+01:00".
pub(super) fn stamp(at: f64) -> String {
    let time = calendar(at);
    let (sign, offset) = (if time.offset < 0 { '-' } else { '+' }, time.offset.unsigned_abs() / 60);
    format!("{}T{}{sign}{:02}:{:02}", date(at), clock(at), offset / 60, offset % 60)
}

/// "2026-11-21".
pub(super) fn date(at: f64) -> String {
    let time = calendar(at);
    format!("{:04}-{:02}-{:02}", time.year, time.month, time.day)
}

/// "20:01:30", where the daemon runs.
pub(super) fn clock(at: f64) -> String {
    let time = calendar(at);
    format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second)
}

/// "Nov".
pub(super) fn month(at: f64) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES.get(usize::from(calendar(at).month).saturating_sub(1)).copied().unwrap_or("")
}

/// How many days of its month have passed at that moment, with fractions: 0 at its beginning.
pub(super) fn into_month(at: f64) -> f64 {
    let time = calendar(at);
    let seconds = u32::from(time.hour) * 3600 + u32::from(time.minute) * 60 + u32::from(time.second);
    f64::from(time.day) - 1.0 + f64::from(seconds) / 86_400.0
}

/// A text as a part of a path or query.
pub(super) fn urlencoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [plural(1, "worker", "workers"), plural(0, "worker", "workers")],
            ["1 worker", "0 workers"]
        );
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!(
            [0, 512, 1000, 1023, 1024, 123_456_789].map(bytes),
            ["0 B", "512 B", "0.98 KiB", "1.00 KiB", "1.00 KiB", "118 MiB"]
        );
        assert_eq!(bits(1_550_000.0), "12.4 Mbit/s");
        assert_eq!(
            [0.0, 0.2, 12.0, 999.9, 48_000.0].map(rate),
            ["0/s", "0.2/s", "12/s", "1.00 k/s", "48.0 k/s"]
        );
        assert_eq!([f64::NAN, f64::INFINITY, -1.0].map(rate), ["0/s", "0/s", "0/s"]);
    }

    #[test]
    fn spans_are_short() {
        let spans =
            [0.0, 1e-9, 0.000_35, 0.001_24, 0.0124, 0.35, 3.21, 42.0, 303.0, 3600.0, 11_520.0, 532_800.0];
        assert_eq!(
            spans.map(span),
            [
                "0 s",
                "1 µs",
                "350 µs",
                "1.24 ms",
                "12.4 ms",
                "350 ms",
                "3.2 s",
                "42 s",
                "5 min 3 s",
                "1 h",
                "3 h 12 min",
                "6 d 4 h"
            ]
        );
    }

    #[test]
    fn moments_are_told_from_now() {
        assert_eq!([ago(0.0, 9.0), ago(8.5, 9.0), ago(9.0, 69.0)], ["never", "just now", "1 min ago"]);
        let day = 86_400.0;
        assert_eq!(
            [days(6.5 * day, 0.0), days(day, 0.0), days(0.0, 2.5 * day), days(0.0, 60.0)],
            ["in 6 d", "in 1 d", "2 d ago", "1 min ago"]
        );
    }

    #[test]
    fn a_share_is_never_rounded_to_all_or_nothing() {
        assert_eq!(percent(0, 0), "–");
        assert_eq!([percent(3, 3), percent(0, 3), percent(1, 3)], ["100 %", "0 %", "33.3 %"]);
        assert_eq!([percent(999_999, 1_000_000), percent(1, 1_000_000)], [">99.99 %", "<0.01 %"]);
    }

    #[test]
    fn a_moment_has_a_date_and_a_clock() {
        let text = stamp(1_795_291_290.0);
        assert!(text.starts_with("2026-11-2") && text.len() == 25, "{text}");
        assert!((0.0..31.0).contains(&into_month(1_795_291_290.0)));
        assert_eq!(month(1_795_291_290.0), "Nov");
    }
}
