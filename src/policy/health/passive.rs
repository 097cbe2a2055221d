// SPDX-License-Identifier: MIT OR Apache-2.0
//! What connections meet: a server at which several in a row fail is paused, then tried by exactly one connection, which
//! heals it or has it paused again, for longer.
//!
//! Everything is one word, so that of all who report at once one alone makes a change. A server that is well costs a load;
//! only failures and what ends them write.

use super::Standing;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a trial may take. One whose connection never tells (its client went away meanwhile) is given to another then.
const TRIAL: Duration = Duration::from_secs(10);

/// Pauses do not double more often: beyond it any bound there may be is reached.
const LEVELS: u8 = 40;

/// When a server is paused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// So many failures in a row; 0: never.
    pub fails: u8,
    /// Within so long.
    pub window: Duration,
    /// The first pause. The next is twice as long if it comes within `max_pause` of the last.
    pub pause: Duration,
    pub max_pause: Duration,
}

impl Passive {
    /// No server is ever paused.
    pub const OFF: Self =
        Self { fails: 0, window: Duration::ZERO, pause: Duration::ZERO, max_pause: Duration::ZERO };
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            fails: 3,
            window: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(60),
        }
    }
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Counted,
    /// The server, so far well, is paused for so long.
    Paused(Duration),
}

/// The state, in one word.
#[derive(Debug, Default)]
pub(super) struct Pauses(AtomicU64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// `at`: when the failures began, or when they ended last.
    #[default]
    Well,
    /// `at`: when a trial may begin.
    Paused,
    /// `at`: when the trial is given up.
    Trial,
}

/// The word, taken apart: 2 bits, 8, 6 and 48 (milliseconds: nine thousand years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    phase: Phase,
    /// In a row.
    failures: u8,
    /// How often the next pause is doubled.
    level: u8,
    at: u64,
}

impl State {
    fn of(word: u64) -> Self {
        let low = word.to_le_bytes();
        let phase = match word & 3 {
            0 => Phase::Well,
            1 => Phase::Paused,
            _ => Phase::Trial,
        };
        Self { phase, failures: low[1], level: low[0] >> 2, at: word >> 16 }
    }

    fn word(self) -> u64 {
        let phase = match self.phase {
            Phase::Well => 0,
            Phase::Paused => 1,
            Phase::Trial => 2,
        };
        phase | u64::from(self.level.min(LEVELS)) << 2 | u64::from(self.failures) << 8 | self.at << 16
    }

    /// Whether its pause or its trial is over.
    fn is_due(self, now: u64) -> bool {
        self.phase != Phase::Well && now >= self.at
    }

    /// After one more failure; the pause, if that began one.
    fn failed(mut self, now: u64, random: u64, limits: &Passive) -> (Self, Option<Duration>) {
        let since = now.saturating_sub(self.at);
        match self.phase {
            // The trial is another connection's.
            Phase::Paused => return (self, None),
            Phase::Trial => {}
            Phase::Well => {
                if self.failures == 0 && since > millis(limits.max_pause) {
                    self.level = 0;
                }
                if self.failures == 0 || since > millis(limits.window) {
                    (self.failures, self.at) = (1, now);
                } else {
                    self.failures = self.failures.saturating_add(1);
                }
                if self.failures < limits.fails {
                    return (self, None);
                }
            }
        }
        let pause = jittered(doubled(limits, self.level), random);
        let level = self.level.saturating_add(1).min(LEVELS);
        (Self { phase: Phase::Paused, failures: 0, level, at: now + millis(pause) }, Some(pause))
    }
}

impl Pauses {
    pub(super) fn standing(&self, now: u64) -> Standing {
        let state = self.load();
        match state.phase {
            Phase::Well => Standing::Up,
            _ if state.is_due(now) => Standing::Trial,
            _ => Standing::Paused,
        }
    }

