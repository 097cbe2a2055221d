// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "pgsql"`: the server takes our start-up message as far as asking for a password, or refuses the user; one that
//! starts, stops or has no room says so (PostgreSQL, "Frontend/Backend Protocol": Message Formats, Error Fields; Appendix A).

use super::{Judged, MOST, Protocol, Question, Talk, excerpt, unexpected};

pub(super) static PROTOCOL: Protocol =
    Protocol { name: "pgsql", keys: &["user"], talk: Talk::Dialogue { opening, judge } };

/// Version 3.0 of the protocol.
const VERSION: u32 = 3 << 16;

/// What a user who was let in says in the end (Terminate).
const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// Classes of SQLSTATE by which a server says that it is not well: insufficient resources, operator intervention, system
/// error, internal error.
const UNWELL: [&[u8]; 4] = [b"53", b"57", b"58", b"XX"];

fn opening(question: &Question) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in ["user", question.user()] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

fn judge(_: &Question, _: u8, input: &[u8]) -> Judged {
    let Some(kind) = input.first() else { return Judged::More };
    if !matches!(kind, b'R' | b'E') {
        return unexpected(input);
    }
    let Some(length) = input.get(1..5).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)
    else {
        return Judged::More;
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..MOST).contains(&length) {
        return unexpected(input);
    }
    let Some(body) = input.get(5..1 + length) else { return Judged::More };
    match kind {
        b'R' if body.starts_with(&[0; 4]) => Judged::Well("the user is let in".into(), TERMINATE),
        // Who goes without a word here is not worth a line in the server's log.
        b'R' => Judged::Well("asks for a password".into(), b""),
        _ => refused(body),
    }
}

/// An ErrorResponse: fields, each a letter and a text with a NUL behind it.
fn refused(body: &[u8]) -> Judged {
    let field = |letter: u8| {
        let mut fields = body.split(|byte| *byte == 0);
        fields.find_map(|field| field.strip_prefix(&[letter])).unwrap_or_default()
    };
    let (state, message) = (field(b'C'), excerpt(field(b'M')));
    if state.len() != 5 {
        unexpected(message.as_bytes())
    } else if UNWELL.iter().any(|class| state.starts_with(class)) {
        Judged::Unwell(message.into())
    } else {
        Judged::Well(message.into(), b"")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dialogue, outcome};
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn the_start_up_message_is_as_documented() {
        let said = dialogue(&PROTOCOL, &[], 1).0;
        assert_eq!(said, b"\0\0\0\x15\0\x03\0\0user\0tunnel\0\0");
    }

    #[test]
    fn who_asks_for_a_password_or_refuses_the_user_is_well() {
        let error =
            |state: &str, text: &str| message(b'E', format!("SFATAL\0C{state}\0M{text}\0\0").as_bytes());
        for (answer, expected) in [
            (message(b'R', b"\0\0\0\x0a SCRAM"), "+asks for a password"),
            (message(b'R', b"\0\0\0\0"), "+the user is let in"),
            (error("28000", "no pg_hba.conf entry"), "+no pg_hba.conf entry"),
            (error("57P03", "the database system is starting up"), "-the database system is starting up"),
            (error("53300", "sorry, too many clients already"), "-sorry, too many clients already"),
            (message(b'E', b"abc\0\0"), "?unexpected answer: (no words)"),
            (b"HTTP/1.1 400".to_vec(), "?unexpected answer: HTTP/1.1 400"),
            (b"R\0\0\0\0".to_vec(), "?unexpected answer: R\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"R\0\0\0".to_vec(), ""),
            (b"E\0\0\x3f\xffx".to_vec(), ""),
        ] {
            assert_eq!(outcome(&PROTOCOL, &[&answer]), expected, "{answer:?}");
        }
    }
}
