// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floods of one failure become "N more".
//!
//! Lines made by `Log::failure` are of a kind: an event word and a subject (a service's name). Of one kind the
//! first [`LINES`] of a window pass; the rest are counted, and when the window ends one line tells how many they
//! were. The window begins with the first line and lasts [`WINDOW`].
//!
//! Invariants:
//!
//! * [`Fold`] belongs to the log thread alone; time is given to it;
//! * at most [`KINDS`] kinds are followed at once; a further one ends the window that would end first, and that
//!   one's count is told at once, so no count is ever dropped;
//! * [`Marks`] is what everybody shares: it lets a caller count a line that would be folded without making it.
//!   Tag and count of a mark are one atomic word, so a count never goes to another kind and none is lost
//!   between a caller that counts and the thread that collects.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Level;

/// Lines of one kind that pass in one window.
pub(super) const LINES: u32 = 10;

/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Kinds followed at once.
pub(super) const KINDS: usize = 64;

/// What a failure is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) event: &'static str,
    pub(super) subject: Box<str>,
    /// [`Marks::hash`] of the two.
    pub(super) hash: u64,
}

/// What is told at the end of a window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) event: &'static str,
    pub(super) subject: Box<str>,
    pub(super) level: Level,
    pub(super) more: u64,
}

/// The kinds whose lines are being folded right now, for every thread to see.
#[derive(Debug)]
pub(super) struct Marks {
    /// A kind's hash with its low [`COUNT_BITS`] replaced by a count; 0 where nothing is folded.
    cells: [AtomicU64; KINDS],
    hasher: RandomState,
}

const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

impl Marks {
    pub(super) fn new() -> Self {
        Self { cells: [const { AtomicU64::new(0) }; KINDS], hasher: RandomState::new() }
    }

    /// The kind's hash; the highest bit is set, so that no tag is 0.
    pub(super) fn hash(&self, event: &str, subject: &str) -> u64 {
        self.hasher.hash_one((event, subject)) | (1 << 63)
    }

    /// Counts a line of this kind if it is being folded; otherwise, or when the count is full, the line must be
    /// made and sent.
    pub(super) fn count(&self, hash: u64) -> bool {
        let add = |cell: u64| (cell & !COUNT == hash & !COUNT && cell & COUNT < COUNT).then(|| cell + 1);
        self.cell(hash).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Begins to fold: only if no other kind has the cell (then the thread alone counts).
    fn set(&self, hash: u64) {
        _ = self.cell(hash).compare_exchange(0, hash & !COUNT, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends the folding and takes the count.
    fn clear(&self, hash: u64) -> u64 {
        let cell = self.cell(hash);
        // Only the log thread changes a tag, and it is the caller: what is read here still holds at the swap.
        if cell.load(Ordering::Relaxed) & !COUNT == hash & !COUNT {
            cell.swap(0, Ordering::Relaxed) & COUNT
        } else {
            0
        }
    }

    fn cell(&self, hash: u64) -> &AtomicU64 {
        // The low bits choose the cell, the bits above the count are the tag.
        let index = usize::try_from(hash & COUNT).unwrap_or(0) % KINDS;
        &self.cells[index]
    }
}

/// One kind's window.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// The most severe level folded so far.
    level: Level,
    ends: Instant,
    passed: u32,
    more: u64,
}

/// The windows that are open.
#[derive(Debug, Default)]
pub(super) struct Fold {
    entries: Vec<Entry>,
}

impl Fold {
    /// Whether a line of `kind` may be written. `tell` gets the summary of a window that had to end for this one.
    pub(super) fn admit(
        &mut self,
        kind: &Kind,
        level: Level,
        now: Instant,
        marks: &Marks,
        tell: &mut impl FnMut(Summary),
    ) -> bool {
        self.expire(now, marks, tell);
        let known = self.entries.iter_mut().find(|entry| entry.kind == *kind);
        if let Some(entry) = known {
            entry.level = entry.level.min(level);
            if entry.passed < LINES {
                entry.passed += 1;
                return true;
            }
            entry.more += 1;
            marks.set(kind.hash);
            return false;
        }
        if self.entries.len() >= KINDS {
            self.evict(marks, tell);
        }
        self.entries.push(Entry { kind: kind.clone(), level, ends: now + WINDOW, passed: 1, more: 0 });
        true
    }

    /// Ends every window whose time has come.
    pub(super) fn expire(&mut self, now: Instant, marks: &Marks, tell: &mut impl FnMut(Summary)) {
        let mut index = 0;
        while index < self.entries.len() {
            if self.entries[index].ends <= now {
                self.end(index, marks, tell);
            } else {
                index += 1;
            }
        }
    }

    /// Ends every window, at the log's end.
    pub(super) fn end_all(&mut self, marks: &Marks, tell: &mut impl FnMut(Summary)) {
        while !self.entries.is_empty() {
            self.end(0, marks, tell);
        }
    }

    /// When the next window ends that has something to tell.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.iter().filter(|entry| entry.more > 0).map(|entry| entry.ends).min()
    }

    fn evict(&mut self, marks: &Marks, tell: &mut impl FnMut(Summary)) {
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.ends);
        if let Some((index, _)) = oldest {
            self.end(index, marks, tell);
        }
    }

