// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the control thread listens, and who comes there.
//!
//! Not here: who may do what (`policy/access.rs`), which of it is written where (`config/control.rs`).

use super::answer::Visitor;
use crate::policy::access::{ControlSettings, ControlSocket, Level};
use crate::sys::address::Address;
use crate::sys::identity::{self, Peer};
use crate::sys::listening::{Listening, Permit};
use crate::sys::socket::Socket;
use std::io;

/// The user who may do everything on a machine.
const ROOT: u32 = 0;

/// The control socket, if there is to be one.
///
/// # Errors
/// The system's, with the path.
pub(super) fn socket(settings: &ControlSettings) -> io::Result<Option<Listening>> {
    let Some(ControlSocket { path, mode, group, .. }) = &settings.socket else { return Ok(None) };
    let bound = Listening::bind_guarded(path, Permit { mode: *mode, owner: None, group: *group });
    bound.map(Some).map_err(|error| told(path.display(), &error))
}

/// Gives a socket that stays the permissions that `settings` say.
///
/// # Errors
/// The system's, with the path.
pub(super) fn guard(listening: &Listening, settings: &ControlSettings) -> io::Result<()> {
    let Some(ControlSocket { path, mode, group, .. }) = &settings.socket else { return Ok(()) };
    listening
        .guard(Permit { mode: *mode, owner: None, group: *group })
        .map_err(|error| told(path.display(), &error))
}

/// The HTTP listener, if there is to be one.
///
/// # Errors
/// The system's, with the address.
pub(super) fn http(settings: &ControlSettings) -> io::Result<Option<Listening>> {
    let Some(address) = settings.http else { return Ok(None) };
    // Whoever asks speaks first; but a browser opens connections in advance, which are to be seen as ours at once.
    let bound = Listening::bind(&Address::Inet(address), false);
    bound.map(Some).map_err(|error| told(address, &error))
}

fn told(what: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Who is at the other end of the control socket. Whoever cannot be known may read: the file's permissions let it in.
pub(super) fn visitor(settings: &ControlSettings, socket: &Socket) -> Visitor {
    let Ok(peer) = identity::peer(socket) else {
        return Visitor { level: Level::Read, name: "somebody".to_owned() };
    };
    let level = level(settings.socket.as_ref(), &peer, identity::our_user());
    Visitor { level, name: format!("uid {} pid {}", peer.uid, peer.pid) }
}

/// What `peer` may do: the most that it has by any of its names.
fn level(socket: Option<&ControlSocket>, peer: &Peer, ours: u32) -> Level {
    if peer.uid == ROOT || peer.uid == ours {
        return Level::Admin;
    }
    let Some(socket) = socket else { return Level::Read };
    let as_user = socket.users.iter().filter(|(uid, _)| *uid == peer.uid);
    let as_member = socket.groups.iter().filter(|(gid, _)| peer.groups.contains(gid));
    as_user.chain(as_member).map(|(_, level)| *level).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_by_user_and_by_any_group_and_the_highest_counts() {
        let socket = ControlSocket {
            users: vec![(1000, Level::Operate), (1001, Level::Admin), (1001, Level::Operate)],
            groups: vec![(4, Level::Operate), (5, Level::Admin)],
            ..ControlSocket::default()
        };
        for (uid, groups, expected) in [
            (0, &[][..], Level::Admin),
            (7, &[], Level::Admin),
            (1000, &[], Level::Operate),
            (1001, &[], Level::Admin),
            (1002, &[], Level::Read),
            (1002, &[100, 4], Level::Operate),
            (1000, &[100, 5], Level::Admin),
            (4, &[], Level::Read),
        ] {
            let peer = Peer { pid: 1, uid, groups: groups.to_vec() };
            assert_eq!(level(Some(&socket), &peer, 7), expected, "{uid} {groups:?}");
        }
        let peer = Peer { pid: 1, uid: 1001, groups: vec![5] };
        assert_eq!(level(None, &peer, 7), Level::Read);
    }
}
