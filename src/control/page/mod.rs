// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page: HTML made here, one stylesheet, one script, all in the binary.
//!
//! Not here: HTTP itself, who may see what (`http/`).

use super::answer::{Format, Visitor};
use super::listing::Cursor;
use super::state::State;
use crate::connection::view::Wanted;

/// What a path leads to.
#[derive(Debug)]
pub enum Page {
    /// Media type, whether it may be kept for ever (its path has its hash), and the bytes.
    Whole { media: &'static str, immutable: bool, body: Vec<u8> },
    /// A page with connections on it: which, and what writes the whole document from them.
    Connections { wanted: Wanted, from: Option<Cursor>, most: usize, format: Box<dyn Format> },
}

/// The page at `path` ("/", "/connections", "/assets/…") with these fields of the query, decoded; nothing, if there is none.
pub fn page(
    _path: &str,
    _query: &[(String, String)],
    _visitor: &Visitor,
    _state: &mut State,
) -> Option<Page> {
    None
}
