// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a start needs and how it may fail, with the exit status for each failure (tunnel(8), EXIT STATUS).

use crate::config::Report;
use crate::sys::options::Unset;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What the command line says of how to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file; absolute, since a daemon may leave its directory.
    pub config: PathBuf,
    /// Where to write the process id.
    pub pidfile: Option<PathBuf>,
}

impl Options {
    pub fn new(config: impl AsRef<Path>) -> Self {
        let config = config.as_ref();
        let absolute = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        Self { config: absolute, pidfile: None }
    }

    #[must_use]
    pub fn pidfile(mut self, path: Option<PathBuf>) -> Self {
        self.pidfile = path;
        self
    }
}

/// Why the daemon cannot serve.
#[derive(Debug)]
pub enum StartError {
    /// The configuration, with everything that is wrong with it.
    Config(Report),
    /// The addresses that could not be bound, and why.
    Bind(Vec<(String, io::Error)>),
    /// The PID file.
    PidFile(PathBuf, io::Error),
    /// The log.
    Log(io::Error),
    /// Something the system should have given: a thread, a descriptor, randomness.
    System(&'static str, String),
}

impl StartError {
    /// The exit status, of sysexits.h.
    pub fn status(&self) -> u8 {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::Config(_) => 78,
            Self::Bind(failures) if failures.iter().all(|(_, error)| denied(error)) => 77,
            Self::Bind(_) => 69,
            Self::PidFile(_, error) | Self::Log(error) if denied(error) => 77,
            Self::PidFile(..) | Self::Log(_) => 73,
            Self::System(..) => 71,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(report) => report.fmt(f),
            Self::Bind(failures) => {
                for (index, (address, error)) in failures.iter().enumerate() {
                    let separator = if index > 0 { "\n" } else { "" };
                    write!(f, "{separator}error: cannot listen on {address}: {error}")?;
                    if let Some(help) = bind_help(error) {
                        write!(f, "\n  help: {help}")?;
                    }
                }
                Ok(())
            }
            Self::PidFile(path, error) if error.kind() == io::ErrorKind::WouldBlock => {
                write!(f, "error: the PID file {} is held by a running process", path.display())
            }
            Self::PidFile(path, error) => {
                write!(f, "error: cannot write the PID file {}: {error}", path.display())
            }
            Self::Log(error) => write!(f, "error: cannot open the log: {error}"),
            Self::System(what, error) => write!(f, "error: {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn bind_help(error: &io::Error) -> Option<&'static str> {
    if error.get_ref().is_some_and(|inner| inner.is::<Unset>()) {
        // It says what to do itself.
        return None;
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => Some("another process listens there; `ss -ltnp` tells which"),
        io::ErrorKind::PermissionDenied => {
            Some("ports below 1024 need root or the capability CAP_NET_BIND_SERVICE")
        }
        io::ErrorKind::AddrNotAvailable => Some("no interface of this machine has that address"),
        _ => None,
    }
}
