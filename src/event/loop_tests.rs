// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loop with handlers that do what a test says, over socket pairs, with a clock that only the test turns.

use super::backoff::{FIRST, LONGEST};
use super::event_loop::Loop;
use super::{Fault, Handler, Interest, Key, Leg, Ready, Verdict, Watched};
use crate::sys::eventfd::EventFd;
use crate::sys::socket::Socket;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

const READ: Interest = Interest { read: true, write: false, choked: false, failure: false };
const WRITE: Interest = Interest { read: false, write: true, choked: false, failure: false };
const CHOKED: Interest = Interest { read: false, write: true, choked: true, failure: false };
const NONE: Interest = Interest { read: false, write: false, choked: false, failure: false };

fn pair() -> (Socket, Socket) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (Socket::from_fd(a.into()), Socket::from_fd(b.into()))
}

/// Why a fake ended.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    Told,
    Panic,
    Watch,
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Panic => Self::Panic,
            Fault::Watch(_) => Self::Watch,
        }
    }
}

/// What a fake does when it is called.
type Move = fn(&mut Fake) -> Verdict<Why>;

/// A handler with one leg per socket.
struct Fake {
    name: &'static str,
    legs: Vec<(Option<Socket>, u16, Interest)>,
    /// One per call of `ready`; none left: holds.
    moves: VecDeque<Move>,
    /// Told by `expired`.
    late: Move,
    /// All deadlines are this leg's.
    timed: Option<Leg>,
    panics_at_last: bool,
    /// As it was told when it was placed.
    key: Option<Key>,
}

impl Fake {
    fn new(name: &'static str, socket: Socket, interest: Interest) -> Self {
        let (legs, moves) = (vec![(Some(socket), 0, interest)], VecDeque::new());
        Self { name, legs, moves, late: |_| Verdict::Hold, timed: None, panics_at_last: false, key: None }
    }

    fn doing(mut self, moves: &[Move]) -> Self {
        self.moves = moves.iter().copied().collect();
        self
    }
}

impl Handler for Fake {
    type Ctx = Vec<String>;
    type Answer = &'static str;
    type Reason = Why;

    fn watched(&self, leg: Leg) -> Option<Watched<'_>> {
        let (socket, serial, _) = self.legs.get(usize::from(leg.0))?;
        Some(Watched { fd: socket.as_ref()?.as_fd(), serial: *serial })
    }

    fn interest(&self, leg: Leg) -> Interest {
        self.legs[usize::from(leg.0)].2
    }

    fn touched(&mut self, legs: &mut Vec<Leg>) {
        legs.extend((0..self.legs.len()).map(|leg| Leg(u16::try_from(leg).unwrap())));
    }

    fn timed(&self, leg: Leg) -> Leg {
        self.timed.unwrap_or(leg)
    }

    fn ready(&mut self, leg: Leg, ready: Ready, told: &mut Vec<String>) -> Verdict<Why> {
        let marks = [(ready.read, 'r'), (ready.write, 'w'), (ready.failed, 'f')];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
        told.push(format!("{}{}:{marks}", self.name, leg.0));
        match self.moves.pop_front() {
            Some(play) => play(self),
            None => Verdict::Hold,
        }
    }

    fn placed(&mut self, key: Key) {
        self.key = Some(key);
    }

    fn message(&mut self, answer: &'static str, told: &mut Vec<String>) -> Verdict<Why> {
        told.push(format!("{}:{answer}", self.name));
        Verdict::Hold
    }

    fn expired(&mut self, leg: Leg, told: &mut Vec<String>) -> Verdict<Why> {
        told.push(format!("{}{}:late", self.name, leg.0));
        (self.late)(self)
    }

    fn closed(self, reason: Why, told: &mut Vec<String>) {
        told.push(format!("{}:{reason:?}", self.name));
        assert!(!self.panics_at_last, "as the test wants");
    }
}

/// A loop, its clock, and what its handlers told.
struct World {
    lp: Loop<Fake>,
    now: Instant,
    told: Vec<String>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the clock starts somewhere; the test turns it from there")]
    fn new() -> Self {
        Self { lp: Loop::new().unwrap(), now: Instant::now(), told: Vec::new() }
    }

