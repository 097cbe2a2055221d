// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes: no panic, no unnormalised host, no answer that a later byte changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::Parsed;
use tunnel::wire::http_host::{MAX_HEAD, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Parsed::Done(host, consumed) = &whole {
        assert_eq!(*consumed, 0);
        if let Some(host) = host {
            assert!((1..=255).contains(&host.len()));
            assert!(host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        }
    }
    if bytes.len() >= MAX_HEAD {
        assert_ne!(whole, Parsed::More);
    }
    // Fewer bytes may only know less, and more change nothing.
    let part = parse(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
});
