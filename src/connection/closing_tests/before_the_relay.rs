// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends in the handshake with the client (rows h) and on the way to the server (rows c).

use super::super::closing_stage::{LAYERS, SECOND, Stage, TIMEOUTS, reset};
use super::super::context::Ctx;
use super::super::pair::{Attempt, Awaits, Pair};
use super::{CLIENT, READ_CLIENT, SERVER, breaks, bytes, bytes_and_end, end, word};
use crate::error::{Break, Flaw, Reason};
use crate::event::Key;
use crate::handshake::{For, Progress, Step};
use crate::policy::waiting::{Caller, Waiting};
use crate::stream::script::Told;
use crate::stream::{Sink, Source};
use std::sync::Arc;

/// A step of the server's, as connecting, sending a PROXY header and TLS are: it waits for room or for bytes.
fn server_step(read: bool) -> Step {
    let run = if read {
        |pair: &mut Pair, _: &_, ctx: &mut Ctx| {
            let Some(server) = &mut pair.server else { return Err(Reason::Connect("none".into())) };
            let got = server.read(&mut [0; 100], &mut ctx.buffers.scratch);
            match got.then {
                _ if got.bytes > 0 => Ok(Progress::Done),
                Source::Shut => Err(Reason::Handshake(SERVER, Flaw::Closed, "it closed".into())),
                Source::Broken(how) => Err(Reason::broken(SERVER, how)),
                _ => Ok(Progress::Wait(For { side: SERVER, read: true, patience: Some(TIMEOUTS.connect) })),
            }
        }
    } else {
        |pair: &mut Pair, _: &_, ctx: &mut Ctx| {
            let Some(server) = &mut pair.server else { return Err(Reason::Connect("none".into())) };
            let put = server.write(b"PROXY", &mut ctx.buffers.scratch);
            match put.then {
                Sink::Broken(how) => Err(Reason::broken(SERVER, how)),
                _ if put.bytes > 0 => Ok(Progress::Done),
                _ => Ok(Progress::Wait(For { side: SERVER, read: false, patience: Some(TIMEOUTS.connect) })),
            }
        }
    };
    Step { name: "speaking to the server", run, expired: |_, _, _| Some(Reason::ConnectTimeout) }
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

/// A client that has asked to be told, as one of mode "socks" has.
const ASKED: Step = Step {
    name: "asking",
    run: |pair: &mut Pair, _: &_, _: &mut Ctx| {
        pair.facts.awaits = Awaits::Socks4;
        Ok(Progress::Done)
    },
    expired: |_, _, _| None,
};

#[test]
fn c5_a_client_that_waits_for_it_is_told_the_failure_and_heard_out() {
    let answer = std::str::from_utf8(&[0, 91, 0, 0, 0, 0, 0, 0]).unwrap().to_owned();
    for layers in LAYERS {
        for late in [false, true] {
            let mut stage = Stage::with_steps(layers, &[ASKED, server_step(true)]);
            if late {
                stage.pass(TIMEOUTS.connect);
            } else {
                stage.says(SERVER, b"", Source::Broken(reset()));
            }
            assert_eq!(stage.told(CLIENT), bytes_and_end(&answer, layers.0));
            stage.says(CLIENT, b"and another thing", Source::Empty);
            assert!(stage.lives() && stage.has_read_all(CLIENT));
            stage.says(CLIENT, b"", Source::Broken(if layers.0 { Break::Truncated } else { reset() }));
            assert_eq!(stage.reason(), if late { "connect-timeout" } else { "server-reset" });
            assert_eq!(stage.told(CLIENT), [], "no reset");
        }
    }
}

/// Every server is full: it stands in the line.
const IN_LINE: Step = Step {
    name: "waiting for a server with room",
    run: |pair: &mut Pair, _: &_, ctx: &mut Ctx| {
        let caller = Caller { worker: 0, key: Key { index: 0, generation: 0 }, id: 0 };
        let ticket = Arc::new(Waiting::default()).join(caller, 1).unwrap();
        pair.attempt = Some(Box::new(Attempt { waits: Some((ticket, ctx.now)), ..Attempt::default() }));
        Ok(Progress::Ask(SECOND))
    },
    expired: |_, _, _| None,
};

#[test]
fn c6_a_client_that_fails_while_it_waits_for_a_server_makes_room() {
    for tls in [false, true] {
        let mut stage = Stage::with_steps((tls, false), &[IN_LINE]);
        stage.says(CLIENT, b"half", Source::Shut);
        stage.pass(SECOND);
        assert!(stage.lives(), "it has only said all it has to say");
        stage.fails(CLIENT);
        assert_eq!((stage.reason(), stage.told(CLIENT)), ("client-reset", vec![Told::Reset]));
        // The stage has a server from the start; that it was said nothing is what counts.
        assert_eq!(stage.told(SERVER), [Told::Reset]);
    }
}
