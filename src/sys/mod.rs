// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel and the foreign functions: the only folder where `unsafe` may be written.

pub mod address;
pub mod append;
pub mod time;
