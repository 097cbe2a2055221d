// SPDX-License-Identifier: MIT OR Apache-2.0
//! One name, asked for: the sources in their order, the servers in theirs, so many tries.
//!
//! hosts(5), then DNS; the system's resolver, getaddrinfo(3), only where DNS says that there is no such name or has no
//! server to ask, since nsswitch.conf(5) may know further sources; and never where the servers are configured, since what
//! the operator wrote is then all that counts. What is written in full is put to all of them in full.

use super::files::{self, ResolvConf};
use super::transport;
use super::{ATTEMPTS, Counts, Failure, Resolver, TIMEOUT, Written, clock};
use crate::sys::names;
use crate::wire::dns::{Kind, Outcome, Record};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Addresses that the system's resolver may bring.
const ADDRESSES: usize = 256;

/// What there is of a name.
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// How long they hold, where that is known.
    pub(super) lasts: Option<Duration>,
    /// Of one family; nobody said whether there is the other.
    pub(super) is_part: bool,
}

/// What DNS as a whole says of a name.
enum Said {
    Found(Found),
    /// No such name, or nothing of the kind.
    Nothing(&'static str),
    /// Nobody could say.
    Unanswered(String),
}

const NO_SUCH_NAME: &str = "there is no such name";
const NO_ADDRESS: &str = "the name has no address";
const NO_SERVICE: &str = "the name has no SRV record";

/// Asks for the addresses of a host.
pub(super) fn host(
    resolver: &Resolver,
    name: &str,
    written: Written,
    until: Instant,
) -> Result<Found, Failure> {
    let listed = files::hosts(&resolver.settings.hosts, name);
    if !listed.is_empty() {
        return Ok(addresses(listed));
    }
    if is_localhost(name) {
        // Never a matter of DNS (RFC 6761 section 6.3).
        return Ok(addresses([Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
    }
    let asked = Asked::new(resolver, until);
    let mut why = NO_SUCH_NAME;
    for candidate in asked.candidates(name, written) {
        match asked.dns(&candidate, &[Kind::A, Kind::Aaaa]) {
            Said::Found(found) => return Ok(found),
            // Another name shall not be taken for this one because a server kept silent.
            Said::Unanswered(why) => return Err(Failure::Unanswered(why.into())),
            Said::Nothing(reason) => why = reason,
        }
    }
    if asked.is_configured { Err(Failure::NoName(why.into())) } else { system(name, written) }
}

/// Asks for the servers of a service.
pub(super) fn service(resolver: &Resolver, name: &str, until: Instant) -> Result<Found, Failure> {
    let asked = Asked::new(resolver, until);
    if asked.servers.is_empty() {
        return Err(Failure::Unanswered("no name server is known, and SRV records need one".into()));
    }
    match asked.dns(name, &[Kind::Srv]) {
        Said::Found(found) => Ok(found),
        Said::Nothing(why) => Err(Failure::NoName(why.into())),
        Said::Unanswered(why) => Err(Failure::Unanswered(why.into())),
    }
}

/// Whom to ask, and how.
struct Asked<'r> {
    resolver: &'r Resolver,
    until: Instant,
    servers: Vec<SocketAddr>,
    /// They stand in the configuration.
    is_configured: bool,
    conf: ResolvConf,
    timeout: Duration,
    attempts: usize,
}

impl<'r> Asked<'r> {
    fn new(resolver: &'r Resolver, until: Instant) -> Self {
        let settings = &resolver.settings;
        let is_configured = !settings.servers.is_empty();
        let mut conf =
            if is_configured { ResolvConf::default() } else { ResolvConf::read(&settings.resolv_conf) };
        let mut servers =
            if is_configured { settings.servers.clone() } else { std::mem::take(&mut conf.servers) };
        // The one that answered last comes first, the others follow in their order.
        let first = resolver.first.load(Ordering::Relaxed);
        if let Some(some) = servers.get_mut(..=first) {
            some.rotate_right(1);
        }
        Self {
            resolver,
            until,
            servers,
            is_configured,
            timeout: settings.timeout.or(conf.timeout).unwrap_or(TIMEOUT),
            attempts: settings.attempts.or(conf.attempts).unwrap_or(ATTEMPTS),
            conf,
        }
    }

    /// The names that `name` may stand for (resolv.conf(5), "search").
    fn candidates(&self, name: &str, written: Written) -> Vec<String> {
        if self.servers.is_empty() {
            return Vec::new();
        }
        let plain = name.strip_suffix('.').unwrap_or(name);
        let mut all = vec![plain.to_owned()];
        if written == Written::Here && plain.len() == name.len() {
            let as_it_is_last = plain.matches('.').count() < self.conf.ndots;
            let endings = self.conf.search.iter().map(|ending| format!("{plain}.{ending}"));
            let place = usize::from(!as_it_is_last);
            all.splice(place..place, endings);
        }
        all
    }

    /// Asks every server, so often, until all kinds are answered.
    fn dns(&self, name: &str, kinds: &[Kind]) -> Said {
        let mut open = kinds.to_vec();
        let (mut records, mut lasts, mut nothing) = (Vec::new(), u32::MAX, None);
        let mut failure = "no name server answered in time".to_owned();
        let tries = (0..self.attempts).flat_map(|_| self.servers.iter().enumerate());
        for (index, server) in tries {
            let now = clock();
            if now >= self.until {
                break;
            }
            let until = self.until.min(now + self.timeout);
            let outcomes = transport::ask(*server, name, &open, until, &self.resolver.counts);
            let outcomes = outcomes.unwrap_or_else(|error| {
                failure = format!("the name server {server}: {error}");
                vec![None; open.len()]
            });
            let answered = outcomes.iter().any(Option::is_some);
            let mut rest = Vec::new();
            for (kind, outcome) in open.iter().zip(outcomes) {
                match outcome {
                    Some(Outcome::Found(found, ttl)) => {
                        records.extend(found);
                        lasts = lasts.min(ttl);
                    }
                    Some(Outcome::NoName) => nothing = Some(NO_SUCH_NAME),
                    Some(Outcome::NoRecord) => {
                        nothing.get_or_insert(if *kind == Kind::Srv { NO_SERVICE } else { NO_ADDRESS });
                    }
                    Some(Outcome::Failed(word)) => {
                        failure = format!("the name server {server} says {word}");
                        rest.push(*kind);
                    }
                    Some(Outcome::Truncated | Outcome::NoExtension) | None => rest.push(*kind),
                }
            }
            // One family is enough, and a name that does not exist has neither.
            if !records.is_empty() || rest.is_empty() || nothing == Some(NO_SUCH_NAME) {
                self.answered(index);
                open = rest;
                break;
            }
            Counts::one(&self.resolver.counts.failed_tries);
            if answered {
                self.answered(index);
            }
            open = rest;
        }
        match nothing {
            _ if !records.is_empty() => {
                let lasts = Some(Duration::from_secs(lasts.into()));
                Said::Found(Found { records, lasts, is_part: !open.is_empty() })
            }
            Some(why) if open.is_empty() || why == NO_SUCH_NAME => Said::Nothing(why),
            _ => Said::Unanswered(failure),
        }
    }

    /// The server in that place of our list has answered.
    fn answered(&self, place: usize) {
        let first = &self.resolver.first;
        let before = first.load(Ordering::Relaxed);
        // Back from the order in which they were asked to that in which they are written.
        let written = match place {
            0 => before,
            place if place <= before => place - 1,
            place => place,
        };
        if written != before && written < self.servers.len() {
            first.store(written, Ordering::Relaxed);
        }
    }
}

/// Asks the system's resolver, which has its own idea of time, and a search list of its own for all but names that end with
/// a dot.
fn system(name: &str, written: Written) -> Result<Found, Failure> {
    let dot = if written != Written::Here && !name.ends_with('.') { "." } else { "" };
    let found = names::addresses(&format!("{name}{dot}"), ADDRESSES).map_err(|unknown| {
        let failure = if unknown.for_sure { Failure::NoName } else { Failure::Unanswered };
        failure(unknown.text.into())
    })?;
    if found.is_empty() { Err(Failure::NoName(NO_ADDRESS.into())) } else { Ok(addresses(found)) }
}

/// Addresses that do not come from DNS.
fn addresses(found: impl IntoIterator<Item = IpAddr>) -> Found {
    Found { records: found.into_iter().map(Record::Address).collect(), lasts: None, is_part: false }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn the_search_list_is_for_short_names_that_were_written_here() {
        let resolver =
            Resolver::new(Settings { servers: vec![([192, 0, 2, 1], 53).into()], ..Settings::default() });
        let mut asked = Asked::new(&resolver, clock());
        asked.conf.search = vec!["a.example".into(), "b.example".into()];
        for (name, written, expected) in [
            ("db", Written::Here, "db.a.example db.b.example db"),
            ("db.", Written::Here, "db"),
            ("db", Written::Elsewhere, "db"),
            ("x.db", Written::Here, "x.db x.db.a.example x.db.b.example"),
        ] {
            assert_eq!(asked.candidates(name, written).join(" "), expected, "{name}");
        }
        asked.servers.clear();
        assert_eq!(asked.candidates("db", Written::Here), [""; 0]);
    }

    #[test]
    fn the_server_that_answered_last_is_asked_first() {
        let servers: Vec<SocketAddr> = (1..=3).map(|port| ([192, 0, 2, 1], port).into()).collect();
        let resolver = Resolver::new(Settings { servers, ..Settings::default() });
        let order =
            || -> Vec<u16> { Asked::new(&resolver, clock()).servers.iter().map(SocketAddr::port).collect() };
        assert_eq!(order(), [1, 2, 3]);
        for (place, expected) in
            [(2, [3, 1, 2]), (0, [3, 1, 2]), (1, [1, 2, 3]), (1, [2, 1, 3]), (2, [3, 1, 2])]
        {
            Asked::new(&resolver, clock()).answered(place);
            assert_eq!(order(), expected);
        }
    }
}
