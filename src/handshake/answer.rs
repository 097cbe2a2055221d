// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who has asked to be told how the way to the server ends is told when it fails.
//!
//! Not here: what is told when it succeeds (`confirm.rs`), and that the client is heard out then (`connection/ending.rs`).

use crate::connection::context::Ctx;
use crate::connection::pair::{Awaits, Pair};
use crate::error::Reason;
use crate::wire::confirmation::{self, Confirmation};
use std::mem;

/// Tells a client that waits for it why there is no server; whether there was somebody to tell.
pub fn refuse(pair: &mut Pair, reason: &Reason, ctx: &mut Ctx) -> bool {
    let words = match mem::take(&mut pair.facts.awaits) {
        Awaits::Nothing => return false,
        Awaits::Confirmation => confirmation::write(&Confirmation::Failed(in_words(reason).into())),
    };
    if matches!(reason, Reason::Reset(_) | Reason::Gone(_)) && pair.client.is_gone() {
        return false;
    }
    pair.client.write(&words, &mut ctx.buffers.scratch);
    true
}

/// "connect-failed: db:5432: Connection refused".
fn in_words(reason: &Reason) -> String {
    match reason.detail() {
        Some(detail) => format!("{}: {detail}", reason.word()),
        None => reason.word().to_owned(),
    }
}
