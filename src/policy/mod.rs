// SPDX-License-Identifier: MIT OR Apache-2.0
//! Policy: what the configuration promised, ready to be used by connections. Immutable once built.

mod certificate;
#[cfg(test)]
mod handshake_tests;
mod names;
pub mod service;
#[cfg(test)]
mod testpki;
pub mod tls_client;
mod tls_common;
pub mod tls_server;
pub mod tls_spec;
mod tls_tickets;
pub mod upstream;
