// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file into which the secrets of sessions are written, so that somebody who looks for a fault can decrypt what was
//! recorded: one line each, in the form that the NSS library began and Wireshark reads.
//!
//! Invariants: only its owner may read it, who is the user of the process or root; a line is written by one call at the end of the file, so lines of several
//! workers, and of several processes, never mix. A line that cannot be written is lost: traffic does not wait for it.

use super::tls_spec::{CommonTlsSpec, Problem};
use crate::sys::append::append;
use crate::sys::identity;
use openssl::ssl::SslContextBuilder;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

/// The rights that a new file has; an old one may have no more.
const MODE: u32 = 0o600;

/// An open file for secrets.
#[derive(Clone, Debug)]
pub(super) struct KeyLog(Arc<File>);

impl KeyLog {
    /// Opens what `spec` names, if it names anything; it is made if it is not there.
    pub(super) fn open(spec: &CommonTlsSpec) -> Result<Option<Self>, Problem> {
        let Some(path) = &spec.key_log else { return Ok(None) };
        let problem = |message: String| Problem::new("key_log", message);
        let file = append(path, MODE).map_err(|error| problem(error.to_string()))?;
        let rights = file.metadata().map_err(|error| problem(format!("{}: {error}", path.display())))?;
        // Who made it reads it, whatever its rights are. Root needs nobody's leave.
        if !rights.is_file() || ![identity::our_user(), 0].contains(&rights.uid()) {
            return Err(problem(format!("{}: is not a file of our own", path.display())));
        }
        if rights.permissions().mode() & 0o777 & !MODE != 0 {
            let problem = problem(format!("{}: others than its owner have rights to it", path.display()));
            return Err(problem.help(format!("take them away: chmod 600 {}", path.display())));
        }
        Ok(Some(Self(Arc::new(file))))
    }

    /// Writes the secrets of every session of `context`.
    pub(super) fn install(&self, context: &mut SslContextBuilder) {
        let file = Arc::clone(&self.0);
        context.set_keylog_callback(move |_, line| {
            let whole = format!("{line}\n");
            let _lost = (&*file).write(whole.as_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &std::path::Path) -> Result<Option<KeyLog>, Problem> {
        KeyLog::open(&CommonTlsSpec { key_log: Some(path.to_owned()), ..CommonTlsSpec::default() })
    }

    #[test]
    fn a_file_of_secrets_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(opened(&path).unwrap().is_some());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o177, 0);
        assert!(opened(&path).unwrap().is_some(), "it is there and ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let problem = opened(&path).unwrap_err();
        assert!(problem.key == "key_log" && problem.message.contains("others"), "{problem:?}");
        assert!(opened(&directory.path().join("none/keys")).is_err());
        assert!(opened(std::path::Path::new("/dev/null")).unwrap_err().message.contains("of our own"));
        assert!(KeyLog::open(&CommonTlsSpec::default()).unwrap().is_none());
    }

    /// Nobody else makes it for us. Only root can try.
    #[test]
    fn a_file_of_another_user_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(opened(&path).unwrap().is_some());
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(opened(&path).unwrap_err().message.contains("of our own"));
        }
    }
}
