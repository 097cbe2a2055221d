// SPDX-License-Identifier: MIT OR Apache-2.0
//! Health as a whole: how both parts of it come together.

use super::*;
use crate::log::{Level, Log};

const LIMITS: Thresholds = Thresholds { rise: 2, fall: 3 };

fn check(health: &Health, ok: bool, at: u64) -> Option<Change> {
    let status = if ok { Status::Connected } else { Status::NotConnected };
    let outcome = Outcome { at, status, took: Duration::ZERO, text: "".into() };
    health.checked(outcome, LIMITS)
}

#[test]
fn a_server_nobody_said_anything_of_is_used() {
    let health = Health::default();
    assert_eq!((health.usable(1), health.word(1)), (Standing::Up, "unchecked"));
    assert_eq!(health.connected(1), None);
    assert_eq!(health.counted(1), Counted::default());
}

#[test]
fn checks_take_it_out_and_bring_it_back_and_each_change_is_told_once() {
    let health = Health::default();
    assert_eq!(check(&health, true, 1), None, "that a server is up from the start is no change");
    assert_eq!(health.word(1), "up");
    let told: Vec<_> = (0..5).filter_map(|n| check(&health, false, 1000 + n)).collect();
    assert_eq!(told, [Change::Down]);
    assert_eq!((health.usable(1010), health.word(1010)), (Standing::Down, "down"));
    assert_eq!(health.counted(2002).down, Duration::from_secs(1));
    let told: Vec<_> = (0..5).filter_map(|n| check(&health, true, 3001 + n)).collect();
    assert_eq!(told, [Change::Up]);
    assert_eq!(health.usable(3010), Standing::Up);
    let counted = health.counted(9000);
    assert_eq!((counted.checks, counted.failed, counted.downs), (11, 5, 1));
    assert_eq!(counted.down, Duration::from_secs(2));
    assert_eq!(health.outcomes().len(), 10);
}

#[test]
fn a_server_that_is_down_at_the_first_check_is_told() {
    assert_eq!(check(&Health::default(), false, 1), Some(Change::Down));
}

#[test]
fn checks_that_succeed_again_end_a_pause_too() {
    let (health, limits) = (Health::default(), Passive { fails: 1, ..Passive::default() });
    check(&health, true, 1);
    assert!(matches!(health.failed(1, 7, &limits), Some(Change::Paused(_))));
    (0..3).for_each(|_| _ = check(&health, false, 1));
    assert_eq!((health.usable(1), health.word(1)), (Standing::Down, "down"));
    (0..2).for_each(|_| _ = check(&health, true, 2));
    assert_eq!(health.usable(2), Standing::Up);
}

#[test]
fn what_connections_meet_while_it_is_down_is_no_change() {
    let (health, limits) = (Health::default(), Passive { fails: 1, ..Passive::default() });
    check(&health, false, 1000);
    // They were begun before.
    assert_eq!(health.failed(4500, 7, &limits), None);
    assert_eq!((health.word(4500), health.changed(), health.counted(4500).pauses), ("down", 1000, 0));
    assert_eq!(health.counted(4900).down, Duration::from_millis(3900));
    assert_eq!(health.connected(5000), None);
    (0..2).for_each(|_| _ = check(&health, true, 6000));
    assert_eq!((health.word(7000), health.counted(7000).down), ("up", Duration::from_secs(5)));
}

#[test]
fn a_pause_and_its_trial_are_seen_and_counted() {
    let (health, limits) = (Health::default(), Passive { fails: 1, ..Passive::default() });
    assert!(matches!(health.failed(1, 7, &limits), Some(Change::Paused(_))));
    assert_eq!((health.usable(1), health.word(1)), (Standing::Paused, "paused"));
    assert_eq!((health.usable(2001), health.usable(2001)), (Standing::Trial, Standing::Paused));
    assert_eq!(health.connected(2002), Some(Change::Resumed));
    assert_eq!((health.word(2002), health.changed(), health.counted(2002).pauses), ("unchecked", 2002, 1));
}

#[test]
fn what_nobody_checks_any_more_is_forgotten() {
    let health = Health::default();
    check(&health, false, 1);
    health.forget_checks(1001);
    assert_eq!((health.usable(1001), health.outcomes().len()), (Standing::Up, 0));
    assert_eq!(health.counted(5000).down, Duration::from_secs(1));
}

#[test]
fn a_change_is_one_line_that_says_who_why_and_what_is_left() {
    let (log, memory) = Log::to_memory(Level::Info);
    let told = Told { service: "web", route: "default", server: "a:1", why: "connection refused", left: 2 };
    tell(&log, Change::Down, told);
    tell(&log, Change::Paused(Duration::from_millis(1500)), told);
    tell(&log, Change::Up, Told { why: "", ..told });
    let place = "service=web route=default server=a:1";
    assert_eq!(
        memory.take(),
        [
            format!("event=server-down {place} reason=\"connection refused\" left=2"),
            format!("event=server-paused {place} pause=1.500 reason=\"connection refused\" left=2"),
            format!("event=server-up {place} left=2"),
        ]
    );
}
