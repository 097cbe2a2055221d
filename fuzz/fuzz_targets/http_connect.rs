// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes, as a request and as an answer: no panic, nothing unbounded, no answer that a later byte changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;
use tunnel::wire::Parsed;
use tunnel::wire::http_connect::{MAX_HEAD, parse_answer, parse_request};

fn check<T: Debug + PartialEq>(bytes: &[u8], parse: impl Fn(&[u8]) -> Parsed<T>) {
    let whole = parse(bytes);
    if let Parsed::Done(_, length) = &whole {
        assert!(*length <= bytes.len().min(MAX_HEAD));
    }
    if bytes.len() >= MAX_HEAD {
        assert_ne!(whole, Parsed::More);
    }
    let part = parse(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes, parse_answer);
    check(bytes, parse_request);
});
