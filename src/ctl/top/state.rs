// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `top` shows and how keys change it. Pure: it is told what happened and answers what is to be done.

use super::keys::Key;
use crate::args::Subject;
use crate::client::Trouble;
use crate::connections::Page;
use crate::line::{Line, Tone};
use crate::show;
use crate::status;
use crate::table::Table;
use tunnel::control::model::{Failure, Snapshot};

/// The screens, under the keys 1, 2 …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Status,
    Traffic,
    Tls,
    Servers,
    Connections,
    Listeners,
    Workers,
    Errors,
}

pub(crate) const VIEWS: [(View, &str); 8] = [
    (View::Status, "status"),
    (View::Traffic, "traffic"),
    (View::Tls, "TLS"),
    (View::Servers, "servers"),
    (View::Connections, "connections"),
    (View::Listeners, "listeners"),
    (View::Workers, "workers"),
    (View::Errors, "errors"),
];

/// What is fetched beside the snapshot, since it is much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) connections: bool,
    pub(crate) errors: bool,
}

/// One look at the daemon.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) snapshot: Snapshot,
    pub(crate) page: Option<Page>,
    pub(crate) errors: Option<Vec<Failure>>,
}

/// What is to be done about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    None,
    Quit,
    Suspend,
    /// Draw everything anew: something else wrote on the terminal.
    Redraw,
    /// Fetch at once.
    Look,
    Kill(u64),
}

/// How one screen is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sight {
    /// By which column, and whether the other way around; none: as it comes.
    sort: Option<(usize, bool)>,
    /// Rows above what is seen.
    top: usize,
    /// The chosen row, of tables.
    chosen: usize,
}

/// What is asked of whoever sits there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    /// The words of the filter, before they were changed.
    Filter(String),
    Kill(u64, String),
}

/// What is on the screen.
#[derive(Debug)]
pub(crate) struct State {
    read_only: bool,
    view: usize,
    sights: [Sight; VIEWS.len()],
    filter: String,
    prompt: Prompt,
    pub(crate) seen: Option<Seen>,
    /// Why there is nothing newer.
    pub(crate) trouble: Option<String>,
    message: Option<Line>,
    /// The chosen row of connections, which stays chosen when others come and go.
    chosen_id: Option<u64>,
    help: bool,
}

/// What the middle of the screen shows.
#[derive(Debug)]
pub(crate) struct Body {
    /// Stays where it is.
    pub(crate) head: Vec<Line>,
    pub(crate) lines: Vec<Line>,
    /// The chosen of the lines.
    pub(crate) chosen: Option<usize>,
}

impl State {
    pub(crate) fn new(read_only: bool) -> Self {
        Self {
            read_only,
            view: 0,
            sights: [Sight::default(); VIEWS.len()],
            filter: String::new(),
            prompt: Prompt::None,
            seen: None,
            trouble: None,
            message: None,
            chosen_id: None,
            help: false,
        }
    }

    pub(crate) fn view(&self) -> View {
        VIEWS[self.view].0
    }

    pub(crate) fn wants(&self) -> Wants {
        Wants { connections: self.view() == View::Connections, errors: self.view() == View::Errors }
    }

    /// A look at the daemon came to this.
    pub(crate) fn looked(&mut self, outcome: Result<Box<Seen>, Trouble>) {
        match outcome {
            Ok(mut seen) => {
                // What was not fetched this time is shown as it was, not as nothing.
                if let Some(before) = self.seen.take() {
                    seen.page = seen.page.or(before.page);
                    seen.errors = seen.errors.or(before.errors);
                }
                self.seen = Some(*seen);
                self.trouble = None;
            }
            Err(trouble) => {
                let mark = if trouble.may_pass() { "reconnecting: " } else { "" };
                self.trouble = Some(format!("{mark}{trouble}"));
            }
        }
    }

    /// An attempt to end a connection came to this.
    pub(crate) fn killed(&mut self, id: u64, outcome: Result<(), Trouble>) {
        self.message = Some(match outcome {
            Ok(()) => Line::of(format!("connection {id} is ended"), Tone::Good),
            Err(trouble) => Line::of(trouble.to_string(), Tone::Bad),
        });
    }

