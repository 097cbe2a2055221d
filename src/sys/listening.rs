// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bound, listening socket: how it is bound, told what, whom it lets connect, and what failures of accept mean.
//!
//! Accepted sockets inherit what the listening one was told (tcp(7), and the kernel's sk_clone_lock()), so no option costs a
//! call for each connection. Every call is non-blocking and keeps the kernel's own error. Not here: what becomes of who is
//! accepted (`daemon/listener.rs`).

use super::address::Address;
use super::options::{Family, SocketOptions, Unset, open_mptcp_or_tcp};
use super::socket::{Socket, from_kernel, kernel_address, length_of, open, set_int};
pub use super::socket_file::Permit;
use super::socket_file::SocketFile;
use nix::errno::Errno;
use nix::sys::socket::{self, SockaddrLike, SockaddrStorage, sockopt};
use nix::sys::stat::{self, Mode};
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Connections the kernel may hold ready for us; it lowers this to net.core.somaxconn.
pub const BACKLOG: u32 = 4096;

/// Fast Open connections that may wait for the rest of their handshake (tcp(7), TCP_FASTOPEN).
const FAST_OPEN_QUEUE: libc::c_int = 256;

/// What a listening socket is told. What is not said is as ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    pub socket: SocketOptions,
    /// Connections that may wait for us.
    pub backlog: Option<u32>,
    /// IPV6_V6ONLY; else an unspecified address serves both families.
    pub v6only: Option<bool>,
    /// IP_FREEBIND: the address may be one that nobody has yet.
    pub freebind: bool,
    /// SO_REUSEPORT: other processes of the same user may listen there too.
    pub reuse_port: bool,
    /// Of a unix socket with a path.
    pub permit: Option<Permit>,
}

impl ListenOptions {
    /// Whether a socket that was told `self` can become one that was told `new` without being bound anew.
    pub fn adapts_to(&self, new: &Self) -> bool {
        let (old_socket, new_socket) = (&self.socket, &new.socket);
        // What was said and is said no more would have to become what the system has, which nobody remembers.
        fn kept<T>(old: Option<&T>, new: Option<&T>) -> bool {
            old.is_none() || new.is_some()
        }
        self.v6only == new.v6only
            && self.freebind == new.freebind
            && self.reuse_port == new.reuse_port
            && old_socket.mptcp == new_socket.mptcp
            && old_socket.fast_open == new_socket.fast_open
            && old_socket.interface == new_socket.interface
            && kept(old_socket.keepalive.as_ref(), new_socket.keepalive.as_ref())
            && kept(old_socket.user_timeout.as_ref(), new_socket.user_timeout.as_ref())
            && kept(old_socket.congestion.as_ref(), new_socket.congestion.as_ref())
            && kept(old_socket.tos.as_ref(), new_socket.tos.as_ref())
            && kept(old_socket.mark.as_ref(), new_socket.mark.as_ref())
            && kept(old_socket.receive_buffer.as_ref(), new_socket.receive_buffer.as_ref())
            && kept(old_socket.send_buffer.as_ref(), new_socket.send_buffer.as_ref())
            && kept(self.permit.as_ref(), new.permit.as_ref())
    }
}

/// A bound, listening socket. A unix path is removed when it goes, if it is still ours.
#[derive(Debug)]
pub struct Listening {
    fd: OwnedFd,
    /// The address in effect: with the port the kernel chose, where 0 was asked for.
    pub address: Address,
    file: Option<SocketFile>,
}

impl Listening {
    /// Binds and listens. `defer`: the client is known to speak first, so the kernel may hold a connection back
    /// until its first byte is there (TCP_DEFER_ACCEPT); a silent one comes after a second all the same.
    pub fn bind(address: &Address, defer: bool) -> io::Result<Self> {
        Self::bind_with(address, defer, &ListenOptions::default())
    }

    /// As [`Self::bind`], with a socket that was told `options`.
    ///
    /// # Errors
    /// The system's; with the name of the option that it refuses, if it is one.
    pub fn bind_with(address: &Address, defer: bool, options: &ListenOptions) -> io::Result<Self> {
        if let (Address::Unix(path), Some(permit)) = (address, options.permit) {
            return Self::bind_guarded_with(path, permit, options);
        }
        let bound = Self::bind_beside(address, defer, options, options.reuse_port)?;
        listen(&bound.fd, options.backlog)?;
        Ok(bound)
    }

