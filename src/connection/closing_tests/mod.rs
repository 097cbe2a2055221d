// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows of docs/closing.md, walked with scripted streams. A test is named after its row (`r5_…` walks R5); that no
//! row is without a test, and no test without a row, is a test too. With real sockets: `tests.rs`, tests/it.

mod before_the_relay;
mod ending;
mod operations;
mod relay;

use super::closing_stage::reset;
use crate::error::{Break, Flaw, Reason, Refusal, Side};
use crate::handshake::{For, Progress, Step};
use crate::stream::Source;
use crate::stream::script::Told;
use std::collections::BTreeSet;

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
        all.push((Break::Tls(Flaw::Other, "bad record mac".into()), "tls-error"));
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
        let refused = Reason::Handshake(CLIENT, Flaw::Closed, "it closed".into());
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
    expired: |_, _, _| Some(Reason::HandshakeTimeout(CLIENT)),
};

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
    let rows: Vec<String> = include_str!("../../../docs/closing.md").lines().filter_map(row_of).collect();
    let named = |line: &str| line.strip_prefix("fn ")?.split('_').next().map(str::to_owned);
    let files = [
        include_str!("operations.rs"),
        include_str!("before_the_relay.rs"),
        include_str!("relay.rs"),
        include_str!("ending.rs"),
    ];
    let tests = files.iter().flat_map(|file| file.lines()).filter_map(named).filter(|name| is_row(name));
    let tests: Vec<String> = tests.collect();
    assert!(rows.len() > 30, "the table is not found");
    for all in [&rows, &tests] {
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a name stands twice: {all:?}");
    }
    let (rows, tests): (BTreeSet<_>, BTreeSet<_>) = (rows.into_iter().collect(), tests.into_iter().collect());
    assert_eq!(rows.symmetric_difference(&tests).collect::<Vec<_>>(), Vec::<&String>::new());
}
