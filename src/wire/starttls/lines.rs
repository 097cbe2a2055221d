// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the protocols that talk in lines have in common: lines, words, replies with a code.

use super::Cut;

/// Cuts after a line's end. Where the carriage return is missing, it is a line all the same.
pub(super) fn cut(input: &[u8]) -> Cut {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => Cut::Unit(at + 1),
        None => Cut::More,
    }
}

/// A line without its end.
pub(super) fn text(unit: &[u8]) -> &[u8] {
    let line = unit.strip_suffix(b"\n").unwrap_or(unit);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first word of a line, and what follows it without spaces around.
pub(super) fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

/// Whether `word` is `expected`, in whatever case.
pub(super) fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

/// A line of a reply with a code (RFC 5321 section 4.2.1, RFC 959 section 4.2): the code, and whether it is the last.
/// Nothing: no such line, which in a reply of several lines may stand between the first and the last.
pub(super) fn reply(line: &[u8]) -> Option<(u16, bool)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 =
        code.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(code).ok()?.parse().ok())??;
    match rest.first() {
        None | Some(b' ') => Some((code, true)),
        Some(b'-') => Some((code, false)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_with_either_end() {
        assert_eq!(cut(b"NOOP\r\nQUIT\r\n"), Cut::Unit(6));
        assert_eq!((cut(b"NOOP\r"), cut(b"")), (Cut::More, Cut::More));
        assert_eq!((text(b"a\r\n"), text(b"a\n"), text(b"\n")), (&b"a"[..], &b"a"[..], &b""[..]));
    }

    #[test]
    fn words_are_split_whatever_the_spaces() {
        assert_eq!(split(b" AUTH  TLS "), (&b"AUTH"[..], &b"TLS"[..]));
        assert_eq!(split(b"QUIT"), (&b"QUIT"[..], &b""[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn replies_are_told_from_text() {
        for (line, expected) in [
            (&b"220 ready"[..], Some((220, true))),
            (b"220-ready", Some((220, false))),
            (b"250", Some((250, true))),
            (b"22", None),
            (b"2204", None),
            (b" 220 ", None),
            (b"+20 ", None),
            (b"", None),
        ] {
            assert_eq!(reply(line), expected);
        }
    }
}
