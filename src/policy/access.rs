// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may ask the daemon for what, and where: what `[control]` says.
//!
//! Not here: binding, and the answers (`control/`).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What somebody may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// See everything.
    #[default]
    Read,
    /// End connections, take servers out and in, change the log's level.
    Operate,
    /// Reload, drain.
    Admin,
}

impl Level {
    /// Every level with its word, the least first.
    pub const WORDS: [(&'static str, Self); 3] =
        [("read", Self::Read), ("operate", Self::Operate), ("admin", Self::Admin)];

    /// "read", "operate" or "admin".
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// What `[control]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSettings {
    /// The control socket; none: there is none.
    pub socket: Option<ControlSocket>,
    /// Where HTTP is spoken; none: nowhere but in services of mode "control".
    pub http: Option<SocketAddr>,
    /// Secrets that give a level over HTTP (`Authorization: Bearer …`).
    pub tokens: Vec<Token>,
    /// Common names of verified client certificates that give a level in services of mode "control".
    pub certificates: Vec<(Box<str>, Level)>,
    /// Names beside addresses and "localhost" that a Host header may have.
    pub hosts: Vec<Box<str>>,
}

/// A secret that gives a level.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What the log calls it: its file's name.
    pub name: Box<str>,
    pub secret: Box<str>,
    pub level: Level,
}

impl fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token {:?} {:?}", self.name, self.level)
    }
}

/// The control socket, and who may do what there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSocket {
    pub path: PathBuf,
    /// Permissions of the file.
    pub mode: u32,
    /// Its group, by number.
    pub group: Option<u32>,
    /// Users and groups, by number, that have a level; root and our own user may do everything, others who can connect may
    /// read.
    pub users: Vec<(u32, Level)>,
    pub groups: Vec<(u32, Level)>,
}
