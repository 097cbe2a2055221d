// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows of docs/closing.md, walked with scripted streams. A test is named after its row (`r5_…` walks R5); that no
//! row is without a test, and no test without a row, is a test too. With real sockets: `tests.rs`, tests/it.

use super::closing_stage::{LAYERS, SECOND, Stage, TIMEOUTS, reset};
use crate::error::{Break, Reason, Refusal, Side};
use crate::handshake::{For, Progress, Step};
use crate::stream::Source;
use crate::stream::endpoint::Ops;
use crate::stream::script::Told;
use std::collections::BTreeSet;
use std::time::Duration;

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;
const SIDES: [Side; 2] = [CLIENT, SERVER];

fn bytes(text: &str) -> Told {
    Told::Bytes(text.into())
}

/// How a side with or without a data layer is told an end.
fn end(tls: bool) -> Vec<Told> {
    if tls { vec![Told::CloseNotify, Told::Fin] } else { vec![Told::Fin] }
}

fn bytes_and_end(text: &str, tls: bool) -> Vec<Told> {
    [vec![bytes(text)], end(tls)].concat()
}

fn is_tls(layers: (bool, bool), side: Side) -> bool {
    if side == CLIENT { layers.0 } else { layers.1 }
}

/// The ways in which a stream with or without a data layer breaks, and the word's ending.
fn breaks(tls: bool) -> Vec<(Break, &'static str)> {
    let mut all = vec![(reset(), "reset")];
    if tls {
        all.push((Break::Truncated, "truncated"));
        all.push((Break::Tls("bad record mac".into()), "tls-error"));
    }
    all
}

fn word(side: Side, rest: &str) -> String {
    format!("{}-{rest}", if side == CLIENT { "client" } else { "server" })
}

/// A step of the client's: "bad" is refused with an alert, "ask" answered, "drop" and "hold" are what rules do; anything
/// else is fine.
const READ_CLIENT: Step = Step {
    name: "reading the client",
    run: |pair, _, ctx| {
        let mut said = [0; 100];
        let got = pair.client.read(&mut said, &mut ctx.buffers.scratch);
        let refused = Reason::Handshake(CLIENT, "it closed".into());
        match (&said[..got.bytes], got.then) {
            (b"bad", _) => {
                pair.client.write(b"alert", &mut ctx.buffers.scratch);
                Err(Reason::BadHello("it is bad"))
            }
            (b"ask", _) => {
                pair.client.write(b"reply", &mut ctx.buffers.scratch);
                Err(Reason::Replied)
            }
            (b"drop", _) => Err(Reason::Rule("rule-1".into(), Refusal::Drop)),
            (b"hold", _) => Err(Reason::Rule("rule-1".into(), Refusal::Tarpit)),
            (b"", Source::Shut) => Err(refused),
            (b"", Source::Broken(how)) => Err(Reason::broken(CLIENT, how)),
            (b"", _) => Ok(Progress::Wait(For { side: CLIENT, read: true, patience: None })),
            _ => Ok(Progress::Done),
        }
    },
    expired: |_, _| Some(Reason::HandshakeTimeout(CLIENT)),
};

/// A step of the server's, as connecting, sending a PROXY header and TLS are: it waits for room or for bytes.
fn server_step(read: bool) -> Step {
    let run = if read {
        |pair: &mut super::pair::Pair, _: &_, ctx: &mut super::context::Ctx| {
            let Some(server) = &mut pair.server else { return Err(Reason::Connect("none".into())) };
            let got = server.read(&mut [0; 100], &mut ctx.buffers.scratch);
            match got.then {
                _ if got.bytes > 0 => Ok(Progress::Done),
                Source::Shut => Err(Reason::Handshake(SERVER, "it closed".into())),
                Source::Broken(how) => Err(Reason::broken(SERVER, how)),
                _ => Ok(Progress::Wait(For { side: SERVER, read: true, patience: Some(TIMEOUTS.connect) })),
            }
        }
    } else {
        |pair: &mut super::pair::Pair, _: &_, ctx: &mut super::context::Ctx| {
            let Some(server) = &mut pair.server else { return Err(Reason::Connect("none".into())) };
            let put = server.write(b"PROXY", &mut ctx.buffers.scratch);
            match put.then {
                crate::stream::Sink::Broken(how) => Err(Reason::broken(SERVER, how)),
                _ if put.bytes > 0 => Ok(Progress::Done),
                _ => Ok(Progress::Wait(For { side: SERVER, read: false, patience: Some(TIMEOUTS.connect) })),
            }
        }
    };
    Step { name: "speaking to the server", run, expired: |_, _| Some(Reason::ConnectTimeout) }
}

