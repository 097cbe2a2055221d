// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of the control socket: HAProxy's, so that what speaks to its socket speaks to ours, and our own.
//! tunnel-control(7) describes all of them.
//!
//! One line is some commands; without `prompt` the reader goes after it. Every answer ends with an empty line (or with a
//! prompt), as HAProxy's do. What is changed is logged, what is read is not. What there is (`table.rs`) is one table; what a
//! command does with its words is in the file of its topic: each takes a `Call` and gives a `Done`.

mod changes;
mod columns;
mod connections;
mod field;
mod info;
mod json;
mod line;
mod session;
mod shown;
mod stat;
mod table;
mod text;

use self::connections::Framed;
use self::line::Front;
use super::answer::{Answer, Format, List, Request, Talk, Then, Visitor, Wording};
use super::listing::Cursor;
use super::note::Note;
use super::order::Order;
use super::state::State;
use crate::connection::view::Wanted;
use crate::connection::walk::Act;
use crate::policy::access::Level;
use std::collections::VecDeque;
use std::time::Duration;

pub use self::table::commands;

/// How long a reader may be silent between commands, unless it says otherwise: as HAProxy's `stats timeout`.
const PATIENCE: Duration = Duration::from_secs(10);

/// One reader's talk.
#[derive(Debug)]
pub struct Commands {
    settings: Settings,
    /// Commands of the line that was read, which are yet to be answered.
    queue: VecDeque<Vec<String>>,
}

/// What a reader says of itself, for as long as it stays.
#[derive(Debug)]
struct Settings {
    /// `prompt` was said: it stays.
    interactive: bool,
    patience: Duration,
    /// `user` or `operator` was said: it may do no more than that.
    ceiling: Level,
}

/// A command, being answered.
struct Call<'a> {
    /// What stands after the command's own words.
    words: &'a [String],
    /// What its visitor may do now.
    level: Level,
    settings: &'a mut Settings,
    state: &'a mut State,
    /// The command as written, if it changes something.
    note: Option<Note>,
}

/// What a command comes to.
#[derive(Debug)]
enum Done {
    /// This, and nothing more is known of it.
    Text(String),
    /// It was done, and there is nothing to say.
    Silent,
    /// It cannot be done, for that reason: a sentence.
    Refused(String),
    /// Connections.
    List(Box<Told>),
    /// Main does it.
    Order(Order),
    /// The reader goes.
    Quit,
}

/// Connections to tell, all that is known but how the answer ends.
#[derive(Debug)]
struct Told {
    wanted: Wanted,
    from: Option<Cursor>,
    most: usize,
    act: Act,
    format: Box<dyn Format>,
}

impl Default for Commands {
    fn default() -> Self {
        let settings = Settings { interactive: false, patience: PATIENCE, ceiling: Level::Admin };
        Self { settings, queue: VecDeque::new() }
    }
}

impl Commands {
    /// What stands behind every answer.
    fn ending(&self) -> &'static str {
        if self.settings.interactive { "\n> " } else { "\n" }
    }

    fn then(&self) -> Then {
        if self.settings.interactive || !self.queue.is_empty() { Then::Keep } else { Then::Close }
    }

    fn whole(&self, mut text: String) -> Request {
        text.push_str(self.ending());
        Request::Answer(Answer::Whole(text.into_bytes(), self.then()))
    }

    /// Answers one command.
    fn answer(&mut self, words: &[String], visitor: &Visitor, state: &mut State) -> Request {
        let Some(command) = table::find(words) else {
            return self.whole(table::unknown(words));
        };
        let level = visitor.level.min(self.settings.ceiling);
        let log = &state.sources.log;
        let note = (command.level > Level::Read).then(|| Note::new(log, visitor, &words.join(" ")));
        if level < command.level {
            if let Some(note) = note {
                note.deny("permission denied");
            }
            return self.whole("Permission denied\n".to_owned());
        }
        let rest = words.get(command.words.split(' ').count()..).unwrap_or_default();
        let settings = &mut self.settings;
        let mut call = Call { words: rest, level, settings, state, note };
        let done = (command.run)(&mut call);
        let note = call.note;
        self.put(done, note)
    }

    /// Makes an answer of what a command came to.
    fn put(&mut self, done: Done, note: Option<Note>) -> Request {
        let tell = |note: Option<Note>, outcome: &str| {
            if let Some(note) = note {
                note.send(outcome);
            }
        };
        match done {
            Done::Text(text) => {
                tell(note, "done");
                self.whole(text)
            }
            Done::Silent => {
                tell(note, "done");
                self.whole(String::new())
            }
            Done::Refused(why) => {
                tell(note, &why);
                self.whole(why + "\n")
            }
            Done::List(told) => {
                let Told { wanted, from, most, act, format } = *told;
                let format = Box::new(Framed { format, ending: self.ending(), note });
                let list = List { wanted, from, most, act, format, then: self.then() };
                Request::Answer(Answer::List(Box::new(list)))
            }
            Done::Order(order) => {
                let ending = self.ending();
                let wording = Wording(Box::new(move |outcome| {
                    let (Ok(text) | Err(text)) = &outcome;
                    tell(note, if outcome.is_ok() { "done" } else { text });
                    let mark = if outcome.is_ok() { "" } else { "error: " };
                    let lines: String =
                        text.lines().map(|line| format!("{mark}{}\n", text::plain(line))).collect();
                    (lines + ending).into_bytes()
                }));
                Request::Answer(Answer::Order(order, wording, self.then()))
            }
            Done::Quit => {
                self.queue.clear();
                Request::End
            }
        }
    }
}

impl Talk for Commands {
    fn request(&mut self, input: &mut Vec<u8>, visitor: &Visitor, state: &mut State) -> Request {
        loop {
            if let Some(words) = self.queue.pop_front() {
                return self.answer(&words, visitor, state);
            }
            let line = match line::take(input) {
                Front::More => return Request::More,
                Front::TooLong => {
                    let text = format!("The line is longer than {} bytes.\n\n", line::LINE);
                    return Request::Answer(Answer::Whole(text.into_bytes(), Then::Close));
                }
                Front::Line(line) => line,
            };
            match line::commands(&line) {
                Ok(commands) if commands.is_empty() => return self.whole(String::new()),
                Ok(commands) => self.queue = commands.into(),
                Err(why) => return self.whole(why + "\n"),
            }
        }
    }

    fn full(&self) -> Vec<u8> {
        b"Too many readers: try again.\n\n".to_vec()
    }

    fn patience(&self) -> Duration {
        self.settings.patience
    }
}
