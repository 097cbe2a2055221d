// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a route's connections go: servers, tried in order; and what the operator says of each while the daemon runs.
//!
//! A server's marks belong to its name in its route, not to a configuration: they are kept in [`MarkBook`] and outlive every
//! reload. Workers only read them, so nothing is locked on the way to a server.

#![expect(clippy::disallowed_types, reason = "the one lock is taken at load, never on the data path")]

use super::target::Requested;
use crate::stats::Scope;
use crate::sys::address::Address;
use crate::wire::destination::Destination;
use std::collections::HashMap;
#[expect(clippy::disallowed_types, reason = "taken at load only, never on the data path")]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// The servers of one route, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Upstream {
    pub servers: Box<[Server]>,
    /// Instead: the server is the one that the client names (`connect = "*:443"`).
    pub requested: Option<Requested>,
    /// What is counted of the servers that clients name, all together.
    pub named: Arc<Scope>,
}

/// One address of a configured server.
#[derive(Debug)]
pub struct Server {
    /// As written in the configuration ("db.example.org:5432"), for logs.
    pub name: Box<str>,
    /// One address it resolved to.
    pub address: Address,
    /// The name to ask for and verify when TLS goes to this server: `server_name`, else the configured host,
    /// else (an IP address or a unix socket) none or the IP address in text form.
    pub tls_name: Option<Box<str>>,
    /// What the proxy is asked for, whose `address` is; none where there is no proxy on the way.
    pub destination: Option<Destination>,
    /// What the operator says of it; nothing of a server that a client named.
    pub marks: Option<Arc<Marks>>,
    pub stats: Arc<Scope>,
}

impl Server {
    /// Whether new connections may go there, as far as the operator is concerned.
    pub fn takes_new(&self) -> bool {
        self.marks.as_ref().is_none_or(|marks| marks.admin() == Admin::Ready)
    }
}

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

/// The weight of a server of which nothing was said.
pub const WEIGHT: u16 = 1;

/// The most weight a server can have.
pub const HEAVIEST: u16 = 256;

/// What the operator says of one server. Written by the control thread, read by everybody; each value stands for itself.
#[derive(Debug)]
pub struct Marks {
    admin: AtomicU8,
    weight: AtomicU16,
    /// Seconds since 1970 (the bits of an `f64`); 0: `admin` was never changed.
    since: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        Self { admin: AtomicU8::new(0), weight: AtomicU16::new(WEIGHT), since: AtomicU64::new(0) }
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

    pub fn weight(&self) -> u16 {
        self.weight.load(Ordering::Relaxed)
    }

    /// At most [`HEAVIEST`].
    pub fn set_weight(&self, weight: u16) {
        self.weight.store(weight.min(HEAVIEST), Ordering::Relaxed);
    }

    /// Whether nothing was ever said, or all of it was taken back.
    fn are_default(&self) -> bool {
        self.admin() == Admin::Ready && self.weight() == WEIGHT
    }
}

/// The marks of all servers, over all configurations.
#[derive(Clone, Debug, Default)]
pub struct MarkBook {
    marks: Arc<Mutex<HashMap<Box<str>, Arc<Marks>>>>,
}

impl MarkBook {
    /// The marks of that server, made when first asked for.
    pub fn of(&self, service: &str, route: &str, server: &str) -> Arc<Marks> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        // No name has a NUL: control characters are refused in the configuration.
        let key = format!("{service}\0{route}\0{server}").into_boxed_str();
        Arc::clone(marks.entry(key).or_default())
    }

    /// Forgets servers that no configuration has any more and of which nothing is said.
    pub fn tidy(&self) {
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
        assert_eq!((again.admin(), again.since(), again.weight()), (Admin::Maint, 7.0, WEIGHT));
        assert_eq!(book.of("web", "default", "c:1").weight(), HEAVIEST);
        assert!(Arc::ptr_eq(&held, &book.of("web", "default", "a:1")));
        again.set_admin(Admin::Maint, 8.0);
        assert_eq!(again.since(), 7.0, "nothing changed");
        again.set_admin(Admin::Ready, 9.0);
        assert_eq!(again.since(), 9.0);
    }

    #[test]
    fn states_have_their_numbers_and_names() {
        for (number, admin) in Admin::ALL.into_iter().enumerate() {
            assert_eq!((admin as usize, Admin::from_name(admin.name())), (number, Some(admin)));
        }
        assert_eq!(Admin::from_name("up"), None);
    }
}
