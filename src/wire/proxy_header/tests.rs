// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers whole, cut, with every length wrong, and as another reader sees them. Rows 35–44 and 46–47 of the known
//! failures of the field are among them, as far as a parser sees them.

use super::crc::crc32c;
use super::*;
use crate::wire::corpus;
use proxy_header::{ParseConfig, ProxyHeader, Tlv};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 192.0.2.7:56324 → 198.51.100.1:443.
const FOUR: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

fn read(bytes: &[u8]) -> Parsed<Header> {
    parse(bytes, MAX_HEADER)
}

fn done(bytes: &[u8]) -> Header {
    match read(bytes) {
        Parsed::Done(header, length) if length == bytes.len() => header,
        other => panic!("{} → {other:?}", bytes.escape_ascii()),
    }
}

fn bad(bytes: &[u8]) -> &'static str {
    match read(bytes) {
        Parsed::Bad(why) => why,
        other => panic!("{} → {other:?}", bytes.escape_ascii()),
    }
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

/// Over TCP4, with TLVs.
fn with(tlvs: &[Vec<u8>]) -> Vec<u8> {
    v2(0x21, 0x11, &[FOUR, &tlvs.concat()].concat())
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

fn inet(source: &str, destination: &str) -> Addresses {
    Addresses::Inet { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn unix_block(source: &[u8], destination: &[u8]) -> Vec<u8> {
    let pad = |name: &[u8]| [name, &vec![0; 108 - name.len()]].concat();
    [pad(source), pad(destination)].concat()
}

/// Everything that a header can say.
fn full() -> Header {
    let ssl = Ssl {
        used: true,
        certificate_now: true,
        certificate_in_session: false,
        verify: 0x0102_0304,
        version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        common_name: Some("Bücher\r\n".into()),
        signature: Some("SHA256".into()),
        key: Some("RSA2048".into()),
        group: Some("X25519MLKEM768".into()),
        scheme: Some("rsa_pss_rsae_sha256".into()),
        certificate: Some(Box::from(&[0x30, 0x82, 0, 1][..])),
    };
    Header {
        local: false,
        addresses: inet("[2001:db8::7]:1234", "[2001:db8::1]:443"),
        tlvs: Tlvs {
            authority: Some("site1.example.com".into()),
            alpn: Some(Box::from(&b"h2"[..])),
            unique_id: Some(Box::from(&[7; 128][..])),
            netns: Some("blue".into()),
            ssl: Some(Box::new(ssl)),
            confirm: true,
        },
    }
}

fn written(header: &Header, version: Version, checksum: bool) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    write(header, version, checksum, &mut bytes);
    bytes.split_off(6)
}

/// Valid headers of every kind, with what they say.
fn samples() -> Vec<(Vec<u8>, Addresses)> {
    let four = inet("192.0.2.7:56324", "198.51.100.1:443");
    let six = inet("[2001:db8::7]:1", "[::1]:65535");
    let longest = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
    let unix = Addresses::Unix { source: b"\0abs\0tract".to_vec(), destination: b"/run/s".to_vec() };
    let path = [b'p'; 108];
    let long = Addresses::Unix { source: path.to_vec(), destination: Vec::new() };
    let mut block = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    block.extend([0; 15]);
    block.extend([1, 0, 1, 0xff, 0xff]);
    vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), four.clone()),
        (b"PROXY TCP6 2001:DB8::7 ::1 1 65535\r\n".to_vec(), six.clone()),
        (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 1\r\n".to_vec(), inet("0.0.0.0:0", "255.255.255.255:1")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Addresses::Unknown),
        (b"PROXY UNKNOWN ffff::1 \r\r \0 x\r\n".to_vec(), Addresses::Unknown),
        (longest, Addresses::Unknown),
        (with(&[]), four.clone()),
        (with(&[tlv(4, b"noop"), tlv(4, b""), tlv(0xe0, b"?"), tlv(0xe0, b"?"), tlv(1, b"h2")]), four),
        (v2(0x21, 0x21, &block), six),
        (v2(0x21, 0x00, &tlv(2, b"a.test")), Addresses::Unknown),
        (v2(0x21, 0x31, &unix_block(b"\0abs\0tract", b"/run/s")), unix),
        (v2(0x21, 0x31, &unix_block(&path, b"")), long),
        (v2(0x20, 0x00, &[]), Addresses::Unknown),
    ]
}

