// SPDX-License-Identifier: MIT OR Apache-2.0
//! CONNECT of HTTP/1 (RFC 9110 section 9.3.6), both sides of it: the request, with a name and a password if there are any
//! (basic, RFC 7617), and its answer.
//!
//! Invariants: a head counts as whole only with the empty line at its end, and what follows that line belongs to whoever
//! is connected, whatever the head says of lengths (RFC 9110: a 2xx answer to CONNECT has no content); heads are bounded.

use super::destination::Destination;
use super::socks5::Login;
use super::{Parsed, base64};
use httparse::{EMPTY_HEADER, Header, Response, Status};

/// The most bytes of a proxy's answer, or of a client's request.
pub const MAX_HEAD: usize = 16 << 10;

/// The most headers of either.
const MAX_HEADERS: usize = 64;

/// A final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// The proxy's own words for it, as it sent them.
    pub words: Box<str>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Connect {
        to: Destination,
        /// The name and the password it gives, if it gives any that can be read.
        login: Option<Login>,
    },
    /// Another method.
    Other,
}

/// A request to be connected; `login` is a name and a password.
pub fn request(to: &Destination, login: Option<(&str, &str)>) -> Vec<u8> {
    let mut message = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some((user, password)) = login {
        let both = base64::encode(format!("{user}:{password}").as_bytes());
        message.push_str("Proxy-Authorization: Basic ");
        message.push_str(&both);
        message.push_str("\r\n");
    }
    message.push_str("\r\n");
    message.into_bytes()
}

/// Reads a proxy's answer; interim ones (1xx) before it are skipped, and count as a part of it.
pub fn parse_answer(bytes: &[u8]) -> Parsed<Answer> {
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut begin = 0;
    loop {
        // httparse would skip any number of empty lines first.
        let rest = head.get(begin..).unwrap_or_default();
        if !rest.iter().zip(b"HTTP/1.").all(|(have, want)| have == want) {
            return Parsed::Bad(match rest {
                [5, ..] => "the proxy answered in SOCKS, not in HTTP",
                _ => "the proxy's answer is not HTTP/1",
            });
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = Response::new(&mut headers);
        match response.parse(rest) {
            Ok(Status::Complete(length)) => begin += length,
            Ok(Status::Partial) if bytes.len() >= MAX_HEAD => {
                return Parsed::Bad("the proxy's answer is larger than 16384 bytes");
            }
            Ok(Status::Partial) => return Parsed::More,
            Err(httparse::Error::TooManyHeaders) => {
                return Parsed::Bad("the proxy's answer has more than 64 headers");
            }
            Err(_) => return Parsed::Bad("the proxy's answer is malformed"),
        }
        match response.code.unwrap_or_default() {
            // 101 would be another protocol, which nobody asked for.
            101 | 0..=99 | 600.. => return Parsed::Bad("the proxy's answer has a status that is none"),
            100..=199 => {}
            status => {
                let words = response.reason.unwrap_or_default().into();
                return Parsed::Done(Answer { status, words }, begin);
            }
        }
    }
}

/// Reads a client's request.
pub fn parse_request(bytes: &[u8]) -> Parsed<Request> {
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    if head.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Parsed::Bad("neither SOCKS nor HTTP");
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(head) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() >= MAX_HEAD => {
            return Parsed::Bad("a request head larger than 16384 bytes");
        }
        Ok(Status::Partial) => return Parsed::More,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Bad("more than 64 headers in the request"),
        Err(_) => return Parsed::Bad("a malformed HTTP request"),
    };
    if request.method != Some("CONNECT") {
        return Parsed::Done(Request::Other, length);
    }
    match Destination::parse(request.path.unwrap_or_default().as_bytes()) {
        Ok(to) => Parsed::Done(Request::Connect { to, login: login(request.headers) }, length),
        Err(why) => Parsed::Bad(why),
    }
}

/// The name and the password in `Proxy-Authorization`; nothing where it stands twice.
fn login(headers: &[Header<'_>]) -> Option<Login> {
    let mut given = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("proxy-authorization"));
    let value = given.next().filter(|_| given.next().is_none())?.value.trim_ascii();
    let (scheme, rest) = value.split_at_checked(6)?;
    let both = base64::decode(scheme.eq_ignore_ascii_case(b"basic ").then_some(rest)?.trim_ascii())?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    let (user, password) = both.split_at(colon);
    Some((user.into(), password.get(1..)?.into()))
}

