// SPDX-License-Identifier: MIT OR Apache-2.0
//! Standard output, and how it is written to: with colours and cut to the width on a terminal, whole and plain elsewhere.

use crate::client::Trouble;
use crate::line::{Line, Look};
use crate::table::Table;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use tunnel::sys::terminal;

/// Where answers go.
pub(crate) struct Output {
    to: Box<dyn Write>,
    look: Look,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("look", &self.look).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output; no colours with a NO_COLOR that is not empty (no-color.org) or on a terminal that has none.
    pub(crate) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let colours =
            terminal && set("NO_COLOR").is_none() && set("TERM").as_deref() != Some(OsStr::new("dumb"));
        let columns = if terminal { terminal::size().map(|(columns, _)| usize::from(columns)) } else { None };
        Self { to: Box::new(BufWriter::new(io::stdout())), look: Look { colours, columns } }
    }

    /// Elsewhere, as it would be to a file.
    #[cfg(test)]
    pub(crate) fn plain(to: impl Write + 'static) -> Self {
        Self { to: Box::new(to), look: Look::default() }
    }

    pub(crate) fn lines(&mut self, lines: &[Line]) -> Result<(), Trouble> {
        let mut text = String::new();
        lines.iter().for_each(|line| line.write(self.look, &mut text));
        self.to.write_all(text.as_bytes()).map_err(Trouble::Output)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Trouble> {
        self.lines(&table.lines(self.look.columns))
    }

    /// For what is written as it is.
    pub(crate) fn raw(&mut self) -> &mut dyn Write {
        &mut self.to
    }

    pub(crate) fn flush(&mut self) -> Result<(), Trouble> {
        self.to.flush().map_err(Trouble::Output)
    }
}

/// Whether a terminal may be coloured: not with a NO_COLOR that is not empty (no-color.org), and not where it has none.
pub(crate) fn wants_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").as_deref() != Some(OsStr::new("dumb"))
}