#[test]
fn valid_headers_are_understood_whatever_follows() {
    for (bytes, addresses) in samples() {
        assert_eq!(done(&bytes).addresses, addresses);
        // Row 36: the payload behind it changes nothing, be it one byte or a segment that looks like TLVs.
        for payload in [vec![b'\n'], tlv(2, b"evil.test").repeat(1000), bytes.clone()] {
            let all = [&bytes[..], &payload].concat();
            let Parsed::Done(header, length) = read(&all) else { panic!("{}", all.escape_ascii()) };
            assert_eq!((&header.addresses, length), (&addresses, bytes.len()));
            assert_eq!(header, done(&bytes));
        }
    }
}

#[test]
fn a_part_of_a_header_asks_for_more() {
    let full = written(&full(), Version::V2, true);
    for bytes in samples().into_iter().map(|(bytes, _)| bytes).chain([full]) {
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length]), Parsed::More, "{} of {}", length, bytes.escape_ascii());
        }
    }
}

/// Row 43.
#[test]
fn strict_lines() {
    for line in [
        "TCP4 999.0.2.7 192.0.2.1 1 2",
        "TCP4 256.0.0.1 192.0.2.1 1 2",
        "TCP4 192.0.2.07 192.0.2.1 1 2",
        "TCP4 192.0.2 192.0.2.1 1 2",
        "TCP4 192.0.2.1.1 192.0.2.1 1 2",
        "TCP4 192.0.2.7 192.0.2.1 65536 2",
        "TCP4 192.0.2.7 192.0.2.1 1 99999",
        "TCP4 192.0.2.7 192.0.2.1 01 2",
        "TCP4 192.0.2.7 192.0.2.1 00 2",
        "TCP4 192.0.2.7 192.0.2.1 +1 2",
        "TCP4 192.0.2.7 192.0.2.1 -1 2",
        "TCP4 192.0.2.7 192.0.2.1 0x1 2",
        "TCP4 192.0.2.7 192.0.2.1 1 ",
        "TCP4 192.0.2.7 192.0.2.1 1",
        "TCP4 192.0.2.7 192.0.2.1 1 2 ",
        "TCP4 192.0.2.7 192.0.2.1 1 2 3",
        "TCP4  192.0.2.7 192.0.2.1 1 2",
        "TCP4 192.0.2.7  192.0.2.1 1 2",
        "TCP4\t192.0.2.7 192.0.2.1 1 2",
        "TCP4 192.0.2.7 192.0.2.1 1\u{a0}2",
        "TCP4 ::1 192.0.2.1 1 2",
        "TCP4 ::1 ::2 1 2",
        "TCP6 192.0.2.7 192.0.2.1 1 2",
        "TCP6 ::1 192.0.2.1 1 2",
        "TCP6 ::1%lo ::2 1 2",
        "TCP6 [::1] ::2 1 2",
        "TCP6 1::2::3 ::2 1 2",
        "TCP6 12345::1 ::2 1 2",
        "TCP5 192.0.2.7 192.0.2.1 1 2",
        "UDP4 192.0.2.7 192.0.2.1 1 2",
        "tcp4 192.0.2.7 192.0.2.1 1 2",
        "TCP4",
        "unknown",
        "",
        " UNKNOWN",
    ] {
        bad(format!("PROXY {line}\r\n").as_bytes());
    }
    for other in ["PROXY\tUNKNOWN\r\n", "proxy UNKNOWN\r\n", " PROXY UNKNOWN\r\n", "PROXYUNKNOWN\r\n"] {
        assert_eq!(bad(other.as_bytes()), "there is no PROXY header");
    }
    let longer = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
    assert_eq!(longer.len(), 108);
    bad(&longer);
    assert_eq!(read(&longer[..106]), Parsed::More);
    assert_eq!(bad(&longer[..107]), "the line of the PROXY header is too long");
    assert_eq!(parse(b"PROXY UNKNOWN", 13), Parsed::Bad("the line of the PROXY header is too long"));
}

