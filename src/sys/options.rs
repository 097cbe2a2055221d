// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a socket can be told by the operator, on either side (socket(7), ip(7), ipv6(7), tcp(7)).
//!
//! What is not said is left as the system has it: nothing here has a default of its own. An option that cannot be set is told
//! by name ([`Unset`]), with what to do about it. Not here: what belongs to listening (listening.rs) or to where a connection
//! comes from (outgoing.rs).

use super::address::Address;
use super::socket::set_int;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, sockopt};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The longest name of an interface: IFNAMSIZ with its NUL (netdevice(7)).
pub const INTERFACE_MAX: usize = 15;

/// The longest name of a congestion control algorithm: TCP_CA_NAME_MAX with its NUL (linux/tcp.h).
pub const CONGESTION_MAX: usize = 15;

/// Options of a socket, whoever opened it. Those of TCP and IP mean nothing to a unix socket and are left out there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SocketOptions {
    /// SO_KEEPALIVE and what goes with it.
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT.
    pub user_timeout: Option<Duration>,
    /// TCP_CONGESTION.
    pub congestion: Option<Box<str>>,
    /// IP_TOS and IPV6_TCLASS: the whole byte.
    pub tos: Option<u8>,
    /// SO_MARK.
    pub mark: Option<u32>,
    /// SO_BINDTODEVICE.
    pub interface: Option<Box<str>>,
    /// SO_RCVBUF and SO_SNDBUF, in bytes; the kernel doubles them and keeps them within net.core.rmem_max and wmem_max.
    pub receive_buffer: Option<u32>,
    pub send_buffer: Option<u32>,
    /// IPPROTO_MPTCP instead of TCP, where the kernel has it.
    pub mptcp: bool,
    /// TCP_FASTOPEN, TCP_FASTOPEN_CONNECT.
    pub fast_open: bool,
}

/// When a silent peer is asked whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keepalive {
    Off,
    /// What is not said is the system's (net.ipv4.tcp_keepalive_*).
    On {
        idle: Option<u32>,
        interval: Option<u32>,
        count: Option<u32>,
    },
}

/// An option that could not be set, by its name in the configuration.
#[derive(Debug)]
pub struct Unset {
    pub option: &'static str,
    pub error: io::Error,
}

impl Unset {
    /// Whether a connection without it would not be the one that is wanted: it says where packets go.
    pub fn is_fatal(&self) -> bool {
        matches!(self.option, "source" | "interface" | "mark")
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match (self.option, self.error.raw_os_error()?) {
            ("mark", libc::EPERM) => Some("it needs the capability CAP_NET_ADMIN"),
            ("interface", libc::EPERM) => Some("it needs the capability CAP_NET_RAW"),
            ("interface", libc::ENODEV) => {
                Some("there is no such interface; `ip link` lists those there are")
            }
            ("source", libc::EPERM) => Some("\"client\" needs the capability CAP_NET_ADMIN or CAP_NET_RAW"),
            ("source", libc::EADDRNOTAVAIL) => Some("no interface of this machine has that address"),
            ("congestion", libc::ENOENT) => {
                Some("net.ipv4.tcp_available_congestion_control lists those there are")
            }
            ("congestion", libc::EPERM) => Some(
                "it is not among net.ipv4.tcp_allowed_congestion_control, which CAP_NET_ADMIN may pass over",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.option, self.error)?;
        self.help().map_or(Ok(()), |help| write!(f, ": {help}"))
    }
}

impl std::error::Error for Unset {}

impl From<Unset> for io::Error {
    fn from(unset: Unset) -> Self {
        Self::new(unset.error.kind(), unset)
    }
}

/// Which options a socket of that address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Unix,
}

impl Family {
    pub(super) fn of(address: &Address) -> Self {
        match address {
            Address::Inet(SocketAddr::V4(_)) => Self::V4,
            Address::Inet(SocketAddr::V6(_)) => Self::V6,
            Address::Unix(_) | Address::Abstract(_) | Address::Unnamed => Self::Unix,
        }
    }
}

