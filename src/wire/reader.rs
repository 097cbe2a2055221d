// SPDX-License-Identifier: MIT OR Apache-2.0
//! A place in bytes, for the binary formats beside it. Numbers are big-endian, as in every network format.
//!
//! Invariant: every step answers `None` when there are fewer bytes than it needs, and then leaves the place undefined:
//! whoever is told so gives up.

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes with a length of one byte before them.
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Bytes with a length of two bytes before them.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut reader = Reader(&[0, 2, 7, 8, 1]);
        assert_eq!(reader.vector16(), Some(&[7, 8][..]));
        assert_eq!(reader.vector8(), None);
        assert_eq!(Reader(&[1]).u16(), None);
        assert_eq!(Reader(&[1, 2, 3]).u32(), None);
        assert_eq!(Reader(&[0, 0, 1, 2]).u32(), Some(0x0102));
        assert_eq!(Reader(&[]).take(0), Some(&[][..]));
    }
}