    /// A key was pressed; `rows` is what the middle of the screen holds.
    pub(crate) fn press(&mut self, key: Key, rows: usize) -> Action {
        self.message = None;
        match (key, &self.prompt) {
            (Key::Control('c'), _) => return Action::Quit,
            (Key::Control('z'), _) => return Action::Suspend,
            (Key::Control('l'), _) => return Action::Redraw,
            (_, Prompt::Filter(_)) => self.type_filter(key),
            (_, Prompt::Kill(id, _)) => {
                let id = *id;
                self.prompt = Prompt::None;
                if key == Key::Char('y') {
                    return Action::Kill(id);
                }
                self.message = Some(Line::of("nothing was ended", Tone::Faint));
            }
            (_, Prompt::None) => return self.command(key, rows),
        }
        Action::None
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.prompt = Prompt::None,
            Key::Escape => {
                if let Prompt::Filter(before) = std::mem::replace(&mut self.prompt, Prompt::None) {
                    self.filter = before;
                }
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Control('u') => self.filter.clear(),
            Key::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.rewind();
    }

    fn rewind(&mut self) {
        self.sights[self.view].top = 0;
        self.sights[self.view].chosen = 0;
        self.chosen_id = None;
    }

    fn command(&mut self, key: Key, rows: usize) -> Action {
        if std::mem::take(&mut self.help) {
            return Action::None;
        }
        match key {
            Key::Char('q') => return Action::Quit,
            Key::Char('?' | 'h') => self.help = true,
            Key::Char(digit @ '1'..='8') => {
                self.view = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
                return Action::Look;
            }
            Key::Char(' ') => return Action::Look,
            Key::Char('/') => self.prompt = Prompt::Filter(self.filter.clone()),
            Key::Escape => {
                self.filter.clear();
                self.rewind();
            }
            Key::Char('r') => {
                if let Some((_, reverse)) = &mut self.sights[self.view].sort {
                    *reverse = !*reverse;
                }
            }
            Key::Char('>' | 'l') | Key::Right => self.sort_by_next(true),
            Key::Char('<') | Key::Left => self.sort_by_next(false),
            Key::Char('K') => self.ask_to_kill(),
            Key::Down | Key::Char('j') => self.go(1, true),
            Key::Up | Key::Char('k') => self.go(1, false),
            Key::PageDown => self.go(rows.max(1), true),
            Key::PageUp => self.go(rows.max(1), false),
            Key::Home | Key::Char('g') => self.go(usize::MAX, false),
            Key::End | Key::Char('G') => self.go(usize::MAX, true),
            _ => {}
        }
        Action::None
    }

    /// From no column to the first, over the last to none again.
    fn sort_by_next(&mut self, forward: bool) {
        let Some(columns) = self.table().map(|table| table.columns.len()) else { return };
        let sight = &mut self.sights[self.view];
        let next = match (sight.sort, forward) {
            (None, true) => Some(0),
            (None, false) => columns.checked_sub(1),
            (Some((at, _)), true) => Some(at + 1).filter(|next| *next < columns),
            (Some((at, _)), false) => at.checked_sub(1),
        };
        sight.sort = next.map(|at| (at, false));
    }

    fn go(&mut self, by: usize, down: bool) {
        let ids: Option<Vec<u64>> = self.table().map(|table| table.rows.iter().map(|row| row.id).collect());
        let count = ids.as_ref().map_or_else(|| self.text().len(), Vec::len);
        let from = if ids.is_some() { self.chosen() } else { self.sights[self.view].top };
        let to = if down { from.saturating_add(by) } else { from.saturating_sub(by) };
        let to = to.min(count.saturating_sub(1));
        let sight = &mut self.sights[self.view];
        match ids {
            Some(ids) => {
                sight.chosen = to;
                self.chosen_id = ids.get(to).copied().filter(|id| *id > 0);
            }
            None => sight.top = to,
        }
    }

    /// The chosen row of the present table.
    fn chosen(&self) -> usize {
        let Some(table) = self.table() else { return 0 };
        let by_id = self.chosen_id.and_then(|id| table.rows.iter().position(|row| row.id == id));
        by_id.unwrap_or(self.sights[self.view].chosen).min(table.rows.len().saturating_sub(1))
    }

    fn ask_to_kill(&mut self) {
        let refusal = |text: &str| Some(Line::of(text, Tone::Warn));
        if self.read_only {
            self.message = refusal("nothing is ended with -n");
        } else if self.view() != View::Connections {
            self.message = refusal("choose a connection first: key 5");
        } else if let Some(row) = self.table().and_then(|table| table.rows.get(self.chosen()).cloned()) {
            let shown = |at: usize| row.cells.get(at).map_or("", |cell| cell.piece.text()).to_owned();
            self.prompt = Prompt::Kill(row.id, format!("{} from {}", shown(2), shown(3)));
        } else {
            self.message = refusal("there is no connection");
        }
    }

    /// The present screen's table, sorted and filtered; none for those that are text.
    fn table(&self) -> Option<Table> {
        let seen = self.seen.as_ref()?;
        let mut table = match self.view() {
            View::Status | View::Tls => return None,
            View::Traffic => show::table(Subject::Services, &seen.snapshot),
            View::Servers => show::table(Subject::Servers, &seen.snapshot),
            View::Listeners => show::table(Subject::Listeners, &seen.snapshot),
            View::Workers => show::table(Subject::Workers, &seen.snapshot),
            View::Connections => show::connections(seen.page.iter().flat_map(|page| &page.connections)),
            View::Errors => show::errors(seen.errors.as_deref().unwrap_or_default()),
        };
        if !self.filter.is_empty() {
            table.keep(&self.filter);
        }
        if let Some((column, reverse)) = self.sights[self.view].sort {
            table.sort(column, reverse);
        }
        Some(table)
    }

    /// The lines of a screen that is text.
    fn text(&self) -> Vec<Line> {
        let Some(seen) = &self.seen else { return Vec::new() };
        match self.view() {
            View::Status => status::lines(&seen.snapshot),
            View::Tls => {
                let mut lines = status::tls(&seen.snapshot);
                lines.extend([Line::new(), Line::of("Certificates and keys", Tone::Strong)]);
                let mut table = show::table(Subject::Certificates, &seen.snapshot);
                if !self.filter.is_empty() {
                    table.keep(&self.filter);
                }
                lines.extend(table.lines(None));
                lines
            }
            _ => Vec::new(),
        }
    }

    /// What the middle of a screen of `columns` and `rows` shows; scrolls as far as it takes to see what is chosen.
    pub(crate) fn body(&mut self, columns: usize, rows: usize) -> Body {
        if self.help {
            return Body { head: Vec::new(), lines: help(self.read_only), chosen: None };
        }
        let Some(table) = self.table() else {
            let lines = self.text();
            let sight = &mut self.sights[self.view];
            sight.top = sight.top.min(lines.len().saturating_sub(rows));
            return Body {
                head: Vec::new(),
                lines: lines.into_iter().skip(sight.top).take(rows).collect(),
                chosen: None,
            };
        };
        let chosen = self.chosen();
        let sight = &mut self.sights[self.view];
        let room = rows.saturating_sub(1).max(1);
        sight.chosen = chosen;
        sight.top = sight.top.min(table.rows.len().saturating_sub(room)).min(chosen);
        sight.top = sight.top.max((chosen + 1).saturating_sub(room));
        let top = sight.top;
        let mut lines = table.lines(Some(columns)).into_iter();
        let head = lines.next().into_iter().collect();
        let lines: Vec<Line> = lines.skip(top).take(room).collect();
        let chosen = (!lines.is_empty()).then(|| chosen - top);
        Body { head, lines, chosen }
    }

    /// The last line: a question, what came of something, or what the keys do.
    pub(crate) fn footer(&self) -> Line {
        match &self.prompt {
            Prompt::Filter(_) => {
                return Line::of("show rows with: ", Tone::Strong).and(&self.filter).and("▏");
            }
            Prompt::Kill(id, who) => {
                return Line::of(format!("end connection {id} of {who}? (y/n)"), Tone::Warn);
            }
            Prompt::None => {}
        }
        if let Some(message) = &self.message {
            return message.clone();
        }
        let mut line = Line::new();
        if !self.filter.is_empty() {
            line = line.then(format!("only rows with {:?} (Esc: all)  ", self.filter), Tone::Warn);
        }
        let kill = if self.view() == View::Connections && !self.read_only { "K end it  " } else { "" };
        let table = if self.table().is_some() { "←→ sort  r reverse  / filter  " } else { "" };
        line.then(format!("{table}{kill}? help  q quit"), Tone::Faint)
    }

    /// The names of the screens, the present one marked.
    pub(crate) fn tabs(&self) -> Line {
        let mut line = Line::new();
        for (at, (_, name)) in VIEWS.iter().enumerate() {
            let tone = if at == self.view { Tone::Marked } else { Tone::Faint };
            line = line.then(format!("{} {name}", at + 1), tone).and("  ");
        }
        line
    }
}

fn help(read_only: bool) -> Vec<Line> {
    let keys = [
        ("1 … 8", "the screens"),
        ("↑ ↓ PgUp PgDn Home End", "move; also k, j, g, G"),
        ("← →", "sort by the column before, after; over the ends: unsorted"),
        ("r", "reverse the order"),
        ("/", "show only rows with some text; Esc shows all again"),
        ("Space", "look now"),
        ("K", if read_only { "not with -n" } else { "end the chosen connection, after a question" }),
        ("Ctrl-L", "draw everything anew"),
        ("q", "quit"),
    ];
    let lines = keys.map(|(key, does)| Line::of(format!("  {key:<24}"), Tone::Strong).and(does));
    [Line::of("Keys", Tone::Strong), Line::new()].into_iter().chain(lines).collect()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
