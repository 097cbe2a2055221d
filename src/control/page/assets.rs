// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stylesheet, the script and the icon, inside the binary.
//!
//! Their paths have their hash, so a browser keeps them for ever and a new version is another path.

use super::Page;
use std::sync::LazyLock;

const FOLDER: &str = "/assets/";

/// Beside the pages.
pub(super) struct Asset {
    pub(super) path: String,
    media: &'static str,
    body: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, media: &'static str, body: &'static [u8]) -> Self {
        Self { path: format!("{FOLDER}{stem}-{:016x}.{extension}", hash(body)), media, body }
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("page", "css", "text/css; charset=utf-8", include_bytes!("page.css")));

pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("page", "js", "text/javascript; charset=utf-8", include_bytes!("page.js")));

pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("icon.svg")));

/// The asset at `path`.
pub(super) fn find(path: &str) -> Option<Page> {
    let asset = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path == path)?;
    Some(Page::Whole { media: asset.media, immutable: true, body: asset.body.to_vec() })
}

/// FNV-1a, 64 bits: tells versions apart, and is no secret.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page takes on its first visit, before compression.
    const SIZE: usize = 15 * 1024;

    #[test]
    fn assets_are_small_and_ask_for_nothing_else() {
        for asset in [&STYLE, &SCRIPT, &ICON] {
            assert!(asset.body.len() <= SIZE, "{}: {} bytes", asset.path, asset.body.len());
            let text = std::str::from_utf8(asset.body).unwrap().replace("http://www.w3.org/2000/svg", "");
            for word in ["http:", "https:", "url(", "@import", "//cdn", "eval(", "innerHTML"] {
                assert!(!text.contains(word), "{}: {word}", asset.path);
            }
        }
    }

    #[test]
    fn an_asset_is_found_at_its_path_alone() {
        assert!(matches!(find(&STYLE.path), Some(Page::Whole { immutable: true, .. })));
        for path in ["/assets/page.css", "/assets/", "/assets/page-0000000000000000.js", "/"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!([hash(b""), hash(b"a")], [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c]);
    }
}
