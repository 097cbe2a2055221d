// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text on its way to a terminal: nothing in it is a command to that terminal, and its width is known.
//!
//! Names, reasons and addresses come from peers. The daemon escapes them; a tool that people run as root does not rely on
//! it. Everything shown passes through [`clean`], or, where it is the daemon's JSON, through a [`Washer`].

use unicode_width::UnicodeWidthChar;

/// Stands for what was taken out.
const INSTEAD: char = '\u{fffd}';

/// `text` without control characters, and without the ones that turn the direction of writing around.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { INSTEAD } else { c }).collect()
}

/// As [`clean`] for several lines: their ends stay.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

fn is_harmful(c: char) -> bool {
    // Marks, embeddings and isolates of the bidirectional algorithm (Unicode Standard Annex 9, 2).
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || c == '\u{2028}' || c == '\u{2029}'
}

/// Columns that `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The beginning of `text` that fits `columns`; its last column is "…" when something was cut off.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut taken = 0;
    let mut out: String = text
        .chars()
        .take_while(|c| {
            taken += c.width().unwrap_or(0);
            taken <= room
        })
        .collect();
    out.push('…');
    out
}

/// JSON on its way to a terminal, piece by piece: control characters inside its strings become escapes, which mean the
/// same (RFC 8259 section 7); the characters that stand between values stay.
#[derive(Debug, Default)]
pub(crate) struct Washer {
    /// The byte 0xC2 was seen, and may begin a control character of two bytes (U+0080 to U+009F).
    half: bool,
}

impl Washer {
    /// Appends what `piece` is without harm to `out`.
    pub(crate) fn wash(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if std::mem::take(&mut self.half) {
                match byte {
                    0x80..=0x9f => {
                        escape(byte, out);
                        continue;
                    }
                    _ => out.push(0xc2),
                }
            }
            match byte {
                0xc2 => self.half = true,
                b'\n' | b'\r' | b'\t' | b' '..=b'~' | 0x80..=0xff => out.push(byte),
                _ => escape(byte, out),
            }
        }
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_commands_a_terminal_remains() {
        assert_eq!(clean("a\u{1b}[2Jb\u{7f}\u{9b}\r\n\tc\u{202e}d\0"), "a�[2Jb�����c�d�");
        assert_eq!(clean("Grüße, 世界"), "Grüße, 世界");
        assert_eq!(clean_lines("a\u{7}\nb\rc\n"), "a�\nb�c\n");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(!clean(&c.to_string()).contains(char::is_control), "{c:?}");
        }
    }

    #[test]
    fn cuts_keep_to_the_columns() {
        for (text, columns, cut_down) in [
            ("example.org", 11, "example.org"),
            ("example.org", 10, "example.o…"),
            ("example.org", 1, "…"),
            ("example.org", 0, ""),
            ("世界世界", 8, "世界世界"),
            ("世界世界", 6, "世界…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, columns), cut_down);
            assert!(width(&cut(text, columns)) <= columns);
        }
    }

    #[test]
    fn json_means_the_same_after_washing_however_it_is_cut() {
        let name = "a\u{1b}\u{7f}\u{80}\u{9b}é\u{c2}世\"\\\n";
        // As a daemon would write it that escapes nothing but what JSON insists on.
        let text = format!(
            "[\n{{\"name\":\"{}\"}}]",
            name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
        );
        for size in 1..=text.len() {
            let (mut washer, mut out) = (Washer::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| washer.wash(piece, &mut out));
            let washed = String::from_utf8(out).unwrap();
            assert!(!washed.contains(|c: char| c.is_control() && c != '\n'), "{washed:?}");
            let value: serde_json::Value = serde_json::from_str(&washed).unwrap();
            assert_eq!(value[0]["name"], name);
        }
    }
}
