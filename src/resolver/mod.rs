// SPDX-License-Identifier: MIT OR Apache-2.0
//! From names to addresses: literals, the hosts file, DNS, and where DNS knows nothing, the system's own resolver.
//!
//! Everything here blocks and belongs on task threads. Every wait has an end: a try has the time of the server, tries are
//! counted, and who asks says until when. Answers are kept for as long as they say, within bounds; the last good one is
//! kept beyond that while asking anew fails. A resolver is of one configuration and never changes; the next one takes its
//! answers over unless it asks elsewhere. Not here: when configured names are asked anew (`daemon/keeper.rs`), where their
//! addresses go (`policy/resolved.rs`).

mod cache;
mod files;
mod lookup;
mod order;
mod transport;

use self::cache::{Cache, Key};
use self::lookup::Found;
use crate::live::{Live, View};
use crate::policy::resolved::{ADDRESSES, Addresses};
use crate::policy::watch::{Question, Targets};
use crate::wire::dns::Record;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Targets of a service that are looked at, the most wanted first.
const TARGETS: usize = 64;

/// The most weight a target is given; larger ones are scaled (SRV allows 65535).
const HEAVIEST: u32 = 256;

/// Addresses of one family that are kept of a name that a client asks for: as many as are ever tried.
const FAMILY: usize = 16;

/// How to ask, and how long answers are kept: `[resolver]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Empty: those of `resolv_conf`, and the system's resolver beside them.
    pub servers: Vec<SocketAddr>,
    /// As hosts(5).
    pub hosts: PathBuf,
    /// As resolv.conf(5).
    pub resolv_conf: PathBuf,
    /// An answer is kept at least so long, whatever it says.
    pub min: Duration,
    /// And at most so long.
    pub max: Duration,
    /// That there is no such name is kept so long.
    pub negative: Duration,
    /// The last good answer is used on so long while asking anew fails.
    pub stale: Duration,
    /// For each server and try. None: as `resolv_conf` says, else [`TIMEOUT`].
    pub timeout: Option<Duration>,
    /// How often every server is asked. None: as `resolv_conf` says, else [`ATTEMPTS`].
    pub attempts: Option<usize>,
}

/// The default of [`Settings::timeout`].
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// The default of [`Settings::attempts`].
pub const ATTEMPTS: usize = 2;

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            min: Duration::from_secs(5),
            max: Duration::from_secs(3600),
            negative: Duration::from_secs(10),
            stale: Duration::from_secs(86_400),
            timeout: None,
            attempts: None,
        }
    }
}

impl Settings {
    /// How long an answer is kept that says so of itself.
    fn bounded(&self, lasts: Duration) -> Duration {
        lasts.max(self.min).min(self.max)
    }
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such name, or it has no address.
    NoName(Box<str>),
    /// Nobody who was asked could say.
    Unanswered(Box<str>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(text) | Self::Unanswered(text) => f.write_str(text),
        }
    }
}

/// An answer, and until when it need not be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    pub found: T,
    pub until: Instant,
}

/// What may be taken for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// One that is kept and in time; the last good one if asking anew fails.
    Kept,
    /// Only one that is asked for now.
    New,
    /// Only one that is kept, in time or not: nobody is asked.
    Known,
}

/// How a name is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// By an operator, so that the search list of resolv.conf(5) applies.
    Here,
    /// In the answer for such a name: always in full.
    InAnswer,
    /// By a client: always in full.
    Elsewhere,
}

/// What has been done so far, over all configurations.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages sent to servers.
    pub queries: AtomicU64,
    /// Tries that came to nothing: silence, refusals, nonsense.
    pub failed_tries: AtomicU64,
    /// Answers that were kept and in time.
    pub hits: AtomicU64,
    /// Names that had to be asked for.
    pub misses: AtomicU64,
    /// Of those: there was no such name.
    pub no_names: AtomicU64,
    /// Of those: nobody could say.
    pub unanswered: AtomicU64,
}

impl Counts {
    fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The resolver of the configuration that applies.
#[derive(Clone, Debug, Default)]
pub struct Current(Arc<Live<Arc<Resolver>>>);

impl Current {
    pub fn get(&self) -> Arc<Resolver> {
        Arc::clone(View::new(Arc::clone(&self.0)).get())
    }

