// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a route's connections go: its servers, and which of them the next connection goes to.
//!
//! Not here: how one of several is preferred (`balance.rs`), who waits while all are full (`waiting.rs`), what is known of a
//! server beside its configuration (`marks.rs`).

use super::balance::{self, Balance, Candidate};
use super::check::CheckSpec;
use super::health::{self, Passive};
use super::marks::{Admin, HEAVIEST, Held, Marks};
use super::resolved::Place;
use super::target::Requested;
use super::waiting::{Bounds, Waiting};
use crate::stats::Scope;
use crate::wire::destination::Destination;
use std::sync::Arc;
use std::time::Duration;

/// How often a place is sought again that another worker took first; after that the server counts as full.
const RACES: usize = 8;

/// The servers of one route.
#[derive(Debug, Default)]
pub struct Upstream {
    pub servers: Box<[Server]>,
    /// When connections that fail pause a server.
    pub passive: Passive,
    pub balance: Balance,
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// Who waits while every server is full, those of older configurations included.
    pub waiting: Arc<Waiting>,
    pub queue: Bounds,
    /// Instead: the server is the one that the client names (`connect = "*:443"`).
    pub requested: Option<Requested>,
    /// What is counted of the servers that clients name, all together.
    pub named: Arc<Scope>,
}

impl Upstream {
    /// How many servers get new connections at that moment ([`crate::stats::Clock::at`]).
    pub fn left(&self, now: u64) -> usize {
        self.servers.iter().filter(|server| server.standing(now) == Standing::Up).count()
    }
}

/// Who is looking for a server.
#[derive(Clone, Copy, Debug)]
pub struct Seeker<'a> {
    /// What the same client always has: a hash of its address, or of the name it asked for.
    pub hash: u64,
    pub random: u64,
    /// Milliseconds of [`crate::stats::Clock`].
    pub now: u64,
    /// Servers it has tried in vain, by their places.
    pub tried: &'a [u32],
}

/// What came of it.
#[derive(Debug)]
pub enum Picked {
    /// The server at that place; what is held there until the connection ends.
    Server(u32, Option<Held>),
    /// Those that could serve have as many connections as they may.
    Full,
    /// Nobody is left that could serve.
    Nobody,
}

/// How willing a server is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Up,
    /// It has failed lately: for those who find no other.
    Paused,
    Out,
}

/// How a server stands, and whether it is a backup.
type Rank = (Standing, bool);

/// The order in which servers serve: backups when nobody else is left; those who failed lately when not even they are.
const RANKS: [Rank; 4] =
    [(Standing::Up, false), (Standing::Up, true), (Standing::Paused, false), (Standing::Paused, true)];

impl Upstream {
    /// Chooses a server.
    pub fn pick(&self, seeker: &Seeker<'_>) -> Picked {
        for rank in RANKS {
            match self.pick_of(rank, seeker) {
                Picked::Nobody => {}
                picked => return picked,
            }
        }
        Picked::Nobody
    }

    /// Where [`Self::pick`] would find a server for one who has tried those in vain. Only looks: nothing is taken of the
    /// servers, neither a turn nor the trial of one that was paused.
    pub fn room(&self, tried: &[u32], now: u64) -> Option<Room> {
        for rank in RANKS {
            let mut serving = self.of_rank(rank, tried, now).peekable();
            if serving.peek().is_some() {
                return serving.filter_map(|(_, server)| server.room()).find(Room::is_left);
            }
        }
        None
    }

    /// The servers of that rank, but for those that were tried in vain.
    fn of_rank(
        &self,
        (standing, backup): Rank,
        tried: &[u32],
        now: u64,
    ) -> impl Iterator<Item = (u32, &Server)> {
        (0..).zip(&self.servers).filter(move |(place, server)| {
            server.is_backup() == backup && server.standing(now) == standing && !tried.contains(place)
        })
    }

