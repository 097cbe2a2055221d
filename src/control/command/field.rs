// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named values in the three forms of HAProxy: plain, typed, JSON (management.txt, sections 9.1 and 9.2).
//!
//! Not here: which values there are (`info.rs`, `stat.rs`).

use super::text::{ascii, plain};
use std::fmt;

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// What HAProxy has as 32 bits; here it never wraps around.
    U32(u64),
    U64(u64),
    S32(i64),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "str",
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::S32(_) => "s32",
        }
    }

    /// As JSON.
    fn json(&self) -> String {
        match self {
            Self::Text(text) => ascii(text),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&plain(text)),
            Self::U32(number) | Self::U64(number) => number.fmt(f),
            Self::S32(number) => number.fmt(f),
        }
    }
}

/// A whole number nearest to `value`; what is no number is 0.
pub(super) fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "such a cast is bounded by the type, and what is no number becomes 0"
    )]
    let whole = value.round() as u64;
    whole
}

/// What three letters of a typed value say: origin, nature, scope.
pub(super) type Tags = &'static str;

/// The place of a value, as the typed and the JSON form tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its number in HAProxy's list.
    pub(super) pos: usize,
    pub(super) name: &'static str,
    pub(super) tags: Tags,
}

impl Field {
    /// `4.scur.1:MGP:u32:7`, the rest of a typed line.
    pub(super) fn typed(&self, value: &Value) -> String {
        let Self { pos, name, tags } = self;
        format!("{pos}.{name}.1:{tags}:{}:{value}", value.kind())
    }

    /// The members of a JSON object, without its braces.
    pub(super) fn json(&self, value: &Value) -> String {
        let Self { pos, name, tags } = self;
        let mut letters = tags.chars();
        let mut word = |of: fn(char) -> &'static str| letters.next().map_or("", of);
        let (origin, nature, scope) = (word(origin), word(nature), word(scope));
        format!(
            "\"field\":{{\"pos\":{pos},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{{\"origin\":\"{origin}\",\
             \"nature\":\"{nature}\",\"scope\":\"{scope}\"}},\"value\":{{\"type\":\"{}\",\"value\":{}}}",
            value.kind(),
            value.json()
        )
    }
}

fn origin(letter: char) -> &'static str {
    match letter {
        'M' => "Metric",
        'S' => "Status",
        'K' => "Key",
        'C' => "Config",
        'P' => "Product",
        _ => "",
    }
}

fn nature(letter: char) -> &'static str {
    match letter {
        'G' => "Gauge",
        'L' => "Limit",
        'm' => "Min",
        'M' => "Max",
        'R' => "Rate",
        'C' => "Counter",
        'D' => "Duration",
        'A' => "Age",
        'T' => "Time",
        'N' => "Name",
        'O' => "Output",
        'a' => "Avg",
        _ => "",
    }
}

fn scope(letter: char) -> &'static str {
    match letter {
        'C' => "Cluster",
        'P' => "Process",
        'S' => "Service",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_three_forms() {
        let field = Field { pos: 4, name: "scur", tags: "MGP" };
        assert_eq!(field.typed(&Value::U32(7)), "4.scur.1:MGP:u32:7");
        assert_eq!(field.typed(&Value::Text("a\nb".into())), "4.scur.1:MGP:str:a\\nb");
        assert_eq!(
            field.json(&Value::S32(-1)),
            "\"field\":{\"pos\":4,\"name\":\"scur\"},\"processNum\":1,\"tags\":{\"origin\":\"Metric\",\
             \"nature\":\"Gauge\",\"scope\":\"Process\"},\"value\":{\"type\":\"s32\",\"value\":-1}"
        );
        assert!(field.json(&Value::Text("\"é\u{9b}".into())).ends_with(r#""value":"\"\u00e9\u009b"}"#));
    }

    #[test]
    fn numbers_become_whole_without_surprises() {
        for (value, expected) in [
            (1.5, 2),
            (0.4, 0),
            (-3.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, u64::MAX),
            (1e15, 1_000_000_000_000_000),
        ] {
            assert_eq!(whole(value), expected, "{value}");
        }
    }
}