    pub fn set(&self, resolver: Arc<Resolver>) {
        self.0.set(resolver);
    }
}

/// The resolver of one configuration.
#[derive(Debug)]
pub struct Resolver {
    settings: Settings,
    cache: Arc<Cache>,
    /// The same for names that clients ask for, so that they push out none that is configured.
    requested: Arc<Cache>,
    counts: Arc<Counts>,
    /// Which server answered last: it is asked first.
    first: AtomicUsize,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        let (cache, requested) = Default::default();
        Self { settings, cache, requested, counts: Arc::default(), first: AtomicUsize::new(0) }
    }

    /// The resolver of the next configuration. What was answered is kept, unless others are asked from now on.
    pub fn next(self: &Arc<Self>, settings: Settings) -> Arc<Self> {
        if settings == self.settings {
            return Arc::clone(self);
        }
        let asks = |settings: &Settings| {
            (settings.servers.clone(), settings.hosts.clone(), settings.resolv_conf.clone())
        };
        let (cache, requested) = if asks(&settings) == asks(&self.settings) {
            (Arc::clone(&self.cache), Arc::clone(&self.requested))
        } else {
            Default::default()
        };
        Arc::new(Self {
            settings,
            cache,
            requested,
            counts: Arc::clone(&self.counts),
            first: AtomicUsize::new(0),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many answers are kept.
    pub fn kept(&self) -> usize {
        self.cache.len() + self.requested.len()
    }

    /// The addresses of a host, in the order in which they should be tried. Nobody is asked beyond `until`; only the
    /// system's resolver has its own idea of time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn host(
        &self,
        name: &str,
        written: Written,
        take: Take,
        until: Instant,
    ) -> Result<Answer<Arc<[IpAddr]>>, Failure> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Answer { found: [address].into(), until: clock() + self.settings.max });
        }
        let key = Key::host(name, written);
        let ask = || lookup::host(self, name, written, until);
        let records = match written {
            Written::Here | Written::InAnswer => self.records(&self.cache, key, take, ask)?,
            Written::Elsewhere => self.records(&self.requested, key, take, || ask().map(shortened))?,
        };
        let addresses = records.found.iter().filter_map(|record| match record {
            Record::Address(address) => Some(*address),
            Record::Service { .. } => None,
        });
        Ok(Answer { found: order::interleave(addresses, order::prefers_v6).into(), until: records.until })
    }

    /// What is behind a configured name.
    ///
    /// # Errors
    /// Why there is nothing.
    pub fn answer(
        &self,
        question: &Question,
        take: Take,
        until: Instant,
    ) -> Result<Answer<Targets>, Failure> {
        match question {
            Question::Host(name, port) => {
                let host = self.host(name, Written::Here, take, until)?;
                let addresses = with_port(&host.found, *port);
                // One place holds so many; several take one each.
                let targets = addresses.collect::<Vec<_>>();
                let targets =
                    targets.chunks(ADDRESSES).map(|some| Addresses::new(some.iter().copied(), 1, false));
                Ok(Answer { found: targets.take(TARGETS).collect(), until: host.until })
            }
            Question::Service(name) => self.service(name, take, until),
        }
    }

    /// What is known of a configured name without asking anybody, in time or not.
    pub fn known(&self, question: &Question) -> Option<Targets> {
        self.answer(question, Take::Known, clock()).ok().map(|answer| answer.found)
    }

    fn service(&self, name: &str, take: Take, until: Instant) -> Result<Answer<Targets>, Failure> {
        let mut answer =
            self.records(&self.cache, Key::service(name), take, || lookup::service(self, name, until))?;
        let mut offered: Vec<(u16, u16, u16, &str)> = answer
            .found
            .iter()
            .filter_map(|record| match record {
                Record::Service { priority, weight, port, target } if !target.is_empty() && *port > 0 => {
                    Some((*priority, *weight, *port, &**target))
                }
                _ => None,
            })
            .collect();
        if offered.is_empty() {
            return Err(Failure::NoName("the service is decidedly not offered there".into()));
        }
        offered.sort_by_key(|(priority, weight, ..)| (*priority, u16::MAX - weight));
        let heaviest = offered.iter().map(|(_, weight, ..)| *weight).max().unwrap_or(1);
        let (mut targets, mut lowest, mut failure, mut is_answered) = (Targets::new(), None, None, false);
        for (priority, weight, port, target) in offered.into_iter().take(TARGETS) {
            let host = match self.host(target, Written::InAnswer, take, until) {
                Ok(host) => {
                    (is_answered, answer.until) = (true, answer.until.min(host.until));
                    Some(host)
                }
                Err(why) => {
                    let is_gone = matches!(why, Failure::NoName(_));
                    failure = Some(why);
                    if is_gone {
                        continue;
                    }
                    // Nobody could say: it stays where it was, and is asked for again soon.
                    answer.until = answer.until.min(clock() + self.settings.bounded(UNANSWERED));
                    self.host(target, Written::InAnswer, Take::Known, until).ok()
                }
            };
            let Some(host) = host else { continue };
            let spare = *lowest.get_or_insert(priority) != priority;
            let addresses = with_port(&host.found, port);
            targets.push(Addresses::new(addresses, scaled(weight, heaviest), spare));
        }
        match failure {
            Some(failure) if !is_answered => Err(failure),
            _ => Ok(Answer { found: targets, until: answer.until }),
        }
    }

    /// The records of `key`: kept, or asked for and then kept.
    fn records(
        &self,
        cache: &Cache,
        key: Key,
        take: Take,
        ask: impl FnOnce() -> Result<Found, Failure>,
    ) -> Result<Answer<Arc<[Record]>>, Failure> {
        let now = clock();
        if take == Take::Known {
            let known = cache.last_good(&key, now, self.settings.stale);
            return known.ok_or_else(|| Failure::Unanswered("it was not asked for yet".into()));
        }
        if take == Take::Kept {
            if let Some(kept) = cache.fresh(&key, now) {
                Counts::one(&self.counts.hits);
                return kept;
            }
        }
        Counts::one(&self.counts.misses);
        let asked = ask();
        let now = clock();
        let settings = &self.settings;
        match asked {
            Ok(Found { records, is_part: true, .. }) => {
                let lasts = settings.bounded(UNANSWERED);
                Ok(cache.keep_part(key, records, now, lasts, settings.stale))
            }
            Ok(Found { records, lasts, .. }) => {
                let lasts = settings.bounded(lasts.unwrap_or(UNKNOWN));
                Ok(cache.keep(key, records.into(), now, lasts))
            }
            Err(failure) => {
                let (counter, lasts) = match failure {
                    Failure::NoName(_) => (&self.counts.no_names, settings.negative),
                    Failure::Unanswered(_) => (&self.counts.unanswered, settings.negative.min(UNANSWERED)),
                };
                Counts::one(counter);
                let last_good = cache.keep_failure(key, &failure, now, lasts, settings.stale);
                last_good.filter(|_| take == Take::Kept).ok_or(failure)
            }
        }
    }
}