    /// Takes a fake in; what its first run told is forgotten.
    fn insert(&mut self, fake: Fake) -> Key {
        let key = self.lp.insert(fake, self.now, &mut self.told);
        self.told.clear();
        key
    }

    /// One turn without waiting; what was told in it.
    fn turn(&mut self) -> Vec<String> {
        self.lp.wait(Some(Duration::ZERO)).unwrap();
        self.lp.run(self.now, &mut self.told);
        std::mem::take(&mut self.told)
    }

    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.turn()
    }

    fn poke(&mut self, key: Key) {
        self.lp.poke(key, self.now, &mut self.told);
        self.told.clear();
    }
}

#[test]
fn an_event_for_one_who_has_gone_is_dropped() {
    let mut world = World::new();
    let ((a, peer_a), (b, peer_b)) = (pair(), pair());
    let first = world.insert(Fake::new("a", a, READ));
    world.insert(Fake::new("b", b, READ));
    peer_a.send(b"x").unwrap();
    peer_b.send(b"x").unwrap();
    world.lp.wait(Some(SECOND)).unwrap();
    // Both events are in the batch; one handler goes, and another takes its place, before they are looked at.
    world.lp.close(first, Why::Told, &mut world.told);
    let (c, _peer_c) = pair();
    let third = world.insert(Fake::new("c", c, READ));
    assert_eq!(third.index, first.index, "the place is used again");
    world.lp.run(world.now, &mut world.told);
    assert_eq!(world.told, ["b0:r"]);
    assert!(world.lp.get(first).is_none() && world.lp.get(third).is_some());
}

#[test]
fn another_serial_is_another_socket() {
    let mut world = World::new();
    let ((a, peer_a), (b, peer_b)) = (pair(), pair());
    let key = world.insert(Fake::new("a", a, READ));
    world.lp.get_mut(key).unwrap().legs[0] = (Some(b), 1, READ);
    world.poke(key);
    peer_b.send(b"x").unwrap();
    assert_eq!(world.turn(), ["a0:r"], "the new one is watched");
    assert!(peer_a.send(b"x").is_err(), "the old one was closed");
    world.lp.get_mut(key).unwrap().legs[0].0 = None;
    world.poke(key);
    assert_eq!(world.turn(), [""; 0], "a leg without a socket");
}

#[test]
fn who_waits_for_nothing_is_not_woken_by_a_hang_up() {
    let mut world = World::new();
    let (a, peer) = pair();
    let key = world.insert(Fake::new("a", a, READ));
    world.lp.get_mut(key).unwrap().legs[0].2 = NONE;
    world.poke(key);
    drop(peer);
    for _ in 0..3 {
        assert_eq!(world.turn(), [""; 0], "a hang-up is always told to those in the set");
    }
    world.lp.get_mut(key).unwrap().legs[0].2 = READ;
    world.poke(key);
    assert_eq!(world.turn(), ["a0:rf"]);
}

#[test]
fn interest_goes_to_the_kernel_and_back() {
    let mut world = World::new();
    let (a, peer) = pair();
    let key = world.insert(Fake::new("a", a, WRITE));
    assert_eq!(world.turn(), ["a0:w"]);
    peer.send(b"x").unwrap();
    assert_eq!(world.turn(), ["a0:w"], "bytes are nobody's business");
    world.lp.get_mut(key).unwrap().legs[0].2 = Interest { read: true, ..WRITE };
    world.poke(key);
    assert_eq!(world.turn(), ["a0:rw"]);
}

#[test]
fn again_runs_next_turn_without_waiting_and_once() {
    let mut world = World::new();
    let (a, _peer) = pair();
    let again: Move = |_| Verdict::Again(SECOND);
    world.insert(Fake::new("a", a, READ).doing(&[again, again, again]));
    assert_eq!(world.lp.patience(world.now), Some(Duration::ZERO));
    assert_eq!(world.turn(), ["a0:"]);
    assert_eq!(world.turn(), ["a0:"]);
    assert_eq!(world.turn(), ["a0:"]);
    assert_eq!((world.turn(), world.lp.patience(world.now)), (vec![], Some(SECOND)));
}

