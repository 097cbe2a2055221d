// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections from many addresses: the whole of 127.0.0.0/8 is this machine's.
//!
//! Not here: what a peer does with an address (`configs.rs`, `Role::Limit`).

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{IpBindAddressNoPort, SendTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket};
use nix::sys::time::TimeVal;

/// The first address of the load.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);
/// The longest wait for the kernel to connect on loopback, in seconds.
const DIAL_SECONDS: i64 = 5;

/// So many addresses from `FIRST` on, used in turn.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    count: u32,
    next: Cell<u32>,
}

impl Sources {
    /// At least one, and few enough to stay within 127.0.0.0/8.
    pub(crate) fn new(count: u32) -> Self {
        Self { count: count.clamp(1, 1 << 23), next: Cell::new(0) }
    }

    /// Connects to `port` on 127.0.0.1 from the next address.
    pub(super) fn dial(&self, port: u16) -> io::Result<TcpStream> {
        let index = self.next.get();
        self.next.set((index + 1) % self.count);
        let from = SocketAddrV4::new(Ipv4Addr::from_bits(FIRST.to_bits() + index), 0);
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let handle = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // connect(2) obeys it, see socket(7).
        setsockopt(&handle, SendTimeout, &TimeVal::new(DIAL_SECONDS, 0))?;
        // The port is chosen when the destination is known; otherwise ports would soon run out.
        setsockopt(&handle, IpBindAddressNoPort, &true)?;
        let socket = TcpStream::from(handle);
        let descriptor = socket.as_raw_fd();
        bind(descriptor, &SockaddrIn::from(from))?;
        connect(descriptor, &SockaddrIn::from(to))?;
        Ok(socket)
    }
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn each_connection_comes_from_the_next_address_and_the_first_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sources = Sources::new(3);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let _client = sources.dial(port).unwrap();
            seen.push(listener.accept().unwrap().1.ip().to_string());
        }
        assert_eq!(seen, ["127.1.0.0", "127.1.0.1", "127.1.0.2", "127.1.0.0"]);
    }
}
