// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes: no panic, nothing unbounded, no answer that a later byte changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::Parsed;
use tunnel::wire::socks4::parse_request;

/// Eight bytes and two texts, each with its end.
const MOST: usize = 8 + 256 + 256;

fuzz_target!(|bytes: &[u8]| {
    let whole = parse_request(bytes);
    match &whole {
        Parsed::Done(_, length) => assert!(*length <= bytes.len().min(MOST)),
        Parsed::More => assert!(bytes.len() < MOST),
        Parsed::Bad(_) => {}
    }
    let part = parse_request(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
});