/// Nobody waits for the end of what can never be a header.
#[test]
fn what_can_be_no_header_is_told_at_once() {
    for beginning in [
        &b"G"[..],
        b"\x16",
        b"PROXY X",
        b"PROXY TCP5",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
        b"PROXY TCP4 1\r1",
        b"PROXY TCP4 1_",
        b"\r\n\r\n\0\r\nQUIT\n\x11",
        b"\r\n\r\n\0\r\nQUIT\n\x31",
        b"\r\n\r\n\0\r\nQUIT\n\x22",
        b"\r\n\r\n\0\r\nQUIT\n\x2f",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x01",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x99",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x40\0",
    ] {
        bad(beginning);
    }
    assert_eq!(read(b""), Parsed::More);
    assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x3f\xf0"), Parsed::More, "16384 in all");
    let bad_line = b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n";
    assert_eq!(read(&bad_line[..bad_line.len() - 1]), Parsed::More, "a line is judged as a whole");
    bad(bad_line);
}

/// Row 37, and row 40 for datagrams.
#[test]
fn lengths_shorter_than_the_addresses_are_refused() {
    for (family, needed) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        for length in 0..needed {
            bad(&v2(0x21, family, &vec![1; length]));
        }
        done(&v2(0x21, family, &vec![1; needed]));
    }
    for family in [0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x32, 0x41, 0x99, 0xff] {
        bad(&v2(0x21, family, &[]));
        bad(&v2(0x21, family, &[0; 300]));
    }
}

/// Row 38: what a LOCAL header carries is skipped, whatever it is, and not believed.
#[test]
fn local_headers_say_nothing() {
    let garbage = [0xff; 400];
    for (family, body) in [(0x11, FOUR), (0x11, &[]), (0x99, &garbage), (0x12, FOUR), (0x00, &garbage)] {
        let header = done(&v2(0x20, family, body));
        assert_eq!(header, Header { local: true, ..Header::default() });
    }
}

/// Row 35: a TLV never reaches past the header, though the bytes there would fit.
#[test]
fn tlvs_end_with_the_header() {
    let whole = with(&[tlv(1, b"h2"), tlv(2, b"a.test")]);
    let payload = tlv(2, b"evil.test").repeat(10);
    for place in [29, 30, 34, 35] {
        for new in [0xff, 0x10, 0x07] {
            let mut changed = [&whole[..], &payload].concat();
            changed[place] = new;
            if changed[place] == whole[place] {
                continue;
            }
            match read(&changed) {
                Parsed::Bad(_) => {}
                Parsed::Done(header, length) => {
                    assert_eq!(length, whole.len());
                    assert_ne!(header.tlvs.authority.as_deref(), Some("evil.test"), "{new} at {place}");
                }
                Parsed::More => panic!("{new} at {place}"),
            }
        }
    }
    for torn in [&[2][..], &[2, 0], &[2, 0, 1], &[4, 0xff, 0xff, 0]] {
        assert_eq!(bad(&with(&[torn.to_vec()])), "a length in the PROXY header is wrong");
        let ssl = [&[0; 5], torn].concat();
        assert_eq!(bad(&with(&[tlv(0x20, &ssl)])), "a length in the PROXY header is wrong");
    }
}

