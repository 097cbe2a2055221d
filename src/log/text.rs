// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line's text: `event=word key=value key="a value"`.
//!
//! Invariants, whatever a value holds:
//!
//! * the text is printable ASCII and [`CUT`], so it is one line for every reader, terminal and parser;
//! * a bare value holds none of space, `"`, `=`, `\`: escapes stand only inside quotes;
//! * a value takes at most [`VALUE_MAX`] bytes (quotes and mark apart), the whole text at most [`LINE_MAX`];
//! * [`CUT`] is the only non-ASCII text, so a peer cannot forge the mark: its own bytes come out as `\xe2…`.
//!
//! One string per line, no allocation per field. Nothing here knows time, level or target.

use std::fmt::{self, Display, Write};

/// The most bytes of one value, after escaping: room for the longest DNS name (253) and most certificate subjects.
pub(super) const VALUE_MAX: usize = 256;

/// The most bytes of one text: with a syslog header it stays below the 2 KiB that syslog(3) receivers take.
pub(super) const LINE_MAX: usize = 1800;

/// Stands where something was left off: the end of a value, or fields at the end of a line.
pub(super) const CUT: &str = "…";

/// What a line usually takes: a connection's closing line fits without a second allocation.
const USUAL: usize = 384;

/// A text being made.
#[derive(Debug)]
pub(super) struct Text {
    out: String,
    /// No further field fits; the mark is written.
    full: bool,
}

impl Text {
    /// Begins with `event=word`.
    pub(super) fn new(event: &str) -> Self {
        let mut out = String::with_capacity(USUAL);
        out.push_str("event=");
        out.push_str(event);
        Self { out, full: false }
    }

    /// Appends ` key=value`.
    pub(super) fn field(&mut self, key: &str, value: impl Display) {
        // An error means only that the value was cut, which shows in the text.
        self.append(key, |out| _ = write!(out, "{value}"));
    }

    /// As [`Self::field`], for bytes that need not be UTF-8.
    pub(super) fn bytes(&mut self, key: &str, value: &[u8]) {
        self.append(key, |out| _ = out.push(value));
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }

    /// A field goes in whole or not at all: a reader never sees half a value without its mark.
    fn append(&mut self, key: &str, fill: impl FnOnce(&mut Value<'_>)) {
        if self.full {
            return;
        }
        let start = self.out.len();
        self.out.push(' ');
        self.out.push_str(key);
        self.out.push('=');
        let from = self.out.len();
        let mut value = Value { out: &mut self.out, from, quoted: false, cut: false };
        fill(&mut value);
        value.close();
        if self.out.len() > LINE_MAX - " ".len() - CUT.len() {
            self.out.truncate(start);
            self.out.push(' ');
            self.out.push_str(CUT);
            self.full = true;
        }
    }
}

/// `bytes` as they stand in a value, without the quotes around it: printable, bounded, on one line.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut value = Value { out: &mut out, from: 0, quoted: false, cut: false };
    // An error means only that the value was cut, which the mark says.
    if value.push(bytes).is_err() {
        out.push_str(CUT);
    }
    out
}

/// Needs neither quotes nor escaping.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'=' | b'\\')
}

/// The value being written, escaped on its way in.
struct Value<'a> {
    out: &'a mut String,
    /// Where the value begins in `out`.
    from: usize,
    /// Something in it needs quotes around.
    quoted: bool,
    cut: bool,
}

