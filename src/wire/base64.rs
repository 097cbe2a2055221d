// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base64 with padding (RFC 4648 section 4): of credentials in HTTP, and of fingerprints in the configuration.
//!
//! Invariant: what is decoded has one form only; bits that count for nothing must be zero (section 3.5).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` as text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = [0, 1, 2].map(|place| u32::from(group.get(place).copied().unwrap_or(0)));
        let word = word[0] << 16 | word[1] << 8 | word[2];
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let known = usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).copied();
            let letter = if place > group.len() { Some(b'=') } else { known };
            text.extend(letter.map(char::from));
        }
    }
    text
}

/// The bytes that `text` stands for; nothing if it is not well formed.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() % 4 != 0 {
        return None;
    }
    let padding = text.iter().rev().take_while(|letter| **letter == b'=').count();
    let (letters, _) = text.split_at(text.len() - padding);
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for letter in letters {
        let value = ALPHABET.iter().position(|known| known == letter)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 10.
    #[test]
    fn the_vectors_of_the_standard_go_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(encode(&all).as_bytes()), Some(all));
    }

    #[test]
    fn other_forms_are_none() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zm9v====", "Zm 9", "Zm9-", "=m9v"] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
