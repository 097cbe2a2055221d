// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel pipe and splice(2): bytes from one socket to another that never enter user space.

use super::socket::Socket;
use nix::fcntl::{self, FcntlArg, OFlag, SpliceFFlags};
use nix::unistd;
use std::io;
use std::os::fd::OwnedFd;

/// What we ask for; an unprivileged process gets less once its user has many (pipe(7), pipe-user-pages-soft).
const PIPE_SIZE: i32 = 1 << 20;

/// A pipe with its two ends.
#[derive(Debug)]
pub struct KernelPipe {
    reader: OwnedFd,
    writer: OwnedFd,
    size: usize,
}

impl KernelPipe {
    /// A pipe as large as the kernel grants.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let _smaller_serves_too = fcntl::fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        let size = fcntl::fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Self { reader, writer, size: usize::try_from(size).unwrap_or(0) })
    }

    /// Nominal capacity in bytes; the kernel may hold more or fewer (it counts pages).
    pub fn size(&self) -> usize {
        self.size
    }

    /// Moves up to `limit` bytes from the socket into the pipe; 0 is the peer's end.
    pub fn fill(&self, from: &Socket, limit: usize) -> io::Result<usize> {
        Ok(fcntl::splice(from, None, &self.writer, None, limit, flags())?)
    }

    /// Moves up to `limit` bytes from the pipe to the socket.
    pub fn empty(&self, to: &Socket, limit: usize) -> io::Result<usize> {
        Ok(fcntl::splice(&self.reader, None, to, None, limit, flags())?)
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}
