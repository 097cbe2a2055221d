// SPDX-License-Identifier: MIT OR Apache-2.0
//! MySQL and MariaDB ("Connection Phase" of their protocol documents).
//!
//! The server's first message offers TLS and has the challenge for the login, so a plain client must have it, with the offer
//! taken out, before TLS begins. The client's login says what TLS is asked for with: its first 32 bytes, with the wish for
//! TLS set. Only then does TLS begin, and the login goes into it. The wish has taken a number, so from then on the
//! client's packets go up by one and the server's down by one, until the login is over; each command counts from zero.
//!
//! A challenge that came in clear is no worse than the one that any client gets, for TLS covers the answer.
//!
//! As server: the client asks for TLS before a server is chosen, so the challenge it has by then is one of ours, and of no use.
//! Its login goes to the server with no answer in it and with the name of a method that no account has, upon which the server
//! asks for the method that the account does have, with a challenge of its own: the client answers that one. The wish for TLS
//! has taken a number here, too, so where the server's side has none the client's packets go down by one.

use super::{Cut, Move, Opening, Part, Protocol, Talk, quoted, silent};
use std::mem;

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "mysql",
    opening: Opening::Login,
    serve: Part { begin: greet, cut: packet, hear: wish },
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

/// Further capabilities: a database is named in the login; its answer's length is one byte; the method is named; attributes of
/// the connection follow; the answer's length may take more than a byte.
const WITH_DATABASE: u32 = 1 << 3;
const SHORT_ANSWER: u32 = 1 << 15;
const METHODS: u32 = 1 << 19;
const LONG_ANSWER: u32 = 1 << 21;

/// What we offer our clients: what every server has had since MySQL 5.6 and MariaDB 10.0, and no more, since what a client
/// agrees on with us it has agreed on with the server that it gets. No compression.
const OFFERED: u32 = 0x003f_bfdf;

/// What our greeting says of us, up to the capabilities' lower half: protocol, version, thread, challenge.
const GREETING: &[u8] = b"\x0a5.7.0-tunnel\0\x01\0\0\0no matte\0";

/// The method of which our challenge is: every client knows it.
const METHOD: &[u8] = b"mysql_native_password\0";

/// The method that a login is said to use, so that the server asks for another.
const NO_METHOD: &[u8] = b"tunnel_asks_for_another\0";

/// ER_SECURE_TRANSPORT_REQUIRED, of the general state.
const TLS_FIRST: &[u8] = b"\xff\x57\x0c#HY000this server is reached by TLS only";

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

/// A packet of ours: what it carries has fewer than 256 bytes.
fn numbered(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[u8::try_from(payload.len()).unwrap_or(u8::MAX), 0, 0, number], payload].concat()
}

fn greet(talk: &mut Talk) {
    let [a, b, c, d] = OFFERED.to_le_bytes();
    // UTF-8, autocommit, the length of the challenge, a filler, and the challenge's rest.
    let rest = [&[a, b, 33, 2, 0, c, d, 21], &[0; 10][..], b"r: no answer\0"].concat();
    talk.say.extend(numbered(0, &[GREETING, &rest, METHOD].concat()));
}

/// The wish of a client for TLS, behind which it does not wait.
fn wish(talk: &mut Talk, unit: &[u8]) -> Move {
    let flags = flags(unit, HEADER);
    if unit.get(3) != Some(&1) || flags & MODERN == 0 {
        return Move::Failed("this is not the MySQL protocol".into());
    }
    if flags & TLS == 0 {
        talk.say.extend(numbered(2, TLS_FIRST));
        return Move::Declined("it logged in without asking for TLS".into());
    }
    match unit.len() == HEADER + WISH {
        true => Move::AgreedAtOnce,
        false => Move::Failed("its wish for TLS has more in it".into()),
    }
}

/// The first message of a server that is not to be asked for TLS.
fn first(_: &mut Talk, unit: &[u8]) -> Move {
    match challenge(&mut Talk::default(), unit) {
        Move::Declined(_) => Move::Agreed,
        other => other,
    }
}

/// The part of whoever waits for that.
pub(super) const FIRST: Part = Part { begin: silent, cut: packet, hear: first };

/// Hears one packet and keeps it.
fn keep(talk: &mut Talk, unit: &[u8]) -> Move {
    talk.kept = unit.to_vec();
    Move::Agreed
}

