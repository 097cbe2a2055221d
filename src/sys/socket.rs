// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream socket that owns its descriptor: connecting, moving bytes, ending.
//!
//! Every call is non-blocking and keeps the kernel's own error. Nothing here knows of TLS, channels or policy. Not here:
//! listening (listening.rs), what sockets can be told (options.rs), where from they connect (outgoing.rs), how they go from
//! process to process (passing.rs).

use super::address::Address;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr,
    sockopt,
};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The states of a TCP socket whose SYN is not answered, and of one that is no connection any more (linux/tcp_states.h).
const TCP_SYN_SENT: u8 = 2;
const TCP_CLOSE: u8 = 7;

/// A connected or connecting stream socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// How a connect began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    Connected,
    /// Becomes writable when it is decided; ask [`Socket::connect_again`] then.
    InProgress,
}

impl Socket {
    /// Takes over a descriptor that is a stream socket in non-blocking mode.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens a socket and begins to connect it.
    pub fn connect(address: &Address) -> io::Result<(Self, Connecting)> {
        let socket = Self(open(address)?);
        let connecting = socket.connect_again(address)?;
        Ok((socket, connecting))
    }

    /// Two sockets that are connected with each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (one, other) = socket::socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        Ok((Self(one), Self(other)))
    }

    /// Asks how a connect in progress stands, without waiting: the second connect(2) answers 0 once it is
    /// established, which is cheaper than a turn through epoll and tells the error too.
    pub fn connect_again(&self, address: &Address) -> io::Result<Connecting> {
        match socket::connect(self.0.as_raw_fd(), &*kernel_address(address)?) {
            Ok(()) | Err(Errno::EISCONN) => Ok(Connecting::Connected),
            Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => Ok(Connecting::InProgress),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a socket for connections that only ask whether somebody listens, and are reset at once: the last word of TCP's
    /// handshake is held back (TCP_QUICKACK, tcp(7)), and the reset that goes instead makes the peer's kernel forget all, so
    /// that its process is never woken for nothing.
    pub fn knocking(address: &Address) -> io::Result<Self> {
        let socket = Self(open(address)?);
        socket.hold_back();
        Ok(socket)
    }

    /// Ends its connection by a reset and makes it as new (connect(2), AF_UNSPEC), which costs a third less than another one.
    pub fn knock_again(&self) -> io::Result<()> {
        // SAFETY: sockaddr is plain old data for which all zeroes is a valid value (AF_UNSPEC).
        let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
        // SAFETY: pointer and length describe `nowhere`, which connect(2) only reads.
        let result = unsafe { libc::connect(self.0.as_raw_fd(), &raw const nowhere, length_of(&nowhere)) };
        Errno::result(result)?;
        self.hold_back();
        Ok(())
    }

    fn hold_back(&self) {
        let _tcp_only = set_int(&self.0, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0);
    }

    pub fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(socket::recv(self.0.as_raw_fd(), into, MsgFlags::empty())?)
    }

    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(socket::send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }

    /// Sends `first` and `then` as if they were one, so that they may share a segment.
    pub fn send_both(&self, first: &[u8], then: &[u8]) -> io::Result<usize> {
        let parts = [IoSlice::new(first), IoSlice::new(then)];
        Ok(socket::sendmsg::<()>(self.0.as_raw_fd(), &parts, &[], MsgFlags::MSG_NOSIGNAL, None)?)
    }

    /// Whether it leads to a process on this machine through the file system or an abstract name (unix(7)).
    pub fn is_unix(&self) -> bool {
        self.local_address().is_ok_and(|address| !matches!(address, Address::Inet(_)))
    }

    /// The address at which the peer reached us.
    pub fn local_address(&self) -> io::Result<Address> {
        Ok(from_kernel(&socket::getsockname::<SockaddrStorage>(self.0.as_raw_fd())?))
    }

    /// Makes the kernel hold back little of what is sent.
    #[cfg(test)]
    pub(crate) fn shrink_send_buffer(&self) {
        socket::setsockopt(&self.0, sockopt::SndBuf, &4096).unwrap();
    }

    /// Ends our direction: FIN.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(socket::shutdown(self.0.as_raw_fd(), Shutdown::Write)?)
    }

    /// Makes the close that follows a reset (SO_LINGER 0, socket(7)). A unix socket has no reset: its peer sees
    /// ECONNRESET only if we close before we have read all that it sent, else an end.
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let _only_fails_on_a_dead_socket = socket::setsockopt(&self.0, sockopt::Linger, &linger);
    }

    /// Makes the close that follows a silent one: the peer is told nothing, as far as the system lets us. With
    /// CAP_NET_ADMIN the connection is forgotten (TCP_REPAIR, tcp(7)); without it the reset of the close is given no hop to
    /// live, so that it reaches hosts on the same link only.
    pub fn vanish_on_close(&self) {
        let _without_the_right_to = set_int(&self.0, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
        let _v4_only = set_int(&self.0, libc::IPPROTO_IP, libc::IP_TTL, 1);
        let _v6_only = set_int(&self.0, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 1);
        self.reset_on_close();
    }

    /// Bytes that the peer has not acknowledged yet (SIOCOUTQ, tcp(7)); of a unix socket, bytes it has not read. 0 once
    /// the connection is over: the kernel goes on counting what was lost with it.
    pub fn unacknowledged(&self) -> usize {
        if self.is_over() {
            return 0;
        }
        let mut bytes: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (= SIOCOUTQ) writes one int to the pointer, which is valid for the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
    }

    /// Whether the peer is gone for good; leaves the error to be read. That both directions have ended (POLLHUP) is not
    /// enough: the last bytes may still be on their way.
    fn is_over(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one valid pollfd, which the call may write; a timeout of 0 does not wait.
        let found = unsafe { libc::poll(&raw mut poll, 1, 0) };
        let hung_up = found > 0 && poll.revents & libc::POLLHUP != 0;
        found > 0 && poll.revents & libc::POLLERR != 0
            || hung_up && self.tcp_state().is_none_or(|s| s == TCP_CLOSE)
    }

    /// Whether it says it is connected, and waits for the bytes that shall travel with its SYN (TCP_FASTOPEN_CONNECT, tcp(7)).
    pub fn awaits_bytes(&self) -> bool {
        matches!(self.tcp_state(), Some(TCP_SYN_SENT))
    }

    /// The state of a TCP connection (TCP_INFO, tcp(7)); none for other sockets.
    fn tcp_state(&self) -> Option<u8> {
        // The state is the first byte of what the kernel has to say, and it says as much as there is room for.
        let mut state: u8 = 0;
        let mut length = length_of(&state);
        // SAFETY: pointer and length describe `state`; getsockopt(2) writes no further.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut state).cast(),
                &raw mut length,
            )
        };
        (result == 0 && length > 0).then_some(state)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether `ip` is an address of this machine: packets to those are sent from themselves (ip-route(8), type local). Nothing
