// SPDX-License-Identifier: MIT OR Apache-2.0
//! NNTP (RFC 4642).
//!
//! As server: greeting, CAPABILITIES, STARTTLS. There is no greeting inside TLS (section 2.2.2), so the server's is taken
//! in before the client goes on; whether posting is allowed, which ours promises, is told by its capabilities.
//! As client: greeting, STARTTLS. The plain client gets a greeting of ours.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "nntp",
    opening: Opening::Greeting {
        say: greet,
        hear: Part { begin: silent, cut: lines::cut, hear: only_greeting },
    },
    serve: Part { begin: greet, cut: lines::cut, hear: command },
    ask: Part { begin: silent, cut: lines::cut, hear: greeting },
    plain: None,
    may_stay_clear: true,
};

fn greet(talk: &mut Talk) {
    talk.tell("200 NNTP ready\r\n");
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    match verb.to_ascii_uppercase().as_slice() {
        b"CAPABILITIES" => talk.tell("101 in clear:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
        b"STARTTLS" if rest.is_empty() => {
            talk.tell("382 begin TLS now\r\n");
            return Move::Agreed;
        }
        b"STARTTLS" => talk.tell("501 STARTTLS takes no arguments\r\n"),
        b"QUIT" => {
            talk.tell("205 goodbye\r\n");
            return quit();
        }
        _ => talk.tell("483 STARTTLS comes first\r\n"),
    }
    Move::Stay
}

/// A server's greeting, and nothing after it.
fn only_greeting(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    match lines::reply(line) {
        Some((200 | 201, true)) => Move::Agreed,
        _ => failed(line),
    }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    match only_greeting(talk, unit) {
        Move::Agreed => {
            talk.tell("STARTTLS\r\n");
            Move::Next(answer)
        }
        other => other,
    }
}

/// The answer to STARTTLS.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    if let Some((382, true)) = lines::reply(line) { Move::Agreed } else { declined(line) }
}