    fn pick_of(&self, rank: Rank, seeker: &Seeker<'_>) -> Picked {
        for _ in 0..RACES {
            let mut anybody = false;
            let candidates = self.of_rank(rank, seeker.tried, seeker.now).filter_map(|(place, server)| {
                anybody = true;
                server.candidate(place, seeker.now)
            });
            match self.balance.choose(candidates, seeker.hash, seeker.random) {
                None if anybody => return Picked::Full,
                None => return Picked::Nobody,
                Some(place) => {
                    let Some(server) = self.servers.get(place as usize) else { return Picked::Nobody };
                    let Some(marks) = &server.marks else { return Picked::Server(place, None) };
                    let Some(held) = marks.enter(server.max_connections) else { continue };
                    // Of all who would try it after a pause, one does.
                    let is_free = marks.health.usable(seeker.now) != health::Standing::Paused;
                    if is_free || rank.0 == Standing::Paused {
                        self.balance.note(&marks.turn, server.share(seeker.now));
                        return Picked::Server(place, Some(held));
                    }
                }
            }
        }
        Picked::Full
    }
}

/// A configured server, or a part of one whose name leads to several.
#[derive(Debug)]
pub struct Server {
    /// As written in the configuration ("db.example.org:5432"), for logs.
    pub name: Box<str>,
    pub place: Place,
    /// The name to ask for and verify when TLS goes to this server: `server_name`, else the configured host,
    /// else (an IP address or a unix socket) none or the IP address in text form.
    pub tls_name: Option<Box<str>>,
    /// How it is checked, if it is.
    pub check: Option<Arc<CheckSpec>>,
    /// What the proxy is asked for, whose `address` is; none where there is no proxy on the way.
    pub destination: Option<Destination>,
    /// The hash of its name: which clients are nearest to it, where that matters.
    pub seed: u64,
    /// Its share of the connections beside others', as configured.
    pub weight: u16,
    /// It serves only when those that are no backups cannot.
    pub backup: bool,
    /// Connections at once, over all workers.
    pub max_connections: u32,
    /// How long it takes from when it comes back until it has its full share.
    pub slow_start: Duration,
    /// What the operator says of it; nothing of a server that a client named.
    pub marks: Option<Arc<Marks>>,
    pub stats: Arc<Scope>,
}

impl Server {
    /// A server of which nothing is said but where it is.
    pub fn new(
        name: Box<str>,
        place: impl Into<Place>,
        tls_name: Option<Box<str>>,
        stats: Arc<Scope>,
    ) -> Self {
        Self {
            seed: balance::hash(name.as_bytes()),
            name,
            place: place.into(),
            tls_name,
            destination: None,
            weight: WEIGHT,
            backup: false,
            max_connections: u32::MAX,
            slow_start: Duration::ZERO,
            check: None,
            marks: None,
            stats,
        }
    }

    /// Its weight as it is now: what the operator said last, else as configured, times that of its name's answer.
    pub fn weight(&self) -> u16 {
        let configured = || self.weight.saturating_mul(self.place.rank().0).min(HEAVIEST);
        self.marks.as_ref().and_then(|marks| marks.weight()).unwrap_or_else(configured)
    }

    /// Whether it serves only when others cannot: as configured, or as its name's answer says.
    pub fn is_backup(&self) -> bool {
        self.backup || self.place.rank().1
    }

    fn standing(&self, now: u64) -> Standing {
        if !self.place.is_known() {
            return Standing::Out;
        }
        let Some(marks) = &self.marks else { return Standing::Up };
        if marks.admin() != Admin::Ready || self.weight() == 0 {
            return Standing::Out;
        }
        match marks.health.standing(now) {
            health::Standing::Up | health::Standing::Trial => Standing::Up,
            health::Standing::Paused => Standing::Paused,
            health::Standing::Down => Standing::Out,
        }
    }

