// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "redis"`: PING is answered, be it with the wish for a password (Redis serialization protocol specification).

use super::{Judged, Protocol, Question, Talk, excerpt, line, unexpected};

pub(super) static PROTOCOL: Protocol = Protocol {
    name: "redis",
    keys: &[],
    talk: Talk::Dialogue { opening: |_| b"*1\r\n$4\r\nPING\r\n".to_vec(), judge },
};

const QUIT: &[u8] = b"*1\r\n$4\r\nQUIT\r\n";

/// Errors of a server that is well and wants to know who we are first.
const WANTS_TO_KNOW_US: [&[u8]; 3] = [b"-NOAUTH", b"-NOPERM", b"-WRONGPASS"];

fn judge(_: &Question, _: u8, input: &[u8]) -> Judged {
    if input.first().is_some_and(|first| !matches!(first, b'+' | b'-')) {
        return unexpected(input);
    }
    let Some(line) = line(input) else { return Judged::More };
    match line {
        b"+PONG" => Judged::Well("+PONG".into(), QUIT),
        line if WANTS_TO_KNOW_US.iter().any(|word| line.starts_with(word)) => {
            Judged::Well(excerpt(line).into(), QUIT)
        }
        [b'-', why @ ..] => Judged::Unwell(excerpt(why).into()),
        _ => unexpected(line),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn who_answers_is_well_unless_it_says_otherwise() {
        for (answer, expected) in [
            (&b"+PONG\r\n"[..], "+\u{2b}PONG"),
            (b"-NOAUTH Authentication required.\r\n", "+-NOAUTH Authentication required."),
            (
                b"-LOADING Redis is loading the dataset in memory\r\n",
                "-LOADING Redis is loading the dataset in memory",
            ),
            (b"-DENIED Redis is running in protected mode\r\n", "-DENIED Redis is running in protected mode"),
            (b"+OK\r\n", "?unexpected answer: +OK"),
            (b"HTTP/1.1 400 Bad Request\r\n", "?unexpected answer: HTTP/1.1 400 Bad Request"),
            (b"+PON", ""),
        ] {
            assert_eq!(outcome(&PROTOCOL, &[answer]), expected);
        }
    }
}
