// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kind = "send"`: a text of the operator's goes, and the answer has another one somewhere in it.

use super::{Judged, Protocol, Question, Talk, excerpt};

pub(super) static PROTOCOL: Protocol = Protocol {
    name: "send",
    keys: &["send", "expect"],
    talk: Talk::Dialogue { opening: |question| question.send.as_bytes().to_vec(), judge },
};

/// Any answer will do where none is expected in particular.
fn judge(question: &Question, _: u8, input: &[u8]) -> Judged {
    let wanted = question.expect.as_bytes();
    let found = match wanted {
        [] => !input.is_empty(),
        wanted => input.windows(wanted.len()).any(|window| window == wanted),
    };
    if found { Judged::Well(excerpt(input).into(), b"") } else { Judged::More }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dialogue, outcome};
    use super::*;

    #[test]
    fn the_expected_text_is_found_wherever_it_stands() {
        assert_eq!(outcome(&PROTOCOL, &[b"not yet ... rea"]), "");
        assert_eq!(outcome(&PROTOCOL, &[b"x y\r\nready"]), "+x y");
        assert_eq!(dialogue(&PROTOCOL, &[], 1).0, b"ping");
    }

    #[test]
    fn without_one_any_answer_does() {
        let question = Question::default();
        assert_eq!(judge(&question, 0, b""), Judged::More);
        assert_eq!(judge(&question, 0, b"x"), Judged::Well("x".into(), b""));
    }
}
