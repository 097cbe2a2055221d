// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opening a file to append to, for the log.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens `path` for appending, and makes it with `mode` (less the umask) if it is not there.
///
/// Never a symbolic link at the path's end, which somebody with the right to write the directory could have aimed
/// anywhere; never a controlling terminal; not inherited over exec(3) (the standard library sees to that). A FIFO is
/// opened without waiting for a reader, and writing to a full one answers "would block".
///
/// # Errors
///
/// Those of open(2), with the path before them.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let opened = File::options().append(true).create(true).mode(mode).custom_flags(flags).open(path);
    opened.map_err(|error| {
        let kind = error.kind();
        if error.raw_os_error() == Some(libc::ELOOP) {
            io::Error::new(kind, format!("{}: is a symbolic link", path.display()))
        } else {
            io::Error::new(kind, format!("{}: {error}", path.display()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_new_file_has_the_mode_and_an_old_one_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, 0o640).unwrap().write_all(b"one\n").unwrap();
        append(&path, 0o640).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        // Whatever the umask leaves, nobody else may read it, and it is no more than asked for.
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o640, 0);
    }

    #[test]
    fn a_symbolic_link_and_a_missing_directory_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("elsewhere"), &link).unwrap();
        let error = append(&link, 0o640).unwrap_err().to_string();
        assert!(error.ends_with("link: is a symbolic link"), "{error}");
        assert!(!dir.path().join("elsewhere").exists());
        let error = append(&dir.path().join("none/log"), 0o640).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("none/log"), "{error}");
    }
}
