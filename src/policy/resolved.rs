// SPDX-License-Identifier: MIT OR Apache-2.0
//! The addresses behind a configured name: written by whoever resolves it, read by every worker without waiting.
//!
//! A [`Resolved`] is one place that connections may go to. Invariant: a reader sees one answer whole, never parts of two. Not
//! here: how an answer is spread over the places of its name (`watch.rs`), asking (`resolver/`).
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 993))
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
                place.set(&Addresses::new([address(1)], 1, false), State::Good);
            }
            reader.join().unwrap();
        });
    }

    #[test]
    fn states_have_their_numbers() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number, "{}", state.name());
        }
    }
}
