// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of an HTTP/1 request (RFC 9112): bytes in, [`Head`] out. No sockets, no policy.
//!
//! Invariants: a head is whole or nothing is decided, except that one that can never become a good one is refused at once;
//! what two readers may read differently (two lengths, two hosts, lines without CR, folded lines) is refused, never guessed;
//! whatever the bytes, nothing panics. Not here: bodies (`body.rs`), who may ask for what (`gate.rs`).

use super::response::Refusal;
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

/// The most bytes of request line and headers.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// What is done with the thing asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    /// One that HTTP knows and nothing here takes.
    Other,
}

impl Method {
    /// For the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Other => "another method",
        }
    }
}

/// How the body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    /// As it was sent, without the query.
    pub(super) path: String,
    /// Without the question mark, not decoded.
    pub(super) query: String,
    /// HTTP/1.`minor`.
    pub(super) minor: u8,
    /// None: HTTP/1.0 need not have one.
    pub(super) host: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) fetch_site: Option<String>,
    pub(super) authorization: Option<String>,
    /// Whether the body is fields of a form.
    pub(super) form: bool,
    pub(super) framing: Framing,
    /// The client waits for "100 Continue" before it sends the body.
    pub(super) waits: bool,
    /// The client takes further answers on this connection.
    pub(super) keep: bool,
}

/// What is at the beginning of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    More,
    /// A head of that many bytes.
    Done(Box<Head>, usize),
    Bad(Refusal),
}

/// Looks for a head at the beginning of `input`.
pub(super) fn parse(input: &[u8]) -> Parsed {
    let bytes = input.get(..MAX_HEAD).unwrap_or(input);
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(Status::Complete(length)) => match head(&request, bytes.get(..length).unwrap_or(bytes)) {
            Ok(head) => Parsed::Done(Box::new(head), length),
            Err(refusal) => Parsed::Bad(refusal),
        },
        Ok(Status::Partial) if input.len() >= MAX_HEAD => Parsed::Bad(if bytes.contains(&b'\n') {
            Refusal::new(431, "more than 16 KiB of headers")
        } else {
            Refusal::new(414, "a request line of more than 16 KiB")
        }),
        Ok(Status::Partial) => Parsed::More,
        Err(Error::TooManyHeaders) => Parsed::Bad(Refusal::new(431, "more than 64 headers")),
        Err(Error::Version) => Parsed::Bad(Refusal::new(505, "HTTP/1.0 or HTTP/1.1 is spoken here")),
        Err(_) if bytes.first() == Some(&0x16) => {
            Parsed::Bad(Refusal::new(400, "this is plain HTTP, without TLS"))
        }
        Err(_) => Parsed::Bad(Refusal::new(400, "this is no HTTP request")),
    }
}

/// What a whole head says.
fn head(request: &Request<'_, '_>, bytes: &[u8]) -> Result<Head, Refusal> {
    // The parser takes a bare LF for the end of a line. Others do not, and so would see other headers.
    let bare =
        bytes.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'));
    if bare {
        return Err(Refusal::new(400, "a line that ends without CR"));
    }
    let minor = request.version.unwrap_or(0);
    let host = only(request.headers, "host", "more than one Host header")?;
    if minor > 0 && host.is_none() {
        return Err(Refusal::new(400, "an HTTP/1.1 request without a Host header"));
    }
    let (path, query) = target(request.path.unwrap_or_default(), host)?;
    let says = |word: &str| {
        let mut words = all(request.headers, "connection").flat_map(|value| value.split(','));
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    let keep = !says("close") && (minor > 0 || says("keep-alive"));
    let waits = match only(request.headers, "expect", "more than one Expect header")? {
        None => false,
        Some(what) if what.eq_ignore_ascii_case("100-continue") => minor > 0,
        Some(_) => return Err(Refusal::new(417, "nothing but 100-continue can be expected")),
    };
    let media = only(request.headers, "content-type", "more than one Content-Type header")?;
    let media = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let owned = |name: &'static str, twice: &'static str| {
        only(request.headers, name, twice).map(|value| value.map(str::to_owned))
    };
    Ok(Head {
        method: method(request.method.unwrap_or_default())?,
        path: path.to_owned(),
        query: query.to_owned(),
        minor,
        host: host.map(str::to_owned),
        origin: owned("origin", "more than one Origin header")?,
        fetch_site: owned("sec-fetch-site", "more than one Sec-Fetch-Site header")?,
        authorization: owned("authorization", "more than one Authorization header")?,
        form: media.eq_ignore_ascii_case("application/x-www-form-urlencoded"),
        framing: framing(request.headers, minor)?,
        waits,
        keep,
    })
}

fn method(name: &str) -> Result<Method, Refusal> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" | "DELETE" | "PATCH" | "OPTIONS" | "TRACE" | "CONNECT" => Ok(Method::Other),
        _ => Err(Refusal::new(501, "no method of HTTP that is known here")),
    }
}

/// Path and query. A target in absolute form must name the same host as the header (RFC 9112 section 3.2.2 lets it override
/// that, which readers do or do not).
fn target<'a>(target: &'a str, host: Option<&str>) -> Result<(&'a str, &'a str), Refusal> {
    let origin_form = if target.starts_with('/') {
        target
    } else {
        let absolute = target.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let Some((_, rest)) = absolute else {
            return Err(Refusal::new(400, "a request target that is no path"));
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
            return Err(Refusal::new(400, "a request target and a Host header that name different hosts"));
        }
        if path.starts_with('/') { path } else { "/" }
    };
    Ok(origin_form.split_once('?').unwrap_or((origin_form, "")))
}

/// How the body is framed: one way, told once.
fn framing(headers: &[Header<'_>], minor: u8) -> Result<Framing, Refusal> {
    let length = only(headers, "content-length", "more than one Content-Length header")?;
    let encoding = only(headers, "transfer-encoding", "more than one Transfer-Encoding header")?;
    match (length, encoding) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Refusal::new(400, "both a Content-Length and a Transfer-Encoding header")),
        (Some(length), None) => {
            // Digits and nothing else: `parse` would take a sign too.
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse() {
                Ok(length) if digits => Ok(Framing::Length(length)),
                Err(_) if digits => Err(Refusal::new(413, "a body of more than 64 KiB")),
                _ => Err(Refusal::new(400, "a Content-Length that is no number")),
            }
        }
        (None, Some(_)) if minor == 0 => Err(Refusal::new(400, "a Transfer-Encoding header in HTTP/1.0")),
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Refusal::new(501, "no transfer coding but chunked is known here")),
    }
}

/// The values of all headers of that name that are text. Others of the name are looked at by [`only`].
fn all<'a>(headers: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| std::str::from_utf8(header.value).ok())
}

/// The value of the header of that name, of which there may be one.
fn only<'a>(headers: &'a [Header<'_>], name: &str, twice: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut named = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let Some(header) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(Refusal::new(400, twice));
    }
    let text = std::str::from_utf8(header.value);
    text.map(|text| Some(text.trim_matches([' ', '\t'])))
        .map_err(|_| Refusal::new(400, "a header that is no text"))
}

#[cfg(test)]
mod tests;