    fn end(&mut self, index: usize, marks: &Marks, tell: &mut impl FnMut(Summary)) {
        let Entry { kind, level, mut more, .. } = self.entries.swap_remove(index);
        if more > 0 {
            more += marks.clear(kind.hash);
            tell(Summary { event: kind.event, subject: kind.subject, level, more });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig {
        fold: Fold,
        marks: Marks,
        start: Instant,
        told: Vec<Summary>,
    }

    impl Rig {
        fn new() -> Self {
            #[expect(
                clippy::disallowed_methods,
                reason = "an Instant to count from: the test injects the rest"
            )]
            let start = Instant::now();
            Self { fold: Fold::default(), marks: Marks::new(), start, told: Vec::new() }
        }

        fn kind(&self, event: &'static str, subject: &str) -> Kind {
            Kind { event, subject: subject.into(), hash: self.marks.hash(event, subject) }
        }

        fn admit(&mut self, kind: &Kind, at_ms: u64) -> bool {
            let now = self.start + Duration::from_millis(at_ms);
            let told = &mut self.told;
            self.fold.admit(kind, Level::Warning, now, &self.marks, &mut |summary| told.push(summary))
        }

        fn expire(&mut self, at_ms: u64) {
            let told = &mut self.told;
            let now = self.start + Duration::from_millis(at_ms);
            self.fold.expire(now, &self.marks, &mut |summary| told.push(summary));
        }
    }

    fn summary(event: &'static str, subject: &str, more: u64) -> Summary {
        Summary { event, subject: subject.into(), level: Level::Warning, more }
    }

    #[test]
    fn the_first_lines_pass_and_the_rest_are_told_once_at_the_end() {
        let mut rig = Rig::new();
        let kind = rig.kind("handshake-failed", "web");
        let passed = (0..133).filter(|n| rig.admit(&kind, n * 10)).count();
        assert_eq!(passed, 10);
        assert_eq!(rig.fold.next(), Some(rig.start + WINDOW));
        rig.expire(9_999);
        assert_eq!(rig.told, []);
        rig.expire(10_000);
        assert_eq!(rig.told, [summary("handshake-failed", "web", 123)]);
        rig.expire(30_000);
        assert_eq!(rig.told.len(), 1, "told once");
        assert_eq!(rig.fold.next(), None);
    }

    #[test]
    fn a_window_without_folded_lines_tells_nothing_and_wakes_nobody() {
        let mut rig = Rig::new();
        let kind = rig.kind("handshake-failed", "web");
        assert!((0..10).all(|n| rig.admit(&kind, n)));
        assert_eq!(rig.fold.next(), None);
        rig.expire(10_000);
        assert_eq!(rig.told, []);
        assert!(rig.admit(&kind, 10_000), "a new window");
    }

