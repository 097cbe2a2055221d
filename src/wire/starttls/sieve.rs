// SPDX-License-Identifier: MIT OR Apache-2.0
//! ManageSieve (RFC 5804 section 2.2).
//!
//! The server greets with its capabilities, and once more inside TLS. So nobody's greeting is in the way: as server we offer
//! STARTTLS only, and the greeting of the server behind is the one that the client expects inside TLS; as client we take
//! in what is said in clear, and the plain client gets what is said inside TLS. Where a server declines, and that
//! is allowed, it is asked for its capabilities once more.

use super::{Move, Opening, Part, Protocol, Talk, failed, lines, quit, quoted, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "sieve",
    opening: Opening::EachTime,
    serve: Part { begin: greet, cut: lines::cut, hear: command },
    ask: Part { begin: silent, cut: lines::cut, hear: greeting },
    plain: None,
    may_stay_clear: true,
};

/// No way to authenticate in clear, and no scripts.
const CAPABILITIES: &str = "\"IMPLEMENTATION\" \"tunnel\"\r\n\"SIEVE\" \"\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\n\
                            \"VERSION\" \"1.0\"\r\nOK\r\n";

fn greet(talk: &mut Talk) {
    talk.tell(CAPABILITIES);
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    match verb.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => talk.tell(CAPABILITIES),
        b"NOOP" if rest.is_empty() => talk.tell("OK\r\n"),
        b"STARTTLS" if rest.is_empty() => {
            talk.tell("OK \"begin TLS now\"\r\n");
            return Move::Agreed;
        }
        b"LOGOUT" => {
            talk.tell("OK\r\n");
            return quit();
        }
        _ => talk.tell("NO (ENCRYPT-NEEDED) \"STARTTLS comes first\"\r\n"),
    }
    Move::Stay
}

/// How a response ends (section 1.2); capabilities stand before it.
fn response(line: &[u8]) -> Option<bool> {
    let (word, _) = lines::split(line);
    // "OK(…)" may have its code without a space before.
    let word = word.split(|byte| *byte == b'(').next().unwrap_or_default();
    match word.to_ascii_uppercase().as_slice() {
        b"OK" => Some(true),
        b"NO" | b"BYE" => Some(false),
        _ => None,
    }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    match response(line) {
        Some(true) => {
            talk.tell("STARTTLS\r\n");
            Move::Next(answer)
        }
        Some(false) => failed(line),
        None => Move::Stay,
    }
}

/// The answer to STARTTLS.
fn answer(talk: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    if response(line) == Some(true) {
        return Move::Agreed;
    }
    talk.tell("CAPABILITY\r\n");
    Move::Declined(format!("it says {}", quoted(line)).into())
}
