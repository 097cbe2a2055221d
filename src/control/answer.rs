// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a request to the control interface may come to, whatever language it was made in.
//!
//! A [`Talk`] understands one language (commands, HTTP) and turns requests into [`Answer`]s; `reader.rs` carries them out.
//! Nothing here knows sockets, and a talk never waits: what takes time is an answer that says so.

use super::kept::Shared;
use super::listing::Cursor;
use super::order::{Order, Outcome};
use super::state::State;
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::Act;
use crate::policy::access::{ControlSettings, Level};
use crate::sys::identity::{self, Peer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The user who may do everything on a machine.
const ROOT: u32 = 0;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    pub who: Who,
    /// What it may do by the settings in effect when it last asked.
    pub level: Level,
    /// For the log: "uid 0 pid 17", "127.0.0.1:4711", "CN ops at 192.0.2.1:4711".
    pub name: String,
}

/// By what a visitor is known, for as long as it stays; what that gives is looked up for each request, so that what is taken
/// away is gone at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Anybody,
    /// A process of this machine.
    Peer(Peer),
    /// The common name of a certificate.
    Certificate(Box<str>),
}

impl Who {
    /// What it may do: the most that it has by any of its names. Whoever cannot be known may read.
    pub fn level(&self, settings: &ControlSettings) -> Level {
        match self {
            Self::Anybody => Level::Read,
            Self::Peer(_) if self.is_ours() => Level::Admin,
            Self::Peer(peer) => {
                let Some(socket) = &settings.socket else { return Level::Read };
                let as_user = socket.users.iter().filter(|(uid, _)| *uid == peer.uid);
                let as_member = socket.groups.iter().filter(|(gid, _)| peer.groups.contains(gid));
                as_user.chain(as_member).map(|(_, level)| *level).max().unwrap_or_default()
            }
            Self::Certificate(name) => {
                let given = settings.certificates.iter().filter(|(known, _)| known == name);
                given.map(|(_, level)| *level).max().unwrap_or_default()
            }
        }
    }

    /// Root, or the user we run as: whom no permission of a file keeps out.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Peer(peer) if peer.uid == ROOT || peer.uid == identity::our_user())
    }
}

impl Visitor {
    /// Where it comes from, the same for all that come from there: what is refused there is told once.
    pub fn origin(&self) -> String {
        match &self.who {
            Who::Peer(peer) => format!("uid {}", peer.uid),
            Who::Certificate(name) => format!("CN {name}"),
            Who::Anybody => self.name.rsplit_once(':').map_or("", |(address, _)| address).to_owned(),
        }
    }

    pub fn new(who: Who, name: String, settings: &ControlSettings) -> Self {
        Self { level: who.level(settings), who, name }
    }
}

/// One language of requests.
pub trait Talk: fmt::Debug + Send {
    /// Looks at what has come in, and takes a whole request off its front if there is one. Called again after each answer,
    /// and when more has come.
    fn request(&mut self, input: &mut Vec<u8>, visitor: &Visitor, state: &mut State) -> Request;

    /// What is said to who comes when there is no room.
    fn full(&self) -> Vec<u8>;

    /// How long silence between requests is tolerated.
    fn patience(&self) -> Duration;

    /// Patience is over: what is said before the end; nothing, unless a language has words for it.
    fn late(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// What was found in the input.
#[derive(Debug)]
pub enum Request {
    /// Not whole yet.
    More,
    Answer(Answer),
    /// Nothing more is wanted.
    End,
}

/// What happens after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Further requests may follow.
    Keep,
    Close,
}

#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Vec<u8>, Then),
    /// All of it, most of which others are given too.
    Shared(Vec<u8>, Arc<Shared>, Then),
    /// Connections, a page at a time as the reader takes them.
    List(Box<List>),
    /// What main made of an order.
    Order(Order, Wording, Then),
}

/// Puts an outcome into words.
pub struct Wording(pub Box<dyn FnOnce(Outcome) -> Vec<u8> + Send>);

impl fmt::Debug for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wording")
    }
}

/// Which connections are told, and how.
#[derive(Debug)]
pub struct List {
    pub wanted: Wanted,
    /// Where a former listing stopped; none: from the beginning.
    pub from: Option<Cursor>,
    /// How many at most.
    pub most: usize,
    pub act: Act,
    pub format: Box<dyn Format>,
    pub then: Then,
}

/// How connections are written down.
pub trait Format: fmt::Debug + Send {
    fn head(&mut self, out: &mut Vec<u8>);
    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>);
    /// All rows are there: looks at what else it tells of. Not before, or every slow listing would hold it.
    fn look(&mut self, _: &mut State) {}
    fn tail(&mut self, end: &End, out: &mut Vec<u8>);

    /// Bytes it has gathered.
    fn held(&self) -> usize {
        0
    }
}

/// How a listing ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Where to go on, if there may be more.
    pub next: Option<Cursor>,
    /// Connections told.
    pub told: usize,
    /// Workers that did not answer in time: theirs are missing.
    pub silent: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::access::ControlSocket;

    #[test]
    fn levels_come_by_user_and_by_any_group_and_the_highest_counts() {
        let socket = ControlSocket {
            users: vec![(1000, Level::Operate), (1001, Level::Admin), (1001, Level::Operate)],
            groups: vec![(4, Level::Operate), (5, Level::Admin)],
            ..ControlSocket::default()
        };
        let settings = ControlSettings { socket: Some(socket), ..ControlSettings::default() };
        let peer = |uid, groups: &[u32]| Who::Peer(Peer { pid: 1, uid, groups: groups.to_vec() });
        for (uid, groups, expected) in [
            (0, &[][..], Level::Admin),
            (identity::our_user(), &[], Level::Admin),
            (1000, &[], Level::Operate),
            (1001, &[], Level::Admin),
            (1002, &[], Level::Read),
            (1002, &[100, 4], Level::Operate),
            (1000, &[100, 5], Level::Admin),
            (4, &[], Level::Read),
        ] {
            assert_eq!(peer(uid, groups).level(&settings), expected, "{uid} {groups:?}");
        }
        assert_eq!(peer(1001, &[5]).level(&ControlSettings::default()), Level::Read);
        assert_eq!(Who::Anybody.level(&settings), Level::Read);
    }
}
