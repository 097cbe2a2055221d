// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a client is told that a rule rejects.

use super::context::Ctx;
use super::pair::Pair;
use crate::error::Reason;
use crate::handshake::alert::Alert;
use crate::policy::rules::Action;
use crate::policy::service::{Peek, Service};

/// Writes what the client understands, if there is something: an alert where TLS is expected of it, the rule's canned reply
/// where it is not. Inside a TLS session it is told nothing: the library sends no alert of ours, and close_notify follows.
pub(super) fn tell(pair: &mut Pair, service: &Service, reason: &Reason, ctx: &mut Ctx) {
    let Reason::Rule(name, _) = reason else { return };
    // Nor where it begins in clear and has not come to TLS yet: that would be no line of its protocol.
    if pair.client.stream.as_tls().is_some() || service.starttls.is_some() && !pair.facts.tls_begun {
        return;
    }
    let alert = Alert::AccessDenied.record();
    let rule = service.rules.specs().iter().find(|rule| rule.name == *name);
    let said = match rule.map(|rule| &rule.action) {
        _ if service.peek == Peek::Tls => &alert[..],
        Some(Action::Reject(Some(reply))) => &reply.bytes,
        _ => return,
    };
    pair.client.write(said, &mut ctx.buffers.scratch);
}
