// SPDX-License-Identifier: MIT OR Apache-2.0
//! Readers over socket pairs, with a language made for it, workers that answer when the test says so, and a clock that only
//! the test turns.

use super::super::answer::{Answer, End, Format, List, Request};
use super::super::listing::{Cursor, PAGE};
use super::super::order::Order;
use super::super::reader::{LOW, STALL};
use super::super::state::SILENCE;
use super::super::testing;
use super::*;
use crate::connection::view::{ConnectionView, Wanted};
use crate::connection::walk::{Act, Page, Walk};
use crate::control::answer::{Then, Wording};
use crate::policy::access::{ControlSettings, ControlSocket, Level};
use crate::stream::testing::{drain, unix_pair};
use crate::sys::identity::Peer;
use crate::sys::socket::Socket;
use std::sync::atomic::Ordering;

const SECOND: Duration = Duration::from_secs(1);
const WORKERS: usize = 2;

/// Readers by HTTP at once.
const REMOTE: usize = READERS - KEPT;

/// A language of lines: "say BYTES", "level", "list MOST", "on CURSOR MOST", "order", "bye", "end".
#[derive(Debug)]
struct Lines;

impl Talk for Lines {
    fn request(&mut self, input: &mut Vec<u8>, visitor: &Visitor, _: &mut State) -> Request {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return Request::More };
        let line: Vec<u8> = input.drain(..=end).collect();
        let line = String::from_utf8(line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let list = |from: Option<Cursor>, most: &str| {
            let (wanted, format) = (Wanted::default(), Box::new(Plain));
            let most = most.parse().unwrap();
            Request::Answer(Answer::List(Box::new(List {
                wanted,
                from,
                most,
                act: Act::Look,
                format,
                then: Then::Keep,
            })))
        };
        match words[..] {
            ["say", bytes] => Request::Answer(Answer::Whole(vec![b'x'; bytes.parse().unwrap()], Then::Keep)),
            ["list", most] => list(None, most),
            ["on", cursor, most] => list(Some(cursor.parse().unwrap()), most),
            ["order"] => {
                let wording = |outcome: Result<String, String>| format!("{outcome:?};").into_bytes();
                Request::Answer(Answer::Order(Order::Reload, Wording(Box::new(wording)), Then::Keep))
            }
            ["level"] => Request::Answer(Answer::Whole(visitor.level.name().as_bytes().to_vec(), Then::Keep)),
            ["bye"] => Request::Answer(Answer::Whole(b"bye".to_vec(), Then::Close)),
            ["panic"] => panic!("as the test wants"),
            _ => Request::End,
        }
    }

    fn full(&self) -> Vec<u8> {
        b"full".to_vec()
    }

    fn patience(&self) -> Duration {
        10 * SECOND
    }
}

/// "[1 2 3 ]NEXT SILENT;": rows as long as their service's name.
#[derive(Debug)]
struct Plain;

impl Format for Plain {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
    }

    fn row(&mut self, connection: &ConnectionView, out: &mut Vec<u8>) {
        out.extend(format!("{}{} ", connection.service, connection.id).bytes());
    }

    fn tail(&mut self, end: &End, out: &mut Vec<u8>) {
        let next = end.next.map(|cursor| cursor.to_string()).unwrap_or_default();
        out.extend(format!("]{next} {:?};", end.silent).bytes());
    }
}

/// A control thread without its thread, whose workers are the test.
struct World {
    serving: Serving,
    /// What a row is padded with.
    padding: String,
    /// By worker: the connections it has.
    connections: [Vec<u64>; WORKERS],
}

impl World {
    fn new() -> Self {
        let bell = Arc::new(EventFd::new().unwrap());
        let sources = testing::sources(WORKERS, Arc::clone(&bell));
        sources.ids.store(1_000_000, Ordering::Relaxed);
        let control = Arc::new(Control { call: ArrayQueue::new(1), bell });
        let serving = Serving::new(control, sources).unwrap();
        Self { serving, padding: String::new(), connections: Default::default() }
    }

    /// Somebody new; the other end of its socket.
    fn reader(&mut self) -> Socket {
        self.reader_from(Who::Anybody, "a test")
    }