impl Value<'_> {
    fn push(&mut self, bytes: &[u8]) -> fmt::Result {
        // Nearly every value is plain and short: it goes in as it is.
        let fits = !self.cut && self.out.len() - self.from + bytes.len() <= VALUE_MAX;
        if fits && bytes.iter().all(|byte| is_plain(*byte)) {
            if let Ok(text) = std::str::from_utf8(bytes) {
                self.out.push_str(text);
                return Ok(());
            }
        }
        for &byte in bytes {
            match byte {
                b'\n' => self.escape('\\', b'n')?,
                b'\r' => self.escape('\\', b'r')?,
                b'\t' => self.escape('\\', b't')?,
                b'"' | b'\\' => self.escape('\\', byte)?,
                b' ' | b'=' => {
                    self.room(1)?;
                    self.quoted = true;
                    self.out.push(char::from(byte));
                }
                _ if is_plain(byte) => {
                    self.room(1)?;
                    self.out.push(char::from(byte));
                }
                _ => self.hexadecimal(byte)?,
            }
        }
        Ok(())
    }

    fn escape(&mut self, lead: char, letter: u8) -> fmt::Result {
        self.room(2)?;
        self.quoted = true;
        self.out.push(lead);
        self.out.push(char::from(letter));
        Ok(())
    }

    fn hexadecimal(&mut self, byte: u8) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.room(4)?;
        self.quoted = true;
        self.out.push_str("\\x");
        self.out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        self.out.push(char::from(DIGITS[usize::from(byte & 15)]));
        Ok(())
    }

    /// Fails, and so stops whoever writes, when `more` bytes do not fit: an escape is never split.
    fn room(&mut self, more: usize) -> fmt::Result {
        self.cut = self.cut || self.out.len() - self.from + more > VALUE_MAX;
        if self.cut { Err(fmt::Error) } else { Ok(()) }
    }

    fn close(self) {
        if self.cut {
            self.out.push_str(CUT);
        }
        if self.quoted || self.cut || self.out.len() == self.from {
            self.out.insert(self.from, '"');
            self.out.push('"');
        }
    }
}

