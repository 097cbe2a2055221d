// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a listener does not accept for now.

/// See the head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Pause {
    /// As many connections as there may be.
    Limit = 1,
    /// The same, for want of descriptors.
    Descriptors,
    /// The workers are behind.
    Queue,
    /// The system has no descriptor or memory to give.
    System,
}

impl Pause {
    const ALL: [Self; 4] = [Self::Limit, Self::Descriptors, Self::Queue, Self::System];

    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Limit => "max_connections",
            Self::Descriptors => "too few descriptors (LimitNOFILE, ulimit -n)",
            Self::Queue => "the workers are behind",
            Self::System => "the system has no descriptor or memory to give",
        }
    }

    /// From its number; 0 is for none.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|pause| *pause as u8 == number)
    }
}
