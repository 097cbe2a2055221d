// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the server is the one that the client names, in whatever way: asks a task thread for its addresses, if that name may
//! be asked for, and keeps those that may be connected to, as many as a server has. What is kept here is what connect goes to; no name is looked up a
//! second time.

use super::{Progress, Step};
use crate::connection::context::{Ctx, OwnAddresses, Question};
use crate::connection::pair::{Pair, Resolve};
use crate::error::Reason;
use crate::policy::resolved::ADDRESSES;
use crate::policy::service::Service;
use crate::policy::target::{Requested, leads_to};
use crate::policy::upstream::Server;
use crate::sys::address::Address;
use crate::sys::socket;
use crate::wire::destination::{Destination, Host};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub const STEP: Step = Step { name: "resolving the name that the client asked for", run, expired };

/// The longest that a question can wait: a time beyond what the clock can count never comes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 3600);

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let route = &service.routes[pair.facts.route];
    let Some(requested) = &route.upstream.requested else { return Ok(Progress::Done) };
    let Some(name) = pair.facts.server_name.clone() else {
        return Err(Reason::NoRoute(
            "the client asked for no name, and the server is the one it names".into(),
        ));
    };
    let port = requested.port.or(pair.facts.asked_port).unwrap_or_default();
    let to = Destination::known(&name, port);
    requested.permits_asking(&to).map_err(|why| Reason::Target(why.into()))?;
    let found = match (pair.answer.take(), to.host) {
        (Some(answer), _) => {
            if let Some(Resolve::Asked(at)) = pair.facts.resolve {
                pair.facts.resolve = Some(Resolve::Took(ctx.stamp().wrapping_sub(at)));
            }
            answer.map_err(|error| Reason::Resolve(format!("{name}: {error}").into()))?
        }
        (None, Host::Ip(address)) => Box::new([SocketAddr::new(address, port)]),
        (None, Host::Name(_)) => {
            let Some(key) = pair.key else { return Err(Reason::Resolve("nobody could be answered".into())) };
            let patience = service.timeouts.connect;
            let until = ctx.now + patience.min(LONGEST_PATIENCE);
            let question = Question { worker: ctx.worker, key, id: pair.facts.id, host: name, port, until };
            if !ctx.asks.ask(question) {
                return Err(Reason::Resolve("too many names wait to be resolved".into()));
            }
            pair.facts.resolve = Some(Resolve::Asked(ctx.stamp()));
            return Ok(Progress::Ask(patience));
        }
    };
    let own = ctx.own.get();
    let may_be = |address: &SocketAddr| {
        requested.permits(address.ip()) && !is_ours(*address, requested, &service.name, own)
    };
    let server = |address: SocketAddr| {
        let called = format!("{name}:{}", address.port()).into();
        Server::new(called, Address::Inet(address), Some(name.clone()), Arc::clone(&route.upstream.named))
    };
    let servers: Arc<[Server]> = found.iter().copied().filter(may_be).take(ADDRESSES).map(server).collect();
    if servers.is_empty() {
        let first = found.first().map_or_else(String::new, SocketAddr::to_string);
        return Err(Reason::Target(format!("{name} is {first}, which may not be connected to").into()));
    }
    pair.targets = Some(servers);
    Ok(Progress::Done)
}

/// Whether `target` is one of our own listeners. Networks that are allowed by name may be served by another service of
/// ours; a service that connects to itself would never come to an end.
fn is_ours(target: SocketAddr, requested: &Requested, service: &str, own: &OwnAddresses) -> bool {
    let ip = leads_to(target.ip());
    let allowed = requested.allows(target.ip());
    own.iter().any(|(address, of)| {
        let Address::Inet(listening) = address else { return false };
        let listens = listening.ip().to_canonical();
        listening.port() == target.port()
            && (listens == ip || listens.is_unspecified() && socket::is_local(ip))
            && (!allowed || **of == *service)
    })
}

fn expired(pair: &mut Pair, _: &Service, _: &mut Ctx) -> Option<Reason> {
    let name = pair.facts.server_name.as_deref().unwrap_or_default();
    Some(Reason::Resolve(format!("{name}: no answer in time").into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::networks::Networks;

    #[test]
    fn our_own_listeners_are_recognised_behind_wildcards() {
        let own: OwnAddresses = ["[::]:443", "192.0.2.1:8443"]
            .into_iter()
            .map(|text| (Address::Inet(text.parse().unwrap()), "web".into()))
            .collect();
        let nothing = Requested::at(443);
        let allow = Networks::new(["127.0.0.0/8".parse().unwrap()]);
        let loopback = Requested { allow, ..Requested::at(443) };
        for (target, requested, service, expected) in [
            ("127.0.0.1:443", &nothing, "web", true),
            ("127.0.0.1:443", &nothing, "other", true),
            ("[::ffff:127.0.0.1]:443", &nothing, "other", true),
            ("127.0.0.1:444", &nothing, "web", false),
            ("203.0.113.99:443", &nothing, "web", false),
            ("192.0.2.1:8443", &nothing, "web", true),
            ("[64:ff9b::192.0.2.1]:8443", &nothing, "web", true),
            ("[64:ff9b::127.0.0.1]:443", &nothing, "web", true),
            ("127.0.0.1:443", &loopback, "other", false),
            ("127.0.0.1:443", &loopback, "web", true),
        ] {
            let is = is_ours(target.parse().unwrap(), requested, service, &own);
            assert_eq!(is, expected, "{target} from {service}");
        }
    }
}