    fn reader_from(&mut self, who: Who, name: &str) -> Socket {
        let (theirs, ours) = unix_pair();
        let visitor = Visitor::new(who, name.to_owned(), &self.serving.state.settings);
        self.serving.insert(Reader::new(ours, Box::new(Lines), visitor, self.serving.state.now));
        theirs
    }

    fn asks(&mut self, socket: &Socket, lines: &str) {
        socket.send(lines.as_bytes()).unwrap();
        self.turns();
    }

    /// Whether something happened.
    fn turn(&mut self) -> bool {
        let owed = self.serving.patience() == Some(Duration::ZERO);
        self.serving.readers.wait(Some(Duration::ZERO)).unwrap();
        self.serving.state.stint = Stint::begin();
        let events = self.serving.readers.events();
        self.serving.work().unwrap();
        owed || events > 0
    }

    /// Until nothing more comes of what there is.
    fn turns(&mut self) {
        // What was dropped into a queue rings no bell here.
        while self.turn() || self.serving.unheard {}
        while self.turn() {}
    }

    fn pass(&mut self, time: Duration) {
        self.serving.state.now += time;
        self.turns();
    }

    fn readers(&self) -> usize {
        self.serving.readers.len()
    }

    /// What that worker is asked.
    fn walks(&self, worker: usize) -> Vec<Walk> {
        std::iter::from_fn(|| self.serving.state.sources.inboxes.pop_walk(worker)).collect()
    }

    fn page(&self, walk: &Walk, worker: usize) -> Page {
        let all = &self.connections[worker];
        let found: Vec<u64> = all.iter().copied().filter(|id| *id > walk.after).take(walk.most).collect();
        let view =
            |id: &u64| ConnectionView { id: *id, service: self.padding.clone(), ..ConnectionView::default() };
        let after = found.last().copied().unwrap_or(walk.after);
        let end = found.len() < walk.most;
        Page { listing: walk.listing, worker, connections: found.iter().map(view).collect(), after, end }
    }

    /// That worker answers what it was asked; how many pages that were.
    fn answer(&mut self, worker: usize) -> usize {
        let walks: Vec<Walk> = self.walks(worker).into_iter().filter(|walk| walk.most > 0).collect();
        for walk in &walks {
            self.serving.state.sources.pages.push(self.page(walk, worker));
        }
        self.turns();
        walks.len()
    }

    /// All workers answer until they are asked no more.
    fn answer_all(&mut self) -> usize {
        let mut pages = 0;
        loop {
            let answered: usize = (0..WORKERS).map(|worker| self.answer(worker)).sum();
            if answered == 0 {
                return pages;
            }
            pages += answered;
        }
    }
}

fn hears(socket: &Socket) -> String {
    String::from_utf8(drain(socket).0).unwrap()
}

fn is_ended(socket: &Socket) -> bool {
    drain(socket).1
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let mut world = World::new();
    let reader = world.reader();
    world.asks(&reader, "say 3\nsay 2\nsa");
    assert_eq!(hears(&reader), "xxxxx");
    world.asks(&reader, "y 1\nbye\nsay 7\n");
    assert_eq!(drain(&reader), (b"xbye".to_vec(), true));
    assert_eq!(world.readers(), 1, "what it sent beyond the end must not cost it the answer");
    reader.send(b"more of it").unwrap();
    world.turns();
    reader.shutdown_write().unwrap();
    world.turns();
    assert_eq!(world.readers(), 0);
}

#[test]
fn who_does_not_end_is_left_after_a_moment() {
    let mut world = World::new();
    let reader = world.reader();
    world.asks(&reader, "end\n");
    assert!(is_ended(&reader));
    for _ in 0..3 {
        world.pass(SECOND / 4);
        reader.send(b"and another thing").unwrap();
    }
    assert_eq!(world.readers(), 1);
    world.pass(SECOND / 4);
    assert_eq!(world.readers(), 0);
}

#[test]
fn who_has_ended_is_answered_to_the_last_request() {
    let mut world = World::new();
    world.connections[1] = vec![5, 6];
    let reader = world.reader();
    reader.send(b"say 1\nlist 10\nsay 2\nunfinished").unwrap();
    reader.shutdown_write().unwrap();
    world.turns();
    world.answer_all();
    assert_eq!(hears(&reader), "x[5 6 ] [];xx");
    assert_eq!(world.readers(), 0);
}

