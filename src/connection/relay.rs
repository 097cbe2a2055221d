// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens after the handshake.

use super::context::Ctx;
use super::pair::Pair;
use crate::channel::{Ends, Moved};
use crate::event::Ready;
use crate::stream::endpoint::Endpoint;

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
        let Pair { client, server: Some(server), up, down, .. } = pair else { return Turn::default() };
        let lent = &mut ctx.buffers;
        let upwards = Ends { source: has_input(ready.client), sink: has_room(ready.server, server) };
        let up = up.pump(client, server, upwards, lent);
        let downwards = Ends { source: has_input(ready.server), sink: has_room(ready.client, client) };
        let down = down.pump(server, client, downwards, lent);
        Turn { up, down }
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
