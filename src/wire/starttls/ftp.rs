// SPDX-License-Identifier: MIT OR Apache-2.0
//! FTP's control connection (RFC 4217): AUTH TLS.
//!
//! As server: greeting, FEAT, AUTH TLS; nothing else is taken in clear. The server's greeting is taken in before the client
//! goes on inside TLS. PBSZ and PROT are about data connections, which do not come here: the client's go to the server,
//! whose answer it gets.
//! As client: greeting, AUTH TLS. The plain client gets a greeting of ours.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "ftp",
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
    talk.tell("220 FTP ready\r\n");
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    match verb.to_ascii_uppercase().as_slice() {
        // "TLS-C" is an older name for the same (section 17).
        b"AUTH" if lines::is(rest, "TLS") || lines::is(rest, "TLS-C") => {
            talk.tell("234 begin TLS now\r\n");
            return Move::Agreed;
        }
        b"AUTH" => talk.tell("504 only AUTH TLS\r\n"),
        b"FEAT" => talk.tell("211-Features:\r\n AUTH TLS\r\n211 End\r\n"),
        b"NOOP" => talk.tell("200 done\r\n"),
        b"QUIT" => {
            talk.tell("221 goodbye\r\n");
            return quit();
        }
        _ => talk.tell("530 AUTH TLS comes first\r\n"),
    }
    Move::Stay
}

/// A server's greeting, and nothing after it. "120": it will be ready in a while.
fn only_greeting(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    match lines::reply(line) {
        Some((220, true)) => Move::Agreed,
        Some((120 | 220, _)) => Move::Stay,
        // Between the first and the last line of a reply there may be any (RFC 959 section 4.2).
        None => Move::Stay,
        Some(_) => failed(line),
    }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    match only_greeting(talk, unit) {
        Move::Agreed => {
            talk.tell("AUTH TLS\r\n");
            Move::Next(answer)
        }
        other => other,
    }
}

/// The answer to AUTH.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    match lines::reply(line) {
        Some((234, true)) => Move::Agreed,
        Some((234, false)) | None => Move::Stay,
        Some(_) => declined(line),
    }
}