/// The part of whoever waits for one packet.
pub(super) const ONE: Part = Part { begin: silent, cut: packet, hear: keep };

/// Where the two sides of a login stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// The client has TLS, and a challenge of ours.
    pub is_served: bool,
    /// The server goes on to TLS.
    pub asks: bool,
}

/// A client's login, made ready for a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// What asks the server for TLS, in clear: of the client's, nothing but what it can do. For servers within TLS only.
    pub wish: Vec<u8>,
    /// The login itself, for behind the wish.
    pub packet: Vec<u8>,
    /// What the client's numbers go up by for the server, wrapping.
    pub shift: u8,
}

impl Login {
    /// Of the packet in which a client logs in; nothing, where it is none.
    pub fn of(mut packet: Vec<u8>, ways: Ways) -> Option<Self> {
        let flags = flags(&packet, HEADER);
        let came_as = 1 + u8::from(ways.is_served);
        if packet.len() <= HEADER + WISH || packet[3] != came_as || flags & MODERN == 0 {
            return None;
        }
        set_flags(&mut packet, HEADER, if ways.asks { flags | TLS } else { flags & !TLS });
        if ways.is_served {
            packet = unanswered(&packet)?;
        }
        let wish = [&[32, 0, 0, 1], &packet[HEADER..HEADER + WISH]].concat();
        let shift = (1 + u8::from(ways.asks)).wrapping_sub(came_as);
        from_client(&mut packet, shift);
        Some(Self { wish, packet, shift })
    }
}

/// A login without its answer, and with a method that no account has; nothing, where it has no room for that.
fn unanswered(packet: &[u8]) -> Option<Vec<u8>> {
    let (beginning, mut rest) = packet.split_at_checked(HEADER + WISH)?;
    let can = u32::from_le_bytes(beginning.get(HEADER..HEADER + 4)?.try_into().ok()?);
    if can & METHODS == 0 {
        return None;
    }
    let user = text(&mut rest);
    let length = match rest.first()? {
        0xfc if can & LONG_ANSWER != 0 => 3 + usize::from(*rest.get(1)?) + (usize::from(*rest.get(2)?) << 8),
        // Longer ones do not fit into a packet that is taken.
        0xfb.. if can & LONG_ANSWER != 0 => return None,
        length if can & (LONG_ANSWER | SHORT_ANSWER) != 0 => 1 + usize::from(*length),
        // A text then.
        _ => rest.iter().position(|byte| *byte == 0)? + 1,
    };
    rest = rest.get(length..)?;
    let database = if can & WITH_DATABASE == 0 { &[] } else { text(&mut rest) };
    let _its_method = text(&mut rest);
    let mut login = [beginning, user, &[0], database, NO_METHOD, rest].concat();
    let [low, middle, high, ..] = (login.len() - HEADER).to_le_bytes();
    login[..3].copy_from_slice(&[low, middle, high]);
    Some(login)
}

/// Takes a text with the zero at its end, which the last of a packet may lack.
fn text<'p>(rest: &mut &'p [u8]) -> &'p [u8] {
    let end = rest.iter().position(|byte| *byte == 0).map_or(rest.len(), |at| at + 1);
    let (text, behind) = mem::take(rest).split_at(end);
    *rest = behind;
    text
}

/// Counts a client's packet for the server.
pub fn from_client(packet: &mut [u8], shift: u8) {
    if let Some(number) = packet.get_mut(3) {
        *number = number.wrapping_add(shift);
    }
}

