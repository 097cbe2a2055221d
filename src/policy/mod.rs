// SPDX-License-Identifier: MIT OR Apache-2.0
//! Policy: what the configuration promised, ready to be used by connections. Immutable once built.

pub mod service;
pub mod tls_client;
pub mod tls_server;
pub mod tls_spec;
pub mod upstream;