impl SocketOptions {
    /// Whether there is one that only IP or TCP has; its name.
    pub fn inet_only(&self) -> Option<&'static str> {
        [
            (self.keepalive.is_some(), "keepalive"),
            (self.user_timeout.is_some(), "user_timeout"),
            (self.congestion.is_some(), "congestion"),
            (self.tos.is_some(), "tos"),
            (self.mark.is_some(), "mark"),
            (self.interface.is_some(), "interface"),
            (self.mptcp, "mptcp"),
            (self.fast_open, "fast_open"),
        ]
        .into_iter()
        .find_map(|(set, name)| set.then_some(name))
    }

    /// Sets them all on a socket that is not connected yet; `unset` hears of each that cannot be.
    pub(super) fn apply(&self, fd: &OwnedFd, family: Family, unset: &mut dyn FnMut(Unset)) {
        let mut done = |option, result: io::Result<()>| {
            if let Err(error) = result {
                unset(Unset { option, error });
            }
        };
        // In this order: a buffer's size decides on the window that is offered when the connection begins.
        if let Some(bytes) = self.receive_buffer {
            done("receive_buffer", set_int(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, int(bytes)));
        }
        if let Some(bytes) = self.send_buffer {
            done("send_buffer", set_int(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, int(bytes)));
        }
        if family == Family::Unix {
            return;
        }
        if let Some(interface) = &self.interface {
            let name = OsString::from(&**interface);
            let result = socket::setsockopt(fd, sockopt::BindToDevice, &name);
            done("interface", result.map_err(io::Error::from));
        }
        if let Some(mark) = self.mark {
            done("mark", socket::setsockopt(fd, sockopt::Mark, &mark).map_err(io::Error::from));
        }
        if let Some(tos) = self.tos {
            done("tos", set_int(fd, libc::IPPROTO_IP, libc::IP_TOS, tos.into()));
            if family == Family::V6 {
                done("tos", set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, tos.into()));
            }
        }
        if let Some(name) = &self.congestion {
            let name = OsString::from(&**name);
            let result = socket::setsockopt(fd, sockopt::TcpCongestion, &name);
            done("congestion", result.map_err(io::Error::from));
        }
        if let Some(timeout) = self.user_timeout {
            let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
            let set = set_int(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, int(milliseconds));
            done("user_timeout", set);
        }
        if let Some(keepalive) = self.keepalive {
            done("keepalive", keepalive.apply(fd));
        }
    }

    /// Tries what the system may refuse, on a socket of its own; what it refuses.
    pub fn probe(&self, transparent: bool) -> Vec<Unset> {
        let mut refused = Vec::new();
        let Ok(fd) = super::socket::open(&Address::Inet(SocketAddr::from(([127, 0, 0, 1], 0)))) else {
            return refused;
        };
        self.apply(&fd, Family::V4, &mut |unset| refused.push(unset));
        if transparent {
            if let Err(error) = set_transparent(&fd, Family::V4) {
                refused.push(Unset { option: "source", error });
            }
        }
        if self.mptcp {
            if let Err(error) = open_mptcp(Family::V4) {
                refused.push(Unset { option: "mptcp", error });
            }
        }
        refused
    }
}

impl Keepalive {
    fn apply(self, fd: &OwnedFd) -> io::Result<()> {
        let Self::On { idle, interval, count } = self else {
            return Ok(socket::setsockopt(fd, sockopt::KeepAlive, &false)?);
        };
        for (name, value) in
            [(libc::TCP_KEEPIDLE, idle), (libc::TCP_KEEPINTVL, interval), (libc::TCP_KEEPCNT, count)]
        {
            if let Some(value) = value {
                set_int(fd, libc::IPPROTO_TCP, name, int(value))?;
            }
        }
        Ok(socket::setsockopt(fd, sockopt::KeepAlive, &true)?)
    }
}

/// Opens a socket for multipath TCP (RFC 8684), or one for TCP where the kernel has none; why, in that case.
pub(super) fn open_mptcp_or_tcp(address: &Address) -> io::Result<(OwnedFd, Option<Unset>)> {
    match open_mptcp(Family::of(address)) {
        Ok(fd) => {
            socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
            Ok((fd, None))
        }
        Err(error) => Ok((super::socket::open(address)?, Some(Unset { option: "mptcp", error }))),
    }
}

fn open_mptcp(family: Family) -> io::Result<OwnedFd> {
    let family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
        Family::Unix => return Err(io::ErrorKind::Unsupported.into()),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes numbers only.
    let fd =
        unsafe { libc::socket(family as libc::c_int, libc::SOCK_STREAM | flags.bits(), libc::IPPROTO_MPTCP) };
    if Errno::result(fd).is_err() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: socket(2) has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) })
}

