// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes: no panic, nothing unbounded, no answer that a later byte changes, and what is read can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::Parsed;
use tunnel::wire::confirmation::{MAX_TEXT, missing, parse, write};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    match &whole {
        Parsed::Done(found, length) => assert_eq!(write(found), bytes[..*length]),
        Parsed::More => assert!(bytes.len() + missing(bytes) <= MAX_TEXT + 8),
        Parsed::Bad(_) => {}
    }
    let part = parse(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
});
