// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any bytes: no panic, nothing taken beyond the header, no unnormalised name, no answer that a later byte changes, and
//! what is understood can be written and is understood again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;
use tunnel::wire::Parsed;
use tunnel::wire::proxy_header::{Addresses, Header, MAX_HEADER, Version, parse, write};

/// As a header is sent on: mapped addresses as what they stand for.
fn canonical(header: &Header) -> Header {
    let plain = |address: &SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let addresses = match &header.addresses {
        Addresses::Inet { source, destination } => {
            Addresses::Inet { source: plain(source), destination: plain(destination) }
        }
        other => other.clone(),
    };
    Header { addresses, ..header.clone() }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes, MAX_HEADER);
    if let Parsed::Done(header, length) = &whole {
        assert!(*length <= bytes.len() && *length <= MAX_HEADER);
        assert_eq!(parse(&bytes[..*length], MAX_HEADER), whole);
        assert_eq!(parse(&bytes[..*length - 1], MAX_HEADER), Parsed::More);
        if let Some(name) = &header.tlvs.authority {
            assert!((1..=255).contains(&name.len()));
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        }
        for version in [Version::V1, Version::V2] {
            let mut written = Vec::new();
            write(header, version, true, &mut written);
            let Parsed::Done(again, length) = parse(&written, MAX_HEADER) else { panic!("{written:?}") };
            assert_eq!(length, written.len());
            // With the checksum on top a header of the full length has lost a TLV.
            if version == Version::V2 && bytes.len() < MAX_HEADER - 64 {
                assert_eq!(canonical(&again), canonical(header));
            }
        }
    }
    if bytes.len() >= MAX_HEADER {
        assert_ne!(whole, Parsed::More);
    }
    let part = parse(&bytes[..bytes.len() / 2], MAX_HEADER);
    match (&part, &whole) {
        (Parsed::More, _) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        _ => assert_eq!(part, whole),
    }
});