// Operations of an endpoint.

#[test]
fn o1_data_read_is_done_when_the_peers_end_is_read() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.says(CLIENT, b"last", Source::Shut);
        let (desired, done) = stage.closing(CLIENT);
        assert!(done.has(Ops::DATA_READ) && !desired.has(Ops::DATA_READ), "done without being desired");
        assert_eq!(done.has(Ops::CTRL_READ), !layers.0, "on a bare socket they are one");
        assert!(!stage.waits(CLIENT).0, "what has ended is not read");
    }
}

#[test]
fn o2_data_write_comes_behind_all_bytes() {
    let mut stage = Stage::relaying((false, true));
    stage.is_full(SERVER);
    stage.says(CLIENT, b"held", Source::Shut);
    let (desired, done) = stage.closing(SERVER);
    assert!(!desired.has(Ops::DATA_WRITE) && !done.has(Ops::DATA_WRITE), "bytes first");
    stage.takes(SERVER);
    assert_eq!(stage.told(SERVER), bytes_and_end("held", true));
}

#[test]
fn o3_ctrl_write_waits_for_data_write() {
    let mut stage = Stage::relaying((false, true));
    stage.is_full(SERVER);
    stage.says(CLIENT, b"", Source::Shut);
    let (desired, done) = stage.closing(SERVER);
    assert!(desired.has(Ops::CTRL_WRITE) && done.has(Ops::DATA_WRITE) && !done.has(Ops::CTRL_WRITE));
    assert_eq!(stage.told(SERVER), []);
    assert!(stage.waits(SERVER).1, "what is desired waits for room");
    stage.takes(SERVER);
    assert!(stage.closing(SERVER).1.has(Ops::CTRL_WRITE));
    assert_eq!(stage.told(SERVER), end(true));
}

#[test]
fn o4_ctrl_read_is_told_apart_while_bytes_are_thrown_away() {
    let mut stage = Stage::with_steps((true, false), &[READ_CLIENT]);
    stage.says(CLIENT, b"bad", Source::Empty);
    let (desired, done) = stage.closing(CLIENT);
    assert!(desired.has(Ops::DATA_READ.or(Ops::CTRL_READ)), "it shall end: nobody listens");
    assert!(!done.has(Ops::CTRL_READ));
    stage.says(CLIENT, b"more", Source::Shut);
    assert!(stage.lives() && stage.has_read_all(CLIENT), "a close_notify is some bytes more");
    stage.says(CLIENT, b"", Source::Broken(Break::Truncated));
    assert_eq!(stage.reason(), "bad-hello", "FIN is what it waited for");
}

#[test]
fn o5_an_end_that_a_close_sends_is_sent_at_once_if_no_close_follows() {
    let mut stage = Stage::relaying((false, false));
    stage.is_full(SERVER);
    stage.says(CLIENT, b"a long upload", Source::Shut);
    stage.says(SERVER, b"early", Source::Shut);
    assert_eq!(stage.told(CLIENT), bytes_and_end("early", false), "although the client had ended before");
    assert!(stage.lives());
    // Where a reset follows in the same turn, the end must not be lost.
    let mut stage = Stage::relaying((false, false));
    stage.is_full(CLIENT);
    stage.says(SERVER, b"early", Source::Shut);
    stage.refuses(CLIENT, Break::Gone);
    stage.says(CLIENT, b"all of the upload", Source::Empty);
    stage.says(CLIENT, b"", Source::Shut);
    assert_eq!(stage.told(SERVER), [bytes("all of the upload"), Told::Fin, Told::Reset]);
}

