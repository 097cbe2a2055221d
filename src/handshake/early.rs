// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what a client says first, until a parser has understood it: the one loop of every step that reads ahead.
//!
//! Invariants: the bytes stay in the client's stream, where the next reader finds them; a parser is shown all of them,
//! from the start, whenever there are more. What bounds them is the parser, which never asks for more beyond its limit.
//!
//! Not here: what the bytes mean, and what a client is told that sends others.

use super::{For, Progress};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Break, Reason, Side};
use crate::stream::Source;
use crate::wire::Parsed;

/// Reads per turn: one that sends byte by byte comes back for the rest.
const READS: usize = 8;

/// Why nothing could be read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes are not what they should be; what is wrong with them.
    Bad(&'static str),
    /// The client ended before it had said all; whether it had begun.
    Ended { begun: bool },
    /// Its stream broke.
    Broken(Reason),
}

/// Waiting for more of what the client says, within the deadline there is.
pub(super) const MORE: Progress = Progress::Wait(For { side: Side::Client, read: true, patience: None });

/// Shows `parse` the client's early bytes, reading more as long as it wants more and there are any; with what it made
/// of them, and how many of them belong to that. Nothing: wait for [`MORE`].
///
/// # Errors
/// There is nothing to wait for; why.
pub(super) fn read_until<T>(
    pair: &mut Pair,
    ctx: &mut Ctx,
    parse: impl Fn(&[u8]) -> Parsed<T>,
) -> Result<Option<(T, usize)>, Stop> {
    let mut reads = 0;
    loop {
        let stream = &mut pair.client.stream;
        if !stream.early().is_empty() {
            match parse(stream.early()) {
                Parsed::Done(found, length) => return Ok(Some((found, length))),
                Parsed::Bad(why) => return Err(Stop::Bad(why)),
                Parsed::More => {}
            }
        }
        // Only here, with everything shown: what the last read took is nothing that epoll would tell of again.
        if reads == READS {
            return Ok(None);
        }
        reads += 1;
        let (room, scratch) = ctx.buffers.plain_and_scratch();
        let got = stream.read_early(room, scratch);
        match got.then {
            _ if got.bytes > 0 => {}
            Source::Empty | Source::More => return Ok(None),
            Source::Shut => return Err(Stop::Ended { begun: !stream.early().is_empty() }),
            Source::Broken(Break::Reset(_)) => return Err(Stop::Broken(Reason::Reset(Side::Client))),
            Source::Broken(how) => return Err(Stop::Broken(Reason::broken(Side::Client, how))),
        }
    }
}

/// The first of the early bytes.
pub(super) fn first_byte(pair: &mut Pair) -> Option<u8> {
    pair.client.stream.as_raw()?.early().first().copied()
}
