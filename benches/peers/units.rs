// SPDX-License-Identifier: MIT OR Apache-2.0
//! The unit tests of the peer benchmark, for `cargo test`: a bench target without a harness has nowhere to run them.

#[path = "main.rs"]
#[expect(dead_code, reason = "what only a measurement calls")]
mod whole;