#[test]
fn o6_a_broken_sink_is_told_nothing_more() {
    for layers in LAYERS {
        let mut stage = Stage::relaying(layers);
        stage.refuses(SERVER, Break::Gone);
        stage.says(CLIENT, b"x", Source::Shut);
        stage.says(SERVER, b"answer", Source::Shut);
        assert_eq!(stage.told(SERVER), []);
    }
}

// The handshake with the client.

#[test]
fn h1_a_client_that_ends_without_a_word_is_told_the_end() {
    for layers in LAYERS {
        let mut stage = Stage::with_steps(layers, &[READ_CLIENT]);
        stage.says(CLIENT, b"", Source::Shut);
        assert_eq!((stage.reason(), stage.failed()), ("handshake-failed", true));
        assert_eq!(stage.told(SERVER), []);
        assert!(!stage.told(CLIENT).contains(&Told::Reset));
    }
}

#[test]
fn h2_a_client_that_breaks_in_its_handshake_is_gone() {
    for tls in [false, true] {
        for (how, rest) in breaks(tls) {
            let mut stage = Stage::with_steps((tls, false), &[READ_CLIENT]);
            stage.says(CLIENT, b"", Source::Broken(how));
            assert_eq!(stage.reason(), word(CLIENT, rest));
            assert_eq!(stage.told(CLIENT), [Told::Reset]);
        }
    }
}

#[test]
fn h3_a_refused_client_is_told_and_heard_out() {
    for layers in LAYERS {
        let mut stage = Stage::with_steps(layers, &[READ_CLIENT]);
        stage.says(CLIENT, b"bad", Source::Empty);
        assert_eq!(stage.told(CLIENT), bytes_and_end("alert", layers.0));
        stage.says(CLIENT, b"and another thing", Source::Empty);
        assert!(stage.lives() && stage.has_read_all(CLIENT));
        stage.says(CLIENT, b"", Source::Broken(if layers.0 { Break::Truncated } else { reset() }));
        assert_eq!(stage.reason(), "bad-hello");
        assert_eq!(stage.told(CLIENT), [], "no reset");
    }
}

#[test]
fn h4_an_end_that_cannot_be_told_yet_is_retained() {
    let mut stage = Stage::with_steps((true, false), &[READ_CLIENT]);
    stage.will_take(CLIENT, 5);
    stage.says(CLIENT, b"bad", Source::Empty);
    assert_eq!(stage.told(CLIENT), [bytes("alert")]);
    stage.says(CLIENT, b"it goes on", Source::Empty);
    assert!(stage.has_read_all(CLIENT), "or it might never read what it was told");
    stage.says(CLIENT, b"", Source::Broken(Break::Truncated));
    stage.pass(2 * SECOND);
    assert!(stage.lives(), "that the client ended does not end what it is to be told");
    stage.takes(CLIENT);
    assert_eq!((stage.told(CLIENT), stage.reason()), (end(true)[..1].to_vec(), "bad-hello"));
}

#[test]
fn h5_a_client_that_takes_too_long_is_reset() {
    let mut stage = Stage::with_steps((false, false), &[READ_CLIENT]);
    stage.pass(TIMEOUTS.handshake);
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("handshake-timeout", vec![Told::Reset]));
}

#[test]
fn h6_an_answered_client_is_told_the_end_and_is_no_failure() {
    for layers in LAYERS {
        let mut stage = Stage::with_steps(layers, &[READ_CLIENT]);
        stage.says(CLIENT, b"ask", Source::Empty);
        assert_eq!(stage.told(CLIENT), bytes_and_end("reply", layers.0));
        stage.pass(SECOND);
        assert_eq!((stage.reason(), stage.failed()), ("replied", false));
        assert_eq!((stage.told(CLIENT), stage.told(SERVER)), (vec![], vec![]), "no reset");
    }
}

#[test]
fn h7_a_dropped_client_is_told_nothing() {
    for layers in LAYERS {
        let mut stage = Stage::with_steps(layers, &[READ_CLIENT]);
        stage.says(CLIENT, b"drop", Source::Empty);
        assert_eq!(stage.reason(), "dropped");
        assert_eq!((stage.told(CLIENT), stage.told(SERVER)), (vec![Told::Reset], vec![Told::Reset]));
    }
}

