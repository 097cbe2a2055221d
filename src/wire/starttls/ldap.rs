// SPDX-License-Identifier: MIT OR Apache-2.0
//! LDAP (RFC 4511 section 4.14): an extended operation, with the response to it.
//!
//! As server: the response has the request's message id, any other request is answered with confidentialityRequired (13).
//! As client: the message id is free again when TLS begins, so the plain client may use it too.

use super::{Cut, Move, Opening, Part, Protocol, Talk, quit, quoted, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "ldap",
    opening: Opening::Client,
    serve: Part { begin: silent, cut: message, hear: request },
    ask: Part { begin: ask, cut: message, hear: response },
    plain: None,
    may_stay_clear: true,
};

/// The object identifier of the operation.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// confidentialityRequired.
const TLS_FIRST: u8 = 13;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OCTETS: u8 = 0x04;
const UNBIND: u8 = 0x42;
const ABANDON: u8 = 0x50;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
/// Within an extended request: its name; within the response to it: the same.
const REQUEST_NAME: u8 = 0x80;
const RESPONSE_NAME: u8 = 0x8a;

/// Requests that are answered, each with the tag of its response: bind, search, modify, add, delete, rename, compare,
/// any extended one.
const RESPONSES: [(u8, u8); 8] = [
    (0x60, 0x61),
    (0x63, 0x65),
    (0x66, 0x67),
    (0x68, 0x69),
    (0x4a, 0x6b),
    (0x6c, 0x6d),
    (0x6e, 0x6f),
    (EXTENDED, EXTENDED_RESPONSE),
];

/// The header of a BER element: its length and that of the content; nothing, if there is more to come.
fn header(input: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let Some(&first) = input.get(1) else { return Ok(None) };
    if first < 0x80 {
        return Ok(Some((2, first.into())));
    }
    // No more octets than a length within our bounds needs; the indefinite form is not allowed (section 5.1).
    let octets = usize::from(first & 0x7f);
    if !(1..=4).contains(&octets) {
        return Err("a length that LDAP does not have");
    }
    let Some(bytes) = input.get(2..2 + octets) else { return Ok(None) };
    let length = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    Ok(Some((2 + octets, length)))
}

/// The element at the start of `input`: tag, content, and what follows.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, length) = header(input).ok()??;
    let content = input.get(head..)?.get(..length)?;
    Some((input[0], content, &input[head + length..]))
}

fn message(input: &[u8]) -> Cut {
    match input.first() {
        None => return Cut::More,
        Some(&SEQUENCE) => {}
        Some(_) => return Cut::Bad("this is not LDAP"),
    }
    match header(input) {
        Ok(Some((_, length))) if length > super::UNIT => Cut::Bad("a message that is too long"),
        Ok(Some((head, length))) if input.len() >= head + length => Cut::Unit(head + length),
        Ok(_) => Cut::More,
        Err(why) => Cut::Bad(why),
    }
}

/// Message id and operation: tag and content.
fn operation(unit: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (SEQUENCE, content, _) = element(unit)? else { return None };
    let (INTEGER, id, rest) = element(content)? else { return None };
    let (tag, content, _) = element(rest)?;
    (1..=4).contains(&id.len()).then_some((id, tag, content))
}

fn request(talk: &mut Talk, unit: &[u8]) -> Move {
    let Some((id, tag, content)) = operation(unit) else {
        return Move::Failed("this is not LDAP".into());
    };
    let asked = matches!(element(content), Some((REQUEST_NAME, name, b"")) if name == START_TLS);
    if tag == EXTENDED && asked {
        talk.say.extend(result(id, EXTENDED_RESPONSE, 0, b"", Some(START_TLS)));
        return Move::Agreed;
    }
    match RESPONSES.iter().find(|(request, _)| *request == tag) {
        Some((_, response)) => {
            talk.say.extend(result(id, *response, TLS_FIRST, b"StartTLS comes first", None));
            Move::Stay
        }
        None if tag == UNBIND => quit(),
        None if tag == ABANDON => Move::Stay,
        None => Move::Failed("an operation that LDAP does not have".into()),
    }
}

/// A message with a result (section 4.1.9). All parts are short.
fn result(id: &[u8], tag: u8, code: u8, text: &[u8], name: Option<&[u8]>) -> Vec<u8> {
    let name = name.map(|name| encoded(RESPONSE_NAME, name)).unwrap_or_default();
    let parts = [encoded(ENUMERATED, &[code]), encoded(OCTETS, b""), encoded(OCTETS, text), name];
    let operation = encoded(tag, &parts.concat());
    encoded(SEQUENCE, &[encoded(INTEGER, id), operation].concat())
}

/// An element with less than 128 bytes.
fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    debug_assert!(content.len() < 0x80, "a long length is needed");
    let length = u8::try_from(content.len()).unwrap_or_default();
    [&[tag, length], content].concat()
}

fn ask(talk: &mut Talk) {
    let operation = encoded(EXTENDED, &encoded(REQUEST_NAME, START_TLS));
    talk.say.extend(encoded(SEQUENCE, &[encoded(INTEGER, &[1]), operation].concat()));
}

fn response(_: &mut Talk, unit: &[u8]) -> Move {
    let result = match operation(unit) {
        Some(([1], EXTENDED_RESPONSE, content)) => outcome(content),
        _ => None,
    };
    match result {
        Some((0, _)) => Move::Agreed,
        Some((code, words)) => {
            Move::Declined(format!("its answer is result {code}: {}", quoted(words)).into())
        }
        None => Move::Failed("its answer is none to StartTLS".into()),
    }
}

/// The code and the words of a result.
fn outcome(content: &[u8]) -> Option<(u8, &[u8])> {
    let (ENUMERATED, &[code], rest) = element(content)? else { return None };
    let (OCTETS, _, rest) = element(rest)? else { return None };
    let (OCTETS, words, _) = element(rest)? else { return None };
    Some((code, words))
}
