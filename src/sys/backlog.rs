// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many connections wait in the kernel to be accepted, told by address: sock_diag(7), which answers without the
//! listening descriptor and so on any thread.
//!
//! The kernel is asked for all listening sockets of a family at once: IPv4, IPv6 and unix each cost one dump, whatever the
//! number of addresses asked for, and none where no address is of that family. Nothing waits: the kernel answers within
//! the call. A reply is read as bytes, each length in it is checked, and what does not fit is left out; a kernel without
//! sock_diag, or a sandbox that forbids it, makes every answer "unknown".
//!
//! Not here: who asks, and how often (`control/collect.rs`).

use super::address::Address;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Of a listening socket: connections that wait to be accepted, and the most it holds (`listen(2)`, within
/// net.core.somaxconn).
pub type Waiting = (u32, u32);

/// What waits at the listening socket of that address; `None` if there is none, or the kernel does not tell.
pub fn backlog(address: &Address) -> Option<Waiting> {
    backlogs(std::slice::from_ref(address)).pop().flatten()
}

/// The same for several addresses, in their order.
pub fn backlogs(addresses: &[Address]) -> Vec<Option<Waiting>> {
    let any = |wanted: fn(&Address) -> bool| addresses.iter().any(wanted);
    let v4 = if any(|address| matches!(address, Address::Inet(SocketAddr::V4(_)))) {
        listening_inet(AF_INET)
    } else {
        Vec::new()
    };
    let v6 = if any(|address| matches!(address, Address::Inet(SocketAddr::V6(_)))) {
        listening_inet(AF_INET6)
    } else {
        Vec::new()
    };
    let unix = if any(|address| matches!(address, Address::Unix(_) | Address::Abstract(_))) {
        listening_unix()
    } else {
        Vec::new()
    };
    let find = |address: &Address| match address {
        Address::Inet(inet) if inet.is_ipv4() => find_inet(&v4, inet),
        Address::Inet(inet) => find_inet(&v6, inet),
        Address::Unix(_) | Address::Abstract(_) => find_unix(&unix, address),
        Address::Unnamed => None,
    };
    addresses.iter().map(find).collect()
}

/// A listening TCP socket.
#[derive(Debug, PartialEq, Eq)]
struct Inet {
    ip: IpAddr,
    port: u16,
    /// The interface it is bound to (link-local addresses are); 0: any.
    interface: u32,
    waiting: Waiting,
}

/// A listening unix socket.
#[derive(Debug, PartialEq, Eq)]
struct Unix {
    address: Address,
    /// Of its file; 0: it has none.
    inode: u32,
    waiting: Waiting,
}

fn find_inet(all: &[Inet], address: &SocketAddr) -> Option<Waiting> {
    let scope = match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    let is_it = |one: &&Inet| {
        one.ip == address.ip() && one.port == address.port() && (scope == 0 || scope == one.interface)
    };
    all.iter().find(is_it).map(|one| one.waiting)
}

/// Of several sockets that were bound to one path, the one to which the path leads now: an earlier one goes on listening
/// when its file is removed.
fn find_unix(all: &[Unix], address: &Address) -> Option<Waiting> {
    let mut same = all.iter().filter(|one| one.address == *address);
    let (first, second) = (same.next()?, same.next());
    let (Some(second), Address::Unix(path)) = (second, address) else { return Some(first.waiting) };
    let inode = fs::symlink_metadata(path).ok()?.ino();
    let mut same = [first, second].into_iter().chain(same);
    // The kernel tells the lower half of the number.
    same.find(|one| u64::from(one.inode) == inode & u64::from(u32::MAX)).map(|one| one.waiting)
}

// linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h; the libc crate does not have them.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCP_LISTEN: u8 = 10;
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;

// linux/netlink.h, at the width they have in a header.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The two high bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;

const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// The size of `struct inet_diag_msg`, and in it: where the source port, the source address, the interface and the two
/// queues stand. The receive queue of a listening socket is what waits, the send queue the most that may.
const INET_MESSAGE: usize = 72;
const INET_PORT: usize = 4;
const INET_SOURCE: usize = 8;
const INET_INTERFACE: usize = 40;
const INET_WAITING: usize = 56;
const INET_MOST: usize = 60;
/// The size of `struct unix_diag_msg`, behind which the attributes stand.
const UNIX_MESSAGE: usize = 16;

/// What one read takes: the kernel puts no more into one datagram of a dump.
const DATAGRAM: usize = 32 << 10;
/// Datagrams of one dump: some sixty thousand listening sockets. What is beyond stays unknown.
const DATAGRAMS: usize = 256;

/// All listening TCP sockets of a family in our network namespace; none where the kernel does not tell.
fn listening_inet(family: u8) -> Vec<Inet> {
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, and an identity that is not looked at.
    let mut request = vec![family, IPPROTO_TCP, 0, 0];
    request.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    request.extend([0; 48]);
    let mut found = Vec::new();
    dump(&request, |message| found.extend(read_inet(message)));
    found
}

/// All listening unix sockets of our network namespace.
fn listening_unix() -> Vec<Unix> {
    // struct unix_diag_req: family, protocol, padding, states, inode, what to show, cookie.
    let mut request = vec![AF_UNIX, 0, 0, 0];
    request.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend((UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN).to_ne_bytes());
    request.extend([0; 8]);
    let mut found = Vec::new();
    dump(&request, |message| found.extend(read_unix(message)));
    found
}

/// `struct inet_diag_msg` of a listening socket.
fn read_inet(message: &[u8]) -> Option<Inet> {
    let message: &[u8; INET_MESSAGE] = message.first_chunk()?;
    let ip = match message[0] {
        AF_INET => IpAddr::from(array::<4>(message, INET_SOURCE)?),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(array::<16>(message, INET_SOURCE)?)),
        _ => return None,
    };
    (message[1] == TCP_LISTEN).then_some(())?;
    Some(Inet {
        ip,
        port: u16::from_be_bytes(array(message, INET_PORT)?),
        interface: number(message, INET_INTERFACE)?,
        waiting: (number(message, INET_WAITING)?, number(message, INET_MOST)?),
    })
}