#[test]
fn h8_a_held_client_is_told_nothing_for_a_while() {
    for gone in [false, true] {
        let mut stage = Stage::with_steps((false, false), &[READ_CLIENT]);
        stage.says(CLIENT, b"hold", Source::Empty);
        stage.says(CLIENT, b"hello?", Source::Empty);
        assert!(!stage.has_read_all(CLIENT), "what it says costs us nothing");
        stage.pass(TIMEOUTS.tarpit - SECOND);
        assert_eq!((stage.lives(), stage.told(CLIENT), stage.expiries), (true, vec![], 0));
        if gone {
            stage.fails(CLIENT);
        } else {
            stage.pass(SECOND);
        }
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("tarpitted", vec![Told::Reset]));
    }
}

// On the way to the server.

#[test]
fn c1_an_end_of_the_client_waits_for_the_server() {
    for layers in LAYERS {
        for read in [false, true] {
            let step = server_step(read);
            let mut stage = Stage::full_with_steps(layers, &[step]);
            stage.says(CLIENT, b"request", Source::Shut);
            assert_eq!(stage.told(SERVER), []);
            stage.says(SERVER, b"hello", Source::Empty);
            stage.takes(SERVER);
            let told = stage.told(SERVER);
            assert!(told.ends_with(&end(layers.1)), "{told:?}");
            assert!(stage.lives(), "the answer is still to come");
        }
    }
}

#[test]
fn c2_a_break_of_the_client_is_noticed_when_the_relay_begins() {
    for (how, rest) in breaks(true) {
        let mut stage = Stage::with_steps((true, false), &[server_step(true)]);
        stage.says(CLIENT, b"half", Source::Broken(how));
        assert!(stage.lives());
        stage.says(SERVER, b"hello", Source::Empty);
        assert_eq!(stage.reason(), word(CLIENT, rest));
        assert_eq!(stage.told(SERVER), [bytes("half"), Told::Reset]);
    }
}

#[test]
fn c3_a_server_that_fails_before_the_relay_resets_the_client() {
    for (how, reason) in
        [(Source::Shut, "server-handshake-failed"), (Source::Broken(reset()), "server-reset")]
    {
        let mut stage = Stage::with_steps((false, true), &[server_step(true)]);
        stage.says(SERVER, b"", how);
        assert_eq!((stage.reason(), stage.told(CLIENT)), (reason, vec![Told::Reset]));
    }
    let mut stage = Stage::full_with_steps((false, false), &[server_step(false)]);
    stage.refuses(SERVER, reset());
    assert_eq!((stage.reason(), stage.told(CLIENT)), ("server-reset", vec![Told::Reset]));
}

#[test]
fn c4_a_server_that_takes_too_long_resets_the_client() {
    for read in [false, true] {
        let mut stage = Stage::full_with_steps((false, false), &[server_step(read)]);
        stage.pass(TIMEOUTS.connect);
        assert_eq!(stage.reason(), "connect-timeout");
        assert_eq!((stage.told(CLIENT), stage.told(SERVER)), (vec![Told::Reset], vec![Told::Reset]));
    }
}

// The relay.

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

// A client is heard out.

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

// The rows themselves.

/// A row's name at the beginning of a line of the table: "| r5 |".
fn row_of(line: &str) -> Option<String> {
    let name = line.strip_prefix("| ")?.split(' ').next()?;
    is_row(name).then(|| name.to_owned())
}

fn is_row(name: &str) -> bool {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    name.len() == digits.len() + 1 && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

#[test]
fn every_row_has_its_test_and_every_test_its_row() {
    let rows: Vec<String> = include_str!("../../docs/closing.md").lines().filter_map(row_of).collect();
    let named = |line: &str| line.strip_prefix("fn ")?.split('_').next().map(str::to_owned);
    let tests = include_str!("closing_tests.rs").lines().filter_map(named).filter(|name| is_row(name));
    let tests: Vec<String> = tests.collect();
    assert!(rows.len() > 30, "the table is not found");
    for all in [&rows, &tests] {
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a name stands twice: {all:?}");
    }
    let (rows, tests): (BTreeSet<_>, BTreeSet<_>) = (rows.into_iter().collect(), tests.into_iter().collect());
    assert_eq!(rows.symmetric_difference(&tests).collect::<Vec<_>>(), Vec::<&String>::new());
}
