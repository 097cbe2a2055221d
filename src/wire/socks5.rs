// SPDX-License-Identifier: MIT OR Apache-2.0
//! SOCKS version 5 (RFC 1928) with names and passwords (RFC 1929), both sides of it: what a client says and a server
//! answers, and the other way round. Of the commands, CONNECT alone.
//!
//! Invariants: every message has a length that its own first bytes tell, so a reader that asks for no more than
//! [`missing`] never takes a byte beyond it; a message of another form is refused, not interpreted.
//!
//! Not here: who says what when (`handshake/via_proxy.rs`, `handshake/socks.rs`).

use super::Parsed;
use super::destination::{Destination, Host};
use super::reader::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first byte of everything but a login.
pub const VERSION: u8 = 5;

/// The version of a login (RFC 1929).
const LOGIN: u8 = 1;

/// The most bytes that any message has: a login with both parts as long as they can be.
pub const MAX_MESSAGE: usize = 3 + 255 + 255;

/// A name and a password, as somebody gives them.
pub type Login = (Box<[u8]>, Box<[u8]>);

/// How a client may say who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// Not at all.
    pub none: bool,
    /// By name and password.
    pub password: bool,
}

/// A method that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    None,
    Password,
    /// None of those that were offered.
    Refused,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Connect(Destination),
    /// Another command, or a form of address that does not exist: refused with this code.
    Unknown(Code),
}

/// What is answered to a request (RFC 1928 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Succeeded = 0,
    Failed = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    Expired = 6,
    NoSuchCommand = 7,
    NoSuchAddress = 8,
}

/// The words of the standard for a code.
pub fn words(code: u8) -> &'static str {
    match code {
        0 => "succeeded",
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "a code that the standard does not have",
    }
}

/// A client's opening, with a password to offer or without.
pub fn greeting(has_password: bool) -> Vec<u8> {
    if has_password { vec![VERSION, 2, NONE, PASSWORD] } else { vec![VERSION, 1, NONE] }
}

/// Reads a client's opening.
pub fn parse_greeting(bytes: &[u8]) -> Parsed<Methods> {
    let mut reader = Reader(bytes);
    match reader.u8() {
        None => return Parsed::More,
        Some(VERSION) => {}
        Some(_) => return Parsed::Bad("not version 5 of SOCKS"),
    }
    let Some(methods) = reader.vector8() else { return Parsed::More };
    let found = Methods { none: methods.contains(&NONE), password: methods.contains(&PASSWORD) };
    Parsed::Done(found, bytes.len() - reader.0.len())
}

/// A server's choice.
pub fn choice(method: Method) -> [u8; 2] {
    let method = match method {
        Method::None => NONE,
        Method::Password => PASSWORD,
        Method::Refused => NO_METHOD,
    };
    [VERSION, method]
}

/// Reads a server's choice.
pub fn parse_choice(bytes: &[u8]) -> Parsed<Method> {
    match *bytes {
        [VERSION, NONE, ..] => Parsed::Done(Method::None, 2),
        [VERSION, PASSWORD, ..] => Parsed::Done(Method::Password, 2),
        [VERSION, NO_METHOD, ..] => Parsed::Done(Method::Refused, 2),
        [VERSION, _, ..] => Parsed::Bad("the proxy chose a method that was not offered"),
        [] | [VERSION] => Parsed::More,
        [b'H', ..] => Parsed::Bad("the proxy answered in HTTP, not in SOCKS"),
        _ => Parsed::Bad("the proxy's answer is not version 5 of SOCKS"),
    }
}

/// A client's login; of a part that is too long, what fits.
pub fn login(user: &[u8], password: &[u8]) -> Vec<u8> {
    let mut message = vec![LOGIN];
    for part in [user, password] {
        let part = part.get(..255).unwrap_or(part);
        message.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        message.extend_from_slice(part);
    }
    message
}

/// Reads a client's login: name and password.
pub fn parse_login(bytes: &[u8]) -> Parsed<Login> {
    let mut reader = Reader(bytes);
    match reader.u8() {
        None => return Parsed::More,
        Some(LOGIN) => {}
        Some(_) => return Parsed::Bad("not version 1 of the SOCKS login"),
    }
    let parts = reader.vector8().and_then(|user| Some((user.into(), reader.vector8()?.into())));
    parts.map_or(Parsed::More, |parts| Parsed::Done(parts, bytes.len() - reader.0.len()))
}

/// What a server says of a login.
pub fn login_answer(good: bool) -> [u8; 2] {
    [LOGIN, u8::from(!good)]
}

/// Reads what a server says of a login: whether it is good.
pub fn parse_login_answer(bytes: &[u8]) -> Parsed<bool> {
    match *bytes {
        // Some servers put the version of SOCKS here.
        [LOGIN | VERSION, status, ..] => Parsed::Done(status == 0, 2),
        [] | [LOGIN | VERSION] => Parsed::More,
        _ => Parsed::Bad("the proxy's answer to the login is malformed"),
    }
}

