// SPDX-License-Identifier: MIT OR Apache-2.0
//! Answers a monitor with a canned reply, and that is all: the seed's monitor-net, health mode and send-last-chunk.
//!
//! Nothing is read before, so a monitor need speak neither PROXY nor TLS nor HTTP; what it says is discarded while it is
//! heard out.

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::policy::networks::Networks;
use crate::policy::service::Service;

pub const STEP: Step = Step { name: "answering a monitor", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(monitor) = &service.monitor else { return Ok(Progress::Done) };
    let ip = pair.facts.client.ip();
    let is_monitor = |source: &Networks| ip.is_some_and(|ip| source.contains(ip));
    if !monitor.source.as_ref().is_none_or(is_monitor) {
        return Ok(Progress::Done);
    }
    // The kernel's buffer of a new socket is larger than any reply.
    pair.client.write(&monitor.reply.bytes, &mut ctx.buffers.scratch);
    Err(Reason::Replied)
}
