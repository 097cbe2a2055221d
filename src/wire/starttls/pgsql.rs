// SPDX-License-Identifier: MIT OR Apache-2.0
//! PostgreSQL (protocol-flow, "SSL Session Encryption").
//!
//! As server: the client asks with eight bytes and is answered with one. A wish for GSSAPI encryption is declined, upon
//! which it asks for TLS. A client that begins with TLS (`sslnegotiation=direct`, from version 17) does without all that.
//! Who begins without TLS is told so in an error message. So is a request to cancel, which clients before version 17 send
//! in clear: it carries a secret, and would have to be believed.
//! As client: a plain client may ask for encryption too, and is told that there is none; inside TLS the server would take the
//! question for a login. Then the request and one byte of answer. A server's error message in clear is not even read, since
//! anybody could have written it (CVE-2024-10977).

use super::{Cut, Move, Opening, Part, Protocol, TLS_RECORD, Talk, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "pgsql",
    opening: Opening::Client,
    serve: Part { begin: silent, cut: message, hear: request },
    ask: Part { begin: ask, cut: byte, hear: answer },
    plain: Some(Part { begin: silent, cut: message, hear: wish }),
    may_stay_clear: true,
};

/// The wish for TLS: its length, and a version number that is none.
const TLS_WANTED: [u8; 8] = code(5679);

/// The wish for GSSAPI encryption.
const GSS_WANTED: [u8; 8] = code(5680);

/// Length 8, version 1234.`minor`.
const fn code(minor: u16) -> [u8; 8] {
    let [major_high, major_low] = 1234_u16.to_be_bytes();
    let [minor_high, minor_low] = minor.to_be_bytes();
    [0, 0, 0, 8, major_high, major_low, minor_high, minor_low]
}

/// A message of the client without a type: its length, itself included, goes ahead.
fn message(input: &[u8]) -> Cut {
    match input {
        [TLS_RECORD, ..] => Cut::Tls,
        [a, b, c, d, ..] => match usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) {
            Ok(length @ 8..=super::UNIT) if input.len() >= length => Cut::Unit(length),
            Ok(8..=super::UNIT) => Cut::More,
            _ => Cut::Bad("this is not the PostgreSQL protocol"),
        },
        _ => Cut::More,
    }
}

fn request(talk: &mut Talk, unit: &[u8]) -> Move {
    if unit == TLS_WANTED {
        talk.tell("S");
        return Move::Agreed;
    }
    if unit == GSS_WANTED {
        talk.tell("N");
        return Move::Stay;
    }
    talk.say.extend(error("no encryption", "this server is reached by TLS only: set sslmode=require"));
    Move::Failed("it began without asking for TLS".into())
}

/// Of a client that is to be without encryption, which it may ask for first (`sslmode=prefer`).
fn wish(talk: &mut Talk, unit: &[u8]) -> Move {
    if unit != TLS_WANTED && unit != GSS_WANTED {
        return Move::Beyond;
    }
    talk.tell("N");
    Move::Stay
}

/// ErrorResponse: class 28000, invalid authorization.
fn error(what: &str, hint: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{what}\0H{hint}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or_default().to_be_bytes();
    [&b"E"[..], &length, fields.as_bytes()].concat()
}

fn ask(talk: &mut Talk) {
    talk.say.extend(TLS_WANTED);
}

/// The answer.
fn byte(input: &[u8]) -> Cut {
    if input.is_empty() { Cut::More } else { Cut::Unit(1) }
}

fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    match unit {
        b"S" => Move::Agreed,
        b"N" => Move::Declined("it answers that it has no TLS".into()),
        b"E" => Move::Failed("it answers with an error, which is not believed in clear".into()),
        _ => Move::Failed("this is not the PostgreSQL protocol".into()),
    }
}
