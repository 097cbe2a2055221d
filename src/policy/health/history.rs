// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last results of a server's checks, for whoever looks at them.

#![expect(
    clippy::disallowed_types,
    reason = "taken by the thread that checks, once per check, and by who looks: never on the data path"
)]

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Results kept per server.
const KEPT: usize = 10;

/// What a check came to, by the layer that spoke last. Words as HAProxy has them (management.txt, section 9.1, check_status).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The system refused what a check needs (descriptors, memory).
    System,
    Connected,
    NotConnected,
    ConnectTimeout,
    Tls,
    NoTls,
    TlsTimeout,
    Answered,
    /// What came is no answer, or none that is expected.
    WrongAnswer,
    /// The server answers that it is not well.
    Unwell,
    AnswerTimeout,
}

impl Status {
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Connected | Self::Tls | Self::Answered)
    }

    /// HAProxy's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "SOCKERR",
            Self::Connected => "L4OK",
            Self::NotConnected => "L4CON",
            Self::ConnectTimeout => "L4TOUT",
            Self::Tls => "L6OK",
            Self::NoTls => "L6RSP",
            Self::TlsTimeout => "L6TOUT",
            Self::Answered => "L7OK",
            Self::WrongAnswer => "L7RSP",
            Self::Unwell => "L7STS",
            Self::AnswerTimeout => "L7TOUT",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When it ended ([`crate::stats::Clock::at`]).
    pub at: u64,
    pub status: Status,
    pub took: Duration,
    /// Why it failed, or what the server said; printable.
    pub text: Cow<'static, str>,
}

impl Outcome {
    pub fn is_ok(&self) -> bool {
        self.status.is_ok()
    }
}

/// The results; no memory until there is one.
#[derive(Debug, Default)]
pub(super) struct History(OnceLock<Mutex<VecDeque<Outcome>>>);

impl History {
    pub(super) fn note(&self, outcome: Outcome) {
        let kept = self.0.get_or_init(|| Mutex::new(VecDeque::with_capacity(KEPT)));
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT - 1);
        kept.push_front(outcome);
    }

    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let Some(kept) = self.0.get() else { return Vec::new() };
        kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        if let Some(kept) = self.0.get() {
            kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_come_first() {
        let history = History::default();
        assert_eq!(history.outcomes(), []);
        for at in 0..25 {
            let took = Duration::from_millis(at);
            history.note(Outcome { at, status: Status::Connected, took, text: "".into() });
        }
        let at: Vec<u64> = history.outcomes().iter().map(|outcome| outcome.at).collect();
        assert_eq!(at, (15..25).rev().collect::<Vec<_>>());
        history.clear();
        assert_eq!(history.outcomes(), []);
    }
}
