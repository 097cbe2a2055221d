// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configured name with the places that its answers fill ([`super::resolved`]), and how an answer is spread over them.
//!
//! Invariant: an address that stays in the answer stays in its place, over reloads too ([`Watches`]). Not here: asking
//! (`resolver/`), when (`daemon/keeper.rs`).

use super::resolved::{Addresses, Resolved, State};
use crate::live::{Live, View};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What is asked for a configured name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The addresses of a host, each with this port.
    Host(Box<str>, u16),
    /// The servers of a service (RFC 2782), "_imap._tcp.example.org", with the addresses of each.
    Service(Box<str>),
}

impl Question {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Host(name, _) | Self::Service(name) => name,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name, port) => write!(f, "{name}:{port}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// A configured name and the places that its answers fill.
#[derive(Debug)]
pub struct Watch {
    pub question: Question,
    /// At least one. One place takes all addresses of a host; several take one address, or one target, each.
    pub places: Box<[Arc<Resolved>]>,
}

/// What is behind a name: for each target its addresses. A host is one target.
pub type Targets = Vec<Addresses>;

impl Watch {
    pub fn new(question: Question, places: usize) -> Self {
        Self { question, places: (0..places.max(1)).map(|_| Arc::default()).collect() }
    }

    /// Spreads an answer over the places; whether any address came or went.
    pub fn take(&self, answer: &Targets) -> bool {
        if let [place] = &*self.places {
            let all = answer.iter().flat_map(|target| target.iter().copied());
            let (weight, spare) = answer.first().map_or((1, false), |first| (first.weight, first.spare));
            return fill(place, Some(&Addresses::new(all, weight, spare)));
        }
        let split: Targets = match &self.question {
            Question::Host(..) => {
                let one = |address: &SocketAddr| Addresses::new([*address], 1, false);
                answer.iter().flat_map(|target| target.iter().map(one)).collect()
            }
            Question::Service(_) => answer.clone(),
        };
        // Who is known stays where it is: statistics and what the operator says belong to the place.
        let mut new: Vec<Option<&Addresses>> = split.iter().map(Some).collect();
        let mut given: Vec<Option<&Addresses>> = vec![None; self.places.len()];
        for (place, given) in self.places.iter().zip(&mut given) {
            let old = place.addresses();
            let same = |target: &Addresses| target.iter().any(|address| old.contains(address));
            *given = new.iter_mut().find(|target| target.is_some_and(same)).and_then(Option::take);
        }
        let mut rest = new.into_iter().flatten();
        for given in given.iter_mut().filter(|given| given.is_none()) {
            *given = rest.next();
        }
        // All of them, for each is to be filled.
        let changed = self.places.iter().zip(given).filter(|(place, given)| fill(place, *given)).count();
        changed > 0
    }

    /// Begins with what another watch of the same question has, each address in the place it has there.
    fn follow(&self, other: &Self) {
        for (place, old) in self.places.iter().zip(&other.places) {
            place.set(&old.addresses(), old.state());
        }
        // And what has its place beyond ours finds one, if there is one.
        self.take(&other.places.iter().map(|place| place.addresses()).collect());
    }

    /// An answer failed: what is there is used on, as long as `keep` says so.
    pub fn fail(&self, keep: bool) {
        for place in &self.places {
            match place.state() {
                State::Good | State::Stale if keep => place.set_state(State::Stale),
                State::Good | State::Stale => {
                    place.set(&Addresses::default(), State::Unresolved);
                }
                State::Empty if keep => {}
                _ => place.set_state(State::Unresolved),
            }
        }
    }

    /// Whether there is an address.
    pub fn is_usable(&self) -> bool {
        self.places.iter().any(|place| place.is_usable())
    }

    /// Every address there is.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.places.iter().flat_map(|place| place.addresses().to_vec()).collect()
    }
}

/// The configured names of the configuration that applies.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Live<Vec<Arc<Watch>>>>);

impl Watches {
    pub fn set(&self, watches: Vec<Arc<Watch>>) {
        self.0.set(watches);
    }

    /// The watch of that question for the next configuration. Marks and counters go by the number of a place, so what is
    /// known stays where it is: the one there is goes on if it has as many places. One without an address has nothing to
    /// keep, and stays as it is should the next configuration be refused.
    pub fn next(&self, question: &Question, places: usize) -> Arc<Watch> {
        let watches = View::new(Arc::clone(&self.0)).share();
        let known = || watches.iter().filter(|watch| watch.question == *question && watch.is_usable());
        if let Some(same) = known().find(|watch| watch.places.len() == places.max(1)) {
            return Arc::clone(same);
        }
        let new = Watch::new(question.clone(), places);
        if let Some(other) = known().next() {
            new.follow(other);
        }
        Arc::new(new)
    }
}

