// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens a socket towards a server as the route's `connect` says. What of that cannot be had and is not worth to fail for is
//! counted each time, and told in the log once for each configuration.
//!
//! Not here: which server (`connect.rs`), the options themselves (`policy/outgoing.rs`).

use crate::connection::context::Ctx;
use crate::connection::pair::{Awaits, Pair};
use crate::log::Level;
use crate::policy::service::Service;
use crate::stats::Counter;
use crate::sys::address::Address;
use crate::sys::socket::{Connecting, Socket};
use std::io;

/// Begins to connect to `address`.
///
/// # Errors
/// The system's, with the name of an option if it is one that decides on where packets go.
pub(super) fn open(
    pair: &Pair,
    service: &Service,
    address: &Address,
    ctx: &Ctx,
) -> io::Result<(Socket, Connecting)> {
    let route = &service.routes[pair.facts.route];
    let Some(outgoing) = &route.outgoing else { return Socket::connect(address) };
    // Where the server is to speak first, a connection that waits for our bytes would wait for ever.
    let speaks_first = route.connect_tls.is_some() || pair.client.stream.holds_input();
    let has_words = route.send_proxy.is_some() || route.starttls.is_none() && speaks_first;
    // Whoever is told that the server was reached must be told the truth.
    let lazily = has_words && pair.facts.awaits == Awaits::Nothing;
    outgoing.connect(address, &pair.source(), lazily, &mut |unset| {
        for stats in pair.stays.scopes() {
            stats.add(ctx.worker, Counter::OptionErrors, 1);
        }
        if !outgoing.is_news() {
            return;
        }
        ctx.log
            .line(Level::Warning, "socket-option-failed")
            .field("service", &service.name)
            .field("route", &route.name)
            .field("server", address)
            .field("error", unset)
            .send();
    })
}
