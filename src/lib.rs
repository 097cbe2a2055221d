// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnel`: a TLS tunnel daemon for Linux.

pub mod stream;
pub mod channel;
pub mod config;
pub mod connection;
pub mod handshake;
pub mod mode;
pub mod error;
pub mod event;
pub mod log;
pub mod policy;
pub mod stats;
pub mod sys;
pub mod wire;
