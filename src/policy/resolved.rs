// SPDX-License-Identifier: MIT OR Apache-2.0
//! The addresses behind a configured name: written by whoever resolves it, read by every worker without waiting.
//!
//! A [`Resolved`] is one place that connections may go to; a [`Watch`] is a configured name with its places, and knows how
//! an answer is spread over them. Invariants: a reader sees one answer whole, never parts of two; an address that stays in
//! the answer stays in its place, over reloads too ([`Watches`]). Not here: asking (`resolver/`), when (`daemon/keeper.rs`).
//!
//! # How reading goes without a lock
//!
//! There are two pages. Change number g is written to page g mod 2 while readers read the other; only then does
//! `generation` become g. So a reader of page g mod 2 is disturbed by change g + 2 at the earliest, and that begins after
//! `generation` has become g + 1. The writer puts a release fence between this and its first store to the page; the
//! reader puts an acquire fence between its last load from the page and a second look at `generation`. If a load saw any
//! store of change g + 2, the two fences synchronise (C++20 31.11, fence-fence), and the second look sees at least g + 1:
//! the reader notices and begins again. If the second look sees g, nothing it read was from a later change; that it was
//! not from an earlier one follows from the first look, an acquire of the release store of g, which came after change g's
//! stores. Writers exclude each other by a lock that no reader takes.

#![expect(clippy::disallowed_types, reason = "the lock is among writers; readers never take it")]

use crate::live::{Live, View};
use crate::sys::address::Address;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses of one place: each may cost the time of a connect, and whose name it is says how many there are. Few names
/// have more.
pub const ADDRESSES: usize = 8;

/// Looks at a place that changes all the while, at most. Each needs two changes within the time of a few loads, and
/// changes come a second apart.
const LOOKS: usize = 16;

/// Words of an address in a page: two of the IP address, one of the rest.
const WORDS: usize = 3;

/// How a configured name stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It was never answered: not asked yet, or every try failed.
    #[default]
    Unresolved,
    /// The last answer is in time.
    Good,
    /// The last answer is used on, for those after it failed.
    Stale,
    /// It was answered, and the answer has nothing for this place.
    Empty,
}

impl State {
    const ALL: [Self; 4] = [Self::Unresolved, Self::Good, Self::Stale, Self::Empty];

    /// "unresolved", "good", "stale" or "empty".
    pub fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Good => "good",
            Self::Stale => "stale",
            Self::Empty => "empty",
        }
    }
}

/// What a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    list: [SocketAddr; ADDRESSES],
    count: usize,
    /// As the answer says (SRV); 1 elsewhere.
    pub weight: u16,
    /// Only for when none of the places that are no spares can be reached (SRV: a priority that is not the lowest).
    pub spare: bool,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { list: [NOBODY; ADDRESSES], count: 0, weight: 1, spare: false }
    }
}

const NOBODY: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));

impl Addresses {
    /// The first [`ADDRESSES`] of `addresses`.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, weight: u16, spare: bool) -> Self {
        let mut new = Self { weight, spare, ..Self::default() };
        for (place, address) in new.list.iter_mut().zip(addresses) {
            *place = address;
            new.count += 1;
        }
        new
    }
}

impl Deref for Addresses {
    type Target = [SocketAddr];

    fn deref(&self) -> &[SocketAddr] {
        self.list.get(..self.count).unwrap_or_default()
    }
}

/// One place to connect to, whose addresses come from a name.
#[derive(Debug, Default)]
pub struct Resolved {
    /// How many changes there were; the last is on page `generation` mod 2.
    generation: AtomicU64,
    pages: [Page; 2],
    state: AtomicU8,
    writers: Mutex<()>,
}

#[derive(Debug, Default)]
struct Page {
    /// Count of addresses, weight, spare.
    head: AtomicU64,
    words: [[AtomicU64; WORDS]; ADDRESSES],
}

impl Resolved {
    /// A place with these addresses, for good.
    pub fn with(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let new = Self::default();
        new.set(&Addresses::new(addresses, 1, false), State::Good);
        new
    }

