// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the daemon of a configuration can be asked: a look at one key, for the programs that talk to it.
//!
//! They run as people who may not read certificates and keys, and while the file is being edited: nothing is loaded, and
//! nothing but the path is judged. Not here: what `[control]` means.

use super::include;
use super::report::Report;
use std::path::{Path, PathBuf};

/// The path of `[control] socket` in the file `path` and what it includes; `None` if no socket is configured.
///
/// # Errors
/// Those of reading and of syntax, if they leave it open whether there is one.
pub fn control_socket(path: &Path) -> Result<Option<PathBuf>, Report> {
    let mut report = Report::default();
    let documents = include::read_all(path, &mut report);
    let found = documents.iter().find_map(|document| {
        let socket = document.text_of(&["control", "socket"])?;
        Some(document.directory.join(socket))
    });
    if found.is_none() && report.has_errors() { Err(report) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn find(text: &str) -> Result<Option<PathBuf>, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tunnel.conf");
        fs::write(&file, text).unwrap();
        let included = "[control]\nsocket = \"included.sock\"\n";
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        fs::write(directory.path().join("conf.d/a.conf"), included).unwrap();
        let root = directory.path();
        let short = |path: PathBuf| path.strip_prefix(root).map_or_else(|_| path.clone(), Path::to_path_buf);
        control_socket(&file).map(|path| path.map(short)).map_err(|report| report.to_string())
    }

    #[test]
    fn the_socket_is_found_where_it_is_written() {
        for (text, socket) in [
            ("[control]\nsocket = \"/run/tunnel/x.sock\"\n", Some("/run/tunnel/x.sock")),
            ("control = { socket = \"x.sock\" }", Some("x.sock")),
            ("include = \"conf.d/*.conf\"\n", Some("conf.d/included.sock")),
            ("[control]\n", None),
            ("control = 7\n", None),
            ("", None),
            // What is wrong elsewhere is not ours to tell.
            ("nonsense = 1\n[control]\nsocket = \"x.sock\"\n[[service]]\nx = \n", Some("x.sock")),
        ] {
            assert_eq!(find(text), Ok(socket.map(PathBuf::from)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert!(find("[control\n").unwrap_err().contains("tunnel.conf:1"));
        let missing = control_socket(Path::new("/nonexistent/tunnel.conf")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/tunnel.conf"));
    }
}
