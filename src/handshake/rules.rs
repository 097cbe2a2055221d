// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of a service, judged as the facts come in.

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::Reason;
use crate::policy::service::Service;

pub const PEER: Step =
    Step { name: "judging the rules", run: |_, _, _| Ok(Progress::Done), expired: client_too_slow };
pub const SOURCE: Step = PEER;
pub const NAME: Step = PEER;
pub const CERTIFICATE: Step = PEER;

/// While relaying: `bytes` more have been moved.
///
/// # Errors
/// The rule that refuses.
pub fn charge(pair: &mut Pair, service: &Service, bytes: u64, ctx: &Ctx) -> Result<(), Reason> {
    let _ = (pair, service, bytes, ctx);
    Ok(())
}
