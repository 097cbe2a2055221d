// SPDX-License-Identifier: MIT OR Apache-2.0
//! Canned answers: to monitors, in health mode, beside a refusal.

use std::sync::Arc;

/// Bytes that are sent before a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// As configured: "ok", "http-200", or the text itself.
    pub written: Box<str>,
    pub bytes: Arc<[u8]>,
}

/// Words that stand for an answer.
pub const WORDS: [(&str, &str); 6] = [
    ("ok", "OK\r\n"),
    ("http-200", "200 OK"),
    ("http-403", "403 Forbidden"),
    ("http-404", "404 Not Found"),
    ("http-429", "429 Too Many Requests"),
    ("http-503", "503 Service Unavailable"),
];

impl Reply {
    /// A word of [`WORDS`], or a text that is sent as it is.
    pub fn new(written: &str) -> Self {
        let bytes = match WORDS.iter().find(|(word, _)| *word == written) {
            Some((word, status)) if word.starts_with("http-") => {
                let length = status.len() + 1;
                format!(
                    "HTTP/1.0 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
                     Cache-Control: no-store\r\nConnection: close\r\n\r\n{status}\n"
                )
            }
            Some((_, text)) => (*text).to_owned(),
            None => written.to_owned(),
        };
        Self { written: written.into(), bytes: bytes.into_bytes().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_and_texts_are_sent_as_they_are() {
        assert_eq!(&*Reply::new("ok").bytes, b"OK\r\n");
        assert_eq!(&*Reply::new("go away\n").bytes, b"go away\n");
        let text = String::from_utf8(Reply::new("http-200").bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    }
}
