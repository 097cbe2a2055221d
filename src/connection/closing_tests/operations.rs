// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations of an endpoint: rows o.

use super::super::closing_stage::{LAYERS, Stage};
use super::{CLIENT, READ_CLIENT, SERVER, bytes, bytes_and_end, end};
use crate::error::Break;
use crate::stream::Source;
use crate::stream::endpoint::Ops;
use crate::stream::script::Told;

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
