// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection: one client and its server, from accept to close.
//!
//! A [`pair::Pair`] of endpoints with a channel each way, a [`plan::Plan`] that says what is to be done, and the phase it
//! is in ([`connection::Connection`]).

mod alarms;
#[cfg(test)]
mod closing_stage;
#[cfg(test)]
mod closing_tests;
#[expect(clippy::module_inception, reason = "the file is named after the type it holds")]
pub mod connection;
pub mod context;
mod ending;
pub mod guard;
mod last_words;
mod look;
mod pace;
pub mod pair;
pub mod plan;
mod refusal;
pub mod relay;
#[cfg(test)]
mod tests;
pub mod view;
pub mod walk;
#[cfg(test)]
mod walk_tests;
