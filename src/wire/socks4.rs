// SPDX-License-Identifier: MIT OR Apache-2.0
//! SOCKS version 4, and 4A, in which the client names the host: what a client asks for, and what it is answered. Of the
//! commands, CONNECT alone. There is no standard; this is the protocol as its author and the author of 4A have described
//! it. Who a client says it is (without proof) is read and not believed.

use super::Parsed;
use super::destination::{Destination, Host};
use super::reader::Reader;
use std::net::Ipv4Addr;

/// The first byte of a request.
pub const VERSION: u8 = 4;

/// The longest text in a request, in bytes.
const MAX_TEXT: usize = 255;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Connect(Destination),
    /// Another command.
    Other,
}

/// Reads a client's request.
pub fn parse_request(bytes: &[u8]) -> Parsed<Request> {
    let mut reader = Reader(bytes);
    match reader.u8() {
        None => return Parsed::More,
        Some(VERSION) => {}
        Some(_) => return Parsed::Bad("not version 4 of SOCKS"),
    }
    let fixed = reader.u8().and_then(|command| Some((command, reader.u16()?, reader.array::<4>()?)));
    let Some((command, port, ip)) = fixed else { return Parsed::More };
    // The user's name.
    match text(&mut reader) {
        Parsed::Done(_, _) => {}
        Parsed::More => return Parsed::More,
        Parsed::Bad(why) => return Parsed::Bad(why),
    }
    let to = match ip {
        // 4A: an address that no host has says that a name follows.
        [0, 0, 0, last] if last != 0 => match text(&mut reader) {
            Parsed::Done(name, _) => Destination::new(name, port),
            Parsed::More => return Parsed::More,
            Parsed::Bad(why) => return Parsed::Bad(why),
        },
        ip => Destination::of(Host::Ip(Ipv4Addr::from(ip).into()), port),
    };
    let length = bytes.len() - reader.0.len();
    match to {
        _ if command != CONNECT => Parsed::Done(Request::Other, length),
        Ok(to) => Parsed::Done(Request::Connect(to), length),
        Err(why) => Parsed::Bad(why),
    }
}

/// What is answered: whether it is connected.
pub fn reply(granted: bool) -> [u8; 8] {
    [0, if granted { 90 } else { 91 }, 0, 0, 0, 0, 0, 0]
}

/// Bytes up to a NUL, which is taken as well.
fn text<'a>(reader: &mut Reader<'a>) -> Parsed<&'a [u8]> {
    let end = reader.0.iter().take(MAX_TEXT + 1).position(|byte| *byte == 0);
    match end.and_then(|end| Some((reader.take(end)?, reader.u8()?))) {
        Some((text, _)) => Parsed::Done(text, text.len() + 1),
        None if reader.0.len() > MAX_TEXT => {
            Parsed::Bad("a text in the SOCKS request is longer than 255 bytes")
        }
        None => Parsed::More,
    }
}

const CONNECT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::corpus;

    #[test]
    fn addresses_and_names_are_asked_for() {
        for (request, expected) in [
            (&b"\x04\x01\x00\x50\xc0\x00\x02\x07me\0"[..], "192.0.2.7:80"),
            (b"\x04\x01\x15\x38\0\0\0\x01\0Db.example.org\0", "db.example.org:5432"),
        ] {
            for cut in 0..request.len() {
                assert_eq!(parse_request(&request[..cut]), Parsed::More, "cut at {cut}");
            }
            let to = Destination::parse(expected.as_bytes()).unwrap();
            let expected = Parsed::Done(Request::Connect(to), request.len());
            assert_eq!(parse_request(request), expected);
            assert_eq!(parse_request(&[request, b"early"].concat()), expected);
        }
        assert_eq!(parse_request(b"\x04\x02\0\x50\x01\x02\x03\x04\0"), Parsed::Done(Request::Other, 9));
        assert_eq!((reply(true)[1], reply(false)[1]), (90, 91));
    }

    #[test]
    fn other_forms_are_refused() {
        let long = [&b"\x04\x01\x00\x50\xc0\x00\x02\x07"[..], &[b'x'; 256]].concat();
        let name = [&b"\x04\x01\x00\x50\0\0\0\x01\0"[..], &[b'x'; 256]].concat();
        for request in [
            &b"\x05"[..],
            b"\x04\x01\0\0\x01\x02\x03\x04\0",
            b"\x04\x01\0\x50\0\0\0\x01\0a b\0",
            &long,
            &name,
        ] {
            assert!(matches!(parse_request(request), Parsed::Bad(_)), "{request:?}");
        }
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds_its_promises() {
        assert!(corpus::replay("socks4", parse_request).len() >= 3);
    }
}
