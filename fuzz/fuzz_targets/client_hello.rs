// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes: no panic, no unnormalised name, no answer that a later byte or another framing changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tunnel::wire::Parsed;
use tunnel::wire::client_hello::{MAX_HELLO, MAX_PROTOCOLS, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Parsed::Done(hello, consumed) = &whole {
        assert_eq!(*consumed, 0);
        assert!(hello.alpn.len() <= MAX_PROTOCOLS);
        if let Some(name) = &hello.server_name {
            assert!((1..=255).contains(&name.len()));
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        }
    }
    if bytes.len() >= MAX_HELLO {
        assert_ne!(whole, Parsed::More);
    }
    // Fewer bytes may only know less.
    let part = parse(&bytes[..bytes.len() / 2]);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
    // The same as the payload of one-byte records.
    let payload = |record: &[u8]| record.chunks(1).flat_map(|byte| [22, 3, 1, 0, 1, byte[0]]).collect::<Vec<_>>();
    if let ([22, 3, _, high, low, rest @ ..], Parsed::Done(..)) = (bytes, &whole) {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if let Some(record) = rest.get(..length).filter(|record| record.len() * 6 <= MAX_HELLO) {
            let split = [payload(record), rest[length..].to_vec()].concat();
            assert_eq!(parse(&split), whole);
        }
    }
});
