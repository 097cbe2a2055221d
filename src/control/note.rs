// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the log is told of a change, whatever language it was asked for in: who, what, and what came of it.
//!
//! What is refused may be asked for as often as somebody likes, so it folds; what is done is told each time.

use super::answer::Visitor;
use crate::log::{Level, Log};

/// Characters of a request that are told.
const TOLD: usize = 200;

/// A change that was asked for.
#[derive(Debug)]
pub(super) struct Note {
    log: Log,
    by: String,
    origin: String,
    command: String,
}

impl Note {
    pub(super) fn new(log: &Log, visitor: &Visitor, command: &str) -> Self {
        let command = match command.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{}…", &command[..end]),
            None => command.to_owned(),
        };
        Self { log: log.clone(), by: visitor.name.clone(), origin: visitor.origin(), command }
    }

    /// It was tried: "done", or why not.
    pub(super) fn send(self, outcome: &str) {
        let line = self.log.line(Level::Notice, "control-command");
        line.field("by", self.by).field("command", self.command).field("outcome", outcome).send();
    }

    /// It is nothing for who asked.
    pub(super) fn deny(self, why: &str) {
        let line = self.log.failure(Level::Notice, "control-command", &self.origin);
        line.field("by", self.by).field("command", self.command).field("outcome", why).send();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::answer::Who;
    use crate::policy::access::ControlSettings;

    #[test]
    fn a_long_request_is_cut_between_characters() {
        let (log, memory) = Log::to_memory(Level::Info);
        let visitor = Visitor::new(Who::Anybody, "127.0.0.1:1".to_owned(), &ControlSettings::default());
        Note::new(&log, &visitor, &"ä".repeat(16_000)).deny("permission denied");
        Note::new(&log, &visitor, "reload").send("done");
        let lines = memory.take();
        assert!(lines[0].len() < 3 * TOLD && lines[0].contains('…'), "{}", lines[0]);
        assert_eq!(lines[1], "event=control-command by=127.0.0.1:1 command=reload outcome=done");
    }
}