#[test]
fn a_crowd_of_requests_gives_others_their_turn() {
    let mut world = World::new();
    let (reader, other) = (world.reader(), world.reader());
    reader.send("say 1\n".repeat(1000).as_bytes()).unwrap();
    other.send(b"say 1\n").unwrap();
    world.turn();
    world.turn();
    assert_eq!(hears(&other), "x");
    assert!(hears(&reader).len() < 1000, "not all in one turn");
    let mut rest = 0;
    for _ in 0..1000 {
        world.turn();
        rest += hears(&reader).len();
    }
    assert!(rest > 900);
}

#[test]
fn a_request_that_trickles_has_a_total_limit() {
    let mut world = World::new();
    let reader = world.reader();
    world.pass(9 * SECOND);
    for _ in 0..6 {
        reader.send(b"s").unwrap();
        world.turns();
        assert_eq!(world.readers(), 1);
        world.pass(5 * SECOND);
    }
    assert_eq!(world.readers(), 0, "a byte now and then does not keep it");
}

#[test]
fn who_says_nothing_goes_and_every_answer_gives_it_time() {
    let mut world = World::new();
    let reader = world.reader();
    for _ in 0..3 {
        world.pass(9 * SECOND);
        world.asks(&reader, "say 1\n");
        assert_eq!(hears(&reader), "x");
    }
    world.pass(10 * SECOND);
    assert!(is_ended(&reader) && world.readers() == 0);
}

#[test]
fn a_reader_that_takes_nothing_goes() {
    let mut world = World::new();
    let stalled = world.reader();
    world.asks(&stalled, "say 4000000\n");
    assert!(world.serving.state.held() >= 3_000_000);
    // What it asks meanwhile is not read, nor does it put anything off.
    stalled.send(b"say 1\n").unwrap();
    world.pass(STALL - SECOND);
    let other = world.reader();
    world.asks(&other, "say 1\n");
    assert_eq!(world.readers(), 2);
    world.pass(SECOND);
    assert_eq!((world.readers(), world.serving.state.held()), (1, 0));
    world.asks(&other, "say 1\n");
    assert_eq!(hears(&other), "xx");
}

#[test]
fn a_reader_that_takes_a_little_now_and_then_stays_while_that_is_enough() {
    let mut world = World::new();
    let reader = world.reader();
    world.asks(&reader, "say 4000000\n");
    let mut taken = 0;
    while taken < 4_000_000 {
        // As much as the kernel needs to make room again, and no more.
        taken += hears(&reader).len();
        let waits = world.serving.state.held() > 0;
        world.pass(STALL - SECOND);
        assert!(world.readers() == 1 || !waits, "after {taken}");
    }
    assert_eq!(taken, 4_000_000);
}

#[test]
fn what_a_reader_takes_of_a_full_socket_counts_before_there_is_room() {
    let mut world = World::new();
    let reader = world.reader();
    world.asks(&reader, "say 4000000\n");
    let mut piece = vec![0; 24 << 10];
    for _ in 0..3 {
        reader.recv(&mut piece).unwrap();
        world.pass(STALL);
        assert_eq!(world.readers(), 1);
    }
    for _ in 0..3 {
        assert_eq!(reader.recv(&mut [0]).unwrap(), 1);
        world.pass(STALL / 3);
    }
    assert_eq!(world.readers(), 0, "a byte now and then is not enough");
}

#[test]
fn a_slow_readers_listing_pauses_and_resumes() {
    let mut world = World::new();
    world.connections = [(1..=5000).collect(), (5001..=6000).collect()];
    world.padding = "y".repeat(1000);
    let reader = world.reader();
    world.asks(&reader, "list 1000000\n");
    let row = world.padding.len() + 8;
    world.answer_all();
    let asked = world.serving.state.held();
    assert!(asked >= LOW, "it reads nothing, and is given no more: {asked}");
    // A vector's capacity may be twice its length.
    let bound = 2 * (LOW + PAGE * row);
    let mut got = String::new();
    while !got.ends_with(';') {
        assert!(world.serving.state.held() <= bound, "{} held", world.serving.state.held());
        got += &hears(&reader);
        world.turns();
        world.answer_all();
    }
    let told: Vec<u64> = got
        .trim_start_matches('[')
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches('y').parse().ok())
        .collect();
    assert!(told.iter().copied().eq(1..=6000), "{} told", told.len());
    assert_eq!(world.serving.state.held(), 0);
}

