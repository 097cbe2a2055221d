// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hellos whole, cut, split into records of every size, and with every length wrong. Rows 19–34 of the known failures
//! of the field are among them, as far as a parser sees them.

use super::*;
use crate::wire::corpus;

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &length16(data.len())[..], data].concat()
}

fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

fn vector16(data: &[u8]) -> Vec<u8> {
    [&length16(data.len())[..], data].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &vector16(&[&[0][..], &vector16(name)].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|name| [&[u8::try_from(name.len()).unwrap()][..], name].concat()).collect();
    extension(ALPN, &vector16(&list))
}

fn versions() -> Vec<u8> {
    extension(SUPPORTED_VERSIONS, &[6, 0x0a, 0x0a, 3, 4, 3, 3])
}

/// A key share as post-quantum clients send it: a GREASE entry and 1216 bytes of X25519MLKEM768.
fn key_share() -> Vec<u8> {
    let shares = [&[0x1a, 0x1a, 0, 1, 0][..], &[0x11, 0xec], &vector16(&[7; 1216])].concat();
    extension(51, &vector16(&shares))
}

/// The handshake message, without records.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = vector16(&extensions.concat());
    let body =
        [&[3, 3][..], &[9; 32], &[32], &[8; 32], &[0, 4, 0x0a, 0x0a, 0x13, 1], &[1, 0], &extensions].concat();
    message_of(&body)
}

fn message_of(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO, length[1], length[2], length[3]], body].concat()
}

/// Split into records of `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &vector16(part)].concat()).collect()
}

fn one(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&hello(extensions), MAX_RECORD)
}

/// As browsers send it: GREASE, the name, protocols, versions, a large key share, GREASE again.
fn browser() -> Vec<u8> {
    let grease = [extension(0x0a0a, &[]), extension(0xfafa, &[0])];
    let [first, last] = grease;
    hello(&[first, sni(b"Site1.ExAmPlE.CoM."), key_share(), alpn(&[b"h2", b"http/1.1"]), versions(), last])
}

fn done(bytes: &[u8]) -> ClientHello {
    match parse(bytes) {
        Parsed::Done(hello, 0) => hello,
        other => panic!("{other:?}"),
    }
}

fn bad(bytes: &[u8]) -> &'static str {
    match parse(bytes) {
        Parsed::Bad(why) => why,
        other => panic!("{other:?}"),
    }
}

fn name_of(bytes: &[u8]) -> Option<String> {
    done(bytes).server_name.map(Into::into)
}

fn expected() -> ClientHello {
    ClientHello {
        server_name: Some("site1.example.com".into()),
        alpn: vec![Box::from(&b"h2"[..]), Box::from(&b"http/1.1"[..])],
        legacy_version: 0x0303,
        offers_tls13: true,
    }
}

#[test]
fn a_browsers_hello_is_understood() {
    assert_eq!(done(&records(&browser(), MAX_RECORD)), expected());
}

#[test]
fn framing_never_changes_the_answer() {
    let message = browser();
    for size in 1..=message.len() {
        assert_eq!(done(&records(&message, size)), expected(), "records of {size}");
    }
    for cut in 1..message.len() {
        let two = [records(&message[..cut], MAX_RECORD), records(&message[cut..], MAX_RECORD)].concat();
        assert_eq!(done(&two), expected(), "cut at {cut}");
    }
}

#[test]
fn nothing_is_decided_before_the_hello_is_whole() {
    for size in [1, 7, 64, 1000, MAX_RECORD] {
        let whole = records(&browser(), size);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Parsed::More, "records of {size}, cut at {length}");
        }
    }
}

#[test]
fn what_follows_the_hello_is_not_looked_at() {
    let mut bytes = records(&browser(), 100);
    bytes.extend_from_slice(b"\x14\x03\x03\x00\x01\x01\x17\x03\x03 early data");
    assert_eq!(done(&bytes), expected());
}

#[test]
fn the_name_comes_first_or_last_or_not_at_all() {
    assert_eq!(name_of(&one(&[sni(b"a.test"), key_share()])).as_deref(), Some("a.test"));
    assert_eq!(name_of(&one(&[key_share(), sni(b"a.test")])).as_deref(), Some("a.test"));
    assert_eq!(name_of(&one(&[key_share()])), None);
    let old = message_of(&[&[3, 3][..], &[9; 32], &[0, 0, 2, 0, 5, 1, 0]].concat());
    let old = done(&records(&old, MAX_RECORD));
    assert_eq!((old.server_name, old.offers_tls13), (None, false));
}

