// SPDX-License-Identifier: MIT OR Apache-2.0
//! What checks say: so many in a row make a server up or down.

use std::sync::atomic::{AtomicU16, Ordering};

/// What checks, or the operator, have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet. The first check decides.
    #[default]
    Unchecked,
    Up,
    /// The operator says that it takes no new connections, though it is well.
    Stopping,
    Down,
}

impl Seen {
    /// In the order of their numbers.
    const ALL: [Self; 4] = [Self::Unchecked, Self::Up, Self::Stopping, Self::Down];

    /// "unchecked", "up", "stopping" or "down".
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Stopping => "stopping",
            Self::Down => "down",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|seen| seen.name() == name)
    }
}

/// How many checks in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// To be up again; at least 1.
    pub rise: u8,
    /// To be down; at least 1.
    pub fall: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { rise: 2, fall: 3 }
    }
}

/// What was found, and how many checks in a row have said otherwise since: in one word.
#[derive(Debug, Default)]
pub(super) struct Verdicts(AtomicU16);

impl Verdicts {
    pub(super) fn seen(&self) -> Seen {
        self.load().0
    }

    pub(super) fn streak(&self) -> u8 {
        self.load().1
    }

    /// Whether it shall get no new connections.
    pub(super) fn takes_none(&self) -> bool {
        matches!(self.seen(), Seen::Down | Seen::Stopping)
    }

    /// Counts a check; what was seen before and is now, if that is not the same.
    pub(super) fn judge(&self, ok: bool, limits: Thresholds) -> Option<(Seen, Seen)> {
        let next = |word| Some(pack(judged(unpack(word), ok, limits)));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        let (before, after) = (unpack(before), judged(unpack(before), ok, limits));
        (before.0 != after.0).then_some((before.0, after.0))
    }

    /// Says what is seen, and what was before.
    pub(super) fn set(&self, seen: Seen) -> Seen {
        unpack(self.0.swap(pack((seen, 0)), Ordering::Relaxed)).0
    }

    fn load(&self) -> (Seen, u8) {
        unpack(self.0.load(Ordering::Relaxed))
    }
}

fn pack((seen, streak): (Seen, u8)) -> u16 {
    u16::from_le_bytes([streak, seen as u8])
}

fn unpack(word: u16) -> (Seen, u8) {
    let [streak, seen] = word.to_le_bytes();
    (Seen::ALL.get(usize::from(seen)).copied().unwrap_or_default(), streak)
}

fn judged((seen, streak): (Seen, u8), ok: bool, limits: Thresholds) -> (Seen, u8) {
    let streak = streak.saturating_add(1);
    match (seen, ok) {
        (Seen::Unchecked, true) => (Seen::Up, 0),
        (Seen::Unchecked, false) => (Seen::Down, 0),
        (Seen::Up | Seen::Stopping, false) if streak >= limits.fall => (Seen::Down, 0),
        (Seen::Down, true) if streak >= limits.rise => (Seen::Up, 0),
        (Seen::Up | Seen::Stopping, false) | (Seen::Down, true) => (seen, streak),
        (Seen::Up | Seen::Stopping, true) | (Seen::Down, false) => (seen, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Thresholds = Thresholds { rise: 2, fall: 3 };

    #[test]
    fn the_first_check_decides_and_then_so_many_in_a_row() {
        for (checks, expected) in [
            ("", Seen::Unchecked),
            ("+", Seen::Up),
            ("-", Seen::Down),
            ("+--", Seen::Up),
            ("+---", Seen::Down),
            ("+--+--", Seen::Up),
            ("-+", Seen::Down),
            ("-++", Seen::Up),
            ("-+-+", Seen::Down),
            ("-++---++", Seen::Up),
        ] {
            let verdicts = Verdicts::default();
            let changes = checks.chars().filter_map(|check| verdicts.judge(check == '+', LIMITS)).count();
            assert_eq!(verdicts.seen(), expected, "{checks}");
            assert!(changes <= checks.len(), "{checks}");
        }
    }

    #[test]
    fn what_the_operator_says_stands_until_checks_find_otherwise() {
        let verdicts = Verdicts::default();
        verdicts.judge(true, LIMITS);
        assert_eq!(verdicts.set(Seen::Stopping), Seen::Up);
        assert_eq!((verdicts.judge(true, LIMITS), verdicts.takes_none()), (None, true));
        let fallen = (0..3).find_map(|_| verdicts.judge(false, LIMITS));
        assert_eq!(fallen, Some((Seen::Stopping, Seen::Down)));
    }

    #[test]
    fn names_and_numbers_come_back() {
        for (number, seen) in Seen::ALL.into_iter().enumerate() {
            assert_eq!((seen as usize, Seen::from_name(seen.name())), (number, Some(seen)));
            assert_eq!(unpack(pack((seen, 9))), (seen, 9));
        }
    }
}