    /// The addresses as they are now, in the order in which they should be tried.
    pub fn addresses(&self) -> Addresses {
        for _ in 0..LOOKS {
            let generation = self.generation.load(Ordering::Acquire);
            let page = &self.pages[usize::from(generation & 1 == 1)];
            let seen = page.read();
            fence(Ordering::Acquire);
            if self.generation.load(Ordering::Relaxed) == generation {
                return seen;
            }
        }
        Addresses::default()
    }

    /// Weight and spare alone: one load, and what one answer says of the two.
    fn rank(&self) -> (u16, bool) {
        let generation = self.generation.load(Ordering::Acquire);
        let (_, weight, spare) = self.pages[usize::from(generation & 1 == 1)].head();
        (weight, spare)
    }

    pub fn state(&self) -> State {
        let number = self.state.load(Ordering::Acquire);
        State::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// Whether there is an address to connect to.
    pub fn is_usable(&self) -> bool {
        matches!(self.state(), State::Good | State::Stale)
    }

    /// How often the addresses have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says how it stands, the addresses being as they are.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Replaces the addresses; whether they are others than before, in whatever order.
    pub fn set(&self, addresses: &Addresses, state: State) -> bool {
        let _alone = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        // It is usable only once the addresses are there, and before they go it is not: who is told that there is one finds it.
        if addresses.is_empty() {
            self.set_state(state);
        }
        let before = self.addresses();
        if before != *addresses {
            self.turn_page(addresses);
        }
        self.set_state(state);
        before.len() != addresses.len() || before.iter().any(|address| !addresses.contains(address))
    }

    /// For who holds the lock.
    fn turn_page(&self, addresses: &Addresses) {
        let next = self.generation.load(Ordering::Relaxed).wrapping_add(1);
        // After the last store of `generation` and ahead of all stores below: see the proof above.
        fence(Ordering::Release);
        self.pages[usize::from(next & 1 == 1)].write(addresses);
        self.generation.store(next, Ordering::Release);
    }
}

impl Page {
    fn head(&self) -> (u8, u16, bool) {
        let [count, spare, _, _, _, _, high, low] = self.head.load(Ordering::Relaxed).to_be_bytes();
        (count, u16::from_be_bytes([high, low]), spare != 0)
    }

    fn read(&self) -> Addresses {
        let (count, weight, spare) = self.head();
        let addresses = self.words.iter().take(count.into()).map(|words| {
            let [high, low, rest] = [0, 1, 2].map(|index: usize| words[index].load(Ordering::Relaxed));
            unpack(high, low, rest)
        });
        Addresses::new(addresses, weight, spare)
    }

    fn write(&self, addresses: &Addresses) {
        let count = u64::try_from(addresses.len()).unwrap_or(0);
        let head = count << 56 | u64::from(addresses.spare) << 48 | u64::from(addresses.weight);
        self.head.store(head, Ordering::Relaxed);
        for (words, address) in self.words.iter().zip(addresses.iter()) {
            for (word, value) in words.iter().zip(pack(*address)) {
                word.store(value, Ordering::Relaxed);
            }
        }
    }
}

/// An address as words: the IP address, mapped into IPv6 if it is IPv4; port, and the interface of a link-local one.
fn pack(address: SocketAddr) -> [u64; WORDS] {
    let (ip, scope) = match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
    };
    let [a, b, c, d, e, f, g, h] = ip.segments().map(u64::from);
    let join = |[a, b, c, d]: [u64; 4]| a << 48 | b << 32 | c << 16 | d;
    [join([a, b, c, d]), join([e, f, g, h]), u64::from(scope) << 32 | u64::from(address.port())]
}

fn unpack(high: u64, low: u64, rest: u64) -> SocketAddr {
    let [_, _, _, _, _, _, p, q] = rest.to_be_bytes();
    let [s, c, o, e, ..] = rest.to_be_bytes();
    let port = u16::from_be_bytes([p, q]);
    let ip = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
    match ip.to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, port)),
        IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, u32::from_be_bytes([s, c, o, e]))),
    }
}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Place {
    /// At this address, for good.
    Fixed(Address),
    /// Wherever a name leads now.
    Named(Arc<Resolved>),
}

