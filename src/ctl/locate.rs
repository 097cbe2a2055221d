// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the daemon's control socket is: as told, else as configured, else where it usually is.

use crate::client::Trouble;
use std::path::{Path, PathBuf};
use tunnel::args::DEFAULT_CONFIG;
use tunnel::config::control_socket;

/// Where the packages put it.
const USUAL: &str = "/run/tunnel/control.sock";

/// The socket for `-s` and `-c` as given.
///
/// # Errors
/// When a configuration that was named does not tell. The default one may be unreadable: people who may ask the daemon
/// need not be allowed to read that.
pub(crate) fn socket(socket: Option<PathBuf>, config: Option<&Path>) -> Result<PathBuf, Trouble> {
    if let Some(socket) = socket {
        return Ok(socket);
    }
    let Some(config) = config else {
        let configured = control_socket(Path::new(DEFAULT_CONFIG)).ok().flatten();
        return Ok(configured.unwrap_or_else(|| USUAL.into()));
    };
    match control_socket(config) {
        Ok(Some(socket)) => Ok(socket),
        Ok(None) => {
            let text = "has no `socket` in [control], so nobody can ask the daemon; tunnel.conf(5) tells how to have one";
            Err(Trouble::Lost(format!("{} {text}", config.display())))
        }
        Err(report) => Err(Trouble::Lost(report.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_comes_before_what_is_configured() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("t.conf");
        std::fs::write(&config, "[control]\nsocket = \"c.sock\"\n").unwrap();
        assert_eq!(socket(Some("x".into()), Some(&config)).unwrap(), Path::new("x"));
        assert_eq!(socket(None, Some(&config)).unwrap(), directory.path().join("c.sock"));
        std::fs::write(&config, "").unwrap();
        let trouble = socket(None, Some(&config)).unwrap_err();
        assert_eq!(trouble.status(), 78);
        assert!(trouble.to_string().contains("t.conf has no `socket` in [control]"), "{trouble}");
        let missing = socket(None, Some(Path::new("/nonexistent.conf"))).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent.conf"), "{missing}");
    }
}