/// How long an answer is kept that does not say so: the hosts file's, the system's.
const UNKNOWN: Duration = Duration::from_secs(60);

/// How long nobody asks again where nobody could say, of all or of a part, at most (RFC 9520 section 3.2: at least a second).
const UNANSWERED: Duration = Duration::from_secs(2);

/// The first addresses of each family: a client may own the zone it asks for.
fn shortened(mut found: Found) -> Found {
    let (mut v4, mut v6) = (0, 0);
    found.records.retain(|record| {
        let count = if matches!(record, Record::Address(IpAddr::V6(_))) { &mut v6 } else { &mut v4 };
        *count += 1;
        *count <= FAMILY
    });
    found
}

fn with_port(addresses: &[IpAddr], port: u16) -> impl Iterator<Item = SocketAddr> {
    addresses.iter().map(move |address| SocketAddr::new(*address, port))
}

/// A weight as servers have it. 0 means "hardly ever" (RFC 2782) and becomes the least there is.
fn scaled(weight: u16, heaviest: u16) -> u16 {
    let (weight, heaviest) = (u32::from(weight), u32::from(heaviest));
    let scaled = if heaviest > HEAVIEST { weight * HEAVIEST / heaviest } else { weight };
    u16::try_from(scaled.max(1)).unwrap_or(u16::MAX)
}

fn clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a few times per name, on a thread that is about to wait for the network"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests;
