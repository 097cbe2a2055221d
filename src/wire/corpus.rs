// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests: what the fuzzers have found worth keeping is read by the ordinary tests too.

use super::Parsed;
use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;

/// Parses every file of a target's corpus, whole and cut at every byte, and returns what those hold that are whole, by the
/// files' names.
///
/// # Panics
/// When a beginning is understood otherwise than the whole.
pub(super) fn replay<T: Debug + PartialEq>(
    target: &str,
    parse: impl Fn(&[u8]) -> Parsed<T>,
) -> HashMap<String, T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut whole_ones = HashMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let whole = parse(&bytes);
        for length in 0..bytes.len() {
            let part = parse(&bytes[..length]);
            let stable = part == Parsed::More
                || part == whole
                || matches!((&part, &whole), (Parsed::Bad(_), Parsed::Bad(_)));
            assert!(stable, "{} cut at {length}: {part:?}", path.display());
        }
        if let Parsed::Done(found, _) = whole {
            whole_ones.insert(path.file_name().unwrap().to_string_lossy().into_owned(), found);
        }
    }
    whole_ones
}
