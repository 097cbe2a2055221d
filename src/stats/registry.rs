// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where what is counted lives: for the life of the process, found again by name after each reload.

#![expect(
    clippy::disallowed_types,
    reason = "the one lock is taken at load, by main and by readers, never on the data path"
)]

use super::board::Board;
use super::cells::Cells;
use super::clock::Clock;
use super::failures::{Failure, Missed, Ring};
use super::scope::Scope;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a scope is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Service,
    /// By address and service.
    Listener,
    /// By service and name.
    Route,
    /// By service, route, name and address.
    Server,
    /// By service and name.
    Rule,
}

const KINDS: usize = 5;

type Scopes = HashMap<Box<str>, Arc<Scope>>;

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    clock: Clock,
    scopes: [Mutex<Scopes>; KINDS],
    failures: Ring<Failure>,
    missed: Ring<Missed>,
    boards: Cells<Board>,
}

impl Registry {
    /// The scope of that kind and name, made when first asked for; `parts` of the name are apart.
    pub fn scope(&self, kind: Kind, parts: &[&str]) -> Arc<Scope> {
        let mut scopes = self.scopes(kind);
        // Half the memory of a text of its own for each part; no part has such a character.
        let name = parts.join("\0");
        match scopes.get(&*name) {
            Some(scope) => Arc::clone(scope),
            None => {
                let scope = Arc::default();
                scopes.insert(name.into(), Arc::clone(&scope));
                scope
            }
        }
    }

    /// The scope of a service.
    pub fn service(&self, name: &str) -> Arc<Scope> {
        self.scope(Kind::Service, &[name])
    }

    /// The scope of a listener, within that of its service.
    pub fn listener(&self, address: &str, service: &str) -> Arc<Scope> {
        let above = self.service(service);
        let mut listeners = self.scopes(Kind::Listener);
        let name = [address, service].join("\0").into_boxed_str();
        Arc::clone(listeners.entry(name).or_insert_with(|| Arc::new(Scope::within(above))))
    }

    /// Every service that ever was, by name.
    pub fn services(&self) -> Vec<(Box<str>, Arc<Scope>)> {
        let mut all: Vec<_> = self
            .scopes(Kind::Service)
            .iter()
            .map(|(name, scope)| (name.clone(), Arc::clone(scope)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Forgets the routes, servers, rules and listeners that no plan and no connection has any more: names may be made by
    /// a program, and shall not pile up. Services stay, and with them the totals.
    pub fn forget_unused(&self) {
        for kind in [Kind::Listener, Kind::Route, Kind::Server, Kind::Rule] {
            self.scopes(kind).retain(|_, scope| Arc::strong_count(scope) > 1);
        }
    }

    /// What moments are counted from.
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// The last failures that nobody has taken yet.
    pub fn failures(&self) -> &Ring<Failure> {
        &self.0.failures
    }

    /// The same of servers that could not be reached.
    pub fn missed(&self) -> &Ring<Missed> {
        &self.0.missed
    }

    /// The board of that worker, for it to write; none beyond [`super::MAX_WORKERS`].
    pub fn board(&self, worker: usize) -> Option<&Board> {
        self.0.boards.own(worker)
    }

    fn scopes(&self, kind: Kind) -> std::sync::MutexGuard<'_, Scopes> {
        self.0.scopes[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counter, Presence};

    #[test]
    fn a_second_lookup_finds_the_same() {
        let registry = Registry::default();
        registry.service("web").add(0, Counter::Accepted, 2);
        registry.clone().service("web").add(5, Counter::Accepted, 3);
        assert_eq!(registry.service("web").sum(Counter::Accepted), 5);
        assert_eq!(registry.service("mail").sum(Counter::Accepted), 0);
        assert_eq!(registry.services().len(), 2);
        let route = registry.scope(Kind::Route, &["web", "a"]);
        assert!(Arc::ptr_eq(&route, &registry.scope(Kind::Route, &["web", "a"])));
        assert!(!Arc::ptr_eq(&route, &registry.scope(Kind::Route, &["weba", ""])));
        assert!(!Arc::ptr_eq(&route, &registry.scope(Kind::Rule, &["web", "a"])));
        registry.listener("[::]:443", "web").add(0, Counter::Accepted, 1);
        assert_eq!(registry.service("web").sum(Counter::Accepted), 6);
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten_but_services_stay() {
        let registry = Registry::default();
        let kept = registry.scope(Kind::Route, &["web", "kept"]);
        let connection = Presence::enter(&registry.scope(Kind::Server, &["web", "old"]), 1);
        registry.scope(Kind::Route, &["web", "gone"]).add(0, Counter::Accepted, 1);
        registry.service("old").add(0, Counter::Accepted, 1);
        registry.forget_unused();
        assert!(Arc::ptr_eq(&kept, &registry.scope(Kind::Route, &["web", "kept"])));
        assert_eq!(registry.scope(Kind::Server, &["web", "old"]).active(), 1);
        assert!(!registry.scope(Kind::Route, &["web", "gone"]).is_used());
        assert_eq!(registry.service("old").sum(Counter::Accepted), 1);
        drop(connection);
    }
}
