// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is sent: status, headers, body; whole, or in chunks where the length is not known in advance.
//!
//! Invariant: every answer has the headers that keep a browser from doing with it what it is not meant for. Not here: what
//! is answered (`site.rs`, `api.rs`).

use crate::connection::view::ConnectionView;
use crate::control::answer::{Answer, End, Format, List, Then};
use crate::control::kept::Shared;
use crate::control::state::State;
use crate::sys::time;
use std::fmt::Write;
use std::sync::Arc;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const JSON: &str = "application/json";

/// On every answer: nothing is loaded from elsewhere, nothing is guessed, nothing is told to others. The page itself is told
/// where a request of its own comes from: without, browsers send their forms with `Origin: null` (Fetch standard, "append a
/// request `Origin` header"), which the gate refuses.
const SECURITY: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n\
X-Content-Type-Options: nosniff\r\n\
Referrer-Policy: same-origin\r\n\
Cross-Origin-Opener-Policy: same-origin\r\n\
Cross-Origin-Resource-Policy: same-origin\r\n";

/// Why a request is not answered as it wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }
}

/// How the request wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Only the head of it.
    pub(super) head_only: bool,
    /// HTTP/1.`minor`.
    pub(super) minor: u8,
    pub(super) keep: bool,
}

impl Manner {
    /// For a request that was not understood.
    pub(super) const LAST: Self = Self { head_only: false, minor: 1, keep: false };

    pub(super) fn then(self) -> Then {
        if self.keep { Then::Keep } else { Then::Close }
    }
}

/// An answer whose length is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) media: &'static str,
    pub(super) body: Vec<u8>,
    /// It will never be another, and may be kept.
    pub(super) immutable: bool,
    /// One more header.
    pub(super) header: Option<(&'static str, String)>,
}

impl Response {
    pub(super) fn new(status: u16, media: &'static str, body: Vec<u8>) -> Self {
        Self { status, media, body, immutable: false, header: None }
    }

    /// One line of text.
    pub(super) fn line(status: u16, line: &str) -> Self {
        Self::new(status, TEXT, format!("{line}\n").into_bytes())
    }

    pub(super) fn json(status: u16, body: Vec<u8>) -> Self {
        Self::new(status, JSON, body)
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// As it is sent.
    pub(super) fn bytes(&self, manner: Manner) -> Vec<u8> {
        let mut bytes = self.head(self.body.len(), manner);
        if !manner.head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// With a body that others are given too, instead of its own.
    pub(super) fn share(&self, body: Arc<Shared>, manner: Manner) -> Answer {
        let head = self.head(body.len(), manner);
        if manner.head_only {
            Answer::Whole(head, manner.then())
        } else {
            Answer::Shared(head, body, manner.then())
        }
    }

    fn head(&self, length: usize, manner: Manner) -> Vec<u8> {
        let mut head = status_line(self.status, manner);
        let _never_fails = write!(head, "Content-Length: {length}\r\n");
        let cache = if self.immutable { "public, max-age=31536000, immutable" } else { "no-store" };
        let _never_fails =
            write!(head, "Content-Type: {}\r\nCache-Control: {cache}\r\n{SECURITY}", self.media);
        if let Some((name, value)) = &self.header {
            let _never_fails = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(super) fn answer(&self, manner: Manner) -> Answer {
        Answer::Whole(self.bytes(manner), manner.then())
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        Self::line(refusal.status, refusal.why)
    }
}

/// The status line, the date, and what becomes of the connection.
fn status_line(status: u16, manner: Manner) -> String {
    let mut head = format!("HTTP/1.1 {status} {}\r\nDate: {}\r\n", phrase(status), date(time::unix()));
    match (manner.keep, manner.minor) {
        (false, _) => head.push_str("Connection: close\r\n"),
        (true, 0) => head.push_str("Connection: keep-alive\r\n"),
        (true, _) => {}
    }
    head
}

/// An answer that lists connections: in chunks, or until the end of the connection where the client knows no chunks.
pub(super) fn list(list: List, media: &'static str, manner: Manner) -> Answer {
    let chunked = manner.minor > 0;
    let manner = Manner { keep: manner.keep && chunked, ..manner };
    let mut head = status_line(200, manner);
    let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
    let _never_fails =
        write!(head, "{framing}Content-Type: {media}\r\nCache-Control: no-store\r\n{SECURITY}\r\n");
    if manner.head_only {
        return Answer::Whole(head.into_bytes(), manner.then());
    }
    let format = Streamed { head: head.into_bytes(), chunked, inner: list.format, piece: Vec::new() };
    Answer::List(Box::new(List { format: Box::new(format), then: manner.then(), ..list }))
}

/// A format put into chunks, behind the head of an answer.
#[derive(Debug)]
struct Streamed {
    head: Vec<u8>,
    chunked: bool,
    inner: Box<dyn Format>,
    /// What the inner one wrote.
    piece: Vec<u8>,
}

impl Streamed {
    fn send(&mut self, out: &mut Vec<u8>) {
        // An empty chunk would be the last one.
        if self.chunked && !self.piece.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", self.piece.len()).as_bytes());
            out.append(&mut self.piece);
            out.extend_from_slice(b"\r\n");
        } else {
            out.append(&mut self.piece);
        }
    }
}

impl Format for Streamed {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.head);
        self.inner.head(&mut self.piece);
        self.send(out);
    }

    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>) {
        self.inner.row(connection, &mut self.piece);
        self.send(out);
    }