impl Place {
    /// The address, or the first of those it has now.
    pub fn first(&self) -> Option<Address> {
        match self {
            Self::Fixed(address) => Some(address.clone()),
            Self::Named(resolved) => resolved.addresses().first().map(|address| Address::Inet(*address)),
        }
    }

    /// Every address it has now.
    pub fn all(&self) -> Vec<Address> {
        match self {
            Self::Fixed(address) => vec![address.clone()],
            Self::Named(resolved) => {
                resolved.addresses().iter().map(|address| Address::Inet(*address)).collect()
            }
        }
    }

    /// Whether there is an address.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Named(resolved) => resolved.is_usable(),
        }
    }

    /// What the answer says of its share and its rank, if it says anything: a weight, and whether it is a spare.
    pub fn rank(&self) -> (u16, bool) {
        match self {
            Self::Fixed(_) => (1, false),
            Self::Named(resolved) => resolved.rank(),
        }
    }
}

/// Two are the same place if what happens to one happens to the other.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one == other,
            (Self::Named(one), Self::Named(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Fixed(address) => address.hash(state),
            Self::Named(resolved) => Arc::as_ptr(resolved).hash(state),
        }
    }
}

impl From<Address> for Place {
    fn from(address: Address) -> Self {
        Self::Fixed(address)
    }
}

impl fmt::Display for Place {
    /// The address, or the first of those it has now; nothing where it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first().map_or(Ok(()), |address| address.fmt(f))
    }
}

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
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

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

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        // An IPv4 address in IPv6 clothes is that IPv4 address.
        let v6 = (any::<u16>(), any::<u128>(), any::<u32>()).prop_map(|(port, ip, scope)| {
            let ip = Ipv6Addr::from(ip | 1 << 127);
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn what_was_set_is_read(
            all in prop::collection::vec((prop::collection::vec(any_address(), 0..12), any::<u16>(), any::<bool>()), 1..5),
        ) {
            let place = Resolved::default();
            for (addresses, weight, spare) in all {
                let set = Addresses::new(addresses.iter().copied(), weight, spare);
                place.set(&set, State::Good);
                prop_assert_eq!(place.addresses(), set);
                prop_assert_eq!(&*set, &addresses[..addresses.len().min(ADDRESSES)]);
            }
        }
    }

    #[test]
    fn readers_see_one_answer_whole_while_it_changes() {
        let (place, done) = (Resolved::default(), AtomicBool::new(false));
        // Of answer n all eight addresses and the weight are n.
        let answer = |n: u8| Addresses::new([address(n); ADDRESSES], n.into(), n % 2 == 0);
        place.set(&answer(0), State::Good);
        thread::scope(|scope| {
            let read = || {
                let mut seen = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    let it = place.addresses();
                    // Only one who was overtaken again and again sees nothing.
                    if !it.is_empty() {
                        let n = u8::try_from(it.weight).unwrap();
                        assert_eq!(it, answer(n));
                        seen += 1;
                    }
                }
                seen
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            for n in 0..60_000_u32 {
                place.set(&answer(u8::try_from(n % 251).unwrap()), State::Good);
            }
            done.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        assert!(place.generation() > 50_000);
    }

    #[test]
    fn a_place_is_usable_only_once_it_has_an_address() {
        let places: Vec<Resolved> = (0..20_000).map(|_| Resolved::default()).collect();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for place in &places {
                    while !place.is_usable() {
                        std::hint::spin_loop();
                    }
                    assert!(!place.addresses().is_empty());
                }
            });
            for place in &places {
                place.set(&target(&[1], 1, false), State::Good);
            }
            reader.join().unwrap();
        });
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

    #[test]
    fn states_have_their_numbers() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number, "{}", state.name());
        }
    }
}
