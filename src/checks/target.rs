// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be checked, drawn from the plans: the same thing once, for all servers that want to know.

use crate::connection::plan::Plan;
use crate::log::Log;
use crate::policy::check::CheckSpec;
use crate::policy::health::{Change, Outcome, Told, tell};
use crate::policy::marks::{Admin, Marks};
use crate::policy::outgoing::Outgoing;
use crate::policy::resolved::Place;
use crate::policy::service::Route;
use crate::policy::tls_client::ClientTls;
use crate::policy::upstream::Server;
use crate::sys::address::Address;
use crate::wire::checks::{Protocol, Question, Talk};
use crate::wire::proxy_header::Version;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something that is checked.
#[derive(Debug)]
pub struct Target {
    pub(super) asked: Asked,
    /// Who wants to know.
    pub(super) users: Vec<User>,
}

/// What is asked of whom: of two that are equal one is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    /// Where it is: at least one place.
    places: Box<[Place]>,
    /// Instead of theirs.
    port: Option<u16>,
    pub(super) protocol: &'static Protocol,
    pub(super) question: Question,
    pub(super) tls: Option<Tls>,
    /// A PROXY header that says that the connection is our own goes ahead.
    pub(super) header: Option<Version>,
    pub(super) way: Option<Way>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Asked {
    /// Whether all it asks is whether somebody listens.
    pub(super) fn only_knocks(&self) -> bool {
        matches!((self.protocol.talk, &self.tls, &self.way), (Talk::Connect, None, None))
    }

    /// Its addresses as they are now, to be tried in turn until one takes a connection; none while its name leads nowhere.
    pub(super) fn addresses(&self) -> Box<[Address]> {
        self.places.iter().flat_map(Place::all).map(|address| at_port(&address, self.port)).collect()
    }
}

/// TLS towards it, by a route's policy and with a name to verify.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) policy: Arc<ClientTls>,
    pub(super) name: Option<Box<str>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        (self.policy.id(), &self.name) == (other.policy.id(), &other.name)
    }
}

impl Eq for Tls {}

impl Hash for Tls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.policy.id(), &self.name).hash(state);
    }
}

/// How connections of its route set out: from where, and by which socket options. Each load makes new ones.
#[derive(Clone, Debug)]
pub(super) struct Way(pub(super) Arc<Outgoing>);

impl PartialEq for Way {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Way {}

impl Hash for Way {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// A server that wants to know.
#[derive(Debug)]
pub(super) struct User {
    pub(super) marks: Arc<Marks>,
    check: Arc<CheckSpec>,
    name: Box<str>,
    plan: Arc<Plan>,
    /// By number.
    route: usize,
}

impl User {
    /// Whether the operator lets it be checked.
    pub(super) fn wants(&self) -> bool {
        self.marks.health.is_watched() && self.marks.admin() != Admin::Maint
    }

    /// Tells it what a check came to, and the log, if that changes anything.
    pub(super) fn told(&self, outcome: &Outcome, log: &Log) {
        let Some(change) = self.marks.health.checked(outcome.clone(), self.check.limits) else { return };
        let Some(route) = self.plan.service.routes.get(self.route) else { return };
        if change == Change::Up {
            self.marks.rise(outcome.at);
        }
        let told = Told {
            service: &self.plan.service.name,
            route: &route.name,
            server: &self.name,
            why: &outcome.text,
            left: route.upstream.left(outcome.at),
        };
        tell(log, change, told);
    }
}

/// Everything that `plans` want to be checked.
#[expect(clippy::mutable_key_type, reason = "a place is compared by where it is kept, which never changes")]
pub fn targets(plans: &[Arc<Plan>]) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut known: HashMap<Asked, usize> = HashMap::new();
    for plan in plans {
        for (number, route) in plan.service.routes.iter().enumerate() {
            // One server may have several addresses, in a row.
            let servers = &route.upstream.servers;
            for alike in servers.chunk_by(|one, other| one.name == other.name) {
                let Some((asked, user)) = asked(plan, number, route, alike) else { continue };
                let at = *known.entry(asked.clone()).or_insert(targets.len());
                match targets.get_mut(at) {
                    Some(target) => target.users.push(user),
                    None => targets.push(Target { asked, users: vec![user] }),
                }
            }
        }
    }
    targets
}

/// What is asked of one server, if anything; `alike` are its addresses.
fn asked(plan: &Arc<Plan>, number: usize, route: &Route, alike: &[Server]) -> Option<(Asked, User)> {
    let server = alike.first()?;
    let (check, marks) = (server.check.clone()?, server.marks.clone()?);
    let tls = route.connect_tls.clone().filter(|_| check.tls);
    let speaks = check.tls || !matches!(check.protocol.talk, Talk::Connect);
    let asked = Asked {
        places: alike.iter().map(|server| server.place.clone()).collect(),
        port: check.port,
        protocol: check.protocol,
        question: check.question.clone(),
        tls: tls.map(|policy| Tls { policy, name: server.tls_name.clone() }),
        // Another port is another service, which knows nothing of the header.
        header: route.send_proxy.filter(|_| speaks && check.port.is_none()).map(|send| send.version),
        way: route.outgoing.clone().map(Way),
        interval: check.interval,
        timeout: check.timeout,
    };
    let user = User { marks, check, name: server.name.clone(), plan: Arc::clone(plan), route: number };
    Some((asked, user))
}

fn at_port(address: &Address, port: Option<u16>) -> Address {
    match (address, port) {
        (Address::Inet(inet), Some(port)) => Address::Inet(SocketAddr::new(inet.ip(), port)),
        (address, _) => address.clone(),
    }
}