/// A final answer of ours. What is asked for instead goes with 405 and 407 (RFC 9110 sections 15.5.6 and 15.5.8).
pub fn answer(status: u16) -> Vec<u8> {
    let (words, more) = match status {
        200 => return b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        400 => ("Bad Request", ""),
        403 => ("Forbidden", ""),
        405 => ("Method Not Allowed", "Allow: CONNECT\r\n"),
        407 => ("Proxy Authentication Required", "Proxy-Authenticate: Basic realm=\"proxy\"\r\n"),
        502 => ("Bad Gateway", ""),
        504 => ("Gateway Timeout", ""),
        _ => ("Service Unavailable", ""),
    };
    format!("HTTP/1.1 {status} {words}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::corpus;

    fn to(text: &str) -> Destination {
        Destination::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for text in ["db.example.org:5432", "[2001:db8::1]:443", "192.0.2.7:1"] {
            for login in [None, Some(("me", "se:cret"))] {
                let message = request(&to(text), login);
                for cut in 0..message.len() {
                    assert_eq!(parse_request(&message[..cut]), Parsed::More);
                }
                let login =
                    login.map(|(user, password)| (user.as_bytes().into(), password.as_bytes().into()));
                let expected = Parsed::Done(Request::Connect { to: to(text), login }, message.len());
                assert_eq!(parse_request(&message), expected);
                assert_eq!(parse_request(&[&message[..], b"early"].concat()), expected);
            }
        }
    }

    #[test]
    fn an_answer_ends_with_its_empty_line_whatever_it_says() {
        for (text, status, words) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established"),
            ("HTTP/1.0 200\r\nContent-Length: 7\r\n\r\n", 200, ""),
            ("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "x"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Who are you\r\nX: y\r\n\r\n", 407, "Who are you"),
            ("HTTP/1.1 200 ok\n\n", 200, "ok"),
        ] {
            let expected = Parsed::Done(Answer { status, words: words.into() }, text.len());
            assert_eq!(parse_answer(text.as_bytes()), expected, "{text:?}");
            assert_eq!(parse_answer(format!("{text}\r\nearly").as_bytes()), expected, "{text:?}");
            for cut in 0..text.len() {
                assert_eq!(parse_answer(&text.as_bytes()[..cut]), Parsed::More, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for text in [
            "SSH-2.0",
            "\r\nHTTP/1.1 200 ok\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "\x05\0",
            "HTTP/1.1 101 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 200 ok\r\nno header\r\n\r\n",
        ] {
            assert!(matches!(parse_answer(text.as_bytes()), Parsed::Bad(_)), "{text:?}");
        }
        let long = |size: usize| format!("HTTP/1.1 200 ok\r\nX: {}", "y".repeat(size)).into_bytes();
        assert_eq!(parse_answer(&long(MAX_HEAD - 21)), Parsed::More);
        assert!(matches!(parse_answer(&long(MAX_HEAD)), Parsed::Bad(_)));
        let interim = "HTTP/1.1 100 x\r\n\r\n".repeat(MAX_HEAD / 18 + 1);
        assert!(matches!(parse_answer(interim.as_bytes()), Parsed::Bad(_)));
    }

    #[test]
    fn only_one_login_that_can_be_read_counts() {
        let login =
            |lines: &str| match parse_request(format!("CONNECT a:1 HTTP/1.1\r\n{lines}\r\n").as_bytes()) {
                Parsed::Done(Request::Connect { login, .. }, _) => login,
                other => panic!("{lines:?}: {other:?}"),
            };
        let good = "Proxy-Authorization: basic  bWU6eA==\r\n";
        assert_eq!(login(good), Some((Box::from(&b"me"[..]), Box::from(&b"x"[..]))));
        for lines in [
            "",
            "Proxy-Authorization: Bearer bWU6eA==\r\n",
            "Proxy-Authorization: Basic bWU\r\n",
            "Proxy-Authorization: Basic bWU=\r\n",
            &good.repeat(2),
        ] {
            assert_eq!(login(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn other_methods_and_other_protocols_are_told_apart() {
        assert!(matches!(parse_request(b"GET http://a/ HTTP/1.1\r\n\r\n"), Parsed::Done(Request::Other, _)));
        for text in
            [&b"\x16\x03\x01"[..], b"\r\n", b"CONNECT a HTTP/1.1\r\n\r\n", b"CONNECT a:0 HTTP/1.1\r\n\r\n"]
        {
            assert!(matches!(parse_request(text), Parsed::Bad(_)), "{text:?}");
        }
    }

    #[test]
    fn our_answers_are_answers() {
        for status in [200, 400, 403, 405, 407, 502, 503, 504] {
            let text = answer(status);
            let Parsed::Done(read, length) = parse_answer(&text) else { panic!("{status}") };
            assert_eq!((read.status, length), (status, text.len()));
        }
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds_its_promises() {
        assert!(corpus::replay("http_connect", parse_answer).len() >= 3);
        assert!(corpus::replay("http_connect", parse_request).len() >= 3);
    }
}
