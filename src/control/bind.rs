// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the control thread listens, and who comes there.

use super::answer::Visitor;
use crate::policy::access::{ControlSettings, Level};
use crate::sys::socket::{Listening, Socket};
use std::io;

/// The control socket, if there is to be one.
///
/// # Errors
/// The system's.
pub(super) fn socket(_settings: &ControlSettings) -> io::Result<Option<Listening>> {
    Err(io::Error::other("not written yet"))
}

/// The HTTP listener, if there is to be one.
///
/// # Errors
/// The system's.
pub(super) fn http(_settings: &ControlSettings) -> io::Result<Option<Listening>> {
    Err(io::Error::other("not written yet"))
}

/// Who is at the other end of the control socket.
pub(super) fn visitor(_settings: &ControlSettings, _socket: &Socket) -> Visitor {
    Visitor { level: Level::Read, name: "not written yet".to_owned() }
}
