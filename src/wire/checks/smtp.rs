// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "smtp"`: the server greets (220) and takes our EHLO (250), RFC 5321 sections 3.1 and 4.2.

use super::{Judged, Protocol, Question, Talk, excerpt, unexpected};

pub(super) static PROTOCOL: Protocol =
    Protocol { name: "smtp", keys: &[], talk: Talk::Dialogue { opening: |_| Vec::new(), judge } };

fn judge(_: &Question, stage: u8, input: &[u8]) -> Judged {
    match (reply(input), stage) {
        (Reply::More, _) => Judged::More,
        (Reply::Code(220), 0) => Judged::Say(b"EHLO localhost\r\n".to_vec()),
        (Reply::Code(250), 1) => Judged::Well(excerpt(input).into(), b"QUIT\r\n"),
        (Reply::Code(400..=599), _) => Judged::Unwell(excerpt(input).into()),
        _ => unexpected(input),
    }
}

enum Reply {
    More,
    Code(u16),
    Bad,
}

/// The code of a reply of one line or several: all but the last have a hyphen behind it.
fn reply(input: &[u8]) -> Reply {
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            let is_code = line.iter().take(3).all(u8::is_ascii_digit);
            return if is_code { Reply::More } else { Reply::Bad };
        }
        let code =
            line.get(..3).and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| code.parse().ok());
        match (code, line.get(3)) {
            (Some(_), Some(b'-')) => {}
            (Some(code), Some(b' ' | b'\r' | b'\n')) => return Reply::Code(code),
            _ => return Reply::Bad,
        }
    }
    Reply::More
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dialogue, outcome};
    use super::*;

    #[test]
    fn a_server_that_greets_and_takes_our_name_is_well() {
        let answers: [&[u8]; 2] = [b"220-one\r\n220 mail ESMTP\r\n", b"250-mail\r\n250-SIZE\r\n250 HELP\r\n"];
        assert_eq!(outcome(&PROTOCOL, &answers), "+250-mail");
        let (said, judged) = dialogue(&PROTOCOL, &answers, 5);
        assert_eq!(
            (said, matches!(judged, Judged::Well(_, b"QUIT\r\n"))),
            (b"EHLO localhost\r\n".to_vec(), true)
        );
    }

    #[test]
    fn what_it_says_when_it_is_not_is_told() {
        for (answers, expected) in [
            (&[&b"421 4.3.2 too busy\r\n"[..]][..], "-421 4.3.2 too busy"),
            (&[b"554 no\r\n"], "-554 no"),
            (&[b"220 x\r\n", b"502 what?\r\n"], "-502 what?"),
            (&[b"SSH-2.0-OpenSSH\r\n"], "?unexpected answer: SSH-2.0-OpenSSH"),
            (&[b"SSH"], "?unexpected answer: SSH"),
            (&[b"250 x\r\n"], "?unexpected answer: 250 x"),
            (&[b"220x\r\n"], "?unexpected answer: 220x"),
            (&[b"220 x"], ""),
            (&[b"220-x\r\n"], ""),
            (&[b"22"], ""),
            (&[b"\r\n"], "?unexpected answer: (no words)"),
        ] {
            assert_eq!(outcome(&PROTOCOL, answers), expected, "{answers:?}");
        }
    }
}
