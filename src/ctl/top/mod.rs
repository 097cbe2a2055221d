// SPDX-License-Identifier: MIT OR Apache-2.0
//! `top`.
use crate::args::Top;
use crate::client::{Client, Trouble};
pub(crate) fn run(_client: &Client, _asked: &Top) -> Result<(), Trouble> {
    Ok(())
}
