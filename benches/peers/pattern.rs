// SPDX-License-Identifier: MIT OR Apache-2.0
//! The bytes every transfer is made of.
//!
//! One pseudo-random sequence that repeats after a prime number of bytes, so that a lost, doubled or swapped
//! block shows at once: no power of two is a multiple of the period. It is laid out in memory once, with a tail
//! long enough that any slice a sender asks for is contiguous.
//! Not here: who sends and who compares (`sender.rs`, `backend.rs`, `client/bulk.rs`).

/// Length of the repeating sequence in bytes; a prime.
const PERIOD: usize = 131_071;
/// The longest slice `Pattern::slice` hands out, in bytes.
pub(super) const SLICE_MAX: usize = 256 * 1024;

/// The sequence, ready to be sliced at any position.
#[derive(Debug)]
pub(super) struct Pattern {
    /// `PERIOD + SLICE_MAX` bytes; byte `i` equals byte `i % PERIOD`.
    bytes: Vec<u8>,
}

impl Pattern {
    /// Lays the sequence out.
    pub(super) fn new() -> Self {
        let mut state: u32 = 0x2545_f491;
        let mut bytes = Vec::with_capacity(PERIOD + SLICE_MAX);
        while bytes.len() < PERIOD {
            // A 32-bit linear congruential generator; its high bits are the good ones.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(state.to_be_bytes()[0]);
        }
        while bytes.len() < PERIOD + SLICE_MAX {
            bytes.push(bytes[bytes.len() - PERIOD]);
        }
        Self { bytes }
    }

    /// A sequence that differs everywhere, for tests of the comparison.
    #[cfg(test)]
    #[allow(dead_code, reason = "the bench target drops tests but keeps their modules")]
    pub(super) fn shifted(&self) -> Self {
        Self { bytes: self.bytes.iter().map(|byte| byte.wrapping_add(1)).collect() }
    }

    /// At most `len` bytes (and at most `SLICE_MAX`) of the endless sequence from position `at` on.
    pub(super) fn slice(&self, at: u64, len: u64) -> &[u8] {
        let start = start_of(at);
        let len = usize::try_from(len).unwrap_or(SLICE_MAX).min(SLICE_MAX);
        &self.bytes[start..start + len]
    }

    /// Whether `data` is what the endless sequence holds from position `at` on.
    pub(super) fn matches(&self, data: &[u8], at: u64) -> bool {
        let mut at = start_of(at);
        for piece in data.chunks(SLICE_MAX) {
            if piece != &self.bytes[at..at + piece.len()] {
                return false;
            }
            at = (at + piece.len()) % PERIOD;
        }
        true
    }
}

/// Where in the layout position `at` lies.
fn start_of(at: u64) -> usize {
    usize::try_from(at % PERIOD as u64).unwrap_or(0)
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    #[test]
    fn slices_continue_each_other_across_the_period() {
        let pattern = Pattern::new();
        let mut whole = Vec::new();
        while whole.len() < 3 * PERIOD {
            whole.extend_from_slice(pattern.slice(whole.len() as u64, 10_007));
        }
        assert_eq!(whole[PERIOD..2 * PERIOD], whole[..PERIOD]);
        assert!(pattern.matches(&whole, 0));
        assert!(pattern.matches(&whole[5..], 5));
    }

    #[test]
    fn one_changed_or_missing_byte_is_noticed() {
        let pattern = Pattern::new();
        let mut data = pattern.slice(77, 4096).to_vec();
        data[4000] ^= 1;
        assert!(!pattern.matches(&data, 77));
        assert!(!pattern.matches(pattern.slice(78, 4096), 77));
    }

    #[test]
    fn a_slice_is_never_longer_than_its_bound() {
        assert_eq!(Pattern::new().slice(PERIOD as u64 - 1, u64::MAX).len(), SLICE_MAX);
    }
}
