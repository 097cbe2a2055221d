// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "ldap"`: an anonymous bind is answered, be it with the wish for another one (RFC 4511 sections 4.2 and 4.1.9).

use super::{Judged, MOST, Protocol, Question, Talk, excerpt, unexpected};

pub(super) static PROTOCOL: Protocol =
    Protocol { name: "ldap", keys: &[], talk: Talk::Dialogue { opening: |_| BIND.to_vec(), judge } };

/// Message 1: version 3, no name, simple, no password.
const BIND: &[u8] = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";

/// Message 2: unbind.
const UNBIND: &[u8] = b"\x30\x05\x02\x01\x02\x42\x00";

/// Results of a server that is well and does not want anonymous clients: authMethodNotSupported, strongerAuthRequired,
/// confidentialityRequired, inappropriateAuthentication, invalidCredentials, unwillingToPerform.
const DENIED: [u8; 6] = [7, 8, 13, 48, 49, 53];

fn judge(_: &Question, _: u8, input: &[u8]) -> Judged {
    match response(input) {
        Ok((0, _)) => Judged::Well("success".into(), UNBIND),
        Ok((code, text)) => {
            let text = format!("{code} {}", excerpt(text));
            if DENIED.contains(&code) {
                Judged::Well(text.into(), UNBIND)
            } else {
                Judged::Unwell(text.into())
            }
        }
        Err(Short::More) => Judged::More,
        Err(Short::Bad) => unexpected(input),
    }
}

/// Why there is no answer to be read.
enum Short {
    More,
    Bad,
}

/// The result of a bind and what was said to it.
fn response(input: &[u8]) -> Result<(u8, &[u8]), Short> {
    let (message, _) = element(input, 0x30)?;
    let whole = |short| match short {
        // The message is all there, so what it lacks will not come.
        Short::More | Short::Bad => Short::Bad,
    };
    let (_number, rest) = element(message, 0x02).map_err(whole)?;
    let (result, _) = element(rest, 0x61).map_err(whole)?;
    let (code, rest) = element(result, 0x0a).map_err(whole)?;
    let (_name, rest) = element(rest, 0x04).map_err(whole)?;
    let (text, _) = element(rest, 0x04).map_err(whole)?;
    match code {
        [code] => Ok((*code, text)),
        _ => Err(Short::Bad),
    }
}

/// The contents of an element of BER with that tag, and what comes behind it. Lengths are definite (RFC 4511 section 5.1).
fn element(input: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Short> {
    let (found, rest) = input.split_first().ok_or(Short::More)?;
    let (first, rest) =
        if *found == tag { rest.split_first().ok_or(Short::More)? } else { return Err(Short::Bad) };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let bytes = rest.get(..usize::from(first & 0x0f)).ok_or(Short::More)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), &rest[bytes.len()..])
        }
        _ => return Err(Short::Bad),
    };
    if length > MOST {
        return Err(Short::Bad);
    }
    rest.split_at_checked(length).ok_or(Short::More)
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn who_answers_a_bind_is_well_unless_it_says_otherwise() {
        for (answer, expected) in [
            (&b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"[..], "+success"),
            (b"\x30\x84\0\0\0\x10\x02\x01\x01\x61\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00", "+success"),
            (b"\x30\x0f\x02\x01\x01\x61\x0a\x0a\x01\x30\x04\x00\x04\x03no!", "+48 no!"),
            (b"\x30\x10\x02\x01\x01\x61\x0b\x0a\x01\x33\x04\x00\x04\x04busy", "-51 busy"),
            (b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00", "?unexpected answer: 0"),
            (b"\x30\x80\x00", "?unexpected answer: 0\u{fffd}\u{fffd}"),
            (b"\x30\x84\x7f\xff\xff\xff", "?unexpected answer: 0\u{fffd}\u{7f}\u{fffd}\u{fffd}\u{fffd}"),
            (b"HTTP/1.1", "?unexpected answer: HTTP/1.1"),
            (b"\x30\x0c\x02\x01\x01\x61\x07\x0a", ""),
        ] {
            let found = outcome(&PROTOCOL, &[answer]);
            assert!(
                found == expected || expected.starts_with('?') && found.starts_with('?'),
                "{found} {expected}"
            );
        }
    }
}
