// SPDX-License-Identifier: MIT OR Apache-2.0
//! IRC (the "tls" capability of IRCv3, with the numerics 670 and 691).
//!
//! As server: the client may ask for our capabilities and then for STARTTLS; who registers in clear (NICK, USER) is told
//! that TLS comes first. Nothing is taken in: the client speaks first inside TLS as it does in clear.
//! As client: STARTTLS is the first line; what the server notes meanwhile is not handed on.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "irc",
    opening: Opening::Client,
    serve: Part { begin: silent, cut: lines::cut, hear: command },
    ask: Part { begin: ask, cut: lines::cut, hear: answer },
    plain: None,
    may_stay_clear: true,
};

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    let (word, _) = lines::split(rest);
    match verb.to_ascii_uppercase().as_slice() {
        b"CAP" if lines::is(word, "LS") => talk.tell(":tunnel CAP * LS :tls\r\n"),
        b"CAP" if lines::is(word, "REQ") => match rest {
            [.., b't', b'l', b's'] => talk.tell(":tunnel CAP * ACK :tls\r\n"),
            _ => talk.tell(":tunnel CAP * NAK :\r\n"),
        },
        b"CAP" | b"" => {}
        b"STARTTLS" => {
            talk.tell(":tunnel 670 * :begin TLS now\r\n");
            return Move::Agreed;
        }
        b"QUIT" => {
            talk.tell("ERROR :goodbye\r\n");
            return quit();
        }
        _ => talk.tell(":tunnel 451 * :STARTTLS comes first\r\n"),
    }
    Move::Stay
}

fn ask(talk: &mut Talk) {
    talk.tell("STARTTLS\r\n");
}

fn answer(talk: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    let (first, rest) = lines::split(line);
    // Who sends it may stand in front.
    let (word, rest) = if first.starts_with(b":") { lines::split(rest) } else { (first, rest) };
    match word.to_ascii_uppercase().as_slice() {
        b"670" => return Move::Agreed,
        // STARTTLS failed, unknown command, not registered.
        b"691" | b"421" | b"451" => return declined(line),
        b"ERROR" => return failed(line),
        b"PING" => {
            talk.tell("PONG ");
            talk.say.extend_from_slice(rest);
            talk.tell("\r\n");
        }
        _ => {}
    }
    Move::Stay
}
