// SPDX-License-Identifier: MIT OR Apache-2.0
//! SMTP (RFC 3207).
//!
//! As server: we greet, answer EHLO with STARTTLS and nothing else, and refuse what is not about it. Inside TLS the client
//! begins again with EHLO (RFC 3207 section 4.2), which the server answers; its greeting is taken in before.
//! As client: greeting, EHLO, STARTTLS. The plain client gets a greeting of ours and asks for itself what the server
//! can do, inside TLS.

use super::{Move, Opening, Part, Protocol, Talk, declined, failed, lines, quit, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "smtp",
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
    let own = talk.own_name();
    talk.tell(&format!("220 {own} ESMTP\r\n"));
}

fn command(talk: &mut Talk, unit: &[u8]) -> Move {
    let (verb, rest) = lines::split(lines::text(unit));
    let own = talk.own_name();
    match verb.to_ascii_uppercase().as_slice() {
        b"EHLO" => talk.tell(&format!("250-{own}\r\n250 STARTTLS\r\n")),
        b"HELO" => talk.tell(&format!("250 {own}\r\n")),
        b"STARTTLS" if rest.is_empty() => {
            talk.tell("220 2.0.0 Ready to start TLS\r\n");
            return Move::Agreed;
        }
        b"STARTTLS" => talk.tell("501 5.5.4 STARTTLS takes no parameters\r\n"),
        b"NOOP" | b"RSET" => talk.tell("250 2.0.0 Ok\r\n"),
        b"QUIT" => {
            talk.tell(&format!("221 2.0.0 {own} closing\r\n"));
            return quit();
        }
        _ => talk.tell("530 5.7.0 Must issue a STARTTLS command first\r\n"),
    }
    Move::Stay
}

/// A server's greeting, and nothing after it.
fn only_greeting(_: &mut Talk, unit: &[u8]) -> Move {
    match lines::reply(lines::text(unit)) {
        Some((220, true)) => Move::Agreed,
        Some((220, false)) => Move::Stay,
        _ => failed(lines::text(unit)),
    }
}

fn greeting(talk: &mut Talk, unit: &[u8]) -> Move {
    match only_greeting(talk, unit) {
        Move::Agreed => {
            let own = talk.own_name();
            talk.tell(&format!("EHLO {own}\r\n"));
            Move::Next(extensions)
        }
        other => other,
    }
}

/// The answer to EHLO.
fn extensions(talk: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    let Some((250, last)) = lines::reply(line) else { return failed(line) };
    talk.offered |= line.get(4..).is_some_and(|word| lines::is(word.trim_ascii(), "STARTTLS"));
    match (last, talk.offered) {
        (false, _) => Move::Stay,
        (true, false) => Move::Declined("it does not offer STARTTLS".into()),
        (true, true) => {
            talk.tell("STARTTLS\r\n");
            Move::Next(answer)
        }
    }
}

/// The answer to STARTTLS.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    let line = lines::text(unit);
    match lines::reply(line) {
        Some((220, true)) => Move::Agreed,
        Some((220, false)) => Move::Stay,
        _ => declined(line),
    }
}
