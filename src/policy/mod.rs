// SPDX-License-Identifier: MIT OR Apache-2.0
//! Policy: what the configuration promised, ready to be used by connections. Immutable once built.

pub mod access;
pub mod balance;
pub mod bandwidth;
pub mod bucket;
mod certificate;
pub mod certificate_card;
pub mod check;
#[cfg(test)]
mod handshake_tests;
pub mod health;
pub mod hostname;
pub mod marks;
mod names;
pub mod networks;
pub mod outgoing;
pub mod quota;
pub mod reply;
pub mod resolved;
pub mod route_table;
pub mod rules;
pub mod service;
pub mod socks;
pub mod target;
#[cfg(test)]
pub(crate) mod testpki;
pub mod tls_client;
mod tls_common;
mod tls_key_log;
pub mod tls_peer;
pub mod tls_server;
pub mod tls_spec;
mod tls_tickets;
pub mod track;
pub mod upstream;
pub mod via;
pub mod waiting;
pub mod watch;
