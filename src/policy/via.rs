// SPDX-License-Identifier: MIT OR Apache-2.0
//! A proxy through which servers are reached: what it speaks, and who we are to it.
//!
//! Not here: where it is. Its address is that of the servers behind it, which are told to it by name
//! (`policy/upstream.rs`).

use std::fmt;

/// `connect.proxy`.
#[derive(Debug)]
pub struct Via {
    /// Its address as written, for the log.
    pub name: Box<str>,
    pub kind: Kind,
    pub login: Option<Login>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SOCKS version 5 (RFC 1928).
    Socks5,
    /// CONNECT of HTTP/1.1 (RFC 9110 section 9.3.6).
    Http,
}

/// A name and a password, each of 1 to 255 bytes; for HTTP the name has no colon.
pub struct Login {
    pub user: Box<str>,
    pub password: Box<str>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?}, …)", self.user) // the password is a secret
    }
}
