// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small messages to and fro over many open connections, in a closed loop.
//!
//! Every connection has one message under way; the answer sends the next. Latency is from the send to the last
//! byte of the answer, the generator's own queue included: it is the same for all peers.

use std::time::{Duration, Instant};

use super::super::Fallible;
use super::super::link::Got;
use super::{Fleet, Target};

/// Bytes read at once; larger than any message.
const READ: usize = 16 * 1024;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Pinged {
    /// One latency per round trip, in microseconds.
    pub(crate) latencies_us: Vec<f64>,
    /// From the first to the last.
    pub(crate) elapsed: Duration,
}

/// Connections that are open, each in echo mode.
pub(crate) struct Ping {
    fleet: Fleet,
    message: Vec<u8>,
}

impl Ping {
    /// Opens `connections` for messages of `size` bytes.
    pub(crate) fn open(target: &Target, connections: usize, size: usize) -> Fallible<Self> {
        Ok(Self { fleet: Fleet::open(target, connections, true)?, message: vec![b'E'; size] })
    }

    /// Sends messages for `length`.
    pub(crate) fn run(&mut self, length: Duration) -> Fallible<Pinged> {
        let start = Instant::now();
        let mut outcome = Pinged { latencies_us: Vec::new(), elapsed: Duration::ZERO };
        let mut sent = vec![start; self.fleet.links.len()];
        let mut missing = vec![self.message.len(); sent.len()];
        let mut buffer = vec![0; READ];
        for (link, sent) in self.fleet.links.iter_mut().zip(&mut sent) {
            *sent = Instant::now();
            link.write_short(&self.message)?;
        }
        let mut open = sent.len();
        while open > 0 {
            for index in self.fleet.poll.wait()? {
                let link = &mut self.fleet.links[index];
                match link.read(&mut buffer)? {
                    Got::Bytes(len) if len <= missing[index] => missing[index] -= len,
                    Got::Bytes(_) => return Err("more came back than was sent".into()),
                    Got::Wait => continue,
                    Got::End => return Err("a connection ended in the middle".into()),
                }
                if missing[index] > 0 {
                    continue;
                }
                let now = Instant::now();
                outcome.latencies_us.push((now - sent[index]).as_secs_f64() * 1e6);
                outcome.elapsed = now - start;
                if outcome.elapsed >= length {
                    open -= 1;
                    continue;
                }
                missing[index] = self.message.len();
                sent[index] = now;
                link.write_short(&self.message)?;
            }
        }
        Ok(outcome)
    }
}