    /// Takes a trial that is due.
    pub(super) fn claim(&self, now: u64) -> bool {
        let trial = |word: u64| {
            let state = State::of(word);
            let trial = State { phase: Phase::Trial, at: now + millis(TRIAL), ..state };
            state.is_due(now).then(|| trial.word())
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, trial).is_ok()
    }

    /// A connection was made; whether that healed the server.
    pub(super) fn connected(&self, now: u64) -> bool {
        let is_clean = |state: State| state.phase == Phase::Well && state.failures == 0;
        if is_clean(self.load()) {
            return false;
        }
        let well = |word: u64| {
            let state = State::of(word);
            let well = State { phase: Phase::Well, failures: 0, level: state.level, at: now };
            (!is_clean(state)).then(|| well.word())
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, well);
        before.is_ok_and(|word| State::of(word).phase != Phase::Well)
    }

    /// A connection was not made.
    pub(super) fn failed(&self, now: u64, random: u64, limits: &Passive) -> Failed {
        if limits.fails == 0 {
            return Failed::Counted;
        }
        let next = |word: u64| Some(State::of(word).failed(now, random, limits).0.word());
        let Ok(before) = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) else {
            return Failed::Counted;
        };
        let before = State::of(before);
        match before.failed(now, random, limits).1 {
            Some(pause) if before.phase == Phase::Well => Failed::Paused(pause),
            _ => Failed::Counted,
        }
    }

    fn load(&self) -> State {
        State::of(self.0.load(Ordering::Relaxed))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX >> 16).min(u64::MAX >> 20)
}

fn doubled(limits: &Passive, level: u8) -> Duration {
    limits.pause.saturating_mul(1_u32.checked_shl(level.into()).unwrap_or(u32::MAX)).min(limits.max_pause)
}