    #[test]
    fn kinds_are_apart_by_event_and_by_subject() {
        let mut rig = Rig::new();
        let kinds = [rig.kind("a", "web"), rig.kind("b", "web"), rig.kind("a", "mail")];
        for kind in &kinds {
            assert_eq!((0..11).filter(|_| rig.admit(kind, 0)).count(), 10);
        }
        rig.expire(10_000);
        rig.told.sort_by_key(|told| (told.event, told.subject.clone()));
        assert_eq!(rig.told, [summary("a", "mail", 1), summary("a", "web", 1), summary("b", "web", 1)]);
    }

    #[test]
    fn callers_count_for_themselves_while_a_kind_is_folded() {
        let mut rig = Rig::new();
        let kind = rig.kind("connect-failed", "web");
        assert!(!rig.marks.count(kind.hash), "nothing is folded yet: the line must be made");
        assert_eq!((0..11).filter(|_| rig.admit(&kind, 0)).count(), 10);
        assert!((0..1000).all(|_| rig.marks.count(kind.hash)));
        assert!(!rig.marks.count(rig.marks.hash("connect-failed", "mail")), "another kind is not folded");
        rig.expire(10_000);
        assert_eq!(rig.told, [summary("connect-failed", "web", 1001)]);
        assert!(!rig.marks.count(kind.hash), "a new window");
    }

    #[test]
    fn no_count_is_lost_between_counting_and_collecting() {
        let mut rig = Rig::new();
        let kind = rig.kind("connect-failed", "web");
        let sent = 200_000_u64;
        let mut passed = 0;
        let queue = crossbeam_queue::SegQueue::new();
        let Rig { fold, marks, start, told } = &mut rig;
        let marks = &*marks;
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                for _ in 0..sent {
                    if !marks.count(kind.hash) {
                        queue.push(());
                    }
                }
            });
            let mut turn = 0;
            loop {
                let ended = producer.is_finished();
                while queue.pop().is_some() {
                    // A window every few lines, so that opening and closing race with the producer.
                    turn += 1;
                    let now = *start + Duration::from_millis(turn * 700);
                    passed += u64::from(
                        fold.admit(&kind, Level::Info, now, marks, &mut |told_one| told.push(told_one)),
                    );
                }
                turn += 1;
                let now = *start + Duration::from_millis(turn * 700);
                fold.expire(now, marks, &mut |told_one| told.push(told_one));
                if ended && queue.is_empty() {
                    break;
                }
            }
        });
        fold.end_all(marks, &mut |told_one| told.push(told_one));
        assert_eq!(passed + told.iter().map(|one| one.more).sum::<u64>(), sent);
    }

    #[test]
    fn the_table_is_bounded_and_eviction_tells_the_count() {
        let mut rig = Rig::new();
        let first = rig.kind("first", "web");
        assert_eq!((0..15).filter(|_| rig.admit(&first, 0)).count(), 10);
        for number in 0..KINDS {
            let kind = rig.kind("other", &number.to_string());
            assert!(rig.admit(&kind, 1));
        }
        assert_eq!(rig.fold.entries.len(), KINDS);
        assert_eq!(rig.told, [summary("first", "web", 5)]);
        assert!(!rig.marks.count(first.hash));
    }

    #[test]
    fn a_full_count_lets_lines_through_to_be_counted_by_the_thread() {
        let mut rig = Rig::new();
        let kind = rig.kind("a", "b");
        assert_eq!((0..11).filter(|_| rig.admit(&kind, 0)).count(), 10);
        rig.marks.cell(kind.hash).fetch_or(COUNT, Ordering::Relaxed);
        assert!(!rig.marks.count(kind.hash));
        assert!(!rig.admit(&kind, 1));
        rig.expire(10_000);
        assert_eq!(rig.told, [summary("a", "b", COUNT + 2)]);
    }

    #[test]
    fn the_most_severe_level_stays() {
        let mut rig = Rig::new();
        let kind = rig.kind("a", "b");
        let (start, told) = (rig.start, &mut rig.told);
        for level in [Level::Info, Level::Error, Level::Warning] {
            for _ in 0..5 {
                rig.fold.admit(&kind, level, start, &rig.marks, &mut |one| told.push(one));
            }
        }
        rig.expire(10_000);
        assert_eq!(rig.told[0].level, Level::Error);
    }
}
