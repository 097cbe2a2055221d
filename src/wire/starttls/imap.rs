// SPDX-License-Identifier: MIT OR Apache-2.0
//! IMAP (RFC 9051 section 6.2.1).
//!
//! As server: a greeting that offers STARTTLS and disables LOGIN; nothing that authenticates is taken in clear. Inside TLS
//! the client goes on with its next tag; the server's greeting is taken in before.
//! As client: a greeting of PREAUTH is refused, since it would end the state in which STARTTLS can be said and leave
//! the connection in clear. Capabilities that were heard in clear are not handed on (section 11.1): the plain client gets
//! a greeting of ours, without any, and asks inside TLS.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, quoted, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "imap",
    opening: Opening::Greeting {
        say: greet,
        hear: Part { begin: silent, cut: lines::cut, hear: only_greeting },
    },
    serve: Part { begin: greet_in_clear, cut: lines::cut, hear: command },
    ask: Part { begin: silent, cut: lines::cut, hear: greeting },
    plain: None,
    may_stay_clear: true,
};

/// What we can do in clear.
const CAPABILITIES: &str = "IMAP4rev1 STARTTLS LOGINDISABLED";

/// Our tag towards a server.
const TAG: &[u8] = b"tls1";

fn greet(talk: &mut Talk) {
    talk.tell("* OK IMAP4 ready\r\n");
}

fn greet_in_clear(talk: &mut Talk) {
    talk.tell(&format!("* OK [CAPABILITY {CAPABILITIES}] ready for STARTTLS\r\n"));
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (tag, rest) = lines::split(lines::text(unit));
    // What is no tag is not repeated: it could be taken for a line of ours.
    let is_tag = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:/#$&".contains(byte);
    if tag.is_empty() || !tag.iter().all(is_tag) {
        talk.tell("* BAD a command begins with a tag\r\n");
        return Move::Stay;
    }
    let tag = quoted(tag);
    let (verb, rest) = lines::split(rest);
    match verb.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => talk.tell(&format!("* CAPABILITY {CAPABILITIES}\r\n{tag} OK done\r\n")),
        b"NOOP" => talk.tell(&format!("{tag} OK done\r\n")),
        b"STARTTLS" if rest.is_empty() => {
            talk.tell(&format!("{tag} OK begin TLS now\r\n"));
            return Move::Agreed;
        }
        b"STARTTLS" => talk.tell(&format!("{tag} BAD STARTTLS takes no arguments\r\n")),
        b"LOGOUT" => {
            talk.tell(&format!("* BYE\r\n{tag} OK done\r\n"));
            return quit();
        }
        _ => talk.tell(&format!("{tag} NO [PRIVACYREQUIRED] STARTTLS comes first\r\n")),
    }
    Move::Stay
}

/// A server's greeting, and nothing after it.
fn only_greeting(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    let (star, rest) = lines::split(line);
    match (star, lines::split(rest).0) {
        (b"*", word) if lines::is(word, "OK") => Move::Agreed,
        _ => failed(line),
    }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    match only_greeting(talk, unit) {
        Move::Agreed => {
            talk.say.extend_from_slice(TAG);
            talk.tell(" STARTTLS\r\n");
            Move::Next(answer)
        }
        other => other,
    }
}

/// The answer to STARTTLS, and what may stand before it.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    let (tag, rest) = lines::split(line);
    match (tag, lines::split(rest).0) {
        (b"*", word) if lines::is(word, "BYE") => failed(line),
        (b"*", _) => Move::Stay,
        (TAG, word) if lines::is(word, "OK") => Move::Agreed,
        (TAG, _) => declined(line),
        _ => failed(line),
    }
}
