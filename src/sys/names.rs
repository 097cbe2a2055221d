// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names as the C library finds them (getaddrinfo(3), nsswitch.conf(5)). The standard library asks in the same way, but keeps
//! to itself whether there is no such name or nobody could say.

#![expect(unsafe_code, reason = "getaddrinfo hands out a list of pointers; the safe crates do not have it")]

use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use std::ffi::{CStr, CString};
use std::io;
use std::net::IpAddr;
use std::ptr;

/// Why there is no address.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As gai_strerror(3) has it.
    pub text: String,
    /// There is no such name, or it has no address; otherwise nobody could say.
    pub for_sure: bool,
}

/// The first addresses of `name`, `most` at most. Blocks for as long as the C library thinks right.
///
/// # Errors
/// Why there is none.
pub fn addresses(name: &str, most: usize) -> Result<Vec<IpAddr>, Unknown> {
    let name =
        CString::new(name).map_err(|_| Unknown { text: "a NUL in the name".into(), for_sure: true })?;
    let list = List::ask(&name)?;
    let mut found = Vec::new();
    let mut next = list.0;
    // SAFETY: `next` is null or a node of the list, which lives as long as `list` and is changed by nobody.
    while let Some(node) = unsafe { next.as_ref() }.filter(|_| found.len() < most) {
        // SAFETY: each node points to an address of that length, or to none.
        let address = unsafe { SockaddrStorage::from_raw(node.ai_addr, Some(node.ai_addrlen)) };
        found.extend(address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        }));
        next = node.ai_next;
    }
    Ok(found)
}

/// What getaddrinfo(3) found.
struct List(*mut libc::addrinfo);

impl List {
    fn ask(name: &CStr) -> Result<Self, Unknown> {
        // One node per address, not one per kind of socket.
        let hints = libc::addrinfo {
            ai_flags: 0,
            ai_family: libc::AF_UNSPEC,
            ai_socktype: libc::SOCK_STREAM,
            ai_protocol: 0,
            ai_addrlen: 0,
            ai_addr: ptr::null_mut(),
            ai_canonname: ptr::null_mut(),
            ai_next: ptr::null_mut(),
        };
        let mut list = ptr::null_mut();
        // SAFETY: the name ends with a NUL, the hints are whole, and the list goes to a pointer of ours.
        let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
        if code == 0 {
            return Ok(Self(list));
        }
        let text = if code == libc::EAI_SYSTEM {
            io::Error::last_os_error().to_string()
        } else {
            // SAFETY: it takes every number.
            let text = unsafe { libc::gai_strerror(code) };
            // SAFETY: a text that ends with a NUL and is never freed.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        };
        Err(Unknown { text, for_sure: matches!(code, libc::EAI_NONAME | libc::EAI_NODATA) })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: it came from getaddrinfo and is freed once.
        unsafe { libc::freeaddrinfo(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_found_and_what_cannot_be_a_name_is_not() {
        for (name, address) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
            assert_eq!(addresses(name, 5).unwrap(), [address.parse::<IpAddr>().unwrap()]);
        }
        assert!(addresses("127.0.0.1", 0).unwrap().is_empty());
        for name in ["", "a\0b"] {
            assert!(addresses(name, 5).unwrap_err().for_sure, "{name:?}");
        }
    }
}
