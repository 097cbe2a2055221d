// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two tunnels in a row, of which the first wants to know whether the second has reached the server.
//!
//! The first asks in its PROXY header and waits ([`AWAIT`]), as the last step of its way to the server; the second answers
//! when its own way has come to its end, or says why it has not (`answer.rs`). So a server that cannot be
//! reached behind the second is a failed attempt to the first, which has said nothing of the client's by then.
//!
//! Over a unix socket the answer carries the end of a second socket pair, the *mark*: a unix socket has no reset, so the
//! end of each direction counts as one in order only if the mark says so (`stream/raw.rs`).
//!
//! Invariant: the answer is the first that the first one is told, and not a byte that follows it is taken for it.

use super::server_words::read_until;
use super::{For, Progress, Step};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Blame, Reason, Side};
use crate::policy::service::Service;
use crate::wire::confirmation::{Confirmation, missing, parse};

pub const AWAIT: Step = Step { name: "waiting for the next tunnel's confirmation", run: hear, expired };

fn hear(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(end) = pair.server.as_mut() else { return Ok(Progress::Done) };
    let begins = end.stage == 0;
    if begins {
        end.stage = 1;
        // The header waits for company, and none comes before the answer.
        end.flush();
        if let Some(raw) = end.stream.as_raw() {
            raw.expect_mark();
        }
    }
    match read_until(pair, ctx, missing, parse) {
        Ok(None) => {
            let patience = begins.then_some(service.timeouts.handshake);
            Ok(Progress::Wait(For { side: Side::Server, read: true, patience }))
        }
        Ok(Some(Confirmation::Reached)) => {
            let Some(end) = pair.server.as_mut() else { return Ok(Progress::Done) };
            end.stage = 0;
            match end.stream.as_raw() {
                Some(raw) if raw.lost_mark() => {
                    Err(failed(pair, service, Blame::Nobody, "no descriptor was free for its mark"))
                }
                Some(raw) if raw.lacks_mark() => {
                    Err(failed(pair, service, Blame::Server, "its confirmation came without a mark"))
                }
                _ => Ok(Progress::Done),
            }
        }
        Ok(Some(Confirmation::Failed(text))) => Err(failed(pair, service, Blame::Server, &text)),
        Ok(Some(Confirmation::Refused(text))) => Err(failed(pair, service, Blame::Client, &text)),
        Ok(Some(Confirmation::Full(text))) => Err(failed(pair, service, Blame::Nobody, &text)),
        Err(why) => Err(failed(pair, service, Blame::Server, &why)),
    }
}

fn failed(pair: &Pair, service: &Service, blame: Blame, why: &str) -> Reason {
    let name = pair.chosen(service).map_or("", |server| &server.name);
    Reason::Unconfirmed(blame, format!("{name}: {why}").into())
}

fn expired(pair: &mut Pair, service: &Service, _: &mut Ctx) -> Option<Reason> {
    Some(failed(pair, service, Blame::Server, "no confirmation in time"))
}
