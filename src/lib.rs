// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnel`: a TLS tunnel daemon for Linux.

pub mod args;
pub mod config;
pub mod connection;
pub mod error;
pub mod log;
pub mod policy;
pub mod stats;
pub mod sys;
pub mod wire;