#[test]
fn many_list_at_once_and_none_gets_anothers_rows() {
    let mut world = World::new();
    world.connections = [(1..=300).collect(), (301..=400).collect()];
    let readers: Vec<Socket> = (0..20).map(|_| world.reader()).collect();
    for reader in &readers {
        world.asks(reader, "list 1000\n");
    }
    world.answer_all();
    let expected: String = (1..=400).map(|id| format!("{id} ")).collect();
    for reader in readers {
        assert_eq!(hears(&reader), format!("[{expected}] [];"));
    }
}

#[test]
fn a_silent_worker_is_passed_over_and_named() {
    let mut world = World::new();
    world.connections = [vec![1, 2], vec![3, 4]];
    let reader = world.reader();
    world.asks(&reader, "list 10\n");
    let late = world.walks(0);
    assert_eq!(late.len(), 1);
    world.pass(SILENCE);
    assert_eq!(world.walks(0).iter().map(|walk| walk.most).collect::<Vec<_>>(), [0], "told that it is over");
    // Its page comes after all, when the other's is awaited.
    let late = world.page(&late[0], 0);
    world.serving.state.sources.pages.push(late);
    world.turns();
    assert_eq!(hears(&reader), "[", "nothing of it is told");
    world.answer_all();
    assert_eq!(hears(&reader), "3 4 ] [0];");
}

#[test]
fn a_page_that_is_there_counts_although_the_thread_was_late_itself() {
    let mut world = World::new();
    world.connections = [vec![1], vec![2]];
    let readers: Vec<Socket> = (0..2 * PAGES).map(|_| world.reader()).collect();
    for reader in &readers {
        world.asks(reader, "list 10\n");
    }
    for worker in 0..WORKERS {
        let walks = world.walks(worker);
        assert_eq!(walks.len(), readers.len());
        for walk in walks {
            let page = world.page(&walk, worker);
            world.serving.state.sources.pages.push(page);
        }
        // Nobody gave it the processor.
        world.pass(2 * SILENCE);
    }
    for reader in readers {
        assert_eq!(hears(&reader), "[1 2 ] [];");
    }
}

#[test]
fn a_worker_that_answers_others_is_waited_for() {
    let mut world = World::new();
    world.connections[0] = vec![1];
    let (first, second) = (world.reader(), world.reader());
    world.asks(&first, "list 10\n");
    let walk = world.walks(0).pop().unwrap();
    for _ in 0..10 {
        world.asks(&second, "list 1\n");
        world.pass(SILENCE - SECOND);
        assert!(world.answer(0) > 0);
        world.answer(1);
    }
    assert_eq!(hears(&first), "[", "it has much to do, but it is not stuck");
    let page = world.page(&walk, 0);
    world.serving.state.sources.pages.push(page);
    world.turns();
    world.answer_all();
    assert_eq!(hears(&first), "1 ] [];");
}

#[test]
fn a_worker_that_answers_others_is_not_waited_for_for_ever() {
    let mut world = World::new();
    let (first, second) = (world.reader(), world.reader());
    world.asks(&first, "list 10\n");
    world.walks(0);
    for _ in 0..30 {
        world.asks(&second, "list 1\n");
        world.answer_all();
        world.pass(SILENCE - SECOND);
    }
    world.answer_all();
    assert_eq!(hears(&first), "[] [0];");
}

#[test]
fn a_worker_that_has_ended_is_skipped() {
    let mut world = World::new();
    world.connections = [vec![1, 2], vec![3, 4]];
    world.serving.state.sources.inboxes.close(0);
    let reader = world.reader();
    world.asks(&reader, "list 10\n");
    world.answer_all();
    assert_eq!(hears(&reader), "[3 4 ] [];");
}

