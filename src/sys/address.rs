// SPDX-License-Identifier: MIT OR Apache-2.0
//! A socket address of any family we serve: IPv4, IPv6, a unix path, an abstract unix name.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
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

impl Address {
    /// From what stands in `sun_path` (unix(7)): a path up to the first NUL, or an abstract name after one.
    pub fn from_unix_name(name: &[u8]) -> Self {
        match name {
            [] => Self::Unnamed,
            [0, name @ ..] => Self::Abstract(name.to_vec()),
            path => {
                Self::Unix(OsStr::from_bytes(path.split(|byte| *byte == 0).next().unwrap_or(path)).into())
            }
        }
    }

    /// What stands in `sun_path` (unix(7)), the opposite of [`Self::from_unix_name`]; empty for an IP address.
    pub fn unix_name(&self) -> Vec<u8> {
        match self {
            Self::Unix(path) => path.as_os_str().as_bytes().to_vec(),
            Self::Abstract(name) => [&[0], &name[..]].concat(),
            Self::Inet(_) | Self::Unnamed => Vec::new(),
        }
    }

    /// The IP address, an IPv4 one for a mapped one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip().to_canonical()),
            _ => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_names_are_what_they_were() {
        for name in [&b""[..], b"/run/s", b"\0abstract\0name"] {
            assert_eq!(Address::from_unix_name(name).unix_name(), name);
        }
        assert_eq!(Address::from_unix_name(b"/run/s\0\0"), Address::Unix("/run/s".into()));
    }
}
