// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of the control socket: HAProxy's, and ours.

use super::answer::{Request, Talk, Visitor};
use super::state::State;
use std::time::Duration;

/// One reader's talk.
#[derive(Debug, Default)]
pub struct Commands {
    /// `prompt` was said: it stays.
    interactive: bool,
}

impl Talk for Commands {
    fn request(&mut self, _input: &mut Vec<u8>, _visitor: &Visitor, _state: &mut State) -> Request {
        if self.interactive { Request::More } else { Request::End }
    }

    fn full(&self) -> Vec<u8> {
        Vec::new()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}
