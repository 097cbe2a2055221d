// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who people are: users and groups by name, and the process at the other end of a unix socket.
//!
//! Not here: what they may do (`policy/access.rs`).

use super::socket::Socket;
use nix::errno::Errno;
use nix::sys::socket::{self, sockopt};
use nix::unistd::{Group, Uid, User};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Groups looked at of one peer, at most: what the kernel lets a process have (NGROUPS_MAX).
const GROUPS: usize = 65_536;

/// The process at the other end, as it was when it connected (SO_PEERCRED, unix(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    /// Its own group first, then those it is also in.
    pub groups: Vec<u32>,
}

/// Who is at the other end of a unix socket.
///
/// # Errors
/// The system's: it is no unix socket.
pub fn peer(socket: &Socket) -> io::Result<Peer> {
    let credentials = socket::getsockopt(&socket.as_fd(), sockopt::PeerCredentials)?;
    let mut groups = vec![credentials.gid()];
    groups.extend(other_groups(socket)?);
    Ok(Peer { pid: credentials.pid(), uid: credentials.uid(), groups })
}

/// The supplementary groups of the process at the other end (SO_PEERGROUPS).
fn other_groups(socket: &Socket) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let room = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(room).unwrap_or(0);
        // SAFETY: the pointer is valid for `length` bytes, which is all that getsockopt(2) writes.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let told = usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>();
        match Errno::result(result) {
            Ok(_) => {
                groups.truncate(told);
                return Ok(groups);
            }
            // There are more than fit; `length` says how many.
            Err(Errno::ERANGE) if told > groups.len() && told <= GROUPS => groups.resize(told, 0),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The number of the user we act as.
pub fn our_user() -> u32 {
    Uid::effective().as_raw()
}

/// The number of the user called `name`. May ask a server on the network.
pub fn user_number(name: &str) -> Option<u32> {
    Some(User::from_name(name).ok()??.uid.as_raw())
}

/// The number of the group called `name`. May ask a server on the network.
pub fn group_number(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

/// The name of a user, if it has one.
pub fn user_name(number: u32) -> Option<String> {
    Some(User::from_uid(Uid::from_raw(number)).ok()??.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::address::Address;
    use crate::sys::listening::Listening;

    #[test]
    fn the_peer_of_a_unix_socket_is_known_and_that_of_a_tcp_socket_is_nobody_in_particular() {
        let directory = tempfile::tempdir().unwrap();
        let listening = Listening::bind(&Address::Unix(directory.path().join("s")), false).unwrap();
        let (_client, _) = Socket::connect(&listening.address).unwrap();
        let (server, _) = listening.accept().unwrap();
        let peer = peer(&server).unwrap();
        assert_eq!((peer.uid, u32::try_from(peer.pid).unwrap()), (our_user(), std::process::id()));
        let ours: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(peer.groups[0], nix::unistd::getegid().as_raw());
        assert_eq!(&peer.groups[1..], &ours[..]);
    }

    #[test]
    fn root_has_its_numbers_and_nobody_knows_a_name_that_is_none() {
        assert_eq!((user_number("root"), group_number("root")), (Some(0), Some(0)));
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!((user_number("no such user"), group_number("no such group")), (None, None));
    }
}