#[test]
fn again_of_one_who_has_gone_is_forgotten() {
    let mut world = World::new();
    let (a, _peer) = pair();
    let key = world.insert(Fake::new("a", a, READ).doing(&[|_| Verdict::Again(SECOND)]));
    world.lp.close(key, Why::Told, &mut world.told);
    assert_eq!(world.turn(), ["a:Told"]);
    assert_eq!(world.lp.patience(world.now), None);
}

#[test]
fn keep_restarts_the_deadline_and_hold_leaves_it() {
    let mut world = World::new();
    let (a, _peer) = pair();
    let keep: Move = |_| Verdict::Keep(3 * SECOND);
    let mut fake = Fake::new("a", a, READ).doing(&[keep, |_| Verdict::Hold, keep]);
    fake.late = |_| Verdict::Close(Why::Told);
    let key = world.insert(fake);
    assert_eq!(world.lp.patience(world.now), Some(3 * SECOND));
    world.now += SECOND;
    world.poke(key);
    assert_eq!(world.lp.patience(world.now), Some(2 * SECOND), "held");
    world.poke(key);
    assert_eq!(world.lp.patience(world.now), Some(3 * SECOND), "restarted");
    assert_eq!(world.after(3 * SECOND - Duration::from_micros(1)), [""; 0]);
    assert_eq!(world.after(Duration::from_micros(1)), ["a0:late", "a:Told"]);
    assert_eq!((world.lp.patience(world.now), world.lp.is_empty()), (None, true));
}

#[test]
fn an_expired_deadline_that_is_not_renewed_stays_off() {
    let mut world = World::new();
    let (a, _peer) = pair();
    world.insert(Fake::new("a", a, READ).doing(&[|_| Verdict::Keep(SECOND)]));
    assert_eq!(world.after(SECOND), ["a0:late"]);
    assert_eq!((world.after(100 * SECOND), world.lp.patience(world.now)), (vec![], None));
}

#[test]
fn one_leg_may_stand_for_the_deadline_of_all() {
    for shared in [false, true] {
        let mut world = World::new();
        let ((a, peer_a), (b, peer_b)) = (pair(), pair());
        let keep: Move = |fake| {
            for (socket, ..) in &fake.legs {
                let _empty_is_fine = socket.as_ref().unwrap().recv(&mut [0; 8]);
            }
            Verdict::Keep(3 * SECOND)
        };
        let mut fake = Fake::new("a", a, READ).doing(&[keep, keep, keep]);
        fake.legs.push((Some(b), 0, READ));
        fake.timed = shared.then_some(Leg(0));
        world.insert(fake);
        peer_a.send(b"x").unwrap();
        assert_eq!(world.turn(), ["a0:r"]);
        peer_b.send(b"x").unwrap();
        assert_eq!(world.after(2 * SECOND), ["a1:r"]);
        let expected: &[&str] = if shared { &[] } else { &["a0:late"] };
        assert_eq!(world.after(SECOND), expected);
        let last = if shared { "a0:late" } else { "a1:late" };
        assert_eq!(world.after(2 * SECOND), [last]);
    }
}

#[test]
fn a_panic_costs_its_own_handler_only() {
    let mut world = World::new();
    let ((a, _peer_a), (b, peer_b)) = (pair(), pair());
    let key =
        world.insert(Fake::new("a", a, READ).doing(&[|_| Verdict::Hold, |_| panic!("as the test wants")]));
    world.insert(Fake::new("b", b, READ));
    world.lp.poke(key, world.now, &mut world.told);
    assert_eq!(std::mem::take(&mut world.told), ["a0:", "a:Panic"]);
    peer_b.send(b"x").unwrap();
    assert_eq!(world.turn(), ["b0:r"]);
    assert_eq!(world.lp.len(), 1);
}

#[test]
fn a_panic_in_last_words_is_survived() {
    let mut world = World::new();
    let (a, peer) = pair();
    let mut fake = Fake::new("a", a, READ);
    fake.panics_at_last = true;
    let key = world.insert(fake);
    world.lp.close(key, Why::Told, &mut world.told);
    assert_eq!(world.told, ["a:Told"]);
    assert!(world.lp.is_empty() && world.lp.keys().is_empty());
    assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 0, "its descriptor is closed all the same");
}

