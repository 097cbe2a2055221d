// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walks over real connections that come and go between turns, and what a turn does of them at most.

use super::closing_stage::service;
use super::connection::Connection;
use super::context::{Common, Ctx};
use super::guard::Limit;
use super::pair::Pair;
use super::plan::Plan;
use super::relay::Duplex;
use super::view::Wanted;
use super::walk::{ACTIVE, Act, Page, Pages, RESTING, SLICE, STEPS, TURNS, Walk, Walks};
use crate::error::{Reason, Side};
use crate::event::Key;
use crate::event::event_loop::Loop;
use crate::handshake::{For, Progress, Step};
use crate::log::{Level, Log};
use crate::stats::ServiceStats;
use crate::stream::testing::unix_pair;
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::socket::Socket;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A worker with nothing but connections that wait, and walks.
struct World {
    connections: Loop<Box<Connection>>,
    ctx: Ctx,
    walks: Walks,
    pages: Pages,
    plan: Arc<Plan>,
    limit: Arc<Limit>,
    ids: Arc<AtomicU64>,
    /// Who is there, by number, with the client's end.
    there: BTreeMap<u64, (Key, Socket)>,
}

/// A step that waits for its client for ever.
const WAIT: Step = Step {
    name: "waiting",
    run: |_, _, _| Ok(Progress::Wait(For { side: Side::Client, read: true, patience: None })),
    expired: |_, _, _| Some(Reason::HandshakeTimeout(Side::Client)),
};

impl World {
    #[expect(clippy::disallowed_methods, reason = "the clock starts somewhere; no test turns it")]
    fn new(connections: usize) -> Self {
        let ids = Arc::new(AtomicU64::new(1));
        let common = Common { ids: Arc::clone(&ids), ..Common::alone(Log::to_memory(Level::Error).0) };
        let service = service(Arc::new(ServiceStats::default()));
        let mut world = Self {
            connections: Loop::new().unwrap(),
            ctx: Ctx::new(0, common, Instant::now()),
            walks: Walks::default(),
            pages: Pages::new(Arc::new(EventFd::new().unwrap())),
            plan: Arc::new(Plan {
                service,
                front: [WAIT].into(),
                backs: Box::new([Arc::new([])]),
                relay: &Duplex,
            }),
            limit: Limit::of(10_000),
            ids,
            there: BTreeMap::new(),
        };
        (0..connections).for_each(|_| world.come());
        world
    }

    fn come(&mut self) {
        let (client, ours) = unix_pair();
        let pair = Pair::new(ours, Address::Unnamed, 64 * 1024, self.ctx.now);
        let guard = self.limit.enter().unwrap();
        let connection = Box::new(Connection::new(pair, Arc::clone(&self.plan), guard, &self.ctx));
        let id = connection.id();
        let key = self.connections.insert(connection, self.ctx.now, &mut self.ctx);
        self.there.insert(id, (key, client));
    }

    /// The `at`th, from the beginning again beyond the end, goes.
    fn go(&mut self, at: usize) {
        let Some(id) = self.there.keys().nth(at % self.there.len().max(1)).copied() else { return };
        let (key, _client) = self.there.remove(&id).unwrap();
        self.connections.close(key, Reason::Stopped, &mut self.ctx);
    }

    fn ids(&self) -> Vec<u64> {
        self.there.keys().copied().collect()
    }

    fn walk(&self, listing: u64, after: u64, most: usize) -> Walk {
        let below = self.ids.load(Ordering::Relaxed);
        Walk { listing, after, below, most, wanted: Arc::default(), act: Act::Look }
    }

    fn begin(&mut self, walk: Walk) {
        self.walks.begin(walk, &mut self.connections);
    }

    /// One turn; the pages it brought.
    fn turn(&mut self) -> Vec<Page> {
        self.walks.advance(&mut self.connections, &mut self.ctx, &self.pages);
        std::iter::from_fn(|| self.pages.pop()).collect()
    }