    /// Binds, and does not listen yet; `beside`: where somebody listens who lets us.
    fn bind_beside(
        address: &Address,
        defer: bool,
        options: &ListenOptions,
        beside: bool,
    ) -> io::Result<Self> {
        if let Address::Unix(path) = address {
            remove_stale(path)?;
        }
        let family = Family::of(address);
        let fd = if options.socket.mptcp && family != Family::Unix {
            // A kernel without it was told of when the configuration was loaded.
            open_mptcp_or_tcp(address)?.0
        } else {
            open(address)?
        };
        socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        if let Address::Inet(inet) = address {
            // Accepted sockets inherit it, which spares a call for each.
            socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
            if inet.is_ipv6() {
                let only_v6 = options.v6only.unwrap_or_else(|| !inet.ip().is_unspecified());
                socket::setsockopt(&fd, sockopt::Ipv6V6Only, &only_v6)?;
            }
            let deferred = set_defer_accept(&fd, defer);
            // An economy that multipath TCP does not have in every kernel.
            if !options.socket.mptcp {
                deferred?;
            }
            if options.freebind {
                named("freebind", set_int(&fd, libc::IPPROTO_IP, libc::IP_FREEBIND, 1))?;
            }
            if beside {
                let set = socket::setsockopt(&fd, sockopt::ReusePort, &true);
                named("reuse_port", set.map_err(io::Error::from))?;
            }
        }
        tell(&fd, family, &options.socket)?;
        socket::bind(fd.as_raw_fd(), &*kernel_address(address)?)?;
        let address = match address {
            Address::Inet(_) => from_kernel(&socket::getsockname::<SockaddrStorage>(fd.as_raw_fd())?),
            other => other.clone(),
        };
        let file = match &address {
            Address::Unix(path) => Some(SocketFile::made(path)?),
            _ => None,
        };
        Ok(Self { fd, address, file })
    }

    /// Another socket at the address of this one, for what cannot be changed while it is bound. It is to [take
    /// over](Self::take_over); until then nobody comes to it, and without that nothing has changed.
    ///
    /// # Errors
    /// As [`Self::bind_with`]; of a unix socket, which has one owner at a time.
    pub fn bind_anew(&self, defer: bool, options: &ListenOptions) -> io::Result<Self> {
        if !matches!(self.address, Address::Inet(_)) {
            return Err(io::Error::other("options of a unix socket are taken back by a restart only"));
        }
        let before = socket::getsockopt(&self.fd, sockopt::ReusePort)?;
        socket::setsockopt(&self.fd, sockopt::ReusePort, &true)?;
        let bound = Self::bind_beside(&self.address, defer, options, true);
        socket::setsockopt(&self.fd, sockopt::ReusePort, &before)?;
        bound
    }

    /// Listens beside `old`, which was here before: from now on clients come to either, and to this one alone when that goes.
    ///
    /// # Errors
    /// The system's; then nothing has changed.
    pub fn take_over(&self, old: &Self, options: &ListenOptions) -> io::Result<()> {
        if matches!(self.address, Address::Inet(_)) {
            socket::setsockopt(&old.fd, sockopt::ReusePort, &true)?;
        }
        listen(&self.fd, options.backlog)?;
        // Of who binds later; those that are bound know each other.
        Ok(socket::setsockopt(&self.fd, sockopt::ReusePort, &options.reuse_port)?)
    }

    /// Tells a socket that listens already. Connections that it has accepted keep what they have.
    ///
    /// # Errors
    /// As [`Self::bind_with`].
    pub fn adapt(&self, options: &ListenOptions) -> io::Result<()> {
        tell_common(&self.fd, Family::of(&self.address), &options.socket)?;
        listen(&self.fd, options.backlog)?;
        options.permit.map_or(Ok(()), |permit| self.guard(permit))
    }

