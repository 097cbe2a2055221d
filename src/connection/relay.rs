// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens after the handshake.

use super::context::Ctx;
use super::pair::Pair;
use crate::channel::{Channel, Ends, Flow, Moved};
use crate::event::Ready;
use crate::policy::bandwidth::{Meter, Ration};
use crate::stream::endpoint::Endpoint;
use std::time::Instant;

/// What a connection does once its steps are done.
pub trait Relay: std::fmt::Debug + Send + Sync {
    /// Moves what can be moved; `ready` tells what happened to the two ends.
    fn pump(&self, pair: &mut Pair, ready: BothReady, ctx: &mut Ctx) -> Turn;
}

/// What happened to the two ends since the last turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct BothReady {
    pub client: Ready,
    pub server: Ready,
}

/// What a turn did, per direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn {
    pub up: Moved,
    pub down: Moved,
}

impl Turn {
    /// Bytes that were read from either end.
    pub fn bytes(self) -> u64 {
        (self.up.read + self.down.read) as u64
    }
}

/// Both channels, each way its own.
#[derive(Debug)]
pub struct Duplex;

impl Relay for Duplex {
    fn pump(&self, pair: &mut Pair, ready: BothReady, ctx: &mut Ctx) -> Turn {
        let Pair { client, server: Some(server), up, down, bounds, .. } = pair else {
            return Turn::default();
        };
        let mut meters = bounds.as_mut().and_then(|bounds| bounds.meters.as_mut());
        if let Some(meters) = &mut meters {
            let wants = |ready, from: &Endpoint, to: &Endpoint| {
                has_input(ready) || from.stream.holds_input() || to.blocked()
            };
            ration(&mut meters.0.up, up, wants(ready.client, client, server), ctx.now);
            ration(&mut meters.0.down, down, wants(ready.server, server, client), ctx.now);
        }
        let lent = &mut ctx.buffers;
        let upwards = Ends { source: has_input(ready.client), sink: has_room(ready.server, server) };
        let moved_up = up.pump(client, server, upwards, lent);
        let downwards = Ends { source: has_input(ready.server), sink: has_room(ready.client, client) };
        let moved_down = down.pump(server, client, downwards, lent);
        if let Some(meters) = meters {
            settle(&mut meters.0.up, up, moved_up, ctx.now);
            settle(&mut meters.0.down, down, moved_down, ctx.now);
        }
        Turn { up: moved_up, down: moved_down }
    }
}

/// Gives a direction what its meter lets it read in this turn; `wants` is whether it would read.
fn ration(meter: &mut Option<Meter>, channel: &mut Channel, wants: bool, now: Instant) {
    let Some(meter) = meter else { return };
    if !matches!(channel.flow(), Flow::Open) {
        meter.release();
    } else {
        channel.allow(match meter.open(wants, now) {
            Ration::Bytes(bytes) => Some(u32::try_from(bytes).unwrap_or(u32::MAX)),
            Ration::Later => None,
        });
    }
}

/// Tells the meter what was read. Who has nothing left is not asked for more until its moment has come.
fn settle(meter: &mut Option<Meter>, channel: &mut Channel, moved: Moved, now: Instant) {
    let Some(meter) = meter else { return };
    meter.settle(moved.read as u64, now);
    if meter.waits() {
        channel.allow(None);
    }
}

/// A failure is learnt by reading.
fn has_input(ready: Ready) -> bool {
    ready.read || ready.failed
}

/// A TLS library that wants to read before it writes has room once there is something to read.
fn has_room(ready: Ready, sink: &Endpoint) -> bool {
    ready.write || ready.failed || ready.read && sink.is_starved()
}