#[test]
fn a_listing_that_is_left_off_goes_on_where_it_was() {
    let mut world = World::new();
    world.connections = [vec![1, 2, 3], vec![4, 5, 6]];
    let (reader, other) = (world.reader(), world.reader());
    world.asks(&reader, "list 2\n");
    world.answer_all();
    let first = hears(&reader);
    let cursor = first.strip_prefix("[1 2 ]").unwrap().strip_suffix(" [];").unwrap().to_owned();
    world.asks(&other, &format!("on {cursor} 10\n"));
    let walk = world.walks(0).pop().unwrap();
    assert_eq!(walk.listing, cursor.parse::<Cursor>().unwrap().listing, "its bookmark is used");
    // The same cursor once more finds no lease, and must not disturb the one that took it up.
    world.asks(&reader, &format!("on {cursor} 10\n"));
    let again = world.walks(0).pop().unwrap();
    assert_ne!(again.listing, walk.listing);
    for walk in [walk, again] {
        let page = world.page(&walk, 0);
        world.serving.state.sources.pages.push(page);
    }
    world.turns();
    world.answer_all();
    assert_eq!((hears(&reader), hears(&other)), ("[3 4 5 6 ] [];".into(), "[3 4 5 6 ] [];".into()));
}

#[test]
fn a_lease_ends_after_half_a_minute_and_wakes_the_thread_for_it() {
    let mut world = World::new();
    world.connections[0] = vec![1, 2, 3];
    let reader = world.reader();
    world.asks(&reader, "list 2\n");
    world.answer_all();
    assert!(world.walks(0).is_empty());
    assert_eq!(world.serving.state.next_lease(), Some(world.serving.state.now + 30 * SECOND));
    world.serving.next_tick += 3600 * SECOND;
    drop(reader);
    world.turns();
    assert_eq!(world.serving.patience(), Some(30 * SECOND));
    world.pass(30 * SECOND);
    assert_eq!(world.walks(0).iter().map(|walk| walk.most).collect::<Vec<_>>(), [0]);
    assert_eq!(world.serving.state.next_lease(), None);
}

#[test]
fn cursors_that_were_made_up_disturb_nobody() {
    let mut world = World::new();
    world.connections = [vec![1, 2, 3], vec![4]];
    let (reader, forger) = (world.reader(), world.reader());
    world.asks(&reader, "list 10\n");
    let walk = world.walks(0).pop().unwrap();
    let number = walk.listing;
    let huge = u64::MAX;
    for cursor in [
        format!("{number}-0-0-1000000"),
        format!("{number}-1-0-1000000"),
        format!("{number}-99-0-0"),
        format!("{huge}-{huge}-{huge}-{huge}"),
        format!("0-0-{huge}-{huge}"),
    ] {
        world.asks(&forger, &format!("on {cursor} 10\n"));
        for worker in 0..WORKERS {
            let walks = world.walks(worker);
            assert!(walks.iter().all(|walk| walk.listing != number), "somebody else's listing");
            for walk in walks {
                let page = world.page(&walk, worker);
                world.serving.state.sources.pages.push(page);
            }
            world.turns();
        }
        world.answer_all();
        assert!(hears(&forger).ends_with("] [];"), "{cursor}");
    }
    let page = world.page(&walk, 0);
    world.serving.state.sources.pages.push(page);
    world.turns();
    world.answer_all();
    assert_eq!(hears(&reader), "[1 2 3 4 ] [];");
}

#[test]
fn who_goes_in_the_middle_of_a_listing_leaves_nothing_behind() {
    let mut world = World::new();
    world.connections[0] = (1..=200).collect();
    let reader = world.reader();
    world.asks(&reader, "list 1000\n");
    world.answer(0);
    drop(reader);
    world.turns();
    assert_eq!(world.readers(), 0);
    let walks = world.walks(0);
    assert_eq!(walks.last().map(|walk| walk.most), Some(0), "its bookmark goes");
    for walk in &walks {
        let page = world.page(walk, 0);
        world.serving.state.sources.pages.push(page);
    }
    world.turns();
    assert_eq!((world.serving.state.held(), world.serving.state.next_lease()), (0, None));
}

#[test]
fn an_outcome_reaches_who_ordered_and_a_late_one_nobody() {
    let mut world = World::new();
    let reader = world.reader();
    let orders = Arc::clone(&world.serving.state.sources.orders);
    world.asks(&reader, "order\n");
    let (first, _) = orders.take().unwrap();
    world.pass(120 * SECOND);
    assert!(hears(&reader).starts_with("Err(\"it takes long"));
    world.asks(&reader, "order\n");
    let (second, _) = orders.take().unwrap();
    orders.answer(first, Ok("first".into()));
    world.turns();
    assert_eq!(hears(&reader), "", "that was of another order");
    orders.answer(second, Ok("second".into()));
    world.turns();
    assert_eq!(hears(&reader), "Ok(\"second\");");
}

