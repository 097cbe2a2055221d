// SPDX-License-Identifier: MIT OR Apache-2.0
//! A socket that goes from process to process, over a unix socket and with bytes of it (SCM_RIGHTS, unix(7)).
//!
//! Invariant: whatever descriptors the peer sends, each has an owner before anything can fail.

use super::socket::Socket;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{self, ControlMessage, MsgFlags};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// What came with bytes.
#[derive(Debug)]
pub enum Passed {
    Nothing,
    Socket(Socket),
    /// One was sent, and this process had no descriptor free for it.
    Lost,
}

/// Room for a header (cmsg(3)) and two descriptors, which is what room for one comes to. Of more the kernel lets go.
const ROOM: usize = 3;

impl Socket {
    /// Sends bytes and, with the first of them, another socket.
    pub fn send_with(&self, bytes: &[u8], passed: &Self) -> io::Result<usize> {
        let descriptors = [passed.as_fd().as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let parts = [IoSlice::new(bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        Ok(socket::sendmsg::<()>(self.as_fd().as_raw_fd(), &parts, &control, flags, None)?)
    }

    /// Receives bytes and the first descriptor that was passed with them: it is taken for a socket, and whatever else it is,
    /// every call on it fails.
    pub fn recv_with(&self, into: &mut [u8]) -> io::Result<(usize, Passed)> {
        let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        // Of words, as its headers want to be aligned.
        let mut control = [0_usize; ROOM];
        // SAFETY: msghdr is plain old data for which all zeroes is a valid value: no address, no parts.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        // SAFETY: the message describes one part, `into`, and the room of `control`; both outlive the call.
        let got =
            unsafe { libc::recvmsg(self.as_fd().as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        let bytes = usize::try_from(Errno::result(got)?).unwrap_or(0);
        let first = take(&message).into_iter().next();
        let is_cut = message.msg_flags & libc::MSG_CTRUNC != 0;
        let Some(first) = first else {
            return Ok((bytes, if is_cut { Passed::Lost } else { Passed::Nothing }));
        };
        // Whatever the sender thought of: no call on it may wait.
        fcntl(&first, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((bytes, Passed::Socket(Self::from_fd(first))))
    }
}

/// Owns the descriptors that recvmsg(2) has put into the control messages of `message`.
fn take(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut taken = Vec::new();
    // SAFETY: recvmsg(2) has set the length of what it wrote to the control messages, which are still there.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: it lies within what was written, and is aligned as the words it lies in.
        let control = unsafe { &*header };
        if (control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: arithmetic that stays within the message.
            let data = unsafe { libc::CMSG_DATA(header) };
            let length = control.cmsg_len.saturating_sub(data.addr() - header.addr());
            for number in 0..length / size_of::<RawFd>() {
                let place = data.cast::<RawFd>().wrapping_add(number);
                // SAFETY: the kernel has written that many descriptors there, which need not be aligned.
                let descriptor = unsafe { ptr::read_unaligned(place) };
                // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
                taken.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, Socket) {
        Socket::pair().unwrap()
    }

    #[test]
    fn a_socket_arrives_with_the_bytes_and_works() {
        let ((here, there), (ours, theirs)) = (pair(), pair());
        assert_eq!(there.send_with(b"frame", &theirs).unwrap(), 5);
        drop(theirs);
        let mut buffer = [0; 8];
        let (bytes, Passed::Socket(passed)) = here.recv_with(&mut buffer).unwrap() else { panic!("none") };
        assert_eq!(&buffer[..bytes], b"frame");
        passed.send(b"E").unwrap();
        assert_eq!(ours.recv(&mut buffer).unwrap(), 1);
        there.send(b"more").unwrap();
        assert!(matches!(here.recv_with(&mut buffer), Ok((4, Passed::Nothing))));
    }

    /// However many are sent, one stays and none leaks: the other ends notice that they are alone.
    #[test]
    fn of_several_the_first_is_taken_and_the_others_are_closed() {
        for count in 1..=5 {
            let (here, there) = pair();
            let (kept, sent): (Vec<_>, Vec<_>) = (0..count).map(|_| pair()).unzip();
            let descriptors: Vec<RawFd> = sent.iter().map(|socket| socket.as_fd().as_raw_fd()).collect();
            let control = [ControlMessage::ScmRights(&descriptors)];
            let parts = [IoSlice::new(b"x")];
            let to = there.as_fd().as_raw_fd();
            socket::sendmsg::<()>(to, &parts, &control, MsgFlags::empty(), None).unwrap();
            drop(sent);
            let (1, Passed::Socket(first)) = here.recv_with(&mut [0; 4]).unwrap() else { panic!("none") };
            first.send(b"y").unwrap();
            assert_eq!(kept[0].recv(&mut [0; 4]).unwrap(), 1);
            for (number, socket) in kept.iter().enumerate().skip(1) {
                assert_eq!(socket.recv(&mut [0; 4]).unwrap(), 0, "{number} of {count} is still open");
            }
        }
    }
}
