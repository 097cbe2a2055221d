// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the bytes of a terminal in raw mode to keys. Pure.
//!
//! Of the many sequences terminals send, those of the keys that mean something here (xterm's control sequences, "PC-style
//! function keys"); every other one is swallowed whole, so that none of its bytes is taken for a key.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// With the control key, its letter: `Control('c')`.
    Control(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Backspace,
    Escape,
}

/// The longest sequence that is waited for.
const LONGEST: usize = 16;

/// Bytes that may be the beginning of a key.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    rest: Vec<u8>,
}

impl Keys {
    /// The keys that are whole with `bytes`, one read of the terminal.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        while at < self.rest.len() {
            match first(&self.rest[at..]) {
                First::Key(key, length) => {
                    keys.push(key);
                    at += length;
                }
                First::Nothing(length) => at += length,
                First::Part if self.rest.len() - at <= LONGEST => break,
                First::Part => at += 1,
            }
        }
        self.rest.drain(..at);
        keys
    }
}

/// What bytes begin with.
enum First {
    Key(Key, usize),
    /// So many that mean nothing.
    Nothing(usize),
    /// The rest has not come.
    Part,
}

fn first(bytes: &[u8]) -> First {
    match bytes {
        // A terminal sends a sequence in one go: an escape on its own is the key.
        [0x1b] => First::Key(Key::Escape, 1),
        [0x1b, b'[', rest @ ..] => sequence(rest),
        [0x1b, b'O', rest @ ..] => match rest.first() {
            None => First::Part,
            Some(last) => named(*last, b"").map_or(First::Nothing(3), |key| First::Key(key, 3)),
        },
        // With the alt key; the escape key and then another come like that too, and it was the first that was meant.
        [0x1b, ..] => First::Key(Key::Escape, 1),
        [b'\r' | b'\n', ..] => First::Key(Key::Enter, 1),
        [0x7f | 0x08, ..] => First::Key(Key::Backspace, 1),
        [b'\t', ..] => First::Key(Key::Right, 1),
        [0x00, ..] => First::Nothing(1),
        [control @ 0x01..=0x1f, ..] => First::Key(Key::Control(char::from(control | 0x60)), 1),
        _ => character(bytes),
    }
}

/// What follows ESC [: parameters, and a byte that ends it (ECMA-48 5.4).
fn sequence(rest: &[u8]) -> First {
    let Some(end) = rest.iter().position(|byte| matches!(byte, 0x40..=0x7e)) else { return First::Part };
    let length = end + 3;
    named(rest[end], &rest[..end]).map_or(First::Nothing(length), |key| First::Key(key, length))
}

fn named(last: u8, parameters: &[u8]) -> Option<Key> {
    match (last, parameters) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(Key::Right),
        (b'D' | b'Z', _) => Some(Key::Left),
        (b'H', _) | (b'~', b"1" | b"7") => Some(Key::Home),
        (b'F', _) | (b'~', b"4" | b"8") => Some(Key::End),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        _ => None,
    }
}

/// A character of UTF-8.
fn character(bytes: &[u8]) -> First {
    let length = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    let Some(whole) = bytes.get(..length) else { return First::Part };
    match std::str::from_utf8(whole).ok().and_then(|text| text.chars().next()) {
        Some(c) if !c.is_control() => First::Key(Key::Char(c), length),
        Some(_) => First::Nothing(length),
        None => First::Nothing(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keys::default().take(bytes)
    }

    #[test]
    fn keys_are_told_by_their_bytes() {
        for (bytes, key) in [
            (&b"q"[..], Key::Char('q')),
            ("é".as_bytes(), Key::Char('é')),
            ("界".as_bytes(), Key::Char('界')),
            (b"\x03", Key::Control('c')),
            (b"\x1a", Key::Control('z')),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x1b", Key::Escape),
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[H", Key::Home),
            (b"\x1b[4~", Key::End),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
        assert_eq!(keys(b"a\x1b[Ab"), [Key::Char('a'), Key::Up, Key::Char('b')]);
    }

    #[test]
    fn what_means_nothing_here_leaves_no_letters_behind() {
        for bytes in
            [&b"\x1b[15~"[..], b"\x1b[200~", b"\x1b[<0;3;4M", b"\x1bOP", b"\0", b"\xff\xfe", b"\xc2\x9b"]
        {
            assert_eq!(keys(bytes), [], "{bytes:?}");
        }
    }

    #[test]
    fn keys_cut_in_two_are_one_but_nothing_is_waited_for_for_ever() {
        for (bytes, key) in
            [("é".as_bytes(), Key::Char('é')), (b"\x1b[5~", Key::PageUp), (b"\x1bOA", Key::Up)]
        {
            for cut in 1..bytes.len() {
                let mut both = Keys::default();
                let mut found = both.take(&bytes[..cut]);
                if found == [Key::Escape] {
                    continue;
                }
                found.extend(both.take(&bytes[cut..]));
                assert_eq!(found, [key], "{bytes:?} cut at {cut}");
            }
        }
        let mut endless = Keys::default();
        endless.take(b"\x1b[");
        endless.take(&[b'0'; 100]);
        assert!(endless.rest.len() <= LONGEST);
    }
}
