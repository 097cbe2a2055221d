// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the head of an HTTP/1 request into the client's early bytes, for the host it asks for. The bytes stay where they
//! are: the server reads them again. Only the first request of a connection is looked at.

use super::early::{self, MORE, Stop};
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Flaw, Reason, Side};
use crate::policy::service::{Peek, Service};
use crate::wire::http_host;

pub const STEP: Step = Step { name: "reading the HTTP request", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    if service.peek != Peek::Http || pair.client.stream.as_raw().is_none() {
        return Ok(Progress::Done);
    }
    match early::read_until(pair, ctx, http_host::parse) {
        Ok(Some((host, _))) => {
            // What the request says, not what a PROXY header said before it: nothing, if it says nothing.
            pair.facts.server_name = host;
            Ok(Progress::Done)
        }
        Ok(None) => Ok(MORE),
        Err(Stop::Bad(why)) => Err(Reason::BadRequest(why)),
        Err(Stop::Ended { begun: true }) => {
            Err(Reason::BadRequest("the client closed in the middle of its request"))
        }
        Err(Stop::Ended { begun: false }) => {
            Err(Reason::Handshake(Side::Client, Flaw::Closed, "the client closed without a word".into()))
        }
        Err(Stop::Broken(reason)) => Err(reason),
    }
}