/// is sent. That an address can be bound says less, where net.ipv4.ip_nonlocal_bind is set.
pub fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    ip.is_loopback() || from.is_ok_and(|from| from.ip() == ip)
}

/// The size of what is handed to the kernel, as it counts.
pub(super) fn length_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0)
}

/// Sets an option that takes one int.
pub(super) fn set_int(
    fd: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the option takes one int; pointer and length describe `value`.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), length_of(&value))
    };
    Ok(Errno::result(result).map(drop)?)
}

pub(super) fn open(address: &Address) -> io::Result<OwnedFd> {
    let family = match address {
        Address::Inet(SocketAddr::V4(_)) => AddressFamily::Inet,
        Address::Inet(SocketAddr::V6(_)) => AddressFamily::Inet6,
        Address::Unix(_) | Address::Abstract(_) | Address::Unnamed => AddressFamily::Unix,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket::socket(family, SockType::Stream, flags, None)?;
    if matches!(address, Address::Inet(_)) {
        socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    }
    Ok(fd)
}

pub(super) fn kernel_address(address: &Address) -> io::Result<Box<dyn SockaddrLike>> {
    Ok(match address {
        Address::Inet(inet) => Box::new(SockaddrStorage::from(*inet)),
        Address::Unix(path) => Box::new(UnixAddr::new(path)?),
        Address::Abstract(name) => Box::new(UnixAddr::new_abstract(name)?),
        Address::Unnamed => return Err(io::ErrorKind::InvalidInput.into()),
    })
}

pub(super) fn from_kernel(storage: &SockaddrStorage) -> Address {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Address::Inet(SocketAddrV4::from(*v4).into());
    }
    if let Some(v6) = storage.as_sockaddr_in6() {
        let v6 = SocketAddrV6::from(*v6);
        // A dual-stack listener tells v4 clients as mapped ones: they are v4 clients.
        return Address::Inet(match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddrV4::new(v4, v6.port()).into(),
            None => v6.into(),
        });
    }
    let unix = storage.as_unix_addr();
    if let Some(path) = unix.and_then(UnixAddr::path) {
        return Address::Unix(path.to_owned());
    }
    unix.and_then(UnixAddr::as_abstract).map_or(Address::Unnamed, |name| Address::Abstract(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listening::{AcceptError, Listening, accept_error};

    fn local(port: u16) -> Address {
        Address::Inet(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn pair(address: &Address) -> (Socket, Socket) {
        let listening = Listening::bind(address, false).unwrap();
        let (client, mut state) = Socket::connect(&listening.address).unwrap();
        while state == Connecting::InProgress {
            state = client.connect_again(&listening.address).unwrap();
        }
        let (server, _) = listening.accept().unwrap();
        (client, server)
    }

    #[test]
    fn our_own_addresses_are_known_and_those_of_others_are_not() {
        for (ip, expected) in [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("192.0.2.1", false)]
        {
            assert_eq!(is_local(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn who_knocks_is_told_that_somebody_listens_and_wakes_nobody() {
        let listening = Listening::bind(&local(0), false).unwrap();
        let socket = Socket::knocking(&listening.address).unwrap();
        for _ in 0..3 {
            while socket.connect_again(&listening.address).unwrap() == Connecting::InProgress {}
            assert!(listening.accept().is_err(), "the connection is half a one");
            socket.knock_again().unwrap();
            assert_eq!(accept_error(&listening.accept().unwrap_err()), AcceptError::Empty);
        }
        drop(listening);
        let gone = local(1);
        while let Ok(state) = socket.connect_again(&gone) {
            assert_eq!(state, Connecting::InProgress, "nobody listens there");
        }
    }

    #[test]
    fn moves_bytes_and_would_block_without() {
        let (client, server) = pair(&local(0));
        let mut buffer = [0; 8];
        assert_eq!(server.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(client.send(b"hello").unwrap(), 5);
        assert_eq!(server.recv(&mut buffer).unwrap(), 5);
        client.shutdown_write().unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn two_parts_leave_as_one() {
        let (client, server) = pair(&local(0));
        assert_eq!(client.send_both(b"hel", b"lo").unwrap(), 5);
        let mut buffer = [0; 8];
        assert_eq!((server.recv(&mut buffer).unwrap(), &buffer[..5]), (5, &b"hello"[..]));
    }

    #[test]
    fn the_local_address_is_where_the_peer_connected_to() {
        let name = format!("tunnel-test-local-{}", std::process::id()).into_bytes();
        for address in [local(0), Address::Abstract(name)] {
            let listening = Listening::bind(&address, false).unwrap();
            let (_client, _) = Socket::connect(&listening.address).unwrap();
            let (server, _) = listening.accept().unwrap();
            assert_eq!(server.local_address().unwrap(), listening.address);
        }
    }

    #[test]
    fn a_reset_on_close_is_seen_as_one() {
        let (client, server) = pair(&local(0));
        client.reset_on_close();
        drop(client);
        let error = server.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn unacknowledged_bytes_reach_zero() {
        let (client, _server) = pair(&local(0));
        client.send(&[1; 1000]).unwrap();
        // On this machine's loopback it takes microseconds.
        assert!((0..10_000_000).any(|_| client.unacknowledged() == 0));
    }

    #[test]
    fn bytes_behind_two_ends_are_still_to_be_acknowledged() {
        let (client, server) = pair(&local(0));
        while client.unacknowledged() < 1_000_000 {
            client.send(&[1; 65_536]).unwrap();
        }
        for end in [&client, &server] {
            end.shutdown_write().unwrap();
        }
        assert_eq!(client.recv(&mut [0]).unwrap(), 0, "both have ended");
        assert!(client.unacknowledged() > 0, "although the peer has not read what does not fit");
        server.reset_on_close();
        drop(server);
        assert_eq!(client.unacknowledged(), 0, "nobody is there to acknowledge");
    }

    #[test]
    fn abstract_and_path_sockets_carry_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("tunnel-test-{}", std::process::id()).into_bytes();
        for address in [Address::Unix(directory.path().join("s")), Address::Abstract(name)] {
            let (client, server) = pair(&address);
            client.send(b"x").unwrap();
            assert_eq!(server.recv(&mut [0; 4]).unwrap(), 1);
        }
    }

    #[test]
    fn a_refused_connect_says_so() {
        let listening = Listening::bind(&local(0), false).unwrap();
        let address = listening.address.clone();
        drop(listening);
        let mut result = Socket::connect(&address);
        while let Ok((socket, Connecting::InProgress)) = &result {
            match socket.connect_again(&address) {
                Ok(Connecting::InProgress) => {}
                Ok(Connecting::Connected) => panic!("connected to nobody"),
                Err(error) => result = Err(error),
            }
        }
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
