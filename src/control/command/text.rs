// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text of peers on its way to a terminal or a parser: nothing in it may end a line, a cell, or do something to a screen.
//!
//! What is not printable ASCII comes out as the log writes it (`\x1b`, `\n`), a backslash doubled. JSON has escapes of
//! its own, and is made pure ASCII by them.

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// `text` in printable ASCII; blanks stay.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\';
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            _ if is_plain(byte) => out.push(char::from(byte)),
            _ => _ = write!(out, "\\x{byte:02x}"),
        }
    }
    Cow::Owned(out)
}

/// `text` as one word of a line: as [`plain`], blanks escaped too; `-` where it is empty.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    match plain(text) {
        text if text.is_empty() => Cow::Borrowed("-"),
        text if text.contains(' ') => Cow::Owned(text.replace(' ', "\\x20")),
        text => text,
    }
}

/// `text` as a cell of comma-separated values (RFC 4180 section 2).
pub(super) fn cell(text: &str) -> Cow<'_, str> {
    match plain(text) {
        text if text.contains([',', '"']) => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        text => text,
    }
}

/// Writes JSON on one line in pure ASCII: in UTF-8, too, there are characters that a terminal obeys.
#[derive(Debug)]
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut units = [0; 2];
        for character in text.chars() {
            if matches!(character, ' '..='~') {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// `value` as JSON, on one line and in ASCII.
///
/// # Errors
/// When it cannot be JSON: a map has keys that are no strings.
pub(super) fn to_ascii(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `text` as a JSON string.
pub(super) fn ascii(text: &str) -> String {
    to_ascii(&text).unwrap_or_else(|_| "\"\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_means_the_same() {
        for text in ["web", "", "a\"b\\c\n", "é€\u{1f512}", "\x1b[2J\x7f\u{9b}\u{2028}\0"] {
            let json = ascii(text);
            assert!(json.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn nothing_leaves_its_place() {
        for (text, as_plain, as_word, as_cell) in [
            ("web", "web", "web", "web"),
            ("", "", "-", ""),
            ("a b", "a b", "a\\x20b", "a b"),
            ("a,b", "a,b", "a,b", "\"a,b\""),
            ("say \"x\"", "say \"x\"", "say\\x20\"x\"", "\"say \"\"x\"\"\""),
            (
                "\x1b[2J\r\n\t\\\0\x7f",
                "\\x1b[2J\\r\\n\\t\\\\\\x00\\x7f",
                "\\x1b[2J\\r\\n\\t\\\\\\x00\\x7f",
                "\\x1b[2J\\r\\n\\t\\\\\\x00\\x7f",
            ),
            (
                "é\u{2028}",
                "\\xc3\\xa9\\xe2\\x80\\xa8",
                "\\xc3\\xa9\\xe2\\x80\\xa8",
                "\\xc3\\xa9\\xe2\\x80\\xa8",
            ),
        ] {
            assert_eq!(plain(text), as_plain, "{text:?}");
            assert_eq!(word(text), as_word, "{text:?}");
            assert_eq!(cell(text), as_cell, "{text:?}");
        }
    }
}
