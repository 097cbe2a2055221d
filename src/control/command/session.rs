// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about the talk itself: staying, going, asking what there is.

use super::{Call, Done, table};
use crate::policy::access::Level;
use std::time::Duration;

/// How long silence may be, at most.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What a number without a unit means, and the units there are, in milliseconds (HAProxy's configuration.txt, section 2.5).
const UNITS: [(&str, u64); 6] =
    [("", 1000), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

pub(super) fn help(call: &mut Call<'_>) -> Done {
    Done::Text(table::help(call.words))
}

pub(super) fn prompt(call: &mut Call<'_>) -> Done {
    call.settings.interactive = !call.settings.interactive;
    Done::Silent
}

pub(super) fn quit(_: &mut Call<'_>) -> Done {
    Done::Quit
}

/// `set timeout cli 60`, in seconds as HAProxy takes it, or with a unit.
pub(super) fn set_timeout(call: &mut Call<'_>) -> Done {
    let Some(patience) = call.words.first().and_then(|text| patience(text)) else {
        return Done::Refused("Expects an integer value, in seconds or with a unit.".to_owned());
    };
    call.settings.patience = patience;
    Done::Silent
}

fn patience(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, milliseconds) = UNITS.iter().find(|(known, _)| *known == unit)?;
    let milliseconds = number.parse::<u64>().ok()?.checked_mul(*milliseconds)?;
    let patience = Duration::from_millis(milliseconds);
    (!patience.is_zero()).then_some(patience.min(LONGEST))
}

pub(super) fn lower_to_user(call: &mut Call<'_>) -> Done {
    lower(call, Level::Read)
}

pub(super) fn lower_to_operator(call: &mut Call<'_>) -> Done {
    lower(call, Level::Operate)
}

fn lower(call: &mut Call<'_>, to: Level) -> Done {
    call.settings.ceiling = call.settings.ceiling.min(to);
    Done::Silent
}

/// The level, in HAProxy's word.
pub(super) fn show_level(call: &mut Call<'_>) -> Done {
    let word = match call.level {
        Level::Read => "user",
        Level::Operate => "operator",
        Level::Admin => "admin",
    };
    Done::Text(format!("{word}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_unless_they_have_a_unit_and_last_a_day_at_most() {
        for (text, seconds) in [
            ("60", Some(60)),
            ("1m", Some(60)),
            ("2h", Some(7200)),
            ("1500ms", Some(1)),
            ("99999999", Some(86_400)),
            ("0", None),
            ("", None),
            ("x", None),
            ("-1", None),
            ("1w", None),
            ("99999999999999999999", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(patience(text).map(|patience| patience.as_secs()), seconds, "{text:?}");
        }
    }
}
