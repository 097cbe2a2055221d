// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what somebody on the way to the server says ahead of the server itself, and says what it is to be told: the one
//! loop of the steps that speak with a proxy or with another tunnel.
//!
//! Invariants: no more is read at a time than the message is known to lack, or than its bound; what follows the message
//! stays with the stream, where the next reader finds it first; the stage of a conversation stands in the endpoint, which
//! another attempt replaces.
//!
//! Not here: what the bytes mean.

use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::Break;
use crate::stream::Source;
use crate::stream::raw::RawStream;
use crate::wire::Parsed;

/// Reads per turn: one that sends byte by byte comes back for the rest.
const READS: usize = 8;

/// Why nothing came of it, in words that follow the name of whoever it was.
pub(super) type Why = Box<str>;

/// Shows `parse` what has been said, reading at most what `missing` counts as long as it wants more and there is any; what
/// belongs to the message is consumed. Nothing: wait for more.
///
/// # Errors
/// There is nothing to wait for; why.
pub(super) fn read_until<T>(
    pair: &mut Pair,
    ctx: &mut Ctx,
    missing: impl Fn(&[u8]) -> usize,
    parse: impl Fn(&[u8]) -> Parsed<T>,
) -> Result<Option<T>, Why> {
    let mut reads = 0;
    loop {
        let Some(raw) = raw(pair) else { return Err("its stream is TLS already".into()) };
        if !raw.early().is_empty() {
            match parse(raw.early()) {
                Parsed::Done(_, _) if !raw.prologue().is_empty() => {
                    return Err("it answered before it was asked".into());
                }
                Parsed::Done(found, length) => {
                    raw.consume(length);
                    return Ok(Some(found));
                }
                Parsed::Bad(why) => return Err(why.into()),
                Parsed::More => {}
            }
        }
        // Only here, with everything shown: what the last read took is nothing that epoll would tell of again.
        if reads == READS {
            return Ok(None);
        }
        reads += 1;
        let most = missing(raw.early());
        let room = ctx.buffers.plain();
        let most = most.min(room.len());
        let got = raw.read_early(&mut room[..most]);
        match got.then {
            _ if got.bytes > 0 => {}
            Source::Empty | Source::More => return Ok(None),
            Source::Shut if raw.early().is_empty() => return Err("it closed without a word".into()),
            Source::Shut => return Err("it closed in the middle of its answer".into()),
            Source::Broken(Break::Reset(error)) => return Err(error.to_string().into()),
            Source::Broken(_) => return Err("its stream broke".into()),
        }
    }
}

/// Says `words` at once.
///
/// # Errors
/// Nobody is there to hear them; why.
pub(super) fn say(pair: &mut Pair, words: Vec<u8>) -> Result<(), Why> {
    let Some(end) = pair.server.as_mut() else { return Err("there is no connection".into()) };
    let Some(raw) = end.stream.as_raw() else { return Err("its stream is TLS already".into()) };
    raw.begin_with(words);
    end.flush();
    // What the kernel did not take leaves when it has room; a stream that broke tells so when it is read.
    Ok(())
}

fn raw(pair: &mut Pair) -> Option<&mut RawStream> {
    pair.server.as_mut()?.stream.as_raw()
}
