// SPDX-License-Identifier: MIT OR Apache-2.0
//! MySQL and MariaDB ("Connection Phase" of their protocol documents), towards servers only.
//!
//! The server's first message offers TLS and has the challenge for the login, so a plain client must have it, with the offer
//! taken out, before TLS begins. The client's login says what TLS is asked for with: its first 32 bytes, with the wish for
//! TLS set. Only then does TLS begin, and the login goes into it. The wish has taken a number, so from then on the
//! client's packets go up by one and the server's down by one, until the login is over; each command counts from zero.
//!
//! Towards clients this would take the server's challenge before the client's TLS, and so before any name that routes: it is
//! left out. A challenge that came in clear is no worse than the one that any client gets, for TLS covers the answer.

use super::{Cut, Move, Opening, Part, Protocol, Talk, quoted, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "mysql",
    opening: Opening::Login,
    serve: None,
    ask: Part { begin: silent, cut: packet, hear: challenge },
    plain: None,
    may_stay_clear: true,
};

/// Length in three bytes, least first, and the number.
const HEADER: usize = 4;

/// "The client goes on to TLS", of the low capabilities.
const TLS: u16 = 0x0800;

/// "The client speaks the protocol of version 4.1", of the low capabilities.
const MODERN: u16 = 0x0200;

/// The part of a login that asks for TLS: capabilities, greatest packet, character set, and nothing.
const WISH: usize = 32;

/// First bytes of a server's payload.
const OK: u8 = 0;
const MORE: u8 = 1;
const VERSION: u8 = 10;
const ERROR: u8 = 0xff;

/// What a server adds when it needs no more words of the client (`caching_sha2_password`).
const NO_MORE_WORDS: u8 = 3;

/// Cuts after a packet.
fn packet(input: &[u8]) -> Cut {
    let [a, b, c, _, ..] = input else { return Cut::More };
    let length = HEADER + usize::from(*a) + (usize::from(*b) << 8) + (usize::from(*c) << 16);
    match length {
        HEADER => Cut::Bad("an empty message"),
        _ if length > super::UNIT => Cut::Bad("a message that is too long"),
        _ if input.len() < length => Cut::More,
        _ => Cut::Unit(length),
    }
}

/// Where the low capabilities stand in a server's first message: behind version, name, thread, challenge, a zero.
fn offer(unit: &[u8]) -> Option<usize> {
    let payload = unit.get(HEADER..)?;
    let name = payload.get(1..)?.iter().position(|byte| *byte == 0)?;
    let at = HEADER + 1 + name + 1 + 4 + 8 + 1;
    (*payload.first()? == VERSION && unit.get(3) == Some(&0) && unit.len() >= at + 2).then_some(at)
}

fn flags(unit: &[u8], at: usize) -> u16 {
    match unit.get(at..at + 2) {
        Some([low, high]) => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

fn set_flags(unit: &mut [u8], at: usize, flags: u16) {
    if let Some(place) = unit.get_mut(at..at + 2) {
        place.copy_from_slice(&flags.to_le_bytes());
    }
}

/// A server's first message; it is kept for the client.
fn challenge(talk: &mut Talk, unit: &[u8]) -> Move {
    if unit.get(HEADER) == Some(&ERROR) {
        // Behind the error's number.
        return Move::Failed(
            format!("it says {}", quoted(unit.get(HEADER + 3..).unwrap_or_default())).into(),
        );
    }
    let Some(at) = offer(unit) else { return Move::Failed("this is not the MySQL protocol".into()) };
    talk.kept = unit.to_vec();
    let flags = flags(unit, at);
    if flags & TLS == 0 {
        return Move::Declined("it does not offer TLS".into());
    }
    set_flags(&mut talk.kept, at, flags & !TLS);
    Move::Agreed
}

/// Hears one packet and keeps it.
fn keep(talk: &mut Talk, unit: &[u8]) -> Move {
    talk.kept = unit.to_vec();
    Move::Agreed
}

/// The part of whoever waits for one packet.
pub(super) const ONE: Part = Part { begin: silent, cut: packet, hear: keep };

/// A client's login, made ready for a server within TLS.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// What asks the server for TLS, in clear: of the client's, nothing but what it can do.
    pub wish: Vec<u8>,
    /// The login itself, for behind the wish.
    pub packet: Vec<u8>,
}

impl Login {
    /// Of the packet in which a client logs in; nothing, where it is none.
    pub fn of(mut packet: Vec<u8>) -> Option<Self> {
        let flags = flags(&packet, HEADER);
        if packet.len() <= HEADER + WISH || packet[3] != 1 || flags & MODERN == 0 {
            return None;
        }
        set_flags(&mut packet, HEADER, flags | TLS);
        let wish = [&[32, 0, 0, 1], &packet[HEADER..HEADER + WISH]].concat();
        from_client(&mut packet);
        Some(Self { wish, packet })
    }
}

/// Counts a client's packet for the server.
pub fn from_client(packet: &mut [u8]) {
    if let Some(number) = packet.get_mut(3) {
        *number = number.wrapping_add(1);
    }
}

/// Counts a server's packet for the client.
pub fn from_server(packet: &mut [u8]) {
    if let Some(number) = packet.get_mut(3) {
        *number = number.wrapping_sub(1);
    }
}

/// Who speaks after a packet of the server, while a client logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Client,
    Server,
    /// The login is over.
    Nobody,
}