    /// Its weight in 256ths, less while it has only just come back: never nothing.
    fn share(&self, now: u64) -> u32 {
        // The operator may have taken its weight since it was found to serve.
        let full = u32::from(self.weight().max(1)) * SHARES;
        let ramp = self.slow_start.as_millis();
        let risen = self.marks.as_ref().map_or(0, |marks| marks.risen());
        let since = u128::from(now.saturating_sub(risen));
        if risen == 0 || since >= ramp {
            return full;
        }
        let share = u128::from(full) * since / ramp;
        u32::try_from(share).unwrap_or(full).max(SHARES / SLOWEST)
    }

    fn room(&self) -> Option<Room> {
        Some(Room { marks: Arc::clone(self.marks.as_ref()?), most: self.max_connections })
    }

    /// Itself for the choice, if there is room for one more.
    fn candidate(&self, place: u32, now: u64) -> Option<Candidate> {
        let (active, turn) = match &self.marks {
            Some(marks) => (marks.active(), marks.turn()),
            None => (0, 0),
        };
        let candidate = || Candidate { place, share: self.share(now), active, turn, seed: self.seed };
        (active < self.max_connections).then(candidate)
    }
}

/// Room for one more at a server, as long as nobody takes it.
#[derive(Clone, Debug)]
pub struct Room {
    marks: Arc<Marks>,
    most: u32,
}

impl Room {
    pub fn is_left(&self) -> bool {
        self.marks.active() < self.most
    }
}

/// The weight of a server of which nothing was said.
pub const WEIGHT: u16 = 1;

/// What a weight of 1 is worth among [`Server::share`]s.
const SHARES: u32 = 256;

/// The part of a weight of 1 with which a server that has just come back begins.
const SLOWEST: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::marks::MarkBook;
    use crate::sys::address::Address;

    /// "a", which takes one connection, and "b", which takes any.
    fn upstream() -> Upstream {
        let book = MarkBook::default();
        let server = |name: &str, max_connections| {
            let address = "127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap();
            let marks = Some(book.of("web", "default", name));
            let server = Server::new(name.into(), Address::Inet(address), None, Arc::default());
            Server { marks, max_connections, ..server }
        };
        Upstream { servers: [server("a", 1), server("b", u32::MAX)].into(), ..Upstream::default() }
    }

    fn pick(upstream: &Upstream, tried: &[u32], now: u64) -> Picked {
        upstream.pick(&Seeker { hash: 0, random: 0, now, tried })
    }

    #[test]
    fn who_only_looks_leaves_the_trial_of_a_paused_server_to_who_goes_there() {
        let (upstream, limits) = (upstream(), Passive { fails: 1, ..Passive::default() });
        let Picked::Server(0, Some(_held)) = pick(&upstream, &[], 1) else { panic!("a is the first") };
        let health = &upstream.servers[1].marks.as_ref().unwrap().health;
        assert!(health.failed(1, 7, &limits).is_some());
        assert!(upstream.room(&[], 2).is_none(), "one is full, the other one paused");
        assert!(upstream.room(&[0], 2).is_some(), "who has tried all others may try a paused one");
        let over = 1 + u64::try_from(limits.pause.as_millis()).unwrap();
        for _ in 0..3 {
            assert!(upstream.room(&[], over).is_some());
            assert!(upstream.room(&[1], over).is_none());
        }
        assert!(matches!(pick(&upstream, &[], over), Picked::Server(1, Some(_))));
        assert!(upstream.room(&[], over).is_none(), "the trial is taken");
        assert!(matches!(pick(&upstream, &[], over), Picked::Full));
    }

    #[test]
    fn a_server_whose_weight_is_taken_while_it_is_chosen_has_a_share_yet() {
        let upstream = upstream();
        upstream.servers[0].marks.as_ref().unwrap().set_weight(0);
        let candidate = upstream.servers[0].candidate(0, 1).unwrap();
        assert!(candidate.share > 0);
        let balance = Balance::new(balance::Kind::Random2, std::iter::empty());
        assert_eq!(balance.choose([candidate].into_iter(), 0, 7), Some(0));
    }
}