#[test]
fn large_hellos_are_read_up_to_the_limit() {
    let padding = |length: usize| extension(21, &vec![0; length]);
    assert_eq!(name_of(&one(&[padding(15_000), sni(b"a.test")])).as_deref(), Some("a.test"));
    assert_eq!(name_of(&one(&[padding(20_000), sni(b"a.test")])).as_deref(), Some("a.test"));
    let most = hello(&[sni(b"a.test"), padding(65_300)]);
    assert_eq!(name_of(&records(&most, MAX_RECORD)).as_deref(), Some("a.test"));
    assert_eq!(bad(&records(&hello(&[padding(65_500)]), MAX_RECORD)), TOO_LARGE);
    assert_eq!(bad(&records(&hello(&[padding(15_000)]), 1)), TOO_LARGE, "headers count too");
    let endless = records(&hello(&[padding(15_000)]), 1);
    assert_eq!(parse(&endless[..MAX_HELLO - 1]), Parsed::More);
    assert_eq!(bad(&endless[..MAX_HELLO]), TOO_LARGE);
    assert_eq!(bad(&[HANDSHAKE, 3, 1, 0, 4, CLIENT_HELLO, 0xff, 0xff, 0xff]), TOO_LARGE, "told at once");
}

#[test]
fn bad_names_are_refused() {
    let long = [b'a'; 256];
    let cases: [&[u8]; 9] = [
        b"",
        b".",
        b"site1\0.evil.test",
        b"a\r\nX: y",
        b"a\x7f",
        b"a b",
        b"b\xc3\xbccher.test",
        &long,
        b"\0",
    ];
    for name in cases {
        bad(&one(&[sni(name)]));
    }
    for length in [1, 63, 64, 65, 253, 255] {
        assert_eq!(name_of(&one(&[sni(&long[..length])])).map(|name| name.len()), Some(length));
    }
}

#[test]
fn ambiguous_names_are_refused() {
    let entry = |name: &[u8]| [&[0][..], &vector16(name)].concat();
    let list = |entries: &[u8]| one(&[extension(SERVER_NAME, &vector16(entries))]);
    bad(&list(&[entry(b"a.test"), entry(b"b.test")].concat()));
    bad(&list(&[entry(b"a.test"), entry(b"a.test")].concat()));
    bad(&list(&[]));
    bad(&list(&[1, 0, 1, b'a']));
    bad(&one(&[extension(SERVER_NAME, &[])]));
    bad(&one(&[sni(b"a.test"), sni(b"a.test")]));
    bad(&one(&[sni(b"a.test"), key_share(), sni(b"b.test")]));
    bad(&one(&[extension(SERVER_NAME, &[vector16(&entry(b"a.test")), vec![0]].concat())]));
    bad(&one(&[extension(0x7777, &[]), extension(0x7777, &[])]));
}

#[test]
fn malformed_lists_are_refused() {
    for data in [&[][..], &[0, 0], &[0, 1, 0], &[0, 2, 2, b'h'], &[0, 2, 1, b'h', 0], &[0, 3, 1, b'h']] {
        bad(&one(&[extension(ALPN, data)]));
    }
    for data in [&[][..], &[0], &[1, 3], &[3, 3, 4, 3], &[4, 3, 4], &[2, 3, 4, 0]] {
        bad(&one(&[extension(SUPPORTED_VERSIONS, data)]));
    }
}

#[test]
fn long_lists_are_bounded() {
    let many = |count: usize| one(&[alpn(&vec![&b"x"[..]; count])]);
    assert_eq!(done(&many(MAX_PROTOCOLS)).alpn.len(), MAX_PROTOCOLS);
    for count in [MAX_PROTOCOLS + 1, 5000] {
        assert_eq!(bad(&many(count)), "more than 256 protocols (ALPN)");
    }
    let longest = [b'x'; 255];
    assert_eq!(done(&one(&[alpn(&[&longest])])).alpn, [Box::from(&longest[..])]);
    let extensions = |count: u16| (0..count).map(|n| extension(0x7000 + n, &[])).collect::<Vec<_>>();
    done(&one(&extensions(128)));
    assert_eq!(bad(&one(&extensions(129))), "too many extensions");
}

#[test]
fn other_protocols_are_told_apart() {
    assert_eq!(bad(b"GET / HTTP/1.1\r\n"), "not TLS but an HTTP request on a TLS port");
    assert_eq!(bad(b"G"), "not TLS but an HTTP request on a TLS port");
    assert_eq!(bad(b"PROXY TCP4 "), "not TLS but a PROXY header where none is expected");
    assert_eq!(bad(&[0x80, 0x2e, 1, 0, 2]), "an SSLv2 hello");
    assert_eq!(bad(&[0x15, 3, 1, 0, 2, 1, 0]), "a TLS alert instead of a ClientHello");
    assert_eq!(bad(b"SSH-2.0-"), "not TLS");
    assert_eq!(bad(&[22, 2]), "not TLS: the record has an unknown version");
    assert_eq!(bad(&[22, 3, 1, 0, 0]), "an empty handshake record");
    assert_eq!(bad(&[22, 3, 1, 0x40, 1]), "a record longer than 16384 bytes");
    assert_eq!(bad(&[22, 3, 1, 0, 1, 2]), "the first message is not a ClientHello");
    let message = browser();
    let middle = [records(&message[..50], 50), vec![0x15, 3, 1, 0, 2, 1, 0]].concat();
    assert_eq!(bad(&middle), "a TLS alert instead of a ClientHello");
    let longer = [message, vec![0]].concat();
    assert_eq!(bad(&records(&longer, MAX_RECORD)), "something follows the ClientHello in its record");
}

