// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a check says to a server and what it makes of the answers: a table of protocols, each a small file.
//!
//! Invariants: an answer is judged by its bytes alone, however they were cut on their way; whatever comes, a judgement is
//! made or more is asked for, and nobody goes on for ever: who asks stops at [`MOST`] bytes. Texts of judgements are
//! printable and short.
//!
//! Not here: connecting, TLS, time (`checks/`).

mod ldap;
mod mysql;
mod pgsql;
mod redis;
mod send;
mod smtp;
mod tcp;
mod tls;

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

/// The most bytes of answers that are looked at.
pub const MOST: usize = 16 << 10;

/// Characters of an answer that are repeated in a text.
const EXCERPT: usize = 80;

/// The user that is asked for where none is configured.
const USER: &str = "tunnel";

/// What `check` says beyond its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Question {
    pub send: Box<str>,
    pub expect: Box<str>,
    /// Empty: `tunnel`.
    pub user: Box<str>,
}

impl Question {
    fn user(&self) -> &str {
        if self.user.is_empty() { USER } else { &self.user }
    }
}

/// A kind of check.
#[derive(Debug)]
pub struct Protocol {
    /// As in `kind = "…"`.
    pub name: &'static str,
    /// Which keys beyond those of every check it has: `send`, `expect`, `user`.
    pub keys: &'static [&'static str],
    pub talk: Talk,
}

/// How far a check goes.
#[derive(Clone, Copy, Debug)]
pub enum Talk {
    /// To a TCP connection.
    Connect,
    /// To the end of a TLS handshake.
    Handshake,
    /// To the server's answers.
    Dialogue {
        /// What we say unasked; nothing where the server begins.
        opening: fn(&Question) -> Vec<u8>,
        /// What to make of an answer. The number is how often we have said something since.
        judge: fn(&Question, u8, &[u8]) -> Judged,
    },
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is not complete.
    More,
    /// All of it is understood; we say this, and listen again.
    Say(Vec<u8>),
    /// The server is well, and is told this before we go.
    Well(Text, &'static [u8]),
    /// It says that it is not.
    Unwell(Text),
    /// This is not what it was expected to say.
    Wrong(Text),
}

/// A few words about an answer.
pub type Text = Cow<'static, str>;

/// Every kind of check.
pub static PROTOCOLS: [&Protocol; 8] = [
    &tcp::PROTOCOL,
    &tls::PROTOCOL,
    &send::PROTOCOL,
    &smtp::PROTOCOL,
    &pgsql::PROTOCOL,
    &mysql::PROTOCOL,
    &redis::PROTOCOL,
    &ldap::PROTOCOL,
];

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Protocol {}

impl Hash for Protocol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The beginning of the first line of `bytes`, printable; a word for it where there is nothing to show.
pub fn excerpt(bytes: &[u8]) -> String {
    let line =
        bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    let text = String::from_utf8_lossy(line.get(..4 * EXCERPT).unwrap_or(line));
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut excerpt: String = text.chars().take(EXCERPT).map(printable).collect();
    match excerpt.is_empty() {
        true => excerpt.push_str("(no words)"),
        false if text.chars().nth(EXCERPT).is_some() => excerpt.push('…'),
        false => {}
    }
    excerpt
}

/// The first line, without its end; nothing if there is none yet.
fn line(input: &[u8]) -> Option<&[u8]> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = &input[..end];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn unexpected(input: &[u8]) -> Judged {
    Judged::Wrong(format!("unexpected answer: {}", excerpt(input)).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a dialogue comes to with a server that says `answers`, one after each of ours, in pieces of `size` bytes.
    pub(super) fn dialogue(protocol: &Protocol, answers: &[&[u8]], size: usize) -> (Vec<u8>, Judged) {
        let Talk::Dialogue { opening, judge } = protocol.talk else {
            panic!("{} has no dialogue", protocol.name)
        };
        let question = Question { expect: "ready".into(), send: "ping".into(), user: "".into() };
        let mut said = opening(&question);
        let (mut stage, mut last) = (0, Judged::More);
        for answer in answers {
            let mut input = Vec::new();
            for piece in answer.chunks(size) {
                input.extend_from_slice(piece);
                last = judge(&question, stage, &input);
                if last != Judged::More {
                    break;
                }
            }
            match &last {
                Judged::Say(words) => said.extend_from_slice(words),
                _ => break,
            }
            stage += 1;
        }
        (said, last)
    }

    /// As told by [`dialogue`], however the answers are cut: "+text", "-text" for unwell, "?text" for wrong, "" for more.
    pub(super) fn outcome(protocol: &Protocol, answers: &[&[u8]]) -> String {
        let told = |size| match dialogue(protocol, answers, size).1 {
            Judged::Well(text, _) => format!("+{text}"),
            Judged::Unwell(text) => format!("-{text}"),
            Judged::Wrong(text) => format!("?{text}"),
            Judged::More | Judged::Say(_) => String::new(),
        };
        let whole = told(MOST);
        for size in [1, 2, 3, 7] {
            assert_eq!(told(size).chars().next(), whole.chars().next(), "{answers:?} in pieces of {size}");
        }
        whole
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(excerpt(b"\r\n220 mail.example\r\nmore"), "220 mail.example");
        assert_eq!(excerpt(b"a\x1b[2J\xffb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(excerpt(&[b'x'; 1000]).chars().count(), EXCERPT + 1);
        assert_eq!(excerpt(b"\r\n"), "(no words)");
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_known_keys() {
        for (index, protocol) in PROTOCOLS.iter().enumerate() {
            assert!(PROTOCOLS[..index].iter().all(|other| other != protocol), "{}", protocol.name);
            assert!(protocol.keys.iter().all(|key| ["send", "expect", "user"].contains(key)));
        }
    }

    /// A generator of the classic kind (Numerical Recipes): tests need no better one.
    fn next(seed: &mut u32) -> u8 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    }

    #[test]
    fn whatever_comes_is_judged_without_a_panic_and_at_once_when_it_is_short() {
        let beginnings: [&[u8]; 8] = [
            b"",
            b"220 ",
            b"R\0\0",
            b"E\0\0\0\x20",
            b"\x4a\0\0\0\x0a",
            b"-",
            b"0\x0c\x02\x01\x01a",
            b"\x30\x84",
        ];
        let mut seed = 11;
        for round in 0..20_000 {
            let protocol = PROTOCOLS[2 + round % 6];
            let Talk::Dialogue { judge, .. } = protocol.talk else { continue };
            let mut input = beginnings[usize::from(next(&mut seed)) % beginnings.len()].to_vec();
            let more = usize::from(next(&mut seed)) % 60;
            input.extend((0..more).map(|_| next(&mut seed)));
            for stage in 0..3 {
                match judge(&Question::default(), stage, &input) {
                    Judged::Well(text, _) | Judged::Unwell(text) | Judged::Wrong(text) => {
                        assert!(
                            !text.is_empty() && text.len() < 600 && !text.contains(char::is_control),
                            "{text:?}"
                        );
                    }
                    Judged::Say(words) => assert!(words.len() < 600),
                    Judged::More => {}
                }
            }
        }
    }
}