#[test]
fn what_is_said_twice_is_refused() {
    let sum = |bytes: &[u8]| tlv(3, bytes);
    let ssl = |subs: &[Vec<u8>]| tlv(0x20, &[&[1, 0, 0, 0, 0][..], &subs.concat()].concat());
    for (kind, value) in [(1, &b"h2"[..]), (2, b"a.test"), (5, b"id"), (0x30, b"ns")] {
        done(&with(&[tlv(kind, value)]));
        bad(&with(&[tlv(kind, value), tlv(kind, value)]));
        bad(&with(&[tlv(kind, value), tlv(4, b""), tlv(kind, b"x")]));
    }
    bad(&with(&[ssl(&[]), ssl(&[])]));
    bad(&with(&[sum(&[0; 4]), sum(&[0; 4])]));
    for kind in 0x21..=0x28 {
        done(&with(&[ssl(&[tlv(kind, b"x")])]));
        bad(&with(&[ssl(&[tlv(kind, b"x"), tlv(kind, b"x")])]));
        // Outside of its place it is nothing we know.
        done(&with(&[tlv(kind, b"x"), tlv(kind, b"x")]));
    }
}

#[test]
fn values_are_checked() {
    let long = [b'a'; 256];
    for name in [&b""[..], b".", b"a\0b", b"a b", b"a\r\n", "bücher.test".as_bytes(), &long] {
        bad(&with(&[tlv(2, name)]));
    }
    let name = done(&with(&[tlv(2, b"Site1.ExAmPlE.CoM.")])).tlvs.authority;
    assert_eq!(name.as_deref(), Some("site1.example.com"));
    bad(&with(&[tlv(1, b"")]));
    bad(&with(&[tlv(1, &long)]));
    done(&with(&[tlv(1, &long[..255])]));
    bad(&with(&[tlv(5, &long[..129])]));
    done(&with(&[tlv(5, &long[..128])]));
    bad(&with(&[tlv(0x30, b"n\xc3\xa4")]));
    bad(&with(&[tlv(0x30, b"n\n")]));
    for length in 0..5 {
        bad(&with(&[tlv(0x20, &vec![0; length])]));
    }
    for kind in 0x21..=0x27 {
        bad(&with(&[tlv(0x20, &[&[0; 5], &tlv(kind, b"\xff")[..]].concat())]));
    }
    done(&with(&[tlv(0x20, &[&[0; 5], &tlv(0x28, b"\xff")[..]].concat())]));
}