#[test]
fn every_two_bytes_may_lie_without_a_wrong_name() {
    // Every pair of bytes of the hello is a length somewhere, or none: whatever it says, the name is the one that
    // was sent, or (where the pair is the name or the type of its extension) no name at all.
    let name = b"a.test";
    let message = hello(&[alpn(&[b"h2"]), sni(name), versions()]);
    let at = message.windows(name.len()).position(|window| window == name).unwrap();
    for place in 4..message.len() - 1 {
        let old = u16::from_be_bytes([message[place], message[place + 1]]);
        for new in [0, 1, old.wrapping_sub(1), old.wrapping_add(1), 0xffff] {
            let mut changed = message.clone();
            changed[place..place + 2].copy_from_slice(&new.to_be_bytes());
            if let Parsed::Done(hello, _) = parse(&records(&changed, MAX_RECORD)) {
                let in_name = (at - 1..at + name.len()).contains(&place);
                let right = hello.server_name.as_deref().is_none_or(|found| found == "a.test");
                assert!(right || in_name, "{new:#x} at {place}: {hello:?}");
            }
        }
    }
}

#[test]
fn every_length_field_that_lies_is_refused_or_waited_for() {
    let message = hello(&[sni(b"a.test"), versions()]);
    let whole = records(&message, MAX_RECORD);
    // Offsets into the record: session id, ciphers, compressions, extensions, SNI extension, list, name, versions.
    let sizes: [(usize, usize); 9] =
        [(43, 1), (76, 2), (82, 1), (84, 2), (88, 2), (90, 2), (93, 2), (103, 2), (105, 1)];
    for (place, width) in sizes {
        let old = if width == 1 {
            usize::from(whole[place])
        } else {
            usize::from(whole[place]) << 8 | usize::from(whole[place + 1])
        };
        assert!(old > 0 && old < whole.len(), "{place} is no length");
        for new in [0, 1, old - 1, old + 1, 0xffff] {
            let mut changed = whole.clone();
            let bytes = length16(new);
            changed[place..place + width].copy_from_slice(&bytes[2 - width..]);
            let outcome = parse(&changed);
            assert!(new == old || matches!(outcome, Parsed::Bad(_)), "{new} at {place}: {outcome:?}");
        }
    }
    // A message that says it is longer is waited for; one that says it is shorter is refused.
    let mut longer = whole.clone();
    longer[8] += 1;
    assert_eq!(parse(&longer), Parsed::More);
    let mut shorter = whole;
    shorter[8] -= 1;
    bad(&shorter);
}

#[test]
fn an_address_is_noted() {
    let address = done(&one(&[sni(b"192.0.2.1")]));
    assert!(address.names_an_address() && address.server_name.is_some());
    assert!(done(&one(&[sni(b"2001:db8::1")])).names_an_address());
    assert!(!done(&one(&[sni(b"a.test")])).names_an_address());
}

#[test]
fn the_librarys_view_of_a_name_is_compared_without_case_and_dot() {
    assert!(is_same_name(b"Site1.Test.", "site1.test") && is_same_name(b"a", "a"));
    assert!(!is_same_name(b"site1.test..", "site1.test") && !is_same_name(b"", "a"));
    assert!(!is_same_name(b"a\0b", "a"));
}

#[test]
fn the_corpus_of_the_fuzzer_holds_its_promises() {
    let names = corpus::replay("client_hello", parse);
    let real = |program: &str| names.get(program).unwrap_or_else(|| panic!("no {program}")).clone();
    let openssl = real("openssl-s_client");
    assert_eq!(openssl.server_name.as_deref(), Some("site1.example.com"));
    assert_eq!(openssl.alpn.len(), 2);
    assert!(openssl.offers_tls13);
    assert!(!real("openssl-tls12").offers_tls13);
    assert_eq!(real("openssl-noname").server_name, None);
    assert_eq!(real("gnutls-cli").server_name.as_deref(), Some("site1.example.com"));
    assert_eq!(real("curl").server_name.as_deref(), Some("site1.example.com"));
    assert_eq!(real("python").alpn, [Box::from(&b"http/1.1"[..])]);
    // Post-quantum: more than one segment.
    let chromium = real("chromium");
    assert_eq!(chromium.server_name.as_deref(), Some("site1.example.com"));
    assert_eq!(chromium.alpn.first().map(|name| &**name), Some(&b"h2"[..]));
    assert!(chromium.offers_tls13);
}
