// SPDX-License-Identifier: MIT OR Apache-2.0
//! POP3 (RFC 2595 section 4).
//!
//! As server: we greet, tell of STLS, and take no USER in clear. Inside TLS the client goes on; the server's greeting is
//! taken in before. Our greeting has no timestamp, so there is no APOP: a challenge that came in clear is worth nothing.
//! As client: greeting, STLS. The plain client gets a greeting of ours.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "pop3",
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
    talk.tell("+OK POP3 ready\r\n");
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    match verb.to_ascii_uppercase().as_slice() {
        b"CAPA" => talk.tell("+OK\r\nSTLS\r\n.\r\n"),
        b"STLS" if rest.is_empty() => {
            talk.tell("+OK begin TLS now\r\n");
            return Move::Agreed;
        }
        b"QUIT" => {
            talk.tell("+OK\r\n");
            return quit();
        }
        _ => talk.tell("-ERR STLS comes first\r\n"),
    }
    Move::Stay
}

/// A server's greeting, and nothing after it.
fn only_greeting(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    if lines::is(lines::split(line).0, "+OK") { Move::Agreed } else { failed(line) }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    match only_greeting(talk, unit) {
        Move::Agreed => {
            talk.tell("STLS\r\n");
            Move::Next(answer)
        }
        other => other,
    }
}

/// The answer to STLS.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    if lines::is(lines::split(line).0, "+OK") { Move::Agreed } else { declined(line) }
}
