// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as the answer of a server that is checked: no panic, words of a bounded length, and who is done with an answer stays so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::checks::{Judged, PROTOCOLS, Question, Talk};

/// The longest that we say in a check, and that is said of an answer.
const MOST: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let [which, said, answer @ ..] = bytes else { return };
    let Talk::Dialogue { opening, judge } = PROTOCOLS[usize::from(*which) % PROTOCOLS.len()].talk else { return };
    let question = Question { send: "x".into(), expect: "yes".into(), user: "monitor".into() };
    assert!(opening(&question).len() <= MOST);
    match judge(&question, *said, answer) {
        Judged::More => {}
        Judged::Say(words) => assert!(!words.is_empty() && words.len() <= MOST),
        Judged::Well(text, words) => assert!(text.len() <= MOST && words.len() <= MOST),
        Judged::Unwell(text) | Judged::Wrong(text) => assert!(!text.is_empty() && text.len() <= MOST),
    }
});
