// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stream that does what a test says, for the branches that no real socket takes when asked to.

use super::{Got, Put, Sink, Source};
use crate::sys::socket::Socket;
use std::collections::VecDeque;

/// What a scripted stream answers, and what it was given.
#[derive(Debug, Default)]
pub struct Script {
    /// One entry per read: bytes, and how the source stands after them.
    pub reads: VecDeque<(Vec<u8>, Source)>,
    /// One entry per write: how many bytes it takes at most, and how it stands then; none: takes everything.
    pub writes: VecDeque<(usize, Sink)>,
    pub written: Vec<u8>,
}

impl Script {
    pub fn read(&mut self, into: &mut [u8]) -> Got {
        let Some((mut bytes, then)) = self.reads.pop_front() else {
            return Got { bytes: 0, then: Source::Empty };
        };
        if bytes.len() > into.len() {
            let rest = bytes.split_off(into.len());
            into.copy_from_slice(&bytes);
            self.reads.push_front((rest, then));
            return Got { bytes: into.len(), then: Source::More };
        }
        into[..bytes.len()].copy_from_slice(&bytes);
        Got { bytes: bytes.len(), then }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Put {
        let (limit, then) = self.writes.pop_front().unwrap_or((usize::MAX, Sink::Room));
        let count = limit.min(bytes.len());
        self.written.extend_from_slice(&bytes[..count]);
        Put { bytes: count, then }
    }

    pub fn socket(&self) -> Option<&Socket> {
        None
    }
}