impl Write for Value<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &[u8]) -> String {
        let mut text = Text::new("e");
        text.bytes("k", value);
        text.into_string()
    }

    #[test]
    fn without_quotes_the_escapes_are_the_same() {
        assert_eq!(escaped(b"h2"), "h2");
        assert_eq!(escaped(b"a b\"\n\x1b"), r#"a b\"\n\x1b"#);
        assert_eq!(escaped(&[b'a'; VALUE_MAX + 1]).len(), VALUE_MAX + CUT.len());
    }

    #[test]
    fn values_are_quoted_and_escaped_by_the_table() {
        let table: &[(&[u8], &str)] = &[
            (b"web", "web"),
            (b"127.0.0.1:8443", "127.0.0.1:8443"),
            (b"[::1]:80", "[::1]:80"),
            (b"", r#""""#),
            (b"a b", r#""a b""#),
            (b"a=b", r#""a=b""#),
            (b"say \"x\"", r#""say \"x\"""#),
            (b"a\\b", r#""a\\b""#),
            (b"a\nb", r#""a\nb""#),
            (b"a\rb", r#""a\rb""#),
            (b"a\tb", r#""a\tb""#),
            (b"\0", r#""\x00""#),
            (b"\x1b[2J", r#""\x1b[2J""#),
            (b"\x7f", r#""\x7f""#),
            (b"\x80\xff", r#""\x80\xff""#),
            ("é".as_bytes(), r#""\xc3\xa9""#),
            ("…".as_bytes(), r#""\xe2\x80\xa6""#),
            ("\u{2028}".as_bytes(), r#""\xe2\x80\xa8""#),
        ];
        for (value, expected) in table {
            assert_eq!(one(value), format!("event=e k={expected}"), "{value:?}");
        }
    }

    #[test]
    fn display_and_bytes_agree() {
        for value in ["web", "a b", "x\"y\n\u{1b}é"] {
            let mut text = Text::new("e");
            text.field("k", value);
            assert_eq!(text.into_string(), one(value.as_bytes()));
        }
        let mut text = Text::new("e");
        text.field("n", 42);
        text.field("t", format_args!("{}.{:03}", 1, 5));
        assert_eq!(text.into_string(), "event=e n=42 t=1.005");
    }

    /// Splits by the grammar of tunnel-log(7) and undoes the escapes: a reader written from the manual alone.
    fn parse(line: &str) -> Vec<(String, Vec<u8>)> {
        let mut rest = line.as_bytes();
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let equals = rest.iter().position(|b| *b == b'=').unwrap();
            let key = String::from_utf8(rest[..equals].to_vec()).unwrap();
            rest = &rest[equals + 1..];
            let mut value = Vec::new();
            if rest.first() == Some(&b'"') {
                rest = &rest[1..];
                while rest[0] != b'"' {
                    let (byte, taken) = match (rest[0], rest.get(1)) {
                        (b'\\', Some(b'n')) => (b'\n', 2),
                        (b'\\', Some(b'r')) => (b'\r', 2),
                        (b'\\', Some(b't')) => (b'\t', 2),
                        (b'\\', Some(b'x')) => {
                            (u8::from_str_radix(std::str::from_utf8(&rest[2..4]).unwrap(), 16).unwrap(), 4)
                        }
                        (b'\\', Some(other)) => (*other, 2),
                        (byte, _) => (byte, 1),
                    };
                    value.push(byte);
                    rest = &rest[taken..];
                }
                rest = &rest[1..];
            } else {
                let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
                value.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
            }
            fields.push((key, value));
            rest = rest.strip_prefix(b" ").unwrap_or(rest);
        }
        fields
    }

    #[test]
    fn every_byte_in_every_field_comes_back_and_breaks_nothing() {
        let keys = ["client", "server", "sni", "alpn", "subject"];
        for hostile in keys {
            for byte in 0..=u8::MAX {
                let value = [b'a', byte, b'"', byte, b'z'];
                let mut text = Text::new("e");
                for key in keys {
                    text.bytes(key, if key == hostile { &value } else { b"plain" });
                }
                let line = text.into_string();
                assert!(line.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{line}");
                let fields = parse(&line);
                assert_eq!(fields.len(), 1 + keys.len(), "{line}");
                for (key, got) in &fields[1..] {
                    assert_eq!(got, if key == hostile { &value[..] } else { b"plain" }, "{line}");
                }
            }
        }
    }

    #[test]
    fn a_long_value_is_cut_between_escapes_and_marked() {
        for byte in [b'a', b' ', b'\n', 0, 0x1b, 0x80, 0xff] {
            let line = one(&[byte; 10_000]);
            let value = line.strip_prefix("event=e k=\"").unwrap().strip_suffix("…\"").unwrap();
            assert!(value.len() <= VALUE_MAX && value.len() > VALUE_MAX - 4, "{line}");
            let unit = one(&[byte]);
            let unit = unit.strip_prefix("event=e k=").unwrap().trim_matches('"');
            assert_eq!(value.replace(unit, ""), "", "an escape was split: {line}");
        }
        assert_eq!(one(&[b'a'; VALUE_MAX]).len(), "event=e k=".len() + VALUE_MAX, "what fits is not marked");
    }

    #[test]
    fn a_long_line_drops_whole_fields_and_says_so() {
        let mut text = Text::new("e");
        for _ in 0..20 {
            text.bytes("k", &[b'a'; 200]);
        }
        let line = text.into_string();
        assert!(line.len() <= LINE_MAX, "{}", line.len());
        let kept = line.strip_suffix(" …").unwrap();
        assert!(kept.split(' ').skip(1).all(|field| field.len() == 202), "{line}");
        assert!(kept.len() > LINE_MAX - 210, "room was wasted: {}", kept.len());
    }

    #[test]
    fn the_closing_line_of_a_connection_never_loses_its_reason() {
        let mut text = Text::new("connection-closed");
        text.field("id", u64::MAX);
        for key in ["service", "client", "server", "sni", "alpn"] {
            text.bytes(key, &[0xff; 10_000]);
        }
        text.field("tls", "TLSv1.3");
        text.field("cipher", "ECDHE-ECDSA-CHACHA20-POLY1305");
        text.field("resumed", "yes");
        for key in ["t_handshake", "t_connect", "t_total"] {
            text.field(key, "123456789.123");
        }
        text.field("in", u64::MAX);
        text.field("out", u64::MAX);
        text.field("reason", "server-handshake-timeout");
        let line = text.into_string();
        assert!(line.ends_with(" reason=server-handshake-timeout"), "{line}");
        assert!(line.len() <= LINE_MAX);
    }
}
