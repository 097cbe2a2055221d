// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes, as each message of SOCKS: no panic, nothing unbounded, no answer that a later byte changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;
use tunnel::wire::Parsed;
use tunnel::wire::socks5::{
    MAX_MESSAGE, missing, parse_choice, parse_greeting, parse_login, parse_login_answer, parse_reply, parse_request,
};

fn check<T: Debug + PartialEq>(bytes: &[u8], parse: impl Fn(&[u8]) -> Parsed<T>) {
    let whole = parse(bytes);
    match &whole {
        Parsed::Done(_, length) => assert!(*length <= bytes.len().min(MAX_MESSAGE)),
        Parsed::More => assert!(bytes.len() < MAX_MESSAGE),
        Parsed::Bad(_) => {}
    }
    let part = parse(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes, parse_choice);
    check(bytes, parse_greeting);
    check(bytes, parse_login);
    check(bytes, parse_login_answer);
    check(bytes, parse_reply);
    check(bytes, parse_request);
    for from_address in [false, true] {
        assert!((1..=MAX_MESSAGE).contains(&missing(bytes, from_address)));
    }
});
