// SPDX-License-Identifier: MIT OR Apache-2.0
//! The body of a request: counted, or in chunks (RFC 9112 section 7.1), taken off the input as it comes in.
//!
//! Invariants: what is held is bounded, and so is what is spent on framing; every byte is looked at a bounded number of
//! times, however small the pieces are it comes in.

use super::parse::Framing;
use super::response::Refusal;

/// The largest body.
pub(super) const MAX_BODY: usize = 64 << 10;

/// The longest line between chunks, extensions included.
const MAX_LINE: usize = 256;

/// Bytes of a chunked body beside its content: sizes, extensions, trailers.
const MAX_FRAMING: usize = 64 << 10;

/// A body on its way in.
#[derive(Debug)]
pub(super) struct Body {
    content: Vec<u8>,
    framing: usize,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes, then the end.
    Rest(usize),
    /// The size of a chunk.
    Size,
    /// So many bytes of a chunk, then its line's end.
    Chunk(usize),
    /// The end of the line after a chunk.
    Break,
    /// Lines after the last chunk, until an empty one.
    Trailer,
    Done,
}

impl Body {
    /// A body of that framing.
    ///
    /// # Errors
    /// When it is announced as too large.
    pub(super) fn new(framing: Framing) -> Result<Self, Refusal> {
        let next = match framing {
            Framing::Length(0) => Next::Done,
            Framing::Length(length) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BODY);
                Next::Rest(length.ok_or_else(too_large)?)
            }
            Framing::Chunked => Next::Size,
        };
        Ok(Self { content: Vec::new(), framing: 0, next })
    }

    /// Takes what there is of it off the front of `input`; the whole body once it is there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn take(&mut self, input: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Refusal> {
        let mut used = 0;
        let result = self.advance(input, &mut used);
        input.drain(..used.min(input.len()));
        match result? {
            true => Ok(Some(std::mem::take(&mut self.content))),
            false => Ok(None),
        }
    }

    /// Goes as far as `input` allows from `used` on; whether the body is whole.
    fn advance(&mut self, input: &[u8], used: &mut usize) -> Result<bool, Refusal> {
        loop {
            let left = input.get(*used..).unwrap_or_default();
            match self.next {
                Next::Done => return Ok(true),
                Next::Rest(wanted) | Next::Chunk(wanted) => {
                    let taken = wanted.min(left.len());
                    self.content.extend_from_slice(&left[..taken]);
                    *used += taken;
                    let counted = matches!(self.next, Next::Rest(_));
                    self.next = match (wanted - taken, counted) {
                        (0, true) => Next::Done,
                        (0, false) => Next::Break,
                        (more, true) => Next::Rest(more),
                        (more, false) => Next::Chunk(more),
                    };
                    if wanted > taken {
                        return Ok(false);
                    }
                }
                Next::Size | Next::Break | Next::Trailer => {
                    let Some(line) = line(left)? else { return Ok(false) };
                    *used += line.len() + 2;
                    self.framing += line.len() + 2;
                    if self.framing > MAX_FRAMING {
                        return Err(Refusal::new(413, "more framing than a body needs"));
                    }
                    self.next = self.after(line)?;
                }
            }
        }
    }

    /// What follows a line of the framing.
    fn after(&self, line: &[u8]) -> Result<Next, Refusal> {
        match self.next {
            Next::Break if line.is_empty() => Ok(Next::Size),
            Next::Break => Err(Refusal::new(400, "a chunk that is longer than its size")),
            Next::Trailer if line.is_empty() => Ok(Next::Done),
            Next::Trailer => Ok(Next::Trailer),
            _ => match size(line)? {
                0 => Ok(Next::Trailer),
                size if size > MAX_BODY - self.content.len() => Err(too_large()),
                size => Ok(Next::Chunk(size)),
            },
        }
    }
}

/// The line at the beginning of `bytes`, without its CR LF; nothing while it is not whole.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Refusal> {
    let searched = bytes.get(..MAX_LINE).unwrap_or(bytes);
    match searched.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && bytes[end - 1] == b'\r' => Ok(Some(&bytes[..end - 1])),
        Some(_) => Err(Refusal::new(400, "a line that ends without CR")),
        None if bytes.len() >= MAX_LINE => Err(Refusal::new(400, "a line of a chunk that is too long")),
        None => Ok(None),
    }
}