/// Lets the socket have an address that is none of ours (ip(7), IP_TRANSPARENT).
pub(super) fn set_transparent(fd: &OwnedFd, family: Family) -> io::Result<()> {
    match family {
        Family::V6 => set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
        Family::V4 | Family::Unix => set_int(fd, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
    }
}

/// Whether the kernel takes part in Fast Open as a server (net.ipv4.tcp_fastopen, ip-sysctl); unknown counts as yes.
pub fn serves_fast_open() -> bool {
    const SERVER: u32 = 2;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fastopen").unwrap_or_default();
    text.trim().parse::<u32>().map_or(true, |bits| bits & SERVER != 0)
}

/// Whether two addresses are of one family.
pub fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

/// Every address of that family.
pub fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// As the kernel takes it; what does not fit is as much as there is.
fn int(value: u32) -> libc::c_int {
    libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket::open;

    fn socket(v6: bool) -> (OwnedFd, Family) {
        let ip: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let address = Address::Inet(SocketAddr::new(ip, 0));
        (open(&address).unwrap(), Family::of(&address))
    }

    fn int_of(fd: &OwnedFd, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let (mut value, mut length): (libc::c_int, libc::socklen_t) = (0, 4);
        // SAFETY: pointer and length describe `value`.
        let result = unsafe {
            libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
        };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn what_is_set_is_what_the_kernel_has() {
        let options = SocketOptions {
            keepalive: Some(Keepalive::On { idle: Some(61), interval: Some(7), count: Some(5) }),
            user_timeout: Some(Duration::from_millis(12_345)),
            congestion: Some("reno".into()),
            tos: Some(0x48),
            receive_buffer: Some(20_000),
            send_buffer: Some(30_000),
            ..SocketOptions::default()
        };
        for v6 in [false, true] {
            let (fd, family) = socket(v6);
            options.apply(&fd, family, &mut |unset| panic!("{unset}"));
            for (level, name, expected) in [
                (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
                (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 61),
                (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 7),
                (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 5),
                (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 12_345),
                (libc::IPPROTO_IP, libc::IP_TOS, 0x48),
                (libc::SOL_SOCKET, libc::SO_RCVBUF, 40_000),
                (libc::SOL_SOCKET, libc::SO_SNDBUF, 60_000),
            ] {
                assert_eq!(int_of(&fd, level, name), expected, "level {level} option {name}");
            }
            if v6 {
                assert_eq!(int_of(&fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS), 0x48);
            }
            assert_eq!(socket::getsockopt(&fd, sockopt::TcpCongestion).unwrap().to_str(), Some("reno"));
        }
        let (fd, family) = socket(false);
        let off = SocketOptions { keepalive: Some(Keepalive::Off), ..SocketOptions::default() };
        off.apply(&fd, family, &mut |unset| panic!("{unset}"));
        assert_eq!(int_of(&fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);
    }

    #[test]
    fn what_cannot_be_set_is_told_by_name_with_what_to_do() {
        let options = SocketOptions {
            congestion: Some("no-such".into()),
            interface: Some("no-such-if0".into()),
            ..SocketOptions::default()
        };
        let refused = options.probe(false);
        let told: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(refused.iter().map(Unset::is_fatal).collect::<Vec<_>>(), [true, false]);
        assert!(told[0].starts_with("`interface`: ") && told[0].contains("`ip link`"), "{told:?}");
        assert!(told[1].contains("tcp_available_congestion_control"), "{told:?}");
        let error =
            io::Error::from(Unset { option: "mark", error: io::Error::from_raw_os_error(libc::EPERM) });
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().ends_with("it needs the capability CAP_NET_ADMIN"), "{error}");
    }

    #[test]
    fn a_unix_socket_is_told_of_its_buffers_only() {
        let address = Address::Abstract(b"x".to_vec());
        let fd = open(&address).unwrap();
        let options = SocketOptions {
            congestion: Some("no-such".into()),
            send_buffer: Some(10_000),
            ..SocketOptions::default()
        };
        options.apply(&fd, Family::of(&address), &mut |unset| panic!("{unset}"));
        assert_eq!(int_of(&fd, libc::SOL_SOCKET, libc::SO_SNDBUF), 20_000);
        assert_eq!(options.inet_only(), Some("congestion"));
    }
}
