// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal of a full-screen program: its size, raw mode, and the signals that concern it.
//!
//! Invariant: whoever enters raw mode gets the terminal back as it was by [`leave`], however often that is called and from
//! wherever (a destructor, a panic's hook). Not here: what is written to it.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io;
use std::sync::OnceLock;

/// The settings found at the first [`enter`].
static FOUND: OnceLock<libc::termios> = OnceLock::new();

nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);

/// Columns and rows of the terminal that standard output is; `None` if it is none, or one that does not know.
pub fn size() -> Option<(u16, u16)> {
    let mut found = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize to the pointer, which is valid for the call.
    unsafe { window_size(libc::STDOUT_FILENO, &raw mut found) }.ok()?;
    (found.ws_col > 0 && found.ws_row > 0).then_some((found.ws_col, found.ws_row))
}

/// Raw mode for the terminal that standard input is: every key arrives at once, none is shown, none is a signal.
///
/// # Errors
/// When standard input is no terminal.
pub fn enter() -> io::Result<()> {
    let mut settings = tcgetattr(io::stdin())?;
    FOUND.get_or_init(|| settings.clone().into());
    cfmakeraw(&mut settings);
    Ok(tcsetattr(io::stdin(), SetArg::TCSADRAIN, &settings)?)
}

/// The terminal as [`enter`] found it first; nothing if it was never called.
pub fn leave() {
    if let Some(found) = FOUND.get() {
        let _nothing_else_can_be_done = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &Termios::from(*found));
    }
}

/// What a signal asks of a full-screen program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// WINCH: the size may be another.
    Resized,
    /// TERM, INT, HUP, QUIT
    Stop,
}

const TABLE: [(Signal, Notice); 5] = [
    (Signal::SIGWINCH, Notice::Resized),
    (Signal::SIGTERM, Notice::Stop),
    (Signal::SIGINT, Notice::Stop),
    (Signal::SIGHUP, Notice::Stop),
    (Signal::SIGQUIT, Notice::Stop),
];

/// The signals of `TABLE`, blocked and waited for here.
#[derive(Debug)]
pub struct Notices(SignalFd);

impl Notices {
    /// Blocks the signals in this thread. Call before any thread is started: threads inherit the mask.
    ///
    /// # Errors
    /// The system's.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        TABLE.iter().for_each(|(signal, _)| set.add(*signal));
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits for the next.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&self) -> io::Result<Notice> {
        loop {
            let told = match self.0.read_signal() {
                Ok(told) => told,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let number = told.and_then(|told| i32::try_from(told.ssi_signo).ok());
            if let Some((_, notice)) = TABLE.iter().find(|(signal, _)| Some(*signal as i32) == number) {
                return Ok(*notice);
            }
        }
    }
}

/// Stops this process as Ctrl-Z does, and returns when it is continued.
pub fn suspend() {
    let _goes_on = raise(Signal::SIGTSTP);
}