    /// Binds and listens on `path`, where only those may connect whom `permit` lets, from the first moment on.
    ///
    /// The kernel gives the new file the permissions that the socket itself has (unix_bind() in net/unix/af_unix.c), so it
    /// never exists with others; umask(2) would be every thread's, and another one may be making a log file.
    ///
    /// # Errors
    /// The system's: for a group, who is neither root nor in it is refused.
    pub fn bind_guarded(path: &Path, permit: Permit) -> io::Result<Self> {
        Self::bind_guarded_with(path, permit, &ListenOptions::default())
    }

    fn bind_guarded_with(path: &Path, permit: Permit, options: &ListenOptions) -> io::Result<Self> {
        remove_stale(path)?;
        let address = Address::Unix(path.to_owned());
        let fd = open(&address)?;
        tell(&fd, Family::Unix, &options.socket)?;
        stat::fchmod(&fd, Mode::empty())?;
        socket::bind(fd.as_raw_fd(), &*kernel_address(&address)?)?;
        let file = Some(SocketFile::made(path)?);
        // From here on the file goes with it if something fails.
        let listening = Self { fd, address, file };
        listening.guard(permit)?;
        listen(&listening.fd, options.backlog)?;
        Ok(listening)
    }

    /// Lets others connect to a socket that has a path than so far.
    ///
    /// # Errors
    /// As [`Self::bind_guarded`].
    pub fn guard(&self, permit: Permit) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.guard(permit))
    }

    /// The file of a unix socket that has a path.
    pub fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// One connection that waits, with its peer's address.
    pub fn accept(&self) -> io::Result<(Socket, Address)> {
        // SAFETY: sockaddr_storage is plain old data for which all zeroes is a valid value (AF_UNSPEC).
        let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let mut length = length_of(&storage);
        // SAFETY: pointer and length describe `storage`, which outlives the call; accept4(2) writes no further.
        let fd = unsafe {
            libc::accept4(
                self.fd.as_raw_fd(),
                (&raw mut storage).cast(),
                &raw mut length,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: accept4 has just made this descriptor and nobody else knows it.
        let socket = Socket::from_fd(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: the kernel filled the first `length` bytes with an address of the family it names.
        let peer = unsafe { SockaddrStorage::from_raw((&raw const storage).cast(), Some(length)) };
        Ok((socket, peer.as_ref().map_or(Address::Unnamed, from_kernel)))
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// Removes the socket file of a process that died: one nobody listens on. Anything else is left alone, and binding
/// to it fails with the kernel's own word.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match Socket::connect(&Address::Unix(path.to_owned())) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// Nobody waits.
    Empty,
    /// That client is gone; the next one may not be (accept(2) lists the network's errors as such).
    Client,
    /// The system has no descriptor or memory to give.
    System,
}

/// Sorts the errors of accept(2).
pub fn accept_error(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => AcceptError::Empty,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptError::System,
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::ETIMEDOUT,
        ) => AcceptError::Client,
        _ => AcceptError::System,
    }
}

/// Holds new connections of a listening socket back until the client speaks, or no more.
///
/// # Errors
/// The system's.
pub fn defer_accept(listening: &Listening, defer: bool) -> io::Result<()> {
    match listening.address {
        Address::Inet(_) => set_defer_accept(&listening.fd, defer),
        _ => Ok(()),
    }
}

/// Seconds after which a silent client is handed over although it said nothing (tcp(7) TCP_DEFER_ACCEPT).
const DEFER_SECONDS: libc::c_int = 1;

fn set_defer_accept(fd: &OwnedFd, defer: bool) -> io::Result<()> {
    let seconds = if defer { DEFER_SECONDS } else { 0 };
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Begins to listen; on a socket that does so already, changes the length of the queue.
fn listen(fd: &OwnedFd, backlog: Option<u32>) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog.unwrap_or(BACKLOG)).unwrap_or(libc::c_int::MAX);
    // SAFETY: listen(2) takes numbers only.
    let result = unsafe { libc::listen(fd.as_raw_fd(), backlog) };
    Ok(Errno::result(result).map(drop)?)
}