#[test]
fn when_there_is_no_room_the_stillest_goes_and_nobody_who_waits() {
    let mut world = World::new();
    let waits = world.reader();
    world.asks(&waits, "list 10\n");
    world.serving.state.now += SECOND;
    let still = world.reader();
    world.serving.state.now += SECOND;
    let mut others: Vec<Socket> = (2..REMOTE).map(|_| world.reader()).collect();
    assert_eq!(world.readers(), REMOTE);
    let newcomer = world.reader();
    world.asks(&newcomer, "say 1\n");
    assert_eq!(hears(&newcomer), "x");
    assert!(is_ended(&still) && !is_ended(&waits));
    // Now nobody has been still for long: who comes is told so.
    let refused = world.reader();
    assert_eq!(drain(&refused), (b"full".to_vec(), true));
    // But for the control socket there are places left, and still ones make room for more.
    for _ in REMOTE..READERS {
        let (theirs, ours) = unix_pair();
        let visitor = Visitor::new(Who::Anybody, "a test".to_owned(), &world.serving.state.settings);
        let reader = Reader::new(ours, Box::new(Lines), visitor, world.serving.state.now).by_socket();
        world.serving.insert(reader);
        world.asks(&theirs, "say 1\n");
        assert_eq!(hears(&theirs), "x");
        others.push(theirs);
    }
    assert_eq!(world.readers(), READERS);
    world.pass(SECOND);
    for _ in 0..10 {
        others.push(world.reader());
    }
    assert!(world.readers() <= READERS);
    assert!(!is_ended(&waits));
}

#[test]
fn memory_of_all_readers_together_is_bounded() {
    let mut world = World::new();
    let answer = 1 << 20;
    let readers: Vec<Socket> = (0..2 * HELD / answer).map(|_| world.reader()).collect();
    for reader in &readers {
        world.asks(reader, &format!("say {answer}\n"));
        assert!(world.serving.state.held() <= HELD, "{}", world.serving.state.held());
        world.serving.state.now += SECOND / 100;
    }
    assert!(world.readers() < readers.len() && world.readers() > readers.len() / 4, "{}", world.readers());
    assert!(!is_ended(readers.last().unwrap()), "the oldest go");
}

#[test]
fn memory_is_looked_at_after_each_reader_however_many_ask_at_once() {
    let mut world = World::new();
    let answer = 4 << 20;
    let readers: Vec<Socket> = (0..4 * HELD / answer).map(|_| world.reader()).collect();
    for reader in &readers {
        reader.send(format!("say {answer}\n").as_bytes()).unwrap();
    }
    let (mut most, mut before) = (0, 0);
    while world.turn() {
        let held = world.serving.state.held();
        assert!(held <= before + 2 * answer, "more than one answer in a turn: {held} after {before}");
        (most, before) = (most.max(held), held);
    }
    assert!(most > HELD / 2 && most <= HELD, "{most}");
}

#[test]
fn settings_are_heard_before_the_next_reader_has_its_turn() {
    let mut world = World::new();
    let readers: Vec<Socket> = (0..100).map(|_| world.reader()).collect();
    for reader in &readers {
        reader.send(b"say 1\n").unwrap();
    }
    let hosts = vec!["tunnel.example".into()];
    let bound = Bound::default().change(ControlSettings { hosts, ..ControlSettings::default() }).unwrap();
    world.serving.control.listen(Bound::default());
    world.serving.control.listen(bound);
    world.turn();
    assert_eq!(world.serving.state.settings.hosts.len(), 1, "the last one counts");
    let answered = readers.iter().filter(|reader| !hears(reader).is_empty()).count();
    assert!(answered <= 1, "{answered} had theirs first");
}

#[test]
fn what_was_given_and_is_taken_away_is_gone_at_once() {
    let mut world = World::new();
    let settings = |level| {
        let certificates = vec![("ops".into(), level)];
        Bound::default().change(ControlSettings { certificates, ..ControlSettings::default() }).unwrap()
    };
    world.serving.listen(settings(Level::Admin));
    let reader = world.reader_from(Who::Certificate("ops".into()), "CN ops");
    world.asks(&reader, "level\n");
    assert_eq!(hears(&reader), "admin");
    world.serving.listen(settings(Level::Read));
    world.asks(&reader, "level\n");
    assert_eq!(hears(&reader), "read");
}

