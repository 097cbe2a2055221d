// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's pool of kernel pipes: a pipe is taken when bytes are to be spliced and given back when it is empty, so
//! an idle connection holds none.

use crate::sys::splice::KernelPipe;

/// Pipes kept for the next who needs one; each is two descriptors.
const SPARE: usize = 32;

/// The pool. One per worker.
#[derive(Debug, Default)]
pub struct PipePool {
    spare: Vec<KernelPipe>,
}

impl PipePool {
    /// An empty pipe, or none when the system has no more to give: the caller copies instead.
    pub fn take(&mut self) -> Option<KernelPipe> {
        self.spare.pop().or_else(|| KernelPipe::new().ok())
    }

    /// Takes back an *empty* pipe. One with bytes inside must be dropped: they are somebody's.
    pub fn give(&mut self, pipe: KernelPipe) {
        if self.spare.len() < SPARE {
            self.spare.push(pipe);
        }
    }

    /// How many it keeps.
    #[cfg(test)]
    pub(super) fn pooled(&self) -> usize {
        self.spare.len()
    }
}
