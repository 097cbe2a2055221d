// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel and the foreign functions: the only folder where `unsafe` may be written.
//!
//! Each `unsafe` block does one thing and carries its proof as a SAFETY comment; each descriptor is an `OwnedFd` from
//! the expression that made it. What nix offers safely is only wrapped here, so that nobody else names nix or libc.

#![allow(unsafe_code, reason = "the folder for it")]

pub mod address;
pub mod append;
pub mod backlog;
pub mod epoll;
pub mod eventfd;
pub mod identity;
pub mod listening;
pub mod names;
pub mod openssl;
pub mod options;
pub mod outgoing;
pub mod passing;
pub mod process;
pub mod random;
pub mod signals;
pub mod socket;
pub mod socket_file;
pub mod splice;
pub mod terminal;
pub mod time;
