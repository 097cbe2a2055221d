// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "mysql"`, for MariaDB too: the server greets, and lets our user in or refuses it. (MySQL, "Client/Server Protocol":
//! Connection Phase.)
//!
//! Whoever goes after the greeting is counted by the server, which shuts a host out after `max_connect_errors` of those; one
//! that is refused for its name is not.

use super::{Judged, MOST, Protocol, Question, Talk, excerpt, unexpected};

pub(super) static PROTOCOL: Protocol =
    Protocol { name: "mysql", keys: &["user"], talk: Talk::Dialogue { opening: |_| Vec::new(), judge } };

/// A packet with the command COM_QUIT.
const QUIT: &[u8] = b"\x01\0\0\0\x01";

/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;

/// utf8, in numbers of collations.
const COLLATION: u8 = 33;

/// Errors of a server that is well and does not know our user: access denied, the same without a password, to the database,
/// an unsupported way to prove who one is.
const DENIED: [u16; 4] = [1045, 1698, 1044, 1251];

fn judge(question: &Question, stage: u8, input: &[u8]) -> Judged {
    let Some(&[low, middle, high, sequence]) = input.first_chunk::<4>() else { return Judged::More };
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    if !(1..MOST).contains(&length) {
        return unexpected(input);
    }
    let Some(payload) = input.get(4..4 + length) else { return Judged::More };
    let answer = sequence.wrapping_add(1);
    match (stage, payload) {
        (_, [0xff, low, high, rest @ ..]) => refused(stage, u16::from_le_bytes([*low, *high]), rest),
        (0, [10, ..]) => Judged::Say(packet(answer, &login(question))),
        (1 | 2, [0, ..]) => Judged::Well("the user is let in".into(), QUIT),
        // It wants another proof: there is none.
        (1, [0xfe, ..]) => Judged::Say(packet(answer, b"")),
        _ => unexpected(payload),
    }
}

fn refused(stage: u8, code: u16, rest: &[u8]) -> Judged {
    // Behind a "#" stands an SQLSTATE of five letters; not yet in the greeting.
    let text = if rest.first() == Some(&b'#') { rest.get(6..).unwrap_or_default() } else { rest };
    let text = format!("{code} {}", excerpt(text));
    if stage > 0 && DENIED.contains(&code) {
        Judged::Well(text.into(), b"")
    } else {
        Judged::Unwell(text.into())
    }
}

/// A HandshakeResponse41 without a proof.
fn login(question: &Question) -> Vec<u8> {
    let mut login = CAPABILITIES.to_le_bytes().to_vec();
    login.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    login.push(COLLATION);
    login.extend_from_slice(&[0; 23]);
    login.extend_from_slice(question.user().as_bytes());
    login.extend_from_slice(b"\0\0mysql_native_password\0");
    login
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    // A user's name is far shorter than what three bytes count.
    let [low, middle, high, _] = u32::try_from(payload.len()).unwrap_or(0).to_le_bytes();
    [&[low, middle, high, sequence][..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dialogue, outcome};
    use super::*;

    fn greeting() -> Vec<u8> {
        packet(0, b"\x0a11.8.1-MariaDB\0\x01\0\0\0saltsalt\0")
    }

    fn error(sequence: u8, code: u16, text: &str) -> Vec<u8> {
        packet(sequence, &[&[0xff][..], &code.to_le_bytes(), text.as_bytes()].concat())
    }

    #[test]
    fn whoever_refuses_our_user_is_well() {
        let denied = error(2, 1045, "#28000Access denied for user 'tunnel'");
        let switch = packet(2, b"\xfemysql_clear_password\0");
        let denied_later = error(4, 1045, "#28000Access denied");
        for (answers, expected) in [
            (vec![greeting(), denied], "+1045 Access denied for user 'tunnel'"),
            (vec![greeting(), packet(2, b"\0\0\0\x02\0\0\0")], "+the user is let in"),
            (vec![greeting(), switch, denied_later], "+1045 Access denied"),
            (vec![error(0, 1040, "Too many connections")], "-1040 Too many connections"),
            (vec![error(0, 1130, "Host 'x' is not allowed")], "-1130 Host 'x' is not allowed"),
            (
                vec![greeting(), error(2, 1053, "#08S01Server shutdown in progress")],
                "-1053 Server shutdown in progress",
            ),
            (vec![packet(0, b"\x09old\0")], "?unexpected answer: \u{fffd}old\u{fffd}"),
            (vec![b"220 mail\r\n".to_vec()], "?unexpected answer: 220 mail"),
            (vec![b"\0\0\0\0".to_vec()], "?unexpected answer: \u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (vec![b"HTTP/1.1 400".to_vec()], "?unexpected answer: HTTP/1.1 400"),
        ] {
            let shown: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
            assert_eq!(outcome(&PROTOCOL, &shown), expected);
        }
    }

    #[test]
    fn our_answer_is_as_documented() {
        let (said, _) = dialogue(&PROTOCOL, &[&greeting()], 100);
        assert_eq!(said[..4], [62, 0, 0, 1]);
        assert_eq!(said[4..8], CAPABILITIES.to_le_bytes());
        assert!(said.ends_with(b"tunnel\0\0mysql_native_password\0"));
        assert_eq!(said.len(), 66);
    }
}
