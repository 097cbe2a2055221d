// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes as an answer of a name server to a question of ours: no panic, no more records than the bytes have room for, and
//! never an answer to another question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::dns::{Kind, Outcome, query, read};

/// The least that a record takes in a message: a name that points back, type, class, time, length (RFC 1035 section 4.1.3).
const RECORD: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
        let Some(question) = query(0x0102, "a.example", kind, true) else { continue };
        // Behind the number and the question that belong to it, and as it is.
        let header_and_question = question.len() - 11;
        let matching = [&question[..2], bytes.get(..10).unwrap_or_default()].concat();
        let matching =
            [&matching[..], &question[12..header_and_question], bytes.get(10..).unwrap_or_default()].concat();
        for answer in [bytes, &matching] {
            if let Some(Outcome::Found(records, _)) = read(&question, kind, answer) {
                assert!(!records.is_empty() && records.len() <= answer.len() / RECORD);
            }
        }
        let other = query(0x0103, "a.example", kind, true).unwrap_or_default();
        assert!(read(&question, kind, &matching).is_none() || read(&other, kind, &matching).is_none());
    }
});