    /// The answer to the only walk, and the turns it took.
    fn page(&mut self, walk: Walk) -> (Page, usize) {
        self.begin(walk);
        for turns in 1..100_000 {
            if let Some(page) = self.turn().pop() {
                return (page, turns);
            }
        }
        panic!("never answered");
    }

    /// All that `walk` and those that go on from it tell, and the turns it took.
    fn all(&mut self, mut walk: Walk) -> (Vec<u64>, usize) {
        let (mut told, mut turns) = (Vec::new(), 0);
        loop {
            let (page, took) = self.page(walk.clone());
            told.extend(numbers(&page));
            (walk.after, turns) = (page.after, turns + took);
            if page.end {
                return (told, turns);
            }
        }
    }
}

fn numbers(page: &Page) -> Vec<u64> {
    page.connections.iter().map(|view| view.id).collect()
}

#[test]
fn pages_follow_each_other_to_the_end() {
    let mut world = World::new(10);
    let (first, _) = world.page(world.walk(1, 0, 4));
    assert_eq!((numbers(&first), first.after, first.end), (vec![1, 2, 3, 4], 4, false));
    assert_eq!(world.walks.bookmarks(), 1, "it rests for its reader");
    let (rest, _) = world.page(world.walk(1, 4, 100));
    assert_eq!((numbers(&rest), rest.end), ((5..=10).collect(), true));
    assert_eq!(world.walks.bookmarks(), 0);
}

#[test]
fn who_comes_after_the_beginning_is_not_told() {
    let mut world = World::new(3);
    let walk = world.walk(1, 0, 100);
    world.come();
    assert_eq!(world.all(walk).0, [1, 2, 3]);
}

#[test]
fn a_lost_bookmark_costs_a_walk_and_tells_the_same_rest() {
    let mut world = World::new(3 * STEPS);
    let (first, _) = world.page(world.walk(1, 0, 2 * SLICE));
    let (kept, _) = world.all(Walk { after: first.after, ..world.walk(1, 0, 64) });
    // The same place under a number nobody knows.
    let (sought, _) = world.all(Walk { after: first.after, ..world.walk(2, 0, 64) });
    assert_eq!(kept, sought);
    assert_eq!(kept.len(), 3 * STEPS - 2 * SLICE);
    assert_eq!(world.walks.bookmarks(), 0);
}

#[test]
fn a_bookmark_that_stands_elsewhere_is_not_used() {
    let mut world = World::new(20);
    world.page(world.walk(1, 0, 8));
    let (page, _) = world.page(world.walk(1, 4, 100));
    assert_eq!((numbers(&page), page.end), ((5..=20).collect(), true));
    assert_eq!(world.walks.bookmarks(), 0);
}

#[test]
fn a_turn_looks_at_a_slice_whatever_is_asked() {
    let (count, listings) = (5 * SLICE, 40);
    let mut world = World::new(count);
    for listing in 0..listings {
        world.begin(world.walk(listing as u64, 0, usize::MAX));
    }
    let (mut turns, mut told, mut ends) = (0, 0, BTreeSet::new());
    while ends.len() < listings {
        turns += 1;
        for page in world.turn() {
            told += page.connections.len();
            assert!(ends.insert(page.listing), "one page is as much as was asked for");
        }
        assert!(told <= turns * SLICE, "{told} looked at in {turns} turns");
    }
    assert_eq!(told, count * listings);
}

#[test]
fn a_turn_passes_a_bounded_number_of_places_when_it_seeks() {
    let mut world = World::new(4 * STEPS);
    let last = *world.ids().last().unwrap();
    for listing in 0..10 {
        world.begin(world.walk(listing, last - 1, 1));
    }
    // Each must pass all the others' bookmarks and all that were told.
    let mut turns = 0;
    let mut pages = Vec::new();
    while pages.len() < 10 {
        turns += 1;
        pages.extend(world.turn());
    }
    assert!(turns >= 10 * 4, "{turns} turns for ten walks of {} places", 4 * STEPS);
    assert!(pages.iter().all(|page| numbers(page) == [last]));
}