/// A client's request to be connected.
pub fn request(to: &Destination) -> Vec<u8> {
    let mut message = vec![VERSION, CONNECT, 0];
    match &to.host {
        Host::Ip(ip) => push_ip(*ip, &mut message),
        Host::Name(name) => {
            message.push(NAME);
            // No destination has a longer one.
            message.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            message.extend(name.bytes().take(255));
        }
    }
    message.extend(to.port.to_be_bytes());
    message
}

/// Reads a client's request.
pub fn parse_request(bytes: &[u8]) -> Parsed<Request> {
    let [version, command, reserved, ..] = *bytes else {
        return if bytes.first().is_none_or(|first| *first == VERSION) {
            Parsed::More
        } else {
            Parsed::Bad("not version 5 of SOCKS")
        };
    };
    if version != VERSION || reserved != 0 {
        return Parsed::Bad("a malformed request of SOCKS");
    }
    if command != CONNECT {
        return Parsed::Done(Request::Unknown(Code::NoSuchCommand), 3);
    }
    match address(bytes) {
        Parsed::Done((Some(host), port), length) => match host.and_then(|host| Destination::of(host, port)) {
            Ok(to) => Parsed::Done(Request::Connect(to), length),
            Err(why) => Parsed::Bad(why),
        },
        Parsed::Done((None, _), length) => Parsed::Done(Request::Unknown(Code::NoSuchAddress), length),
        Parsed::More => Parsed::More,
        Parsed::Bad(why) => Parsed::Bad(why),
    }
}

/// A server's reply; `bound` is the address from which it connected.
pub fn reply(code: Code, bound: Option<SocketAddr>) -> Vec<u8> {
    let bound = bound.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut message = vec![VERSION, code as u8, 0];
    push_ip(bound.ip(), &mut message);
    message.extend(bound.port().to_be_bytes());
    message
}

/// Reads a server's reply: its code. The address in it is skipped.
pub fn parse_reply(bytes: &[u8]) -> Parsed<u8> {
    match *bytes {
        [] => Parsed::More,
        [VERSION] => Parsed::More,
        // Some servers close behind the code of a failure.
        [VERSION, code, ..] if code != 0 => Parsed::Done(code, bytes.len().min(2)),
        [VERSION, ..] => match address(bytes) {
            Parsed::Done((Some(_), _), length) => Parsed::Done(0, length),
            Parsed::Done((None, _), _) => Parsed::Bad("the proxy's reply has an address of an unknown form"),
            Parsed::More => Parsed::More,
            Parsed::Bad(why) => Parsed::Bad(why),
        },
        _ => Parsed::Bad("the proxy's reply is not version 5 of SOCKS"),
    }
}

/// How many more bytes the message surely has of which `bytes` is the beginning; for readers that must not take more than
/// belongs to it. `from_address`: of a request or a reply, which have their length in the fifth byte.
pub fn missing(bytes: &[u8], from_address: bool) -> usize {
    let whole = match (from_address, bytes) {
        (false, [_, count, ..]) if bytes.first() == Some(&VERSION) => 2 + usize::from(*count),
        (false, [_, user, rest @ ..]) => match rest.get(usize::from(*user)) {
            Some(password) => 3 + usize::from(*user) + usize::from(*password),
            None => 3 + usize::from(*user),
        },
        (false, _) => 2,
        (true, [_, _, _, IPV4, ..]) => 4 + 4 + 2,
        (true, [_, _, _, IPV6, ..]) => 4 + 16 + 2,
        (true, [_, _, _, NAME, length, ..]) => 4 + 1 + usize::from(*length) + 2,
        (true, [_, _, _, _, ..]) => 5,
        (true, _) => 4,
    };
    whole.saturating_sub(bytes.len()).max(1)
}

/// What an address turned out to be: none of an unknown form, and why a name is none.
type Address = (Option<Result<Host, &'static str>>, u16);

/// Reads the address that begins at the fourth byte.
fn address(bytes: &[u8]) -> Parsed<Address> {
    let mut reader = Reader(bytes.get(3..).unwrap_or_default());
    let Some(kind) = reader.u8() else { return Parsed::More };
    let host = match kind {
        IPV4 => reader.array::<4>().map(|octets| Ok(Host::Ip(Ipv4Addr::from(octets).into()))),
        IPV6 => reader.array::<16>().map(|octets| Ok(Host::Ip(Ipv6Addr::from(octets).into()))),
        // A name's own form is judged apart, for a reply may carry anything.
        NAME => reader.vector8().map(|name| Destination::new(name, 1).map(|to| to.host)),
        _ => return Parsed::Done((None, 0), 4),
    };
    let found = host.and_then(|host| Some((Some(host), reader.u16()?)));
    found.map_or(Parsed::More, |found| Parsed::Done(found, bytes.len() - reader.0.len()))
}

fn push_ip(ip: IpAddr, message: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            message.push(IPV4);
            message.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            message.push(IPV6);
            message.extend(ip.octets());
        }
    }
}

