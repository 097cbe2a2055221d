// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a service leads to the control interface: the server's side is one end of a socket pair, and the other end goes
//! to the control thread, with who it is that comes. To the relay it is a server like any other, so an interface that is
//! slow, or a reader that is, costs the worker what every stalled connection costs it: nothing.
//!
//! Not here: what the visitor may do (`control/`).

use super::{Progress, Step, client_too_slow};
use crate::connection::context::{Ctx, Visit};
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::policy::service::Service;
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::sys::address::Address;
use crate::sys::socket::Socket;

pub const STEP: Step = Step { name: "going to the control interface", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let (ours, theirs) =
        Socket::pair().map_err(|error| Reason::Connect(format!("the control interface: {error}").into()))?;
    let visit = Visit {
        socket: theirs,
        client: pair.source().to_string(),
        common_name: common_name(pair, service),
        asked_for: pair.client.stream.as_tls().and_then(|_| pair.facts.server_name.clone()),
        tls: pair.client.stream.as_tls().is_some(),
        local: pair.facts.header.is_none() && !matches!(pair.facts.client, Address::Inet(_)),
    };
    if !ctx.receives.receive(visit) {
        return Err(Reason::Connect("the control interface: too many come at the same time".into()));
    }
    pair.server = Some(Endpoint::new(Stream::raw(ours), 1));
    Ok(Progress::Done)
}

/// The common name of the certificate that the client has proved to us to have. What a PROXY header says of one counts for
/// nothing here: it was proved to somebody else.
fn common_name(pair: &mut Pair, service: &Service) -> Option<Box<str>> {
    let route = service.routes.get(pair.facts.route)?;
    let asked_for = route.accept_tls.as_ref().is_some_and(|policy| policy.verifies());
    pair.client.stream.as_tls().filter(|_| asked_for)?;
    let tls = pair.facts.tls.as_ref().filter(|tls| tls.verify == 0)?;
    tls.certificate.as_ref()?.common_name.clone()
}
