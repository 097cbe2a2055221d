// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hearing out (rows l), a reset that waits (rows a), the four purposes of ending a read from above (rows s).

use super::super::closing_stage::{SECOND, Stage, TIMEOUTS, reset};
use super::{CLIENT, READ_CLIENT, SERVER, SIDES, bytes, bytes_and_end};
use crate::error::Break;
use crate::stream::Source;
use crate::stream::endpoint::Ops;
use crate::stream::script::Told;
use std::time::Duration;

/// A client that has been refused and told so, and has nothing more to say for now.
fn heard_out(tls: bool, unacknowledged: usize) -> Stage {
    let mut stage = Stage::with_steps((tls, false), &[READ_CLIENT]);
    stage.owes(CLIENT, unacknowledged);
    stage.says(CLIENT, b"bad", Source::Empty);
    assert_eq!(stage.told(CLIENT), bytes_and_end("alert", tls));
    stage
}

#[test]
fn l1_hearing_out_ends_with_the_peers_end() {
    for tls in [false, true] {
        let mut stage = heard_out(tls, 6);
        stage.says(CLIENT, b"oh", Source::Empty);
        assert!(stage.lives());
        stage.says(CLIENT, b"", if tls { Source::Broken(Break::Truncated) } else { Source::Shut });
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("bad-hello", vec![]));
    }
}

#[test]
fn l2_hearing_out_ends_when_all_is_acknowledged_and_the_peer_is_silent() {
    let mut stage = heard_out(false, 0);
    stage.pass(Duration::from_millis(299));
    assert!(stage.lives(), "it may be between two writes");
    stage.pass(Duration::from_millis(1));
    assert_eq!((stage.reason(), stage.told(CLIENT), stage.expiries), ("bad-hello", vec![], 2));
    let mut stage = heard_out(true, 6);
    stage.pass(TIMEOUTS.linger - 2 * SECOND);
    assert!(stage.lives(), "not acknowledged");
    stage.owes(CLIENT, 0);
    stage.pass(2 * SECOND);
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("bad-hello", vec![]));
}

#[test]
fn l3_who_is_still_speaking_is_not_closed_upon() {
    let mut stage = heard_out(true, 0);
    let mut spoken = 0;
    while stage.lives() {
        stage.says(CLIENT, b"more", Source::Empty);
        assert!(stage.has_read_all(CLIENT));
        stage.pass(Duration::from_millis(10));
        spoken += 1;
    }
    assert!((700..=705).contains(&spoken), "until the deadline: {spoken}");
    assert!(stage.expiries < 20, "the pauses grow: {}", stage.expiries);
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("bad-hello", vec![Told::Reset]));
}

#[test]
fn l4_hearing_out_ends_with_a_reset_of_the_peer() {
    for tls in [false, true] {
        let mut stage = heard_out(tls, 6);
        stage.says(CLIENT, b"", Source::Broken(reset()));
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("bad-hello", vec![]));
    }
}

#[test]
fn l5_hearing_out_is_over_at_its_deadline_by_a_reset() {
    let mut stage = heard_out(false, 6);
    stage.pass(TIMEOUTS.linger - Duration::from_millis(1));
    assert!(stage.lives());
    assert!(stage.expiries < 20, "it rests: {}", stage.expiries);
    stage.pass(Duration::from_millis(20));
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("bad-hello", vec![Told::Reset]));
}

// A reset waits for the bytes before it.

/// A client that has half an answer, of a server that was reset.
fn half_answered(unacknowledged: usize) -> Stage {
    let mut stage = Stage::relaying((true, false));
    stage.owes(CLIENT, unacknowledged);
    stage.says(SERVER, b"half", Source::Broken(reset()));
    assert_eq!(stage.told(CLIENT)[0], bytes("half"));
    stage
}

#[test]
fn a1_a_reset_follows_the_acknowledgement() {
    assert_eq!(half_answered(0).reason(), "server-reset");
    let mut stage = half_answered(4);
    stage.pass(5 * SECOND);
    assert!(stage.lives());
    stage.owes(CLIENT, 0);
    stage.pass(SECOND);
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![Told::Reset]));
}

