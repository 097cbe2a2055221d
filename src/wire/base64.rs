// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base64 with padding (RFC 4648 section 4): of credentials in HTTP, and of fingerprints in the configuration.
//!
//! Invariant: what is decoded has one form only; bits that count for nothing must be zero (section 3.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `bytes` as text.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes that `text` stands for; nothing if it is not well formed.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
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