/// `struct unix_diag_msg` with its attributes; a socket without a name is nobody's listener.
fn read_unix(message: &[u8]) -> Option<Unix> {
    let (head, mut rest) = message.split_at_checked(UNIX_MESSAGE)?;
    (head[0] == AF_UNIX && head[2] == TCP_LISTEN).then_some(())?;
    let (mut address, mut inode, mut waiting) = (None, 0, None);
    while let Some((kind, value, next)) = attribute(rest) {
        match kind {
            UNIX_DIAG_NAME => address = Some(Address::from_unix_name(value)),
            UNIX_DIAG_VFS => inode = number(value, 0)?,
            UNIX_DIAG_RQLEN => waiting = Some((number(value, 0)?, number(value, 4)?)),
            _ => {}
        }
        rest = next;
    }
    Some(Unix { address: address?, inode, waiting: waiting? })
}

/// The first of `bytes`' attributes (`struct nlattr`: length with this head, type, value, padding to 4), and the rest.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
    let kind = u16::from_ne_bytes(array(bytes, 2)?) & NLA_TYPE_MASK;
    let value = bytes.get(4..length)?;
    Some((kind, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Asks the kernel for a dump and calls `each` for the payload of every message; ends early where it cannot go on.
fn dump(payload: &[u8], mut each: impl FnMut(&[u8])) {
    let _what_there_is_has_been_seen = try_dump(payload, &mut each);
}

fn try_dump(payload: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    let mut request = Vec::with_capacity(HEADER + payload.len());
    request.extend(u32::try_from(HEADER + payload.len()).unwrap_or(0).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(payload);
    socket::sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut datagram = vec![0; DATAGRAM];
    for _ in 0..DATAGRAMS {
        let (length, from) = socket::recvfrom::<NetlinkAddr>(fd.as_raw_fd(), &mut datagram)?;
        let from_kernel = from.is_some_and(|from| from.pid() == 0);
        if from_kernel && walk(&datagram[..length], each) {
            break;
        }
    }
    Ok(())
}

/// Calls `each` for every message of a datagram; whether the dump has ended, in order or with an error.
fn walk(mut datagram: &[u8], each: &mut dyn FnMut(&[u8])) -> bool {
    while let (Some(length), Some(kind)) = (number(datagram, 0), array(datagram, 4)) {
        let Ok(length) = usize::try_from(length) else { return true };
        let Some(payload) = datagram.get(HEADER..length) else { return true };
        match u16::from_ne_bytes(kind) {
            NLMSG_DONE | NLMSG_ERROR => return true,
            SOCK_DIAG_BY_FAMILY => each(payload),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listening::Listening;
    use crate::sys::socket::Socket;
    use std::path::PathBuf;

    /// A listener of `address` with `count` connections that nobody accepts.
    fn crowded(address: &Address, count: usize) -> (Listening, Vec<Socket>) {
        let listening = Listening::bind(address, false).unwrap();
        let clients = (0..count).map(|_| Socket::connect(&listening.address).unwrap().0).collect();
        (listening, clients)
    }

    /// What waits, once it is as much as `count`: a connection is in the queue when its last segment has come.
    fn waiting(address: &Address, count: u32) -> Option<Waiting> {
        for _ in 0..1_000_000 {
            let found = backlog(address);
            if found.is_none_or(|(waiting, _)| waiting == count) {
                return found;
            }
            std::thread::yield_now();
        }
        panic!("not {count} wait at {address}, but {:?}", backlog(address));
    }

    fn somaxconn() -> u32 {
        fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap()
    }

    #[test]
    fn connections_that_wait_are_counted_in_every_family() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("tunnel-backlog-{}", std::process::id());
        let addresses = [
            Address::Inet("127.0.0.1:0".parse().unwrap()),
            Address::Inet("[::1]:0".parse().unwrap()),
            Address::Inet("[::]:0".parse().unwrap()),
            Address::Unix(directory.path().join("s")),
            Address::Abstract(name.into_bytes()),
        ];
        for (count, address) in (1..).zip(&addresses) {
            // One that listens on any address is reached by a local one, but known by its own.
            let listening = Listening::bind(address, false).unwrap();
            let target = match &listening.address {
                Address::Inet(inet) if inet.ip().is_unspecified() => {
                    Address::Inet(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), inet.port()))
                }
                other => other.clone(),
            };
            let clients: Vec<Socket> = (0..count).map(|_| Socket::connect(&target).unwrap().0).collect();
            assert_eq!(waiting(&listening.address, count), Some((count, somaxconn().min(4096))));
            listening.accept().unwrap();
            assert_eq!(waiting(&listening.address, count - 1), Some((count - 1, somaxconn().min(4096))));
            drop((listening, clients));
        }
    }

    #[test]
    fn several_are_told_in_their_order_and_strangers_are_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let any = Address::Inet("127.0.0.1:0".parse().unwrap());
        let (first, _one) = crowded(&any, 1);
        let (second, _two) = crowded(&any, 2);
        let (path, _three) = crowded(&Address::Unix(directory.path().join("s")), 3);
        for (address, count) in [(&first.address, 1), (&second.address, 2), (&path.address, 3)] {
            waiting(address, count);
        }
        let gone = Listening::bind(&any, false).unwrap().address.clone();
        let asked =
            [path.address.clone(), gone, Address::Unnamed, second.address.clone(), first.address.clone()];
        let found: Vec<Option<u32>> = backlogs(&asked).into_iter().map(|one| Some(one?.0)).collect();
        assert_eq!(found, [Some(3), None, None, Some(2), Some(1)]);
        assert_eq!(backlogs(&[]), []);
    }

    #[test]
    fn of_two_sockets_with_one_path_the_one_it_leads_to_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = Address::Unix(directory.path().join("s"));
        let (_old, _one) = crowded(&path, 1);
        fs::remove_file(directory.path().join("s")).unwrap();
        let (_new, _two) = crowded(&path, 2);
        assert_eq!(backlog(&path).unwrap().0, 2);
    }

    /// A message as the kernel writes it.
    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn inet_payload() -> Vec<u8> {
        let mut payload = vec![0; INET_MESSAGE];
        (payload[0], payload[1]) = (AF_INET, TCP_LISTEN);
        payload[INET_PORT..INET_PORT + 2].copy_from_slice(&443_u16.to_be_bytes());
        payload[INET_SOURCE..INET_SOURCE + 4].copy_from_slice(&[192, 0, 2, 1]);
        payload[INET_WAITING] = 7;
        payload[INET_MOST] = 9;
        payload
    }

    fn unix_payload() -> Vec<u8> {
        let mut payload = vec![AF_UNIX, 1, TCP_LISTEN, 0];
        payload.extend([0; 12]);
        for (kind, value) in [(UNIX_DIAG_NAME, &b"/run/s"[..]), (UNIX_DIAG_RQLEN, &[3, 0, 0, 0, 4, 0, 0, 0])]
        {
            payload.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        payload
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn messages_are_read() {
        let inet = Inet { ip: [192, 0, 2, 1].into(), port: 443, interface: 0, waiting: (7, 9) };
        assert_eq!(read_inet(&inet_payload()), Some(inet));
        let path = Address::Unix(PathBuf::from("/run/s"));
        let unix = Unix { address: path, inode: 0, waiting: (3, 4) };
        assert_eq!(read_unix(&unix_payload()), Some(unix));
        let mut connected = inet_payload();
        connected[1] = 1;
        assert_eq!(read_inet(&connected), None);
    }

    #[test]
    fn a_datagram_cut_anywhere_is_read_as_far_as_it_is_whole() {
        let whole = [message(SOCK_DIAG_BY_FAMILY, &inet_payload()), message(NLMSG_DONE, &[0; 4])].concat();
        let mut seen = 0;
        assert!(walk(&whole, &mut |_| seen += 1));
        assert_eq!(seen, 1);
        for length in 0..whole.len() {
            let mut seen = 0;
            walk(&whole[..length], &mut |payload| {
                assert_eq!(payload.len(), INET_MESSAGE);
                seen += 1;
            });
            assert_eq!(seen, usize::from(length >= HEADER + INET_MESSAGE), "at {length}");
            assert!(length >= INET_MESSAGE || read_inet(&inet_payload()[..length]).is_none());
        }
        for length in 0..unix_payload().len() {
            assert_eq!(read_unix(&unix_payload()[..length]), None, "at {length}");
        }
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for length in [0_u32, 1, 15, 17, u32::MAX] {
            let mut bytes = message(SOCK_DIAG_BY_FAMILY, &[]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(walk(&bytes, &mut |_| panic!("read beyond the end")), "{length}");
        }
        for length in [0_u16, 3, 9, u16::MAX] {
            let bytes = [&length.to_ne_bytes()[..], &[0; 6]].concat();
            assert_eq!(attribute(&bytes), None, "{length}");
        }
    }
}