/// The size of a chunk: hexadecimal digits, then nothing or extensions, which nobody reads.
fn size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let follows = line.get(digits).copied();
    let bad = || Refusal::new(400, "a chunk without a size");
    if digits == 0 || !matches!(follows, None | Some(b';')) || line.contains(&b'\r') {
        return Err(bad());
    }
    // A size of more digits than a number has is larger than any body.
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| bad())?;
    usize::from_str_radix(text, 16).map_err(|_| too_large())
}

fn too_large() -> Refusal {
    Refusal::new(413, "a body of more than 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body and what follows it.
    type Whole = (Vec<u8>, Vec<u8>);

    /// What becomes of a chunked body that comes in pieces of `step` bytes: nothing while it is not whole, or the status of
    /// the refusal.
    fn chunked(wire: &[u8], step: usize) -> Result<Option<Whole>, u16> {
        let mut body = Body::new(Framing::Chunked).unwrap();
        let mut input = Vec::new();
        let mut pieces = wire.chunks(step);
        loop {
            match body.take(&mut input) {
                Err(refusal) => return Err(refusal.status),
                Ok(Some(content)) => {
                    input.extend(pieces.flatten());
                    return Ok(Some((content, input)));
                }
                Ok(None) => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn chunks_are_joined_and_what_follows_is_left() {
        let wire = b"3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET /";
        for step in 1..wire.len() {
            let (content, rest) = chunked(wire, step).unwrap().unwrap();
            assert_eq!((&*content, &*rest), (&b"abc0123456789"[..], &b"GET /"[..]), "in steps of {step}");
        }
        for cut in 0..wire.len() - 5 {
            assert_eq!(chunked(&wire[..cut], 7), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (wire, status) in [
            (&b"\r\n"[..], 400),
            (b"x\r\n", 400),
            (b"+3\r\nabc\r\n", 400),
            (b"0x3\r\nabc\r\n", 400),
            (b" 3\r\nabc\r\n", 400),
            (b"3 \r\nabc\r\n", 400),
            (b"3\nabc\r\n", 400),
            (b"3;\r\r\nabc\r\n", 400),
            (b"3\r\nabcd\r\n", 400),
            (b"3\r\nabc\n", 400),
            (b"-1\r\n", 400),
            (b"10001\r\n", 413),
            (b"ffffffffffffffff\r\n", 413),
            (b"fffffffffffffffff\r\n", 413),
        ] {
            for step in [1, 2, 100] {
                assert_eq!(chunked(wire, step), Err(status), "{}", String::from_utf8_lossy(wire));
            }
        }
        let long = format!("1;{}\r\n", "x".repeat(MAX_LINE));
        assert_eq!(chunked(long.as_bytes(), 50), Err(400));
    }

    #[test]
    fn framing_without_end_is_refused() {
        let extended = format!("1;{}\r\nx\r\n", "y".repeat(200)).repeat(400);
        assert_eq!(chunked(extended.as_bytes(), 1000), Err(413));
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(20_000));
        assert_eq!(chunked(trailers.as_bytes(), 1000), Err(413));
    }

    #[test]
    fn the_largest_body_is_taken_and_one_more_byte_is_not() {
        let whole = format!("{MAX_BODY:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(MAX_BODY));
        assert_eq!(chunked(whole.as_bytes(), 4096).unwrap().unwrap().0.len(), MAX_BODY);
        let more = format!("{MAX_BODY:x}\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(MAX_BODY));
        assert_eq!(chunked(more.as_bytes(), 4096), Err(413));
        assert!(Body::new(Framing::Length(MAX_BODY as u64)).is_ok());
        assert!(Body::new(Framing::Length(MAX_BODY as u64 + 1)).is_err());
        assert!(Body::new(Framing::Length(u64::MAX)).is_err());
    }

    #[test]
    fn a_counted_body_ends_where_it_says() {
        let mut body = Body::new(Framing::Length(5)).unwrap();
        let mut input = b"ab".to_vec();
        assert_eq!(body.take(&mut input), Ok(None));
        input.extend(b"cdeGET");
        assert_eq!(body.take(&mut input), Ok(Some(b"abcde".to_vec())));
        assert_eq!(input, b"GET");
        let mut input = b"GET".to_vec();
        assert_eq!(Body::new(Framing::Length(0)).unwrap().take(&mut input), Ok(Some(Vec::new())));
        assert_eq!(input, b"GET");
    }
}
