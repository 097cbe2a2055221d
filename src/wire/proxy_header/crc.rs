// SPDX-License-Identifier: MIT OR Apache-2.0
//! CRC32C: the checksum of a PROXY header (RFC 9260 appendix A; polynomial of Castagnoli, bits reflected).

/// The checksum over all of `parts`, one after the other.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let crc = parts.iter().copied().flatten().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLE[usize::from(low ^ byte)]
    });
    !crc
}

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a byte does to the checksum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let (mut place, mut byte) = (0, 0_u32);
    while place < table.len() {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[place] = crc;
        place += 1;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4, and the check value of the catalogues.
    #[test]
    fn agrees_with_published_values() {
        assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[]), 0);
    }

    #[test]
    fn parts_count_as_one() {
        assert_eq!(crc32c(&[b"123", b"", b"456789"]), crc32c(&[b"123456789"]));
    }
}