#[test]
fn who_finds_nothing_for_long_is_answered_all_the_same() {
    let mut world = World::new((TURNS + 1) * SLICE);
    let wanted = Arc::new(Wanted { service: "none of this name".to_owned(), ..Wanted::default() });
    let walk = Walk { wanted, ..world.walk(1, 0, 64) };
    let (page, turns) = world.page(walk.clone());
    assert_eq!((numbers(&page), page.end, turns), (vec![], false, TURNS));
    assert_eq!(page.after, (TURNS * SLICE) as u64, "and has come so far");
    assert_eq!(world.all(Walk { after: page.after, ..walk }).0, [0; 0]);
}

#[test]
fn listings_take_turns() {
    let mut world = World::new(8 * SLICE);
    world.begin(world.walk(1, 0, usize::MAX));
    world.begin(world.walk(2, 0, SLICE));
    let pages: Vec<Page> = (0..3).flat_map(|_| world.turn()).collect();
    assert_eq!(
        pages.iter().map(|page| page.listing).collect::<Vec<_>>(),
        [2],
        "the short one is not kept waiting"
    );
}

#[test]
fn those_that_are_killed_while_walked_are_told_once_and_gone() {
    let mut world = World::new(3 * SLICE);
    let survivors = Arc::new(Wanted { state: "never seen".to_owned(), ..Wanted::default() });
    world.all(Walk { act: Act::Close, wanted: survivors, ..world.walk(1, 0, 64) });
    assert_eq!(world.connections.len(), 3 * SLICE, "others are left alone");
    let mut other = world.walk(3, 0, 5);
    other.after = world.page(other.clone()).0.after;
    let (told, _) = world.all(Walk { act: Act::Close, ..world.walk(2, 0, 7) });
    assert_eq!(told, world.ids());
    assert!(world.connections.is_empty());
    assert_eq!(world.all(other).0, [0; 0], "whoever lists them meanwhile comes to the end");
    assert_eq!(world.walks.bookmarks(), 0);
}

#[test]
fn a_listing_that_is_over_leaves_no_bookmark() {
    let mut world = World::new(10);
    world.page(world.walk(1, 0, 4));
    world.begin(world.walk(1, 0, 0));
    assert_eq!(world.walks.bookmarks(), 0, "one that rests");
    world.begin(world.walk(2, 0, 4));
    world.begin(world.walk(2, 0, 0));
    assert_eq!(world.walks.bookmarks(), 0, "one that is at work");
    assert!(world.turn().is_empty() && !world.walks.at_work());
    world.begin(world.walk(3, 0, 0));
    assert_eq!(world.walks.bookmarks(), 0, "one nobody knows");
}

#[test]
fn bookmarks_are_bounded_and_the_oldest_goes() {
    let mut world = World::new(10);
    let count = RESTING as u64 + 100;
    for listing in 0..count {
        world.page(world.walk(listing, 0, 3));
    }
    assert_eq!(world.walks.bookmarks(), RESTING);
    for listing in [0, count - 1] {
        let (page, _) = world.page(Walk { after: 3, ..world.walk(listing, 0, 64) });
        assert_eq!((numbers(&page), page.end), ((4..=10).collect(), true), "with or without its bookmark");
    }
    while world.walks.has_room() {
        world.begin(world.walk(count + world.walks.bookmarks() as u64, 0, 1));
    }
    assert!(world.walks.bookmarks() <= RESTING + ACTIVE);
}

#[test]
fn a_worker_that_ends_answers_with_what_it_has() {
    let mut world = World::new(3 * SLICE);
    world.page(world.walk(1, 0, 4));
    world.begin(world.walk(2, 0, usize::MAX));
    world.begin(world.walk(3, 0, usize::MAX));
    assert!(world.turn().is_empty());
    std::mem::take(&mut world.walks).finish(0, &world.pages);
    let mut pages: Vec<Page> = std::iter::from_fn(|| world.pages.pop()).collect();
    pages.sort_by_key(|page| page.listing);
    let seen: Vec<_> = pages.iter().map(|page| (page.listing, page.end, page.connections.len())).collect();
    assert_eq!(seen, [(2, true, SLICE), (3, true, 0)], "those that wait, and nobody else");
}

