// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator should know, drawn from what there is to see.

use super::model::{Problem, Snapshot};

/// The problems of a snapshot, most urgent first.
pub fn problems(_snapshot: &Snapshot) -> Vec<Problem> {
    Vec::new()
}