/// Counts a server's packet for the client.
pub fn from_server(packet: &mut [u8], shift: u8) {
    from_client(packet, shift.wrapping_neg());
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

    const ASKS: Ways = Ways { is_served: false, asks: true };
    const SERVED: Ways = Ways { is_served: true, asks: false };

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
        let login = Login::of(packet.clone(), ASKS).unwrap();
        assert_eq!(login.wish[..6], [32, 0, 0, 1, 0, 0xaa]);
        assert_eq!((login.wish.len(), &login.wish[8..]), (36, &[7; 28][..]));
        assert_eq!(login.packet[..6], [35, 0, 0, 2, 0, 0xaa]);
        assert_eq!((&login.packet[6..], login.shift), (&packet[6..], 1));
        assert_eq!(Login::of(packet[..36].to_vec(), ASKS), None, "a wish for TLS of its own");
        assert_eq!(Login::of([&[35, 0, 0, 1, 0, 0], &payload[2..]].concat(), ASKS), None, "an old protocol");
    }

    /// A login of a client within TLS.
    fn within(can: u32, rest: &[u8]) -> Vec<u8> {
        let payload = [&can.to_le_bytes(), &[7; 28][..], rest].concat();
        [&[u8::try_from(payload.len()).unwrap(), 0, 0, 2], &payload[..]].concat()
    }

    #[test]
    fn a_served_clients_login_loses_its_answer_and_its_method() {
        let can = 0x000a_8a00;
        for (can, rest, expected) in [
            (can, &b"me\0\x03abcmysql_native_password\0"[..], &b"me\0\0"[..]),
            (can | WITH_DATABASE, b"me\0\0db\0method", b"me\0\0db\0"),
            (can | LONG_ANSWER, b"\0\xfc\x02\0abmethod\0", b"\0\0"),
            (can & !SHORT_ANSWER, b"me\0secret\0method\0", b"me\0\0"),
        ] {
            let served = |asks| Login::of(within(can, rest), Ways { is_served: true, asks }).unwrap();
            let expected = [&[7; 28], expected, NO_METHOD].concat();
            let (bare, secured) = (served(false), served(true));
            assert_eq!(bare.packet[8..], expected, "{rest:?}");
            assert_eq!(secured.packet[8..], expected, "{rest:?}");
            assert_eq!((bare.packet[3], bare.shift, flags(&bare.packet, HEADER) & TLS), (1, 255, 0));
            assert_eq!((secured.packet[3], secured.shift, flags(&secured.packet, HEADER) & TLS), (2, 0, TLS));
            assert_eq!(packet(&bare.packet), Cut::Unit(bare.packet.len()));
        }
        let attributes = Login::of(within(can, b"me\0\0x\0attributes"), SERVED).unwrap().packet;
        assert!(attributes.ends_with(b"asks_for_another\0attributes"));
    }

    #[test]
    fn a_login_without_room_for_a_method_is_none() {
        let can = 0x000a_8a00;
        for (can, rest) in [
            (can & !METHODS, &b"me\0\0x\0"[..]),
            (can, b"me\0\x05abc"),
            (can, b"me"),
            (can | LONG_ANSWER, b"me\0\xfc\x05"),
            (can | LONG_ANSWER, b"me\0\xfd\x05\0\0abcde\0"),
            (can & !SHORT_ANSWER, b"me\0secret"),
        ] {
            assert_eq!(Login::of(within(can, rest), SERVED), None, "{rest:?}");
        }
        let as_first = [&[60, 0, 0, 1], &within(can, b"me\0\0x\0")[4..]].concat();
        assert_eq!(Login::of(as_first, SERVED), None, "not behind a wish for TLS");
    }

    #[test]
    fn who_logs_in_without_tls_is_told_what_to_do() {
        let mut talk = Talk::default();
        let login = [&[60, 0, 0, 1, 5, 0xa2], &[7; 58][..]].concat();
        assert!(matches!(wish(&mut talk, &login), Move::Declined(_)));
        assert_eq!(packet(&talk.say), Cut::Unit(talk.say.len()));
        assert!(talk.say.ends_with(b"TLS only") && talk.say[3] == 2);
        let not_alone = [&[60, 0, 0, 1, 5, 0xaa], &[7; 58][..]].concat();
        for bad in [&not_alone[..], b"\x04\0\0\x01\0\x08\0\0", b"\x04\0\0\x02\0\x0a\0\0", b"\x01\0\0\x01x"] {
            assert!(matches!(wish(&mut talk, bad), Move::Failed(_)), "{bad:?}");
        }
    }

    #[test]
    fn our_challenge_is_taken_in_as_a_servers_is() {
        let mut talk = Talk::default();
        greet(&mut talk);
        let ours = mem::take(&mut talk.say);
        assert_eq!(packet(&ours), Cut::Unit(ours.len()));
        assert!(matches!(challenge(&mut talk, &ours), Move::Agreed), "it offers TLS");
        assert!(matches!(super::first(&mut talk, &ours), Move::Agreed));
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
