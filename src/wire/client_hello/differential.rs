// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our reader beside another one, the crate tls-parser: over the fuzzer's corpus, and over hellos made from it by changes
//! that look random. What one accepts and the other does not must be one of the differences that are meant.

use super::*;
use std::path::Path;
use tls_parser::{
    TlsExtension, TlsVersion, parse_tls_client_hello_extensions, parse_tls_handshake_client_hello,
};

/// What we refuse and the other reader takes, by our words for it.
const STRICTER: [&str; 13] = [
    "something follows the ClientHello in its record",
    "something follows the extensions of the ClientHello",
    // No ciphers, no compressions, an odd byte of extensions' length.
    "a length in the ClientHello is wrong",
    "an extension occurs twice",
    "too many extensions",
    "the server name extension (SNI) is malformed",
    "the list of server names (SNI) is empty",
    "a server name (SNI) of an unknown type",
    "more than one server name (SNI)",
    "a server name (SNI) with bytes that no host name has",
    "an empty server name (SNI)",
    "the list of protocols (ALPN) is malformed",
    "the list of versions is malformed",
];

/// What the other reader makes of a hello's message.
#[derive(Debug, Default, PartialEq, Eq)]
struct Theirs {
    legacy_version: u16,
    name: Option<String>,
    alpn: Option<Vec<Vec<u8>>>,
    offers_tls13: bool,
    /// It read every extension; we look into three only, and it gives up at the first whose contents are bad.
    to_the_end: bool,
}

fn theirs(message: &[u8]) -> Option<Theirs> {
    let (rest, hello) = parse_tls_handshake_client_hello(message.get(4..)?).ok()?;
    let mut found =
        Theirs { legacy_version: hello.version.0, to_the_end: rest.is_empty(), ..Theirs::default() };
    let (rest, extensions) = parse_tls_client_hello_extensions(hello.ext.unwrap_or_default()).ok()?;
    found.to_the_end &= rest.is_empty();
    for extension in extensions {
        match extension {
            TlsExtension::SNI(names) => {
                let name = names.first().map(|(_, name)| String::from_utf8_lossy(name).to_ascii_lowercase());
                found.name = name.map(|name| name.strip_suffix('.').unwrap_or(&name).to_owned());
            }
            TlsExtension::ALPN(names) => {
                found.alpn = Some(names.iter().take(MAX_PROTOCOLS).map(|name| name.to_vec()).collect());
            }
            TlsExtension::SupportedVersions(versions) => {
                found.offers_tls13 = versions.contains(&TlsVersion::Tls13);
            }
            _ => {}
        }
    }
    Some(found)
}

/// The payload of the records in `bytes`, cut to the hello.
fn joined(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((payload, next)) = record(rest).ok()? {
        message.extend_from_slice(payload);
        rest = next;
        let length = message_length(message.iter().copied().take(4)).ok()?;
        if let Some(length) = length.filter(|length| message.len() >= *length) {
            message.truncate(length);
            return Some(message);
        }
    }
    None
}

/// How often both agreed, we alone refused, and neither accepted.
#[derive(Debug, Default)]
struct Tally {
    agreed: usize,
    stricter: usize,
    refused: usize,
}

fn compare(bytes: &[u8], tally: &mut Tally) {
    let theirs = joined(bytes).and_then(|message| theirs(&message));
    match (parse(bytes), theirs) {
        (Parsed::Done(ours, _), Some(theirs)) => {
            assert_eq!(ours.legacy_version, theirs.legacy_version, "{bytes:02x?}");
            // What it read before it gave up must be what we read.
            if theirs.to_the_end || theirs.name.is_some() {
                assert_eq!(ours.server_name.as_deref(), theirs.name.as_deref(), "{bytes:02x?}");
            }
            if theirs.to_the_end || theirs.alpn.is_some() {
                let alpn: Vec<Vec<u8>> = ours.alpn.iter().map(|name| name.to_vec()).collect();
                assert_eq!(alpn, theirs.alpn.unwrap_or_default(), "{bytes:02x?}");
            }
            if theirs.to_the_end {
                assert_eq!(ours.offers_tls13, theirs.offers_tls13, "{bytes:02x?}");
            }
            tally.agreed += 1;
        }
        (Parsed::Bad(why), Some(theirs)) if theirs.to_the_end => {
            assert!(STRICTER.contains(&why), "we alone refuse: {why}: {theirs:?} {bytes:02x?}");
            tally.stricter += 1;
        }
        (Parsed::Done(ours, _), None) => panic!("the other reader alone refuses {ours:?}: {bytes:02x?}"),
        (Parsed::More | Parsed::Bad(_), _) => tally.refused += 1,
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/client_hello");
    std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn the_corpus_is_read_alike() {
    let mut tally = Tally::default();
    corpus().iter().for_each(|bytes| compare(bytes, &mut tally));
    assert!(tally.agreed >= 6, "{tally:?}");
}

#[test]
fn changed_hellos_are_read_alike_or_differ_as_is_meant() {
    let mut tally = Tally::default();
    let mut state = 7_u64;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % most
    };
    for original in corpus() {
        for _ in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                match below(4) {
                    0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                    1 => bytes[at] = bytes[at].wrapping_add(1),
                    2 => bytes[at] = bytes[at].wrapping_sub(1),
                    _ => bytes[at] = [0, 0xff, 0x80, 0x16][below(4)],
                }
            }
            compare(&bytes, &mut tally);
        }
    }
    assert!(tally.agreed > 3000 && tally.stricter > 30 && tally.refused > 1000, "{tally:?}");
}