/// Gives a place what it is to hold; whether an address came or went.
fn fill(place: &Resolved, given: Option<&Addresses>) -> bool {
    match given {
        Some(given) if !given.is_empty() => place.set(given, State::Good),
        _ => place.set(&Addresses::default(), State::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 993))
    }

    fn held(watch: &Watch) -> Vec<Vec<u8>> {
        let last = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => 0,
        };
        watch.places.iter().map(|place| place.addresses().iter().map(last).collect()).collect()
    }

    fn target(lasts: &[u8], weight: u16, spare: bool) -> Addresses {
        Addresses::new(lasts.iter().copied().map(address), weight, spare)
    }

    #[test]
    fn one_place_takes_all_addresses_and_many_take_one_each_and_keep_it() {
        let host = |places| Watch::new(Question::Host("a.example".into(), 993), places);
        let one = host(1);
        assert!(!one.is_usable());
        assert!(one.take(&vec![target(&[1, 2], 1, false)]));
        assert!(!one.take(&vec![target(&[2, 1], 1, false)]), "another order is no change of addresses");
        assert_eq!(held(&one), [[2, 1]]);
        let many = host(3);
        assert!(many.take(&vec![target(&[1, 2], 1, false)]));
        assert_eq!(held(&many), [vec![1], vec![2], vec![]]);
        assert_eq!(many.places[2].state(), State::Empty);
        assert!(many.take(&vec![target(&[3, 4, 2, 5], 1, false)]));
        assert_eq!(held(&many), [[3], [2], [4]], "the known one stays, the fourth finds no place");
        assert!(many.take(&vec![]));
        assert!(!many.is_usable());
    }

    #[test]
    fn targets_of_a_service_have_a_place_each() {
        let watch = Watch::new(Question::Service("_imap._tcp.example".into()), 3);
        watch.take(&vec![target(&[1, 2], 10, false), target(&[3], 20, true)]);
        assert_eq!(held(&watch), [vec![1, 2], vec![3], vec![]]);
        let seen = watch.places[1].addresses();
        assert_eq!((seen.weight, seen.spare), (20, true));
        // The first is gone, the second is no spare any more.
        assert!(watch.take(&vec![target(&[3], 20, false)]));
        assert_eq!(held(&watch), [vec![], vec![3], vec![]]);
        assert!(!watch.places[1].addresses().spare);
    }

    #[test]
    fn the_next_configuration_finds_every_address_in_its_place() {
        let (watches, question) = (Watches::default(), Question::Host("a.example".into(), 993));
        let first = watches.next(&question, 3);
        assert!(!first.is_usable());
        watches.set(vec![Arc::clone(&first)]);
        assert!(!Arc::ptr_eq(&first, &watches.next(&question, 3)), "a refused one shall not fill it");
        first.take(&vec![target(&[1, 2, 3], 1, false)]);
        first.take(&vec![target(&[3, 2], 1, false)]);
        assert_eq!(held(&first), [vec![], vec![2], vec![3]]);
        assert!(Arc::ptr_eq(&first, &watches.next(&question, 3)));
        assert_eq!(held(&watches.next(&question, 4)), [vec![], vec![2], vec![3], vec![]]);
        assert_eq!(held(&watches.next(&question, 2)), [[3], [2]], "who has no place is given a free one");
        assert_eq!(held(&watches.next(&question, 1)), [[2, 3]]);
        assert!(!watches.next(&Question::Host("a.example".into(), 994), 3).is_usable());
    }

    #[test]
    fn a_failure_keeps_the_last_answer_as_long_as_it_may() {
        let watch = Watch::new(Question::Host("a.example".into(), 1), 2);
        watch.fail(true);
        assert_eq!(watch.places[0].state(), State::Unresolved);
        watch.take(&vec![target(&[1], 1, false)]);
        watch.fail(true);
        let states = || [watch.places[0].state(), watch.places[1].state()];
        assert_eq!(states(), [State::Stale, State::Empty]);
        assert_eq!(held(&watch), [vec![1], vec![]]);
        watch.fail(false);
        assert_eq!(states(), [State::Unresolved; 2]);
        assert!(!watch.is_usable() && watch.addresses().is_empty());
    }
}