/// Who speaks after this packet of the server.
pub fn turn(packet: &[u8]) -> Turn {
    match packet.get(HEADER..).unwrap_or_default() {
        [OK | ERROR, ..] => Turn::Nobody,
        [MORE, NO_MORE_WORDS] => Turn::Server,
        _ => Turn::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's first message with these capabilities.
    fn first(flags: u16) -> Vec<u8> {
        let mut payload = b"\x0a10.11\0\x01\0\0\0challeng\0".to_vec();
        payload.extend(flags.to_le_bytes());
        payload.extend(b"\x21\x02\0\0\0\x15");
        [&[u8::try_from(payload.len()).unwrap(), 0, 0, 0], &payload[..]].concat()
    }

    #[test]
    fn the_offer_of_tls_is_taken_out_of_what_the_client_gets() {
        let mut talk = Talk::default();
        assert!(matches!(challenge(&mut talk, &first(0xfa00)), Move::Agreed));
        assert_eq!(talk.kept, first(0xf200));
        assert!(matches!(challenge(&mut talk, &first(0xf200)), Move::Declined(_)));
        assert_eq!(talk.kept, first(0xf200));
        for bad in [&b"\x05\0\0\0\xff\x15\x04no"[..], b"\x02\0\0\0\x0ax", b"\x01\0\0\0\x09"] {
            assert!(matches!(challenge(&mut talk, bad), Move::Failed(_)), "{bad:?}");
        }
        let first = first(0xfa00);
        for length in 4..first.len() {
            assert!(!matches!(challenge(&mut talk, &first[..length]), Move::Declined(_)), "{length}");
        }
    }

    #[test]
    fn a_login_asks_for_tls_with_its_own_beginning() {
        let payload = [&[0x00, 0xa2, 0x0f, 0x00][..], &[7; 28], b"me\0"].concat();
        let packet = [&[35, 0, 0, 1], &payload[..]].concat();
        let login = Login::of(packet.clone()).unwrap();
        assert_eq!(login.wish[..6], [32, 0, 0, 1, 0, 0xaa]);
        assert_eq!((login.wish.len(), &login.wish[8..]), (36, &[7; 28][..]));
        assert_eq!(login.packet[..6], [35, 0, 0, 2, 0, 0xaa]);
        assert_eq!(login.packet[6..], packet[6..]);
        assert_eq!(Login::of(packet[..36].to_vec()), None, "a wish for TLS of its own");
        assert_eq!(Login::of([&[35, 0, 0, 1, 0, 0], &payload[2..]].concat()), None, "an old protocol");
    }

    #[test]
    fn turns_follow_what_the_server_says() {
        for (payload, expected) in [
            (&b"\0\0\0"[..], Turn::Nobody),
            (b"\xff\x15\x04no", Turn::Nobody),
            (b"\xfemysql_native_password\0", Turn::Client),
            (b"\x01\x03", Turn::Server),
            (b"\x01\x04", Turn::Client),
            (b"\x02Password: ", Turn::Client),
        ] {
            assert_eq!(turn(&[&[9, 0, 0, 2], payload].concat()), expected, "{payload:?}");
        }
    }
}
