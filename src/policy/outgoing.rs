// SPDX-License-Identifier: MIT OR Apache-2.0
//! How sockets towards the servers of a `connect` are opened: where from, and told what.
//!
//! Workers share where they are in a range of ports, and whether a refused option was told; nothing is locked. Not here: the
//! system calls (`sys/outgoing.rs`), what becomes of a refused option (`handshake/open_socket.rs`).

use crate::sys::address::Address;
use crate::sys::options::{SocketOptions, Unset, same_family};
use crate::sys::outgoing::{self, From};
use crate::sys::socket::{Connecting, Socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU16};

/// Ports of a range that are tried for one connection before it fails. Each costs some system calls.
const TRIES: u16 = 64;

/// `connect.source`: what a server sees as the address of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Address(IpAddr),
    /// First and last port; one after the other, from where the last connection left off.
    Ports(IpAddr, u16, u16),
    /// That of the client itself (`"client"`).
    Client,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub socket: SocketOptions,
    /// At most one of each family, or [`Source::Client`] alone; a server of another family is reached from wherever the
    /// system chooses.
    pub sources: Box<[Source]>,
    next: AtomicU16,
    told: AtomicBool,
}

impl Outgoing {
    pub fn new(socket: SocketOptions, sources: Box<[Source]>) -> Self {
        Self { socket, sources, next: AtomicU16::new(0), told: AtomicBool::new(false) }
    }

    /// Whether nobody has told yet that an option was refused; whoever asks tells.
    pub fn is_news(&self) -> bool {
        !self.told.swap(true, Relaxed)
    }

    /// Begins to connect. `client`: from whom the connection comes; `lazily` as for [`outgoing::connect`], as is `unset`.
    ///
    /// # Errors
    /// As [`outgoing::connect`]; where no port of the range is free, that of the last one.
    pub fn connect(
        &self,
        address: &Address,
        client: &Address,
        lazily: bool,
        unset: &mut dyn FnMut(Unset),
    ) -> io::Result<(Socket, Connecting)> {
        let mut from_there = |from| outgoing::connect(address, &self.socket, from, lazily, unset);
        match self.source(address) {
            None => from_there(From::Any),
            Some(Source::Address(ip)) => from_there(From::Address(ip)),
            Some(Source::Ports(ip, first, last)) => {
                let ports = last.saturating_sub(first).saturating_add(1);
                let begin = self.next.fetch_add(1, Relaxed);
                let mut tries = (0..ports.min(TRIES)).map(|number| {
                    let port = first.saturating_add(begin.wrapping_add(number) % ports);
                    from_there(From::Port(SocketAddr::new(ip, port)))
                });
                let taken = || Err(io::ErrorKind::AddrInUse.into());
                let is_answer = |result: &io::Result<_>| {
                    result.as_ref().err().is_none_or(|error| !outgoing::is_taken(error))
                };
                let mut last = taken();
                tries
                    .find_map(|result| {
                        if is_answer(&result) {
                            Some(result)
                        } else {
                            last = result;
                            None
                        }
                    })
                    .unwrap_or(last)
            }
            Some(Source::Client) => match client.ip() {
                Some(ip) => from_there(From::Foreign(ip)),
                None => {
                    let error = io::Error::other("the client has no address: it came over a unix socket");
                    Err(Unset { option: "source", error }.into())
                }
            },
        }
    }

    fn source(&self, address: &Address) -> Option<Source> {
        let Address::Inet(server) = address else { return None };
        self.sources.iter().copied().find(|source| match source {
            Source::Address(ip) | Source::Ports(ip, ..) => same_family(*ip, server.ip()),
            Source::Client => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listening::Listening;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn listening() -> Listening {
        Listening::bind(&Address::Inet(SocketAddr::new(LOCAL, 0)), false).unwrap()
    }

    fn connect(outgoing: &Outgoing, to: &Address) -> io::Result<(Socket, Connecting)> {
        outgoing.connect(to, &Address::Unnamed, false, &mut |unset| panic!("{unset}"))
    }

    #[test]
    fn ports_of_a_range_are_used_in_turn_and_its_end_is_told() {
        // Three ports in a row that were free a moment ago.
        let first = (20_000..30_000)
            .step_by(3)
            .find(|first| (*first..first + 3).all(|port| std::net::TcpListener::bind((LOCAL, port)).is_ok()))
            .unwrap();
        let source = Source::Ports(LOCAL, first, first + 2);
        let outgoing = Outgoing::new(SocketOptions::default(), Box::new([source]));
        let server = listening();
        let mut kept: Vec<_> = (0..3).map(|_| connect(&outgoing, &server.address).unwrap()).collect();
        let ports: Vec<_> = (0..3)
            .map(|_| match server.accept().unwrap() {
                (socket, Address::Inet(peer)) => (peer.port(), socket),
                (_, other) => panic!("{other}"),
            })
            .collect();
        let mut seen: Vec<_> = ports.iter().map(|(port, _)| *port).collect();
        seen.sort_unstable();
        assert_eq!(seen, [first, first + 1, first + 2]);
        let error = connect(&outgoing, &server.address).unwrap_err();
        assert!(outgoing::is_taken(&error), "{error}");
        let other = listening();
        connect(&outgoing, &other.address).unwrap();
        // One that is reset leaves nothing behind.
        let (gone, _) = kept.remove(1);
        gone.reset_on_close();
        drop(gone);
        connect(&outgoing, &server.address).unwrap();
    }

    #[test]
    fn a_source_is_for_servers_of_its_family_and_a_client_without_an_address_is_told() {
        let v6 = Source::Address(std::net::Ipv6Addr::LOCALHOST.into());
        let outgoing = Outgoing::new(SocketOptions::default(), Box::new([v6]));
        let server = listening();
        connect(&outgoing, &server.address).unwrap();
        let outgoing = Outgoing::new(SocketOptions::default(), Box::new([Source::Client]));
        let error = connect(&outgoing, &server.address).unwrap_err();
        assert!(error.to_string().contains("unix socket"), "{error}");
    }
}