/// Between a half and all of `pause`, so that what failed together is not tried together.
fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    // The finalizer of SplitMix64, so that any number does, a counter included.
    let mut mixed = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    half + half.mul_f64(f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1000;
    const LIMITS: Passive = Passive {
        fails: 3,
        window: Duration::from_secs(10),
        pause: Duration::from_secs(1),
        max_pause: Duration::from_secs(60),
    };

    /// Fails until it is paused, and tells the pause.
    fn pause(pauses: &Pauses, now: u64) -> Duration {
        for _ in 0..LIMITS.fails {
            if let Failed::Paused(pause) = pauses.failed(now, 7, &LIMITS) {
                return pause;
            }
        }
        panic!("it is not paused");
    }

    #[test]
    fn so_many_in_a_row_within_the_window_pause_it_and_that_is_told_once() {
        let pauses = Pauses::default();
        let at = [1, 2 * SECOND, 3 * SECOND];
        let told: Vec<Failed> = at.iter().map(|now| pauses.failed(*now, 7, &LIMITS)).collect();
        assert!(matches!(told[..], [Failed::Counted, Failed::Counted, Failed::Paused(_)]), "{told:?}");
        assert_eq!(pauses.standing(3 * SECOND), Standing::Paused);
        assert_eq!(pauses.failed(3 * SECOND, 7, &LIMITS), Failed::Counted);
        for spoilt in [
            |pauses: &Pauses| assert!(!pauses.connected(2 * SECOND)),
            |pauses: &Pauses| assert_eq!(pauses.failed(20 * SECOND, 7, &LIMITS), Failed::Counted),
        ] {
            let pauses = Pauses::default();
            pauses.failed(1, 7, &LIMITS);
            pauses.failed(1, 7, &LIMITS);
            spoilt(&pauses);
            assert_eq!(pauses.failed(20 * SECOND, 7, &LIMITS), Failed::Counted);
            assert_eq!(pauses.standing(20 * SECOND), Standing::Up);
        }
    }

    #[test]
    fn exactly_one_tries_it_and_heals_it() {
        let pauses = Pauses::default();
        let over = 1 + millis(pause(&pauses, 1));
        assert!(!pauses.claim(over - 1), "not yet");
        assert_eq!(pauses.standing(over), Standing::Trial);
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| usize::from(pauses.claim(over)))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(won, 1);
        assert_eq!(pauses.standing(over), Standing::Paused, "for all others");
        assert!(pauses.connected(over + 1));
        assert!(!pauses.connected(over + 1), "told once");
        assert_eq!(pauses.standing(over + 1), Standing::Up);
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_the_bound_and_jitter_only_shortens() {
        let pauses = Pauses::default();
        let mut now = 1;
        pause(&pauses, now);
        for level in 0..20 {
            let full = doubled(&LIMITS, level);
            assert_eq!(full, Duration::from_secs((1_u64 << level).min(60)));
            let over = pauses.load().at;
            let length = Duration::from_millis(over - now + 1);
            assert!(length >= full / 2 && length <= full + Duration::from_millis(1), "{level}: {length:?}");
            assert!(pauses.claim(over));
            now = over;
            assert_eq!(pauses.failed(now, u64::from(level), &LIMITS), Failed::Counted, "no change");
        }
    }

    #[test]
    fn who_flaps_is_paused_for_longer_and_who_was_well_for_long_is_not() {
        let pauses = Pauses::default();
        pause(&pauses, 1);
        pauses.connected(2 * SECOND);
        assert!(pause(&pauses, 3 * SECOND) >= Duration::from_secs(1), "the second pause of two seconds");
        pauses.connected(10 * SECOND);
        assert!(pause(&pauses, 100 * SECOND) <= Duration::from_secs(1));
    }

    #[test]
    fn a_trial_that_tells_nothing_is_given_to_another() {
        let pauses = Pauses::default();
        let over = 1 + millis(pause(&pauses, 1));
        assert!(pauses.claim(over));
        let later = over + millis(TRIAL);
        assert!(!pauses.claim(later - 1));
        assert!(pauses.claim(later));
    }

    #[test]
    fn without_limits_nothing_is_paused() {
        let pauses = Pauses::default();
        assert!((0..1000).all(|now| pauses.failed(now, 7, &Passive::OFF) == Failed::Counted));
        assert_eq!(pauses.standing(1000), Standing::Up);
    }

    #[test]
    fn jitter_is_spread_and_bounded() {
        let second = Duration::from_secs(1);
        let all: Vec<_> = (0..1000).map(|random| jittered(second, random)).collect();
        assert!(all.iter().all(|pause| *pause >= second / 2 && *pause <= second));
        let late = all.iter().filter(|pause| **pause > second * 3 / 4).count();
        assert!((400..600).contains(&late), "{late}");
    }

    proptest! {
        /// Against the same in plain words: never a change told twice, never two trials at once.
        #[test]
        fn whatever_happens_changes_alternate(events in prop::collection::vec((0..4_u8, 0..5_000_u64), 0..300)) {
            let pauses = Pauses::default();
            let (mut now, mut is_paused, mut trial_until) = (1, false, 0);
            for (event, wait) in events {
                now += wait;
                match event {
                    0 => {
                        prop_assert_eq!(pauses.connected(now), is_paused);
                        (is_paused, trial_until) = (false, 0);
                    }
                    1 => {
                        if let Failed::Paused(pause) = pauses.failed(now, wait, &LIMITS) {
                            prop_assert!(!is_paused);
                            prop_assert!(pause <= LIMITS.max_pause);
                            is_paused = true;
                        } else if trial_until > 0 {
                            trial_until = 0;
                        }
                    }
                    _ => {
                        let claimed = pauses.claim(now);
                        if claimed {
                            prop_assert!(is_paused && now >= trial_until);
                            trial_until = now + millis(TRIAL);
                        }
                    }
                }
                prop_assert_eq!(pauses.standing(now) == Standing::Up, !is_paused);
            }
        }
    }
}