/// Tells a socket that is not bound yet what both sides' sockets can be told, and that it takes part in Fast Open.
fn tell(fd: &OwnedFd, family: Family, options: &SocketOptions) -> io::Result<()> {
    tell_common(fd, family, options)?;
    if options.fast_open && family != Family::Unix {
        named("fast_open", set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE))?;
    }
    Ok(())
}

fn tell_common(fd: &OwnedFd, family: Family, options: &SocketOptions) -> io::Result<()> {
    let mut refused = None;
    options.apply(fd, family, &mut |unset| refused = Some(unset));
    refused.map_or(Ok(()), |unset| Err(unset.into()))
}

fn named(option: &'static str, result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| Unset { option, error }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::os::unix::fs::PermissionsExt;

    fn local(port: u16) -> Address {
        Address::Inet(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn tells_the_port_the_kernel_chose() {
        let listening = Listening::bind(&local(0), false).unwrap();
        assert!(matches!(listening.address, Address::Inet(inet) if inet.port() != 0));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Unix(directory.path().join("s"));
        let first = Listening::bind(&address, false).unwrap();
        assert_eq!(Listening::bind(&address, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // As after kill -9: the file stays behind, nobody listens.
        let mut first = first;
        first.file = None;
        drop(first);
        let second = Listening::bind(&address, false).unwrap();
        drop(second);
        assert!(!directory.path().join("s").exists());
    }

    #[test]
    fn a_guarded_socket_has_its_mode_whatever_the_umask_and_loses_it_on_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for wanted in [0o600, 0o660, 0o666, 0o000] {
            let listening =
                Listening::bind_guarded(&path, Permit { mode: wanted, owner: None, group: None }).unwrap();
            assert_eq!(mode(), wanted);
            listening.guard(Permit { mode: 0o640, owner: None, group: None }).unwrap();
            assert_eq!(mode(), 0o640);
            let second =
                Listening::bind_guarded(&path, Permit { mode: 0o600, owner: None, group: None }).unwrap_err();
            assert_eq!(second.kind(), io::ErrorKind::AddrInUse, "somebody listens there");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_is_bound_anew_while_the_old_one_listens() {
        let old = Listening::bind(&local(0), false).unwrap();
        let (_waiting, _) = Socket::connect(&old.address).unwrap();
        let options = ListenOptions { freebind: true, ..ListenOptions::default() };
        let new = old.bind_anew(false, &options).unwrap();
        assert_eq!(new.address, old.address);
        assert_eq!(Listening::bind(&old.address, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        new.take_over(&old, &options).unwrap();
        old.accept().unwrap();
        drop(old);
        let (_next, _) = Socket::connect(&new.address).unwrap();
        new.accept().unwrap();
        let stranger = Listening::bind(&new.address, false).unwrap_err();
        assert_eq!(stranger.kind(), io::ErrorKind::AddrInUse, "it is nobody else's");
    }

    #[test]
    fn two_sockets_share_an_address_only_if_both_say_so() {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let one = Listening::bind_with(&local(0), false, &options).unwrap();
        let _other = Listening::bind_with(&one.address, false, &options).unwrap();
        assert_eq!(Listening::bind(&one.address, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_said_no_more_needs_a_new_socket() {
        let said = |tos| ListenOptions {
            socket: SocketOptions { tos, ..SocketOptions::default() },
            ..ListenOptions::default()
        };
        assert!(said(None).adapts_to(&said(Some(8))) && said(Some(8)).adapts_to(&said(Some(16))));
        assert!(!said(Some(8)).adapts_to(&said(None)));
        let backlog = ListenOptions { backlog: Some(7), ..ListenOptions::default() };
        assert!(backlog.adapts_to(&ListenOptions::default()));
        let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        assert!(!shared.adapts_to(&ListenOptions::default()));
    }

    #[test]
    fn a_refused_option_is_named() {
        let socket = SocketOptions { interface: Some("no-such-if0".into()), ..SocketOptions::default() };
        let options = ListenOptions { socket, ..ListenOptions::default() };
        let error = Listening::bind_with(&local(0), false, &options).unwrap_err();
        assert!(error.to_string().starts_with("`interface`: "), "{error}");
    }
}
