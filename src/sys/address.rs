// SPDX-License-Identifier: MIT OR Apache-2.0
//! A socket address of any family we serve: IPv4, IPv6, a unix path, an abstract unix name.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a listener listens, a server is reached, or a peer comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Inet(SocketAddr),
    /// A unix stream socket in the file system.
    Unix(PathBuf),
    /// A unix stream socket in Linux's abstract namespace (unix(7)), without the leading NUL.
    Abstract(Vec<u8>),
    /// A unix peer that never bound a name.
    Unnamed,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("unix:"),
        }
    }
}
