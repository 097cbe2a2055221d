// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of a server beside its configuration: what the operator says of it, how many connections it has, how well
//! it is.
//!
//! Marks belong to a server's name in its route: they are kept in [`MarkBook`] and outlive every reload, as does the line
//! before the servers of a route. Workers share them through atomics, so nothing is locked on the way to a server. Not here:
//! which server is chosen (`upstream.rs`).

#![expect(clippy::disallowed_types, reason = "the locks are taken at load, never on the data path")]

use super::health::Health;
use super::waiting::Waiting;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What the operator wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    #[default]
    Ready,
    /// No new connections; those it has go on.
    Drain,
    /// As `Drain`; besides, nothing is expected of it.
    Maint,
}

impl Admin {
    /// Every state, in the order of its number.
    const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maint];

    /// "ready", "drain" or "maint".
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|admin| admin.name() == name)
    }
}

/// The most weight a server can have.
pub const HEAVIEST: u16 = 256;

/// The operator has said nothing of its weight.
const AS_CONFIGURED: u16 = u16::MAX;

/// What the operator says of one server. Written by the control thread, read by everybody; each value stands for itself.
#[derive(Debug)]
pub struct Marks {
    admin: AtomicU8,
    weight: AtomicU16,
    /// Connections that go there or try to, over all workers.
    active: AtomicU32,
    /// When it is its turn again (`balance.rs`).
    pub(super) turn: AtomicU64,
    /// When it came back, in milliseconds of [`crate::stats::Clock`]; 0: it was never away.
    risen: AtomicU64,
    /// Seconds since 1970 (the bits of an `f64`); 0: `admin` was never changed.
    since: AtomicU64,
    /// What was seen of it. Written by everybody.
    pub health: Health,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            admin: AtomicU8::new(0),
            weight: AtomicU16::new(AS_CONFIGURED),
            active: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            risen: AtomicU64::new(0),
            since: AtomicU64::new(0),
            health: Health::default(),
        }
    }
}

impl Marks {
    pub fn admin(&self) -> Admin {
        let number = self.admin.load(Ordering::Relaxed);
        Admin::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// Says what is wanted of it from now on; `at` is the time of day.
    pub fn set_admin(&self, admin: Admin, at: f64) {
        if admin != self.admin() {
            self.admin.store(admin as u8, Ordering::Relaxed);
            self.since.store(at.to_bits(), Ordering::Relaxed);
        }
    }

    /// When `admin` was changed last (seconds since 1970); 0: never.
    pub fn since(&self) -> f64 {
        f64::from_bits(self.since.load(Ordering::Relaxed))
    }

    /// What the operator said last of its weight, if anything.
    pub fn weight(&self) -> Option<u16> {
        Some(self.weight.load(Ordering::Relaxed)).filter(|weight| *weight != AS_CONFIGURED)
    }

    /// Connections that go there or try to, over all workers.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::SeqCst)
    }

    /// Takes a place, if fewer than `most` are taken.
    pub(super) fn enter(self: &Arc<Self>, most: u32) -> Option<Held> {
        let enter = |active| (active < most).then_some(active + 1);
        self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
        Some(Held(Arc::clone(self)))
    }

    /// Its turns so far, for who balances.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    /// It has come back, at that millisecond of [`crate::stats::Clock`]: its share grows from now on.
    pub fn rise(&self, now: u64) {
        self.risen.store(now.max(1), Ordering::Relaxed);
    }

    /// When it came back, in milliseconds of [`crate::stats::Clock`]; 0: it was never away.
    pub(super) fn risen(&self) -> u64 {
        self.risen.load(Ordering::Relaxed)
    }

    /// At most [`HEAVIEST`].
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight.min(HEAVIEST), Ordering::Relaxed);
    }

    /// Whether nothing was ever said, or all of it was taken back.
    fn are_default(&self) -> bool {
        self.admin() == Admin::Ready && self.weight().is_none() && self.active() == 0
    }
}

/// A connection's place at a server, until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Marks>);

impl Drop for Held {
    fn drop(&mut self) {
        // Who leaves looks for those who wait after it, who waits counts itself and looks for a place after that: one of them
        // sees the other (`waiting.rs`), for all four are sequentially consistent.
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The marks of all servers, and the lines before them, over all configurations.
#[derive(Clone, Debug, Default)]
pub struct MarkBook {
    marks: Arc<Mutex<HashMap<Box<str>, Arc<Marks>>>>,
    /// By route, as long as there is a configuration, or one who waits, that has it.
    lines: Arc<Mutex<HashMap<Box<str>, Weak<Waiting>>>>,
}

impl MarkBook {
    /// The marks of that server, made when first asked for.
    pub fn of(&self, service: &str, route: &str, server: &str) -> Arc<Marks> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        // No name has a NUL: control characters are refused in the configuration.
        let key = format!("{service}\0{route}\0{server}").into_boxed_str();
        Arc::clone(marks.entry(key).or_default())
    }

    /// The line before the servers of that route, made when first asked for.
    pub fn line_of(&self, service: &str, route: &str) -> Arc<Waiting> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lines.entry(format!("{service}\0{route}").into_boxed_str()).or_default();
        known.upgrade().unwrap_or_else(|| {
            let line = Arc::default();
            *known = Arc::downgrade(&line);
            line
        })
    }

    /// Forgets servers that no configuration has any more and of which nothing is said, and lines that nobody has.
    pub fn tidy(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, line| line.strong_count() > 0);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|_, marks| Arc::strong_count(marks) > 1 || !marks.are_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again_by_name_and_forgotten_only_when_they_say_nothing() {
        let book = MarkBook::default();
        let held = book.of("web", "default", "a:1");
        book.of("web", "default", "b:1").set_admin(Admin::Maint, 7.0);
        book.of("web", "other", "b:1");
        book.of("web", "default", "c:1").set_weight(1000);
        book.tidy();
        assert_eq!(book.marks.lock().unwrap().len(), 3, "the untouched one that nobody has is gone");
        let again = book.of("web", "default", "b:1");
        assert_eq!((again.admin(), again.since(), again.weight()), (Admin::Maint, 7.0, None));
        assert_eq!(book.of("web", "default", "c:1").weight(), Some(HEAVIEST));
        assert!(Arc::ptr_eq(&held, &book.of("web", "default", "a:1")));
        again.set_admin(Admin::Maint, 8.0);
        assert_eq!(again.since(), 7.0, "nothing changed");
        again.set_admin(Admin::Ready, 9.0);
        assert_eq!(again.since(), 9.0);
    }

    #[test]
    fn the_line_of_a_route_is_one_for_all_configurations() {
        let book = MarkBook::default();
        let line = book.line_of("web", "a");
        assert!(Arc::ptr_eq(&line, &book.line_of("web", "a")));
        assert!(!Arc::ptr_eq(&line, &book.line_of("web", "b")));
        book.tidy();
        assert_eq!(book.lines.lock().unwrap().len(), 1, "that of b has nobody");
    }

    #[test]
    fn states_have_their_numbers_and_names() {
        for (number, admin) in Admin::ALL.into_iter().enumerate() {
            assert_eq!((admin as usize, Admin::from_name(admin.name())), (number, Some(admin)));
        }
        assert_eq!(Admin::from_name("up"), None);
    }
}
