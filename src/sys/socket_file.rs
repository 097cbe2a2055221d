// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file of a unix socket that we bound: whether it is still there, who may connect to it, and its removal.
//!
//! Whoever may write to its directory can put something else in its place. So nothing is done to a path: the file there is
//! held by a descriptor first, without following a link, and must be the one that was made. While the socket is open the
//! kernel keeps its inode, so no other file can have the number. Not here: the socket (`socket.rs`).

use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file that was made by binding a socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Who may connect to a unix socket that has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Permission bits.
    pub mode: u32,
    /// By number; else those of this process.
    pub owner: Option<u32>,
    pub group: Option<u32>,
}

impl SocketFile {
    /// What has just been made at `path`.
    ///
    /// # Errors
    /// The system's, if nothing is there.
    pub fn made(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: file.dev(), inode: file.ino() })
    }

    /// Whether the path still leads to it.
    pub fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| self.is(&file))
    }

    /// Removes it, if it is still there.
    pub fn remove(&self) {
        if self.is_there() {
            let _gone_already_is_fine = fs::remove_file(&self.path);
        }
    }

    /// Lets those connect whom `permit` says, and nobody else. On failure nothing has changed, as far as the system allows.
    ///
    /// # Errors
    /// The system's: for a group, who is neither root nor in it is refused. `NotFound`, if something else is at the path.
    pub fn guard(&self, permit: Permit) -> io::Result<()> {
        let file = self.hold()?;
        let before = file.metadata()?;
        let mode = before.permissions().mode() & 0o7777;
        let owner = permit.owner.map_or_else(Uid::effective, Uid::from_raw);
        let group = permit.group.map_or_else(Gid::effective, Gid::from_raw);
        let owner = (before.uid() != owner.as_raw()).then_some(owner);
        let group = (before.gid() != group.as_raw()).then_some(group);
        if owner.is_some() || group.is_some() {
            // While they change, neither the old nor the new ones may have what is meant for the others.
            set_mode(&file, mode & permit.mode & 0o700)?;
            if let Err(error) = fchownat(&file, "", owner, group, AtFlags::AT_EMPTY_PATH) {
                set_mode(&file, mode)?;
                return Err(error.into());
            }
        } else if mode == permit.mode {
            return Ok(());
        }
        set_mode(&file, permit.mode)
    }

    /// A descriptor of it, which gives no right to anything but names it whatever becomes of the path (O_PATH, open(2)).
    fn hold(&self) -> io::Result<File> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        if self.is(&file.metadata()?) {
            return Ok(file);
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "something else is there now"))
    }

    fn is(&self, file: &fs::Metadata) -> bool {
        (file.dev(), file.ino()) == (self.device, self.inode)
    }
}

/// fchmod(2) refuses such a descriptor; its name in /proc does not (proc_pid_fd(5)).
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn permit(mode: u32) -> Permit {
        Permit { mode, owner: None, group: None }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_took_its_place_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("s"), directory.path().join("victim"));
        let _socket = UnixListener::bind(&path).unwrap();
        let made = SocketFile::made(&path).unwrap();
        made.guard(permit(0o640)).unwrap();
        assert_eq!(mode(&path), 0o640);
        fs::write(&victim, "secret").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let error = made.guard(permit(0o666)).unwrap_err();
        assert_eq!((error.kind(), mode(&victim)), (io::ErrorKind::NotFound, 0o600));
        made.remove();
        assert!(!made.is_there() && fs::symlink_metadata(&path).is_ok(), "it is not ours to remove");
        fs::remove_file(&path).unwrap();
        assert_eq!(made.guard(permit(0o666)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_right_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _socket = UnixListener::bind(&path).unwrap();
        let made = SocketFile::made(&path).unwrap();
        made.guard(permit(0o600)).unwrap();
        made.guard(permit(0o666)).unwrap();
        let changed = |path: &Path| {
            let file = fs::symlink_metadata(path).unwrap();
            (file.ctime(), file.ctime_nsec())
        };
        let at = changed(&path);
        made.guard(permit(0o666)).unwrap();
        assert_eq!(changed(&path), at);
    }
}
