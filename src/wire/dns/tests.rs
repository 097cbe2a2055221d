// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers as servers give them, and as nobody should.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// The name that is asked for in these tests.
const NAME: &str = "www.example.org";

/// Where the name of the question stands, as a compression pointer.
const ASKED: [u8; 2] = [0xc0, 12];

fn ask(kind: Kind) -> Vec<u8> {
    query(0x1234, NAME, kind, true).unwrap()
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

fn record(owner: &[u8], kind: u16, ttl: u32, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, content].concat()
}

/// An answer to `query` with these records; `flags` beside "answer" and "recursion desired".
fn reply(query: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let question_ends = 12 + wire(NAME).len() + 4;
    let mut bytes = query[..question_ends].to_vec();
    bytes[2..4].copy_from_slice(&(0x8100 | flags).to_be_bytes());
    bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    bytes[10..12].copy_from_slice(&[0, 0]);
    bytes.extend(records.concat());
    bytes
}

fn address(last: u8) -> Record {
    Record::Address(Ipv4Addr::new(192, 0, 2, last).into())
}

#[test]
fn a_query_is_what_the_rfc_draws() {
    let bytes = query(0xabcd, "a.bc.", Kind::Aaaa, false).unwrap();
    assert_eq!(bytes, b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x01a\x02bc\0\0\x1c\0\x01");
    let extended = query(1, "a", Kind::Srv, true).unwrap();
    assert!(extended.ends_with(b"\x01a\0\0\x21\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0"), "{extended:x?}");
    let long = "a".repeat(64);
    let longer = "a.".repeat(128);
    for name in ["", ".", "a..b", ".a", &long, &longer] {
        assert_eq!(query(1, name, Kind::A, true), None, "{name:?}");
    }
}

#[test]
fn records_are_taken_with_their_least_time() {
    let query = ask(Kind::A);
    let records =
        [record(&ASKED, 1, 300, &[192, 0, 2, 1]), record(&wire("WWW.Example.ORG"), 1, 60, &[192, 0, 2, 2])];
    let found = read(&query, Kind::A, &reply(&query, 0x80, &records));
    assert_eq!(found, Some(Outcome::Found(vec![address(1), address(2)], 60)));
    let query = ask(Kind::Aaaa);
    let six = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
    let found = read(&query, Kind::Aaaa, &reply(&query, 0, &[record(&ASKED, 28, 9, &six.octets())]));
    assert_eq!(found, Some(Outcome::Found(vec![Record::Address(six.into())], 9)));
}

#[test]
fn services_are_read_and_targets_that_are_no_hosts_are_not() {
    let query = ask(Kind::Srv);
    let content = |target: &[u8]| [&[0, 10, 0, 5, 0x03, 0xe1], target].concat();
    let records = [
        record(&ASKED, 33, 30, &content(&wire("Imap.example.org"))),
        record(&ASKED, 33, 30, &content(b"\x05a b\n\xff\0")),
        record(&ASKED, 33, 30, &content(&[0])),
    ];
    let service =
        |target: &str| Record::Service { priority: 10, weight: 5, port: 993, target: target.into() };
    let found = read(&query, Kind::Srv, &reply(&query, 0, &records));
    assert_eq!(found, Some(Outcome::Found(vec![service("imap.example.org"), service("")], 30)));
}

#[test]
fn aliases_are_followed_to_their_end_and_nothing_beside_them_is_taken() {
    let query = ask(Kind::A);
    let alias = |from: &str, to: &str| record(&wire(from), 5, 20, &wire(to));
    let records = [
        record(&wire("evil.example"), 1, 300, &[203, 0, 113, 1]),
        alias("b.example", "c.example"),
        alias(NAME, "b.example"),
        record(&wire("c.example"), 1, 300, &[192, 0, 2, 3]),
    ];
    let found = read(&query, Kind::A, &reply(&query, 0, &records));
    assert_eq!(found, Some(Outcome::Found(vec![address(3)], 20)));
    // An alias whose end has no address of that kind.
    assert_eq!(read(&query, Kind::A, &reply(&query, 0, &records[..3])), Some(Outcome::NoRecord));
    for circle in [vec![alias(NAME, NAME)], vec![alias(NAME, "b.example"), alias("b.example", NAME)]] {
        let found = read(&query, Kind::A, &reply(&query, 0, &circle));
        assert_eq!(found, Some(Outcome::Failed("FORMERR")));
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_not_one() {
    let query = ask(Kind::A);
    let good = reply(&query, 0, &[record(&ASKED, 1, 300, &[192, 0, 2, 1])]);
    assert!(matches!(read(&query, Kind::A, &good), Some(Outcome::Found(..))));
    let mut other_id = good.clone();
    other_id[0] ^= 1;
    let mut a_query = good.clone();
    a_query[2] &= 0x7f;
    let mut other_name = good.clone();
    other_name[13] = b'x';
    let mut other_kind = good.clone();
    other_kind[12 + wire(NAME).len() + 1] = 28;
    let mut other_opcode = good.clone();
    other_opcode[2] |= 0x10;
    for bytes in [other_id, a_query, other_name, other_kind, other_opcode, good[..11].to_vec(), Vec::new()] {
        assert_eq!(read(&query, Kind::A, &bytes), None, "{bytes:x?}");
    }
}

#[test]
fn errors_have_their_names() {
    let query = ask(Kind::A);
    let plain = super::query(0x1234, NAME, Kind::A, false).unwrap();
    for (code, extended, without) in [
        (0, Outcome::NoRecord, Outcome::NoRecord),
        (1, Outcome::NoExtension, Outcome::Failed("FORMERR")),
        (2, Outcome::Failed("SERVFAIL"), Outcome::Failed("SERVFAIL")),
        (3, Outcome::NoName, Outcome::NoName),
        (4, Outcome::NoExtension, Outcome::Failed("NOTIMP")),
        (5, Outcome::Failed("REFUSED"), Outcome::Failed("REFUSED")),
        (9, Outcome::Failed("an unknown error"), Outcome::Failed("an unknown error")),
        (0x200, Outcome::Truncated, Outcome::Truncated),
    ] {
        assert_eq!(read(&query, Kind::A, &reply(&query, code, &[])), Some(extended), "{code}");
        assert_eq!(read(&plain, Kind::A, &reply(&plain, code, &[])), Some(without), "{code}");
    }
    // Some servers answer what they cannot read without repeating it.
    let bare = b"\x12\x34\x81\x01\0\0\0\0\0\0\0\0";
    assert_eq!(read(&query, Kind::A, bare), Some(Outcome::NoExtension));
}

#[test]
fn broken_answers_are_failures() {
    let query = ask(Kind::A);
    let broken = [
        // A pointer to itself, one ahead, one beyond the end.
        record(&[0xc0, 33], 1, 1, &[192, 0, 2, 1]),
        record(&[0xc0, 60], 1, 1, &[192, 0, 2, 1]),
        record(&[0xff, 0xff], 1, 1, &[192, 0, 2, 1]),
        // An address of three bytes.
        record(&ASKED, 1, 1, &[192, 0, 2]),
        // An alias that points to itself.
        record(&ASKED, 5, 1, &[0xc0, 45]),
    ];
    for one in broken {
        let bytes = reply(&query, 0, &[one]);
        assert_eq!(read(&query, Kind::A, &bytes), Some(Outcome::Failed("FORMERR")), "{bytes:x?}");
    }
    // More announced than there is.
    let mut bytes = reply(&query, 0, &[record(&ASKED, 1, 1, &[192, 0, 2, 1])]);
    bytes[7] = 9;
    assert_eq!(read(&query, Kind::A, &bytes), Some(Outcome::Failed("FORMERR")));
}

#[test]
fn more_records_than_anybody_needs_are_left() {
    let query = ask(Kind::A);
    let many: Vec<_> = (0..3000u16)
        .map(|number| record(&ASKED, 1, 1, &[&[10, 0], &number.to_be_bytes()[..]].concat()))
        .collect();
    let Some(Outcome::Found(found, 1)) = read(&query, Kind::A, &reply(&query, 0, &many)) else {
        panic!("none")
    };
    assert_eq!(found.len(), RECORDS);
}

proptest! {
    #[test]
    fn nothing_that_arrives_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Srv]),
        heed in any::<bool>(),
    ) {
        let query = ask(kind);
        if heed {
            // As far as the records, so that those are read.
            let head = reply(&query, 0, &[]);
            for (to, from) in bytes.iter_mut().zip(&head) {
                *to = *from;
            }
            if let Some(count) = bytes.get_mut(7) {
                *count = 5;
            }
        }
        let _any = read(&query, kind, &bytes);
    }

    #[test]
    fn a_changed_byte_never_brings_a_record_from_elsewhere(at in 0usize..80, value in any::<u8>()) {
        let query = ask(Kind::A);
        let mut bytes = reply(&query, 0, &[record(&ASKED, 1, 300, &[192, 0, 2, 1])]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        if let Some(Outcome::Found(found, _)) = read(&query, Kind::A, &bytes) {
            prop_assert!(found.len() == 1);
        }
    }
}