    fn look(&mut self, state: &mut State) {
        self.inner.look(state);
    }

    fn held(&self) -> usize {
        self.inner.held() + self.piece.capacity()
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        self.inner.tail(end, &mut self.piece);
        self.send(out);
        if self.chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// The words of a status (RFC 9110 section 15).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

/// A moment as HTTP writes it (RFC 9110 section 5.6.7).
fn date(unix: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a time of day; the cast saturates")]
    let seconds = (unix as i64).max(0);
    let time = time::utc(seconds);
    // 1970-01-01 was a Thursday.
    let names = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let weekday = usize::try_from(seconds / 86_400 % 7).map_or("Thu", |day| names[day % 7]);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.get(usize::from(time.month).saturating_sub(1)).unwrap_or(&"Jan");
    format!(
        "{weekday}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        time.day, time.year, time.hour, time.minute, time.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_http_writes_them() {
        assert_eq!(date(784_111_777.9), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0.0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(-1.0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(1_709_164_799.0), "Wed, 28 Feb 2024 23:59:59 GMT");
        assert_eq!(date(1_709_164_800.0), "Thu, 29 Feb 2024 00:00:00 GMT");
        // What no calendar has is no panic.
        for wild in [f64::NAN, f64::INFINITY, f64::MAX] {
            assert!(date(wild).ends_with("GMT"));
        }
    }

    #[test]
    fn a_head_alone_tells_the_length_of_the_body_it_has_not() {
        let response = Response::line(200, "ok");
        let manner = Manner { head_only: true, minor: 1, keep: true };
        let text = String::from_utf8(response.bytes(manner)).unwrap();
        assert!(text.contains("\r\nContent-Length: 3\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(!text.contains("Connection:"));
        let text = String::from_utf8(response.bytes(Manner { head_only: false, ..manner })).unwrap();
        assert!(text.ends_with("\r\n\r\nok\n"), "{text}");
    }

    #[test]
    fn the_old_version_is_told_that_the_connection_stays() {
        let manner = Manner { head_only: false, minor: 0, keep: true };
        let text = String::from_utf8(Response::line(200, "ok").bytes(manner)).unwrap();
        assert!(text.contains("\r\nConnection: keep-alive\r\n"), "{text}");
        let text = String::from_utf8(Response::line(200, "ok").bytes(Manner::LAST)).unwrap();
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }

    #[test]
    fn every_answer_has_the_headers_of_the_page() {
        let plain = String::from_utf8(Response::line(404, "x").bytes(Manner::LAST)).unwrap();
        for header in [
            "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: same-origin",
            "Cross-Origin-Opener-Policy: same-origin",
            "Cross-Origin-Resource-Policy: same-origin",
            "Cache-Control: no-store",
        ] {
            assert!(plain.contains(&format!("\r\n{header}\r\n")), "{header}: {plain}");
        }
        let kept = Response { immutable: true, ..Response::line(200, "x") };
        assert!(String::from_utf8(kept.bytes(Manner::LAST)).unwrap().contains("immutable\r\n"));
    }
}