const NONE: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::corpus;
    use std::fmt::Debug;

    /// Whole, it is understood; cut, never; with more behind it, the same.
    fn goes<T: Debug + PartialEq>(
        message: &[u8],
        parse: impl Fn(&[u8]) -> Parsed<T>,
        from_address: bool,
    ) -> T {
        let mut taken = 0;
        while taken < message.len() {
            assert_eq!(parse(&message[..taken]), Parsed::More, "{message:?} cut at {taken}");
            taken += missing(&message[..taken], from_address);
        }
        assert_eq!(taken, message.len(), "{message:?} is read to its end and no further");
        for cut in 0..message.len() {
            assert_eq!(parse(&message[..cut]), Parsed::More, "{message:?} cut at {cut}");
        }
        let more = [message, b"more"].concat();
        match (parse(message), parse(&more)) {
            (Parsed::Done(found, length), Parsed::Done(same, _)) => {
                assert_eq!((length, &found), (message.len(), &same));
                found
            }
            other => panic!("{message:?}: {other:?}"),
        }
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let methods = goes(&greeting(true), parse_greeting, false);
        assert_eq!(methods, Methods { none: true, password: true });
        assert_eq!(goes(&greeting(false), parse_greeting, false), Methods { none: true, password: false });
        for method in [Method::None, Method::Password, Method::Refused] {
            assert_eq!(parse_choice(&choice(method)), Parsed::Done(method, 2));
        }
        let (user, password) = goes(&login(b"me", b"secret"), parse_login, false);
        assert_eq!((&*user, &*password), (&b"me"[..], &b"secret"[..]));
        assert_eq!(login(&[b'x'; 300], &[b'y'; 300]).len(), MAX_MESSAGE);
        for good in [true, false] {
            assert_eq!(parse_login_answer(&login_answer(good)), Parsed::Done(good, 2));
        }
        for text in ["192.0.2.7:80", "[2001:db8::1]:443", "db.example.org:5432"] {
            let to = Destination::parse(text.as_bytes()).unwrap();
            assert_eq!(goes(&request(&to), parse_request, true), Request::Connect(to));
        }
        for bound in [None, Some("192.0.2.7:80".parse().unwrap()), Some("[2001:db8::1]:1".parse().unwrap())] {
            assert_eq!(goes(&reply(Code::Succeeded, bound), parse_reply, true), 0);
        }
    }

    #[test]
    fn a_reply_is_told_as_soon_as_it_is_none_of_success() {
        assert_eq!(parse_reply(&reply(Code::Refused, None)), Parsed::Done(5, 2));
        assert_eq!(parse_reply(&[5, 2]), Parsed::Done(2, 2));
        assert_eq!(words(Code::Refused as u8), "connection refused");
        assert!(matches!(parse_reply(&[5, 0, 0, 9]), Parsed::Bad(_)));
        // A name as the bound address may be anything, even nothing.
        assert_eq!(parse_reply(&[5, 0, 0, 3, 0, 0, 0]), Parsed::Done(0, 7));
    }

    #[test]
    fn other_versions_and_forms_are_refused() {
        assert!(matches!(parse_greeting(&[4, 1]), Parsed::Bad(_)));
        assert!(matches!(parse_login(&[5]), Parsed::Bad(_)));
        for answer in [&[4, 0][..], b"HTTP/1.1 400", &[5, 1], &[0]] {
            assert!(matches!(parse_choice(answer), Parsed::Bad(_)), "{answer:?}");
        }
        for request in
            [&[4][..], &[4, 1, 0], &[5, 1, 1], &[5, 1, 0, 1, 1, 2, 3, 4, 0, 0], &[5, 1, 0, 3, 1, 0, 0, 1]]
        {
            assert!(matches!(parse_request(request), Parsed::Bad(_)), "{request:?}");
        }
        assert_eq!(parse_request(&[5, 2, 0]), Parsed::Done(Request::Unknown(Code::NoSuchCommand), 3));
        assert_eq!(parse_request(&[5, 1, 0, 9]), Parsed::Done(Request::Unknown(Code::NoSuchAddress), 4));
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds_its_promises() {
        assert!(corpus::replay("socks5", parse_request).len() >= 4);
        assert!(corpus::replay("socks5", parse_reply).len() >= 2);
        assert!(!corpus::replay("socks5", parse_greeting).is_empty());
    }
}
