// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends in the relay (rows r), and after one direction has ended (rows f).

use super::super::closing_stage::{LAYERS, SECOND, Stage, TIMEOUTS, reset};
use super::{CLIENT, SERVER, SIDES, breaks, bytes, bytes_and_end, end, is_tls, word};
use crate::error::Break;
use crate::stream::Source;
use crate::stream::script::Told;

#[test]
fn r1_an_end_goes_through_behind_the_last_byte_and_the_other_direction_goes_on() {
    for layers in LAYERS {
        for from in SIDES {
            let mut stage = Stage::relaying(layers);
            let to = from.other();
            stage.says(from, b"all", Source::Empty);
            stage.says(from, b" of it", Source::Shut);
            assert_eq!(stage.told(to), bytes_and_end("all of it", is_tls(layers, to)));
            stage.says(to, b"late", Source::Empty);
            assert_eq!(stage.told(from), [bytes("late")]);
        }
    }
}

#[test]
fn r2_both_ends_are_done() {
    for layers in LAYERS {
        for from in SIDES {
            let mut stage = Stage::relaying(layers);
            let to = from.other();
            stage.says(from, b"question", Source::Shut);
            stage.says(to, b"answer", Source::Shut);
            assert_eq!((stage.reason(), stage.failed()), ("done", false));
            assert_eq!(stage.told(to), bytes_and_end("question", is_tls(layers, to)));
            // FIN is left to the close.
            let farewell = if is_tls(layers, from) { vec![Told::CloseNotify] } else { vec![] };
            assert_eq!(stage.told(from), [vec![bytes("answer")], farewell].concat());
        }
    }
}

#[test]
fn r3_an_end_waits_until_a_short_write_has_gone_on() {
    for layers in LAYERS {
        for from in SIDES {
            let mut stage = Stage::relaying(layers);
            let to = from.other();
            stage.is_full(to);
            stage.says(from, b"abcdef", Source::Shut);
            assert_eq!(stage.told(to), []);
            for _ in 0..5 {
                stage.takes_only(to, 1);
            }
            assert_eq!(stage.told(to), [bytes("abcde")]);
            stage.takes(to);
            assert_eq!(stage.told(to), bytes_and_end("f", is_tls(layers, to)));
        }
    }
}

#[test]
fn r4_a_close_notify_that_cannot_be_sent_yet_is_retained() {
    for from in SIDES {
        let mut stage = Stage::relaying((true, true));
        let to = from.other();
        stage.is_full(to);
        stage.says(from, b"", Source::Shut);
        stage.pass(TIMEOUTS.half_close - SECOND);
        stage.says(to, b"what comes the other way does not help", Source::Empty);
        assert_eq!(stage.told(to), []);
        assert!(stage.waits(to).1);
        stage.takes(to);
        assert_eq!(stage.told(to), end(true));
    }
}

#[test]
fn r5_a_broken_source_resets_the_other_side_behind_the_last_byte() {
    for layers in LAYERS {
        for from in SIDES {
            for (how, rest) in breaks(is_tls(layers, from)) {
                let mut stage = Stage::relaying(layers);
                let to = from.other();
                stage.is_full(to);
                stage.says(from, b"half", Source::Broken(how));
                stage.says(to, b"it writes before it reads", Source::Empty);
                assert!(stage.has_read_all(to), "thrown away: {from:?} is none as a sink either");
                assert_eq!((stage.told(to), stage.told(from)), (vec![], vec![]));
                stage.owes(to, 4);
                stage.takes(to);
                assert_eq!(stage.told(to), [bytes("half")]);
                stage.owes(to, 0);
                stage.pass(SECOND);
                assert_eq!(stage.reason(), word(from, rest));
                assert_eq!((stage.told(to), stage.told(from)), (vec![Told::Reset], vec![Told::Reset]));
            }
        }
    }
}

#[test]
fn r6_last_bytes_that_nobody_takes_end_with_the_linger_time() {
    for from in SIDES {
        let mut stage = Stage::relaying((false, false));
        stage.is_full(from.other());
        stage.says(from, b"half", Source::Broken(reset()));
        stage.pass(TIMEOUTS.linger);
        assert_eq!((stage.reason(), stage.told(from.other())), ("linger-timeout", vec![Told::Reset]));
    }
}