#[test]
fn who_came_by_a_socket_that_is_guarded_anew_goes() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let bound = |from: &Bound, mode| {
        let socket = ControlSocket { path: directory.path().join("s"), mode, ..ControlSocket::default() };
        from.change(ControlSettings { socket: Some(socket), ..ControlSettings::default() }).unwrap()
    };
    let open = bound(&Bound::default(), 0o666);
    world.serving.listen(open.clone());
    let [guest, ours] = [4_000_000_000, 0].map(|uid| {
        let (theirs, ours) = unix_pair();
        let peer = Peer { uid, ..Peer::default() };
        let visitor = Visitor::new(Who::Peer(peer), "a test".to_owned(), &world.serving.state.settings);
        let reader = Reader::new(ours, Box::new(Lines), visitor, world.serving.state.now).by_socket();
        world.serving.insert(reader);
        theirs
    });
    world.serving.listen(bound(&open, 0o600));
    assert!(is_ended(&guest) && !is_ended(&ours));
}

#[test]
fn who_trickles_is_still_and_makes_room() {
    let mut world = World::new();
    let trickling: Vec<Socket> = (0..REMOTE).map(|_| world.reader()).collect();
    for _ in 0..4 {
        for reader in &trickling {
            reader.send(b"s").unwrap();
        }
        world.pass(SECOND / 2);
    }
    let newcomer = world.reader_from(Who::Anybody, "192.0.2.7:80");
    world.asks(&newcomer, "say 1\n");
    assert_eq!(hears(&newcomer), "x");
    assert_eq!(world.readers(), REMOTE);
}

#[test]
fn of_those_that_are_still_one_of_the_largest_crowd_goes() {
    let mut world = World::new();
    let alone = world.reader_from(Who::Anybody, "192.0.2.7:80");
    world.pass(SECOND);
    let crowd: Vec<Socket> =
        (1..REMOTE).map(|port| world.reader_from(Who::Anybody, &format!("192.0.2.9:{port}"))).collect();
    world.pass(SECOND);
    let newcomer = world.reader_from(Who::Anybody, "192.0.2.8:80");
    assert_eq!(crowd.iter().filter(|reader| is_ended(reader)).count(), 1);
    assert!(!is_ended(&alone) && !is_ended(&newcomer));
}

#[test]
fn readers_are_no_more_than_the_descriptors_allow() {
    let mut world = World::new();
    world.serving.state.sources.limit.want_readers(64);
    let readers: Vec<Socket> = (0..64).map(|_| world.reader()).collect();
    assert_eq!(world.readers(), 32, "half of them are kept for the control socket");
    assert_eq!(drain(&readers[32]), (b"full".to_vec(), true));
}

#[test]
fn a_request_without_end_is_cut_off() {
    let mut world = World::new();
    let reader = world.reader();
    for _ in 0..20 {
        let _full = reader.send(&[b'a'; 8192]);
        world.turns();
    }
    assert!(is_ended(&reader));
    assert!(world.serving.state.held() < 200_000, "{}", world.serving.state.held());
}

#[test]
fn a_panic_costs_its_own_reader_only() {
    let mut world = World::new();
    let (log, memory) = log::Log::to_memory(log::Level::Info);
    world.serving.state.sources.log = log;
    let (reader, other) = (world.reader(), world.reader());
    world.asks(&reader, "panic\n");
    world.asks(&other, "say 1\n");
    assert_eq!((hears(&other).as_str(), world.readers()), ("x", 1));
    let lines = memory.take();
    assert!(lines.len() == 1 && lines[0].starts_with("event=control-failed "), "{lines:?}");
}

#[test]
fn connections_that_come_after_the_beginning_have_numbers_beyond_it() {
    let mut world = World::new();
    let reader = world.reader();
    world.asks(&reader, "list 10\n");
    world.serving.state.sources.ids.store(2_000_000, Ordering::Relaxed);
    assert_eq!(world.walks(0).pop().unwrap().below, 1_000_000);
}
