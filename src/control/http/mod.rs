// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control interface by HTTP: health, metrics, the API, the page.

use super::answer::{Request, Talk, Visitor};
use super::state::State;
use crate::policy::access::ControlSettings;
use std::time::Duration;

/// One reader's talk.
#[derive(Debug)]
pub struct Http;

impl Http {
    pub fn new(_settings: &ControlSettings) -> Self {
        Self
    }
}

impl Talk for Http {
    fn request(&mut self, _input: &mut Vec<u8>, _visitor: &Visitor, _state: &mut State) -> Request {
        Request::End
    }

    fn full(&self) -> Vec<u8> {
        Vec::new()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}