#[test]
fn r7_an_answer_is_whole_although_the_server_takes_no_more() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.is_full(CLIENT);
        stage.refuses(SERVER, Break::Gone);
        stage.says(CLIENT, b"upload", Source::Empty);
        stage.says(SERVER, b"answer", Source::Empty);
        stage.says(CLIENT, b"more of it, before it reads", Source::Empty);
        assert!(stage.has_read_all(CLIENT), "or it would never come to read the answer");
        stage.takes(CLIENT);
        stage.says(SERVER, b" whole", Source::Shut);
        assert_eq!(stage.told(CLIENT), bytes_and_end("answer whole", layers.0));
        assert!(stage.lives(), "it is heard out");
        stage.pass(SECOND);
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-gone", vec![]));
    }
}

#[test]
fn r8_an_upload_is_whole_although_the_client_takes_no_more() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.is_full(SERVER);
        stage.says(CLIENT, b"upload", Source::Empty);
        stage.refuses(CLIENT, Break::Gone);
        stage.says(SERVER, b"answer", Source::Empty);
        stage.says(SERVER, b"more of it, before it reads", Source::Empty);
        assert!(stage.has_read_all(SERVER), "or it would never come to read the upload");
        stage.owes(SERVER, 7);
        stage.says(CLIENT, b"", Source::Shut);
        stage.takes(SERVER);
        assert_eq!(stage.told(SERVER), bytes_and_end("upload", layers.1));
        stage.pass(2 * SECOND);
        assert!(stage.lives(), "a reset now might eat it");
        stage.owes(SERVER, 0);
        stage.pass(SECOND);
        assert_eq!((stage.reason(), stage.told(SERVER)), ("client-gone", vec![Told::Reset]));
    }
}

#[test]
fn r9_an_end_behind_a_reset_is_none() {
    let mut stage = Stage::relaying((false, false));
    stage.refuses(SERVER, reset());
    stage.says(CLIENT, b"upload", Source::Empty);
    stage.says(SERVER, b"answer", Source::Shut);
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![bytes("answer"), Told::Reset]));
    let mut stage = Stage::relaying((false, true));
    stage.refuses(SERVER, reset());
    stage.says(CLIENT, b"upload", Source::Empty);
    stage.says(SERVER, b"answer", Source::Broken(Break::Truncated));
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![bytes("answer"), Told::Reset]));
}

// One direction is over.

#[test]
fn f1_a_client_that_fails_after_its_end_resets_the_server_behind_the_upload() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.says(CLIENT, b"upload", Source::Shut);
        stage.owes(SERVER, 7);
        stage.fails(CLIENT);
        assert!(stage.lives());
        assert_eq!(stage.told(SERVER), bytes_and_end("upload", layers.1));
        stage.owes(SERVER, 0);
        stage.pass(SECOND);
        assert_eq!((stage.reason(), stage.told(SERVER)), ("client-reset", vec![Told::Reset]));
    }
}

#[test]
fn f2_a_server_that_fails_after_its_end_leaves_the_client_with_the_whole_answer() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.says(SERVER, b"answer", Source::Shut);
        stage.fails(SERVER);
        assert_eq!(stage.told(CLIENT), bytes_and_end("answer", layers.0));
        stage.says(CLIENT, b"upload for nobody", Source::Empty);
        assert!(stage.lives() && stage.has_read_all(CLIENT), "heard out");
        stage.says(CLIENT, b"", if layers.0 { Source::Broken(Break::Truncated) } else { Source::Shut });
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![]));
    }
}

#[test]
fn f3_a_break_behind_the_others_end_is_a_reset_all_the_same() {
    for from in SIDES {
        let mut stage = Stage::relaying((true, true));
        stage.says(from.other(), b"", Source::Shut);
        stage.says(from, b"half", Source::Broken(Break::Truncated));
        assert_eq!(stage.reason(), word(from, "truncated"));
        assert_eq!(stage.told(from.other()), [bytes("half"), Told::Reset]);
    }
}