#[test]
fn numbers_that_were_made_up_find_nothing() {
    let mut world = World::new(10);
    for (after, below) in [(u64::MAX, u64::MAX), (u64::MAX, 0), (0, 0), (10, u64::MAX)] {
        let walk = Walk { below, ..world.walk(u64::MAX, after, 64) };
        assert_eq!(world.all(walk).0, [0; 0], "{after} {below}");
    }
    assert_eq!(world.walks.bookmarks(), 0);
}

/// What happens between and in turns.
#[derive(Clone, Debug)]
enum Move {
    Come,
    Go(usize),
    /// A listing asks for its next page of so many, or begins.
    Ask(usize, usize),
    /// The worker forgets a listing's bookmark, as when a lease ends.
    Forget(usize),
    Turn,
}

/// One that lists, as the control thread does.
#[derive(Default)]
struct Lister {
    walk: Option<Walk>,
    waiting: bool,
    /// Who was there when it began and still is.
    stayed: BTreeSet<u64>,
    told: Vec<u64>,
}

const LISTERS: usize = 4;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => Just(Move::Come),
        2 => (0..1000_usize).prop_map(Move::Go),
        3 => (0..LISTERS, 1..8_usize).prop_map(|(lister, most)| Move::Ask(lister, most)),
        1 => (0..LISTERS).prop_map(Move::Forget),
        3 => Just(Move::Turn),
    ];
    prop::collection::vec(one, 1..150)
}

fn hear(listers: &mut [Lister], pages: Vec<Page>) {
    for page in pages {
        let lister = &mut listers[usize::try_from(page.listing).unwrap()];
        assert!(lister.waiting, "an answer to nobody");
        lister.waiting = false;
        lister.told.extend(numbers(&page));
        lister.walk.as_mut().unwrap().after = page.after;
        if page.end {
            finish(lister);
        }
    }
}

/// It is through: what it was told is in order, so nothing twice, and nobody is missing that was there throughout.
fn finish(lister: &mut Lister) {
    assert!(lister.told.is_sorted_by(|a, b| a < b), "{:?}", lister.told);
    let told: BTreeSet<u64> = lister.told.iter().copied().collect();
    assert!(lister.stayed.is_subset(&told), "{:?} without some of {:?}", told, lister.stayed);
    assert!(told.iter().all(|id| *id < lister.walk.as_ref().unwrap().below));
    *lister = Lister::default();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn who_stays_is_told_exactly_once(moves in moves()) {
        let mut world = World::new(5);
        let mut listers: [Lister; LISTERS] = Default::default();
        for chosen in moves {
            match chosen {
                Move::Come => world.come(),
                Move::Go(at) => {
                    let before = world.ids();
                    world.go(at);
                    for id in before.iter().filter(|id| !world.there.contains_key(id)) {
                        listers.iter_mut().for_each(|lister| { lister.stayed.remove(id); });
                    }
                }
                Move::Ask(number, most) if !listers[number].waiting => {
                    let fresh = world.walk(number as u64, 0, most);
                    let lister = &mut listers[number];
                    if lister.walk.is_none() {
                        lister.stayed = world.there.keys().copied().collect();
                    }
                    let walk = lister.walk.get_or_insert(fresh);
                    walk.most = most;
                    lister.waiting = true;
                    let walk = walk.clone();
                    world.begin(walk);
                }
                Move::Forget(number) if !listers[number].waiting => {
                    world.begin(world.walk(number as u64, 0, 0));
                }
                Move::Ask(..) | Move::Forget(_) => {}
                Move::Turn => hear(&mut listers, world.turn()),
            }
            prop_assert!(world.walks.bookmarks() <= LISTERS);
        }
        for number in 0..LISTERS {
            while listers[number].walk.is_some() {
                let lister = &mut listers[number];
                if !std::mem::replace(&mut lister.waiting, true) {
                    let walk = lister.walk.clone().unwrap();
                    world.begin(walk);
                }
                hear(&mut listers, world.turn());
            }
        }
        prop_assert_eq!(world.walks.bookmarks(), 0);
    }
}
