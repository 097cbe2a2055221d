// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the control thread listens, and who comes there.
//!
//! Not here: who may do what (`policy/access.rs`), which of it is written where (`config/control.rs`).

use super::answer::{Visitor, Who};
use crate::policy::access::{ControlSettings, ControlSocket};
use crate::sys::address::Address;
use crate::sys::identity;
use crate::sys::listening::{Listening, Permit};
use crate::sys::socket::Socket;
use crate::sys::socket_file::SocketFile;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where the control interface listens, and under which settings.
///
/// Main binds, so that what may fail has failed before anything changes, and hands all of it to the control thread, which
/// has nothing to decide. What stays is shared by the old and the new one.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub(super) settings: Arc<ControlSettings>,
    pub(super) socket: Option<Arc<Listening>>,
    pub(super) http: Option<Arc<Listening>>,
}

/// What cannot be bound, and why.
pub type Failure = (String, io::Error);

impl Bound {
    /// Binds what `settings` say, as far as it is not bound here. A socket that stays lets in whom it did, until
    /// [`Self::guard`].
    ///
    /// # Errors
    /// Where it failed first, and the system's error.
    pub fn change(&self, settings: ControlSettings) -> Result<Self, Failure> {
        let http = match (settings.http, &self.http) {
            (Some(address), Some(bound)) if self.settings.http == Some(address) => Some(Arc::clone(bound)),
            (Some(address), _) => Some(Arc::new(http(address)?)),
            (None, _) => None,
        };
        let socket = match (&settings.socket, &self.socket) {
            (Some(wanted), Some(bound)) if is_at(bound, wanted) => Some(Arc::clone(bound)),
            (Some(wanted), _) => Some(Arc::new(socket(wanted)?)),
            (None, _) => None,
        };
        Ok(Self { settings: Arc::new(settings), socket, http })
    }

    /// Gives the socket the permissions that the settings say; it may have had others. On failure they stay.
    ///
    /// # Errors
    /// Its path, and the system's error.
    pub fn guard(&self) -> Result<(), Failure> {
        let Some((wanted, file)) = self.settings.socket.as_ref().zip(self.file()) else { return Ok(()) };
        file.guard(permit(wanted)).map_err(|error| (wanted.path.display().to_string(), error))
    }

    /// Whether both have the same control socket.
    pub fn shares_socket(&self, other: &Self) -> bool {
        self.socket.as_ref().map(Arc::as_ptr) == other.socket.as_ref().map(Arc::as_ptr)
    }

    /// What the control socket's file asks of who connects.
    pub(super) fn lets_in(&self) -> Option<(u32, Option<u32>)> {
        self.settings.socket.as_ref().map(|socket| (socket.mode, socket.group))
    }

    /// Removes the socket's file, so that nobody new finds it.
    pub fn remove_file(&self) {
        if let Some(file) = self.file() {
            file.remove();
        }
    }

    fn file(&self) -> Option<&SocketFile> {
        self.socket.as_ref()?.file()
    }
}

/// Whether that socket is bound where it is wanted; its file may have been removed or replaced.
fn is_at(bound: &Listening, wanted: &ControlSocket) -> bool {
    bound.address == Address::Unix(wanted.path.clone()) && bound.file().is_some_and(SocketFile::is_there)
}

fn permit(socket: &ControlSocket) -> Permit {
    Permit { mode: socket.mode, owner: None, group: socket.group }
}

fn socket(wanted: &ControlSocket) -> Result<Listening, Failure> {
    let bound = Listening::bind_guarded(&wanted.path, permit(wanted));
    bound.map_err(|error| (wanted.path.display().to_string(), error))
}

fn http(address: SocketAddr) -> Result<Listening, Failure> {
    // Whoever asks speaks first; but a browser opens connections in advance, which are to be seen as ours at once.
    let bound = Listening::bind(&Address::Inet(address), false);
    bound.map_err(|error| (address.to_string(), error))
}

/// Who is at the other end of the control socket. Whoever cannot be known may read: the file's permissions let it in.
pub(super) fn visitor(settings: &ControlSettings, socket: &Socket) -> Visitor {
    let (who, name) = match identity::peer(socket) {
        Ok(peer) => {
            let name = format!("uid {} pid {}", peer.uid, peer.pid);
            (Who::Peer(peer), name)
        }
        Err(_) => (Who::Anybody, "somebody".to_owned()),
    };
    Visitor::new(who, name, settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn settings(path: &Path, mode: u32, http: Option<SocketAddr>) -> ControlSettings {
        let socket = ControlSocket { path: path.to_owned(), mode, ..ControlSocket::default() };
        ControlSettings { socket: Some(socket), http, ..ControlSettings::default() }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_fails_to_be_bound_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("s"), directory.path().join("t"));
        let busy = Listening::bind(&Address::Inet("127.0.0.1:0".parse().unwrap()), false).unwrap();
        let Address::Inet(taken) = busy.address else { panic!("{}", busy.address) };
        let bound = Bound::default().change(settings(&path, 0o600, None)).unwrap();
        let (place, error) = bound.change(settings(&path, 0o666, Some(taken))).unwrap_err();
        assert_eq!((place, error.kind()), (taken.to_string(), io::ErrorKind::AddrInUse));
        assert_eq!(mode(&path), 0o600, "the permissions are those of the file in effect");
        bound.change(settings(&other, 0o666, Some(taken))).unwrap_err();
        assert!(path.exists() && !other.exists());
    }

    #[test]
    fn a_socket_that_stays_is_kept_and_guarded_at_the_end_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let bound = Bound::default().change(settings(&path, 0o600, None)).unwrap();
        let changed = bound.change(settings(&path, 0o660, None)).unwrap();
        assert!(Arc::ptr_eq(bound.socket.as_ref().unwrap(), changed.socket.as_ref().unwrap()));
        assert_eq!(mode(&path), 0o600);
        changed.guard().unwrap();
        assert_eq!(mode(&path), 0o660);
    }

    #[test]
    fn a_socket_whose_file_was_removed_is_bound_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let bound = Bound::default().change(settings(&path, 0o600, None)).unwrap();
        fs::remove_file(&path).unwrap();
        let changed = bound.change(settings(&path, 0o640, None)).unwrap();
        changed.guard().unwrap();
        assert_eq!(mode(&path), 0o640);
        Socket::connect(&Address::Unix(path.clone())).unwrap();
        drop(bound);
        assert!(path.exists(), "the old one removes nothing that is not its own");
    }
}
