// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one tunnel tells the tunnel before it, ahead of everything else: that the server behind it has been reached, or
//! why it has not, and whether that is the client's matter.
//!
//! A sender asks for it in its PROXY header, with a TLV of the range for private use. The answer is one frame: the magic
//! number, the version, a status, the length of a text in two bytes (big-endian), the text (UTF-8). A frame of success has
//! no text.
//!
//! Invariants: the first four bytes tell the length, so who reads no more than [`missing`] takes nothing of what follows;
//! a frame is bounded.

use super::Parsed;

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 1024;

/// What is said of the way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// It is there: what follows is the server's.
    Reached,
    /// It is not, and why; nothing follows.
    Failed(Box<str>),
    /// The same, for what the client is or asks for.
    Refused(Box<str>),
    /// The same, for want of a place, which another tunnel may have.
    Full(Box<str>),
}

/// A frame. Of a longer text, what fits.
pub fn write(confirmation: &Confirmation) -> Vec<u8> {
    let (status, text) = match confirmation {
        Confirmation::Reached => (REACHED, ""),
        Confirmation::Failed(text) => (FAILED, &**text),
        Confirmation::Refused(text) => (REFUSED, &**text),
        Confirmation::Full(text) => (FULL, &**text),
    };
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end));
    let text = text.get(..end.unwrap_or(0)).unwrap_or_default();
    let mut frame = MAGIC.to_vec();
    frame.extend([VERSION, status]);
    frame.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Reads a frame from the beginning of a stream.
pub fn parse(bytes: &[u8]) -> Parsed<Confirmation> {
    if !bytes.iter().zip(MAGIC).all(|(have, want)| *have == want) {
        return Parsed::Bad("no confirmation: is `confirm` set in `proxy_protocol` there?");
    }
    let Some((version, status, length)) = fixed(bytes) else { return Parsed::More };
    if version != VERSION {
        return Parsed::Bad("a confirmation of another version");
    }
    if length > MAX_TEXT || !matches!((status, length), (REACHED, 0) | (FAILED | REFUSED | FULL, _)) {
        return Parsed::Bad("a malformed confirmation");
    }
    let Some(text) = bytes.get(FIXED..FIXED + length) else { return Parsed::More };
    let found = match (status, std::str::from_utf8(text)) {
        (REACHED, _) => Confirmation::Reached,
        (REFUSED, Ok(text)) => Confirmation::Refused(text.into()),
        (FULL, Ok(text)) => Confirmation::Full(text.into()),
        (_, Ok(text)) => Confirmation::Failed(text.into()),
        _ => return Parsed::Bad("the text of a confirmation is not UTF-8"),
    };
    Parsed::Done(found, FIXED + length)
}

/// How many more bytes the frame surely has of which `bytes` is the beginning.
pub fn missing(bytes: &[u8]) -> usize {
    let whole = fixed(bytes).map_or(FIXED, |(_, _, length)| FIXED + length.min(MAX_TEXT));
    whole.saturating_sub(bytes.len()).max(1)
}

fn fixed(bytes: &[u8]) -> Option<(u8, u8, usize)> {
    match *bytes {
        [_, _, _, _, version, status, high, low, ..] => {
            Some((version, status, u16::from_be_bytes([high, low]).into()))
        }
        _ => None,
    }
}

/// No protocol whose server speaks first begins so.
const MAGIC: [u8; 4] = [0xf4, b'T', b'N', b'C'];
const VERSION: u8 = 1;
const FIXED: usize = 8;
const REACHED: u8 = 0;
const FAILED: u8 = 1;
const REFUSED: u8 = 2;
const FULL: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::corpus;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_not_a_byte_more() {
        for confirmation in [
            Confirmation::Reached,
            Confirmation::Failed("".into()),
            Confirmation::Failed("connect-failed: db:5432: Connection refused (os error 111)".into()),
            Confirmation::Failed("x".repeat(MAX_TEXT).into()),
            Confirmation::Refused("rejected: rule \"strangers\"".into()),
            Confirmation::Full("limit-rate".into()),
        ] {
            let frame = write(&confirmation);
            let mut taken = 0;
            while taken < frame.len() {
                assert_eq!(parse(&frame[..taken]), Parsed::More);
                taken += missing(&frame[..taken]);
            }
            assert_eq!(taken, frame.len());
            for cut in 0..frame.len() {
                assert_eq!(parse(&frame[..cut]), Parsed::More, "cut at {cut}");
            }
            let more = [&frame[..], b"SSH-2.0"].concat();
            assert_eq!(parse(&more), Parsed::Done(confirmation, frame.len()));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("{}\u{20ac}", "x".repeat(MAX_TEXT - 1));
        let Parsed::Done(Confirmation::Failed(read), _) = parse(&write(&Confirmation::Failed(text.into())))
        else {
            panic!("no failure");
        };
        assert_eq!(read.len(), MAX_TEXT - 1);
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [
            &b"SSH-2.0"[..],
            b"\xf4TNx",
            b"\xf4TNC\x02\0\0\0",
            b"\xf4TNC\x01\0\0\x01",
            b"\xf4TNC\x01\x04\0\0",
            b"\xf4TNC\x01\x01\x04\x01",
            b"\xf4TNC\x01\x01\0\x01\xff",
        ] {
            assert!(matches!(parse(bytes), Parsed::Bad(_)), "{bytes:?}");
        }
    }

    #[test]
    fn the_corpus_of_the_fuzzer_holds_its_promises() {
        assert!(corpus::replay("confirmation", parse).len() >= 2);
    }
}