#[test]
fn a2_what_the_peer_says_meanwhile_is_thrown_away_and_puts_nothing_off() {
    let mut stage = half_answered(4);
    for _ in 0..100 {
        stage.says(CLIENT, b"upload", Source::Empty);
        assert!(stage.has_read_all(CLIENT), "it may have to be rid of it before it reads");
        stage.pass(Duration::from_millis(10));
    }
    assert!((2..20).contains(&stage.expiries), "{} looks in a second", stage.expiries);
    stage.says(CLIENT, b"", Source::Shut);
    assert!(stage.lives(), "that it ended does not mean that it has read");
    stage.owes(CLIENT, 0);
    stage.pass(SECOND);
    assert_eq!(stage.reason(), "server-reset");
}

#[test]
fn a3_who_is_gone_is_not_waited_for() {
    let mut stage = half_answered(4);
    stage.says(CLIENT, b"", Source::Broken(reset()));
    assert_eq!(stage.reason(), "server-reset");
}

#[test]
fn a4_a_reset_comes_at_its_deadline() {
    let mut stage = half_answered(4);
    stage.pass(TIMEOUTS.linger - Duration::from_millis(1));
    assert!(stage.lives());
    assert!(stage.expiries < 20, "it rests: {}", stage.expiries);
    stage.pass(Duration::from_millis(20));
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![Told::Reset]));
}

// The four purposes of ending a read from above.

#[test]
fn s1_acknowledging_a_read_end_changes_nothing() {
    for from in SIDES {
        let mut stage = Stage::relaying((true, true));
        stage.says(from, b"", Source::Shut);
        let (desired, done) = stage.closing(from);
        assert!(done.has(Ops::DATA_READ) && !desired.has(Ops::DATA_READ));
        assert_eq!(stage.waits(from), (false, false), "nothing to do, nothing to wait for");
        assert!(stage.lives());
    }
}

#[test]
fn s2_a_read_timeout_is_a_delayed_abort() {
    for side in SIDES {
        for (half_closed, reason, time) in
            [(false, "idle", TIMEOUTS.idle), (true, "half-close-timeout", TIMEOUTS.half_close)]
        {
            let mut stage = Stage::relaying((false, false));
            stage.is_full(side);
            stage.says(side.other(), b"held", if half_closed { Source::Shut } else { Source::Empty });
            stage.pass(time);
            assert!(stage.lives(), "what was accepted is to be delivered");
            stage.says(side, b"too late", Source::Empty);
            assert_eq!(stage.told(side.other()), [], "what comes now is thrown away");
            assert!(stage.has_read_all(side));
            stage.takes(side);
            stage.pass(SECOND);
            let told = if half_closed { bytes_and_end("held", false) } else { vec![bytes("held")] };
            assert_eq!((stage.reason(), stage.told(side)), (reason, [told, vec![Told::Reset]].concat()));
        }
    }
    let mut stage = Stage::relaying((true, true));
    stage.pass(TIMEOUTS.idle);
    assert_eq!(stage.reason(), "idle", "nothing is left to deliver");
    assert_eq!((stage.told(CLIENT), stage.told(SERVER)), (vec![Told::Reset], vec![Told::Reset]));
}

#[test]
fn s3_an_error_of_the_other_side_or_a_wish_to_close_is_a_delayed_abort() {
    // The wish: o4 and the l rows. The error:
    for from in SIDES {
        let mut stage = Stage::relaying((false, false));
        stage.is_full(from.other());
        stage.says(from, b"half", Source::Broken(reset()));
        let (desired, done) = stage.closing(from.other());
        assert!(desired.has(Ops::DATA_READ.or(Ops::CTRL_READ)), "nobody wants what it still says");
        assert!(!done.has(Ops::DATA_READ));
        assert_eq!(stage.waits(from.other()), (true, true), "it is read, and written to");
    }
}

#[test]
fn s4_a_complete_abort_delivers_nothing() {
    let mut stage = Stage::relaying((false, false));
    stage.is_full(SERVER);
    stage.says(CLIENT, b"held", Source::Empty);
    stage.owes(CLIENT, 4);
    stage.stop();
    assert_eq!(stage.reason(), "stopped");
    assert_eq!((stage.told(CLIENT), stage.told(SERVER)), (vec![Told::Reset], vec![Told::Reset]));
}
