// SPDX-License-Identifier: MIT OR Apache-2.0
//! A socket on its way to a server: from which address, and told what.
//!
//! Not here: which of several addresses or ports is tried (`policy/outgoing.rs`).

use super::address::Address;
use super::options::{Family, SocketOptions, Unset, open_mptcp_or_tcp, set_transparent};
use super::socket::{Connecting, Socket, kernel_address, open, set_int};
use nix::errno::Errno;
use nix::sys::socket::{self, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where a connection comes from, as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Wherever the system chooses.
    Any,
    /// An address of this machine; the port is chosen when it is known where to.
    Address(IpAddr),
    /// An address and a port of this machine; other connections may have them too, to other servers.
    Port(SocketAddr),
    /// An address that is none of this machine.
    Foreign(IpAddr),
}

/// Opens a socket and begins to connect it. `lazily`: the first bytes are there or follow at once, so they may travel with the
/// first packet (TCP_FASTOPEN_CONNECT, tcp(7)); without any, such a connection would not even begin. `unset` hears of options
/// that could not be set and are not worth to fail for.
///
/// # Errors
/// The system's; with the name of an option that was to say where packets go and could not be set.
pub fn connect(
    address: &Address,
    options: &SocketOptions,
    from: From,
    lazily: bool,
    unset: &mut dyn FnMut(Unset),
) -> io::Result<(Socket, Connecting)> {
    let family = Family::of(address);
    let (fd, fallback) = if options.mptcp && family != Family::Unix {
        open_mptcp_or_tcp(address)?
    } else {
        (open(address)?, None)
    };
    let mut fatal = None;
    let mut note = |failed: Unset| {
        if failed.is_fatal() {
            fatal = Some(failed);
        } else {
            unset(failed);
        }
    };
    fallback.into_iter().for_each(&mut note);
    options.apply(&fd, family, &mut note);
    if options.fast_open && lazily && family != Family::Unix {
        if let Err(error) = set_int(&fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1) {
            note(Unset { option: "fast_open", error });
        }
    }
    if family != Family::Unix {
        if let Err(error) = bind(&fd, family, from) {
            note(Unset { option: "source", error });
        }
    }
    if let Some(fatal) = fatal {
        return Err(fatal.into());
    }
    let socket = Socket::from_fd(fd);
    let connecting = socket.connect_again(address)?;
    Ok((socket, connecting))
}

fn bind(fd: &OwnedFd, family: Family, from: From) -> io::Result<()> {
    let address = match from {
        From::Any => return Ok(()),
        From::Address(ip) => {
            // Else the port would have to be one that no connection from here has, wherever that goes.
            socket::setsockopt(fd, sockopt::IpBindAddressNoPort, &true)?;
            SocketAddr::new(ip, 0)
        }
        From::Port(address) => {
            socket::setsockopt(fd, sockopt::ReuseAddr, &true)?;
            address
        }
        From::Foreign(ip) => {
            set_transparent(fd, family)?;
            socket::setsockopt(fd, sockopt::IpBindAddressNoPort, &true)?;
            SocketAddr::new(ip, 0)
        }
    };
    if address.is_ipv4() != (family == Family::V4) {
        return Err(Errno::EAFNOSUPPORT.into());
    }
    Ok(socket::bind(fd.as_raw_fd(), &*kernel_address(&Address::Inet(address))?)?)
}

/// Whether another port is worth a try after that error.
pub fn is_taken(error: &io::Error) -> bool {
    let number = error.raw_os_error().or_else(|| unset(error)?.error.raw_os_error());
    matches!(number, Some(libc::EADDRINUSE | libc::EADDRNOTAVAIL))
}

/// Whether a connect failed for something that this machine lacks (connect(2), socket(2)), or an option that it could not
/// be given: that says nothing of the peer.
pub fn is_our_lack(error: &io::Error) -> bool {
    let lacks = matches!(
        error.raw_os_error(),
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::EADDRNOTAVAIL
                | libc::EADDRINUSE
        )
    );
    lacks || unset(error).is_some()
}

/// The option that could not be set, if it is that.
fn unset(error: &io::Error) -> Option<&Unset> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::listening::Listening;

    fn listening() -> Listening {
        Listening::bind(&Address::Inet(SocketAddr::from(([127, 0, 0, 1], 0))), false).unwrap()
    }

    fn plainly(address: &Address, from: From) -> io::Result<(Socket, Connecting)> {
        connect(address, &SocketOptions::default(), from, false, &mut |unset| panic!("{unset}"))
    }

    #[test]
    fn the_server_sees_the_source() {
        let listening = listening();
        let ip: IpAddr = [127, 0, 0, 77].into();
        let (_client, _) = plainly(&listening.address, From::Address(ip)).unwrap();
        assert_eq!(listening.accept().unwrap().1.ip(), Some(ip));
    }

    #[test]
    fn one_port_serves_connections_to_several_servers_and_a_second_one_to_the_same_is_told() {
        let (one, other) = (listening(), listening());
        // A port that was free a moment ago.
        let from = match &listening().address {
            Address::Inet(address) => From::Port(*address),
            other => panic!("{other}"),
        };
        let first = plainly(&one.address, from).unwrap();
        let second = plainly(&other.address, from).unwrap();
        let third = plainly(&one.address, from).unwrap_err();
        assert!(is_taken(&third), "{third}");
        drop((first, second));
    }

    #[test]
    fn an_address_that_is_not_ours_or_of_another_family_is_told_by_name() {
        let listening = listening();
        let error = plainly(&listening.address, From::Address([192, 0, 2, 1].into())).unwrap_err();
        assert!(error.to_string().starts_with("`source`: ") && is_our_lack(&error), "{error}");
        let error = plainly(&listening.address, From::Address(std::net::Ipv6Addr::LOCALHOST.into()));
        let error = error.unwrap_err();
        assert!(error.to_string().starts_with("`source`: ") && is_our_lack(&error), "{error}");
    }

    #[test]
    fn what_this_machine_lacks_is_told_from_what_the_peer_does() {
        for (number, ours) in [(libc::EMFILE, true), (libc::EADDRINUSE, true), (libc::ECONNREFUSED, false)] {
            assert_eq!(is_our_lack(&io::Error::from_raw_os_error(number)), ours, "{number}");
        }
    }
}