#[test]
fn a_socket_the_kernel_refuses_ends_its_handler() {
    let mut world = World::new();
    // epoll_ctl(2): a regular file cannot be watched (EPERM).
    let fake = Fake::new("a", Socket::from_fd(tempfile::tempfile().unwrap().into()), READ);
    world.lp.insert(fake, world.now, &mut world.told);
    assert_eq!(world.told, ["a0:", "a:Watch"]);
}

#[test]
fn a_choked_leg_goes_by_the_backoff_timer_which_doubles_and_is_forgotten_on_progress() {
    let mut world = World::new();
    let (a, _peer) = pair();
    let key = world.insert(Fake::new("a", a, CHOKED));
    assert_eq!(world.turn(), [""; 0], "there is room, but it does not go by that");
    let mut delays = Vec::new();
    for _ in 0..8 {
        let delay = world.lp.patience(world.now).unwrap();
        assert_eq!(world.after(delay - Duration::from_nanos(1)), [""; 0]);
        assert_eq!(world.after(Duration::from_nanos(1)), ["a0:w"]);
        delays.push(delay.as_millis());
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 64]);
    assert_eq!(world.lp.backoffs(), 8);
    assert_eq!(world.lp.patience(world.now), Some(LONGEST));
    // Progress: the write was not blocked, or not after a few bytes.
    world.lp.get_mut(key).unwrap().legs[0].2 = WRITE;
    world.poke(key);
    assert_eq!(world.lp.patience(world.now), None, "an idle leg costs no wake-up");
    assert_eq!(world.turn(), ["a0:w"], "EPOLLOUT again");
    world.lp.get_mut(key).unwrap().legs[0].2 = CHOKED;
    world.poke(key);
    assert_eq!(world.lp.patience(world.now), Some(FIRST), "it starts anew");
    world.lp.get_mut(key).unwrap().legs[0].2 = NONE;
    world.poke(key);
    assert_eq!((world.lp.patience(world.now), world.after(SECOND)), (None, vec![]));
    assert_eq!(world.lp.backoffs(), 8);
}

#[test]
fn other_events_neither_hasten_nor_delay_the_backoff() {
    let mut world = World::new();
    let (a, peer) = pair();
    world.insert(Fake::new("a", a, Interest { read: true, ..CHOKED }));
    peer.send(b"x").unwrap();
    assert_eq!(world.after(FIRST / 2), ["a0:r"]);
    assert_eq!(world.lp.patience(world.now), Some(FIRST / 2));
    assert_eq!(world.after(FIRST / 2), ["a0:r", "a0:w"]);
}

#[test]
fn nothing_is_left_behind_by_one_who_goes() {
    let mut world = World::new();
    let (a, _peer) = pair();
    let key = world.insert(Fake::new("a", a, CHOKED).doing(&[|_| Verdict::Keep(SECOND)]));
    world.lp.close(key, Why::Told, &mut world.told);
    world.told.clear();
    assert_eq!(world.lp.patience(world.now), None);
    assert_eq!(world.after(10 * SECOND), [""; 0]);
}

#[test]
fn the_owners_own_descriptors_are_told_by_their_tags() {
    let mut world = World::new();
    let (bell, other) = (EventFd::new().unwrap(), EventFd::new().unwrap());
    world.lp.watch(&bell, 0).unwrap();
    world.lp.watch(&other, 31).unwrap();
    other.signal();
    world.lp.wait(Some(SECOND)).unwrap();
    let woken = world.lp.run(world.now, &mut world.told);
    assert_eq!((woken.by(0), woken.by(31)), (false, true));
    world.lp.unwatch(&other).unwrap();
    world.lp.wait(Some(Duration::ZERO)).unwrap();
    assert!(!world.lp.run(world.now, &mut world.told).by(31), "watched no more, though readable still");
    assert_eq!(world.told, [""; 0], "no handler hears of it");
}

#[test]
fn an_answer_finds_who_asked_and_nobody_else() {
    let mut world = World::new();
    let (socket, _peer) = pair();
    let key = world.insert(Fake::new("a", socket, Interest::default()));
    assert_eq!(world.lp.get(key).unwrap().key, Some(key));
    world.lp.deliver(key, "known", world.now, &mut world.told);
    world.lp.close(key, Why::Told, &mut world.told);
    world.lp.deliver(key, "too late", world.now, &mut world.told);
    assert_eq!(world.told, ["a:known", "a:Told"]);
}
