// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chooses the route. A service has one route so far; the cursor goes on with its back.

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::policy::service::Service;

pub const STEP: Step = Step { name: "picking a route", run, expired: client_too_slow };

fn run(pair: &mut Pair, _service: &Service, _ctx: &mut Ctx) -> Result<Progress, Reason> {
    pair.facts.route = 0;
    Ok(Progress::Done)
}