#[test]
fn the_checksum_is_checked() {
    let mut whole = with(&[tlv(1, b"h2"), tlv(3, &[0; 4]), tlv(2, b"a.test")]);
    let place = 16 + 12 + 5 + 3;
    let sum = crc32c(&[&whole]);
    whole[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    done(&whole);
    // Its own type aside: another type is none that is checked.
    for wrong in (12..whole.len()).filter(|wrong| *wrong != place - 3) {
        let mut changed = whole.clone();
        changed[wrong] ^= 0x80;
        let outcome = read(&changed);
        assert!(!matches!(outcome, Parsed::Done(..)), "changed at {wrong}: {outcome:?}");
    }
    for length in [0, 3, 5] {
        assert_eq!(bad(&with(&[tlv(3, &vec![0; length])])), "the checksum of the PROXY header is wrong");
    }
}

/// Every byte of a header that says everything takes other values: nothing panics, nothing longer is eaten.
#[test]
fn any_byte_may_lie() {
    let whole = written(&full(), Version::V2, false);
    let shown = [&whole[..], &[b'x'; 300]].concat();
    for place in 0..whole.len() {
        for new in [0, 1, whole[place].wrapping_sub(1), whole[place].wrapping_add(1), 0x7f, 0xff] {
            let mut changed = shown.clone();
            changed[place] = new;
            if let Parsed::Done(_, length) = read(&changed) {
                assert!(
                    length <= changed.len() && (length == whole.len() || place == 15),
                    "{new} at {place}"
                );
            }
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    for checksum in [false, true] {
        for addresses in samples().into_iter().map(|(_, addresses)| addresses) {
            let header = Header { addresses, ..full() };
            assert_eq!(done(&written(&header, Version::V2, checksum)), header);
            let text = done(&written(&header, Version::V1, checksum));
            let expected = match header.addresses {
                Addresses::Unix { .. } => Addresses::Unknown,
                other => other,
            };
            assert_eq!(text, Header { addresses: expected, ..Header::default() });
        }
    }
    let local = Header { local: true, ..full() };
    assert_eq!(done(&written(&local, Version::V2, true)), Header { local: true, ..Header::default() });
    assert_eq!(written(&local, Version::V1, true), b"PROXY UNKNOWN\r\n");
}

/// Rows 46 and 47.
#[test]
fn families_are_made_to_agree() {
    for (source, destination, line) in [
        ("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:2", "TCP4 192.0.2.7 192.0.2.1 1 2"),
        ("192.0.2.7:1", "[::ffff:192.0.2.1]:2", "TCP4 192.0.2.7 192.0.2.1 1 2"),
        ("192.0.2.7:1", "[2001:db8::1]:2", "TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2"),
        ("[2001:db8::1]:3", "[::ffff:192.0.2.7]:4", "TCP6 2001:db8::1 ::ffff:192.0.2.7 3 4"),
        ("[fe80::1%7]:3", "[fe80::2%7]:4", "TCP6 fe80::1 fe80::2 3 4"),
    ] {
        let header = Header { addresses: inet(source, destination), ..Header::default() };
        let line = format!("PROXY {line}\r\n").into_bytes();
        assert_eq!(written(&header, Version::V1, false), line);
        assert_eq!(done(&written(&header, Version::V2, false)), done(&line));
    }
}

/// Row 44: the limit holds with every TLV on, the checksum is right, and the certificate is what stays behind.
#[test]
fn a_certificate_that_does_not_fit_is_left_out() {
    let mut header = full();
    let of = |header: &Header, size: usize| {
        let mut header = header.clone();
        header.tlvs.ssl.as_mut().unwrap().certificate = Some(vec![0x30; size].into());
        header
    };
    assert_eq!(done(&written(&of(&header, 4096), Version::V2, true)), of(&header, 4096));
    let most = MAX_HEADER - written(&of(&header, 0), Version::V2, true).len();
    let bytes = written(&of(&header, most), Version::V2, true);
    assert_eq!((bytes.len(), done(&bytes)), (MAX_HEADER, of(&header, most)));
    header.tlvs.ssl.as_mut().unwrap().certificate = None;
    for size in [most + 1, MAX_HEADER, 70_000] {
        assert_eq!(done(&written(&of(&header, size), Version::V2, true)), header);
    }
    header.tlvs.ssl.as_mut().unwrap().common_name = Some("c".repeat(80_000).into());
    let left = done(&written(&header, Version::V2, true)).tlvs.ssl.unwrap();
    assert_eq!((left.common_name, left.scheme), (None, header.tlvs.ssl.unwrap().scheme));
}

/// What another parser says of the same bytes.
fn other(bytes: &[u8]) -> Result<(ProxyHeader<'_>, usize), proxy_header::Error> {
    ProxyHeader::parse(bytes, ParseConfig { include_tlvs: true, allow_v1: true, allow_v2: true })
}

/// Two readers, one opinion. On purpose we differ from the crate in these points:
/// * unix addresses: it skips them;
/// * checksum and texts: it leaves them to its caller, who must ask;
/// * TLVs 0x26 to 0x28: it has no words for them;
/// * it takes datagrams, and the family of a LOCAL header must be one it knows;
/// * version 1: it takes a port with a plus sign or leading zeros, any byte after "PROXY", and ends UNKNOWN at the first
///   CR.
#[test]
fn another_parser_agrees() {
    for (bytes, addresses) in samples() {
        if bytes.contains(&0) && bytes.starts_with(b"PROXY") {
            continue; // A bare CR after UNKNOWN.
        }
        let (header, length) = other(&bytes).unwrap();
        assert_eq!(length, bytes.len());
        let theirs = header.proxied_address().map(|both| (both.source, both.destination));
        match addresses {
            Addresses::Inet { source, destination } => assert_eq!(theirs, Some((source, destination))),
            _ => assert_eq!(theirs, None),
        }
    }
    let header = full();
    let bytes = written(&header, Version::V2, true);
    let (theirs, _) = other(&bytes).unwrap();
    assert_eq!(theirs.authority(), header.tlvs.authority.as_deref());
    assert_eq!(theirs.alpn(), header.tlvs.alpn.as_deref());
    assert_eq!(theirs.unique_id(), header.tlvs.unique_id.as_deref());
    assert_eq!(theirs.netns(), header.tlvs.netns.as_deref());
    let at = bytes.len() - 4;
    assert_eq!(theirs.crc32c(), Some(u32::from_be_bytes(bytes[at..].try_into().unwrap())));
    let (theirs, ssl) = (theirs.ssl().unwrap(), header.tlvs.ssl.unwrap());
    assert_eq!(theirs.version(), ssl.version.as_deref());
    assert_eq!(theirs.cn(), ssl.common_name.as_deref());
    assert_eq!(theirs.cipher(), ssl.cipher.as_deref());
    assert_eq!(theirs.sig_alg(), ssl.signature.as_deref());
    assert_eq!(theirs.key_alg(), ssl.key.as_deref());
    assert_eq!(theirs.verify(), ssl.verify);
}

/// What we take the other takes too; what it refuses we refuse.
#[test]
fn another_parser_is_never_stricter() {
    let whole = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 1 65535\r\n".to_vec(),
        with(&[tlv(1, b"h2"), tlv(2, b"a.test"), tlv(5, b"x")]),
    ];
    let mut agreed = 0;
    for bytes in whole {
        for place in 0..bytes.len() {
            for new in 0..=255 {
                let mut changed = bytes.clone();
                changed[place] = new;
                let Parsed::Done(header, length) = read(&changed) else { continue };
                if header.local {
                    continue;
                }
                let (theirs, their_length) = other(&changed).unwrap();
                assert_eq!(length, their_length);
                let both = theirs.proxied_address().map(|both| (both.source, both.destination));
                match header.addresses {
                    Addresses::Inet { source, destination } => assert_eq!(both, Some((source, destination))),
                    _ => assert_eq!(both, None),
                }
                assert!(theirs.tlvs().all(|tlv: Result<Tlv<'_>, _>| tlv.is_ok()), "{new} at {place}");
                agreed += 1;
            }
        }
    }
    assert!(agreed > 1000, "only {agreed} were headers still");
}

#[test]
fn the_corpus_of_the_fuzzer_holds_its_promises() {
    let whole_ones = corpus::replay("proxy_header", read);
    let real = |program: &str| whole_ones.get(program).unwrap_or_else(|| panic!("no {program}")).clone();
    let haproxy = real("haproxy-v2-ssl");
    assert_eq!(haproxy.tlvs.authority.as_deref(), Some("site1.example.com"));
    assert_eq!(haproxy.tlvs.alpn.as_deref(), Some(&b"h2"[..]));
    let ssl = haproxy.tlvs.ssl.unwrap();
    assert!(ssl.used && ssl.certificate_now && ssl.certificate_in_session && ssl.verify == 0);
    assert_eq!((ssl.version.as_deref(), ssl.common_name.as_deref()), (Some("TLSv1.3"), Some("client one")));
    assert!(real("haproxy-v2-local").local);
    assert!(matches!(real("haproxy-v1").addresses, Addresses::Inet { .. }));
    assert!(matches!(real("nginx-v1").addresses, Addresses::Inet { .. }));
}
