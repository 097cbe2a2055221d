// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines to show: pieces of text, each with a tone. What a tone looks like is decided where the line is written.
//!
//! Invariant: the text of a piece is clean (`text.rs`), wherever it came from.

use crate::text::{clean, cut, width};

/// What a piece of text says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// Titles.
    Strong,
    /// The title of the column that rows are sorted by.
    Marked,
    /// What is there for completeness.
    Faint,
    Good,
    Warn,
    Bad,
}

impl Tone {
    /// The parameters of SGR (ECMA-48 8.3.117): the terminal's own palette, which its user has chosen to be readable.
    pub(crate) fn parameters(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Strong => "1",
            Self::Marked => "1;4",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
        }
    }

    /// The tone of a state's word, whatever it is the state of.
    pub(crate) fn of_state(word: &str) -> Self {
        match word {
            "up" | "serving" | "accepting" | "ready" | "yes" => Self::Good,
            "draining" | "drain" | "paused" | "maint" | "removed" | "stopping" | "warning" => Self::Warn,
            "down" | "closed" | "gone" | "error" | "no" => Self::Bad,
            "unchecked" | "asleep" => Self::Faint,
            _ => Self::Plain,
        }
    }
}

/// Some text in one tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    text: String,
    tone: Tone,
}

impl Piece {
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: clean(text.as_ref()), tone }
    }

    pub(crate) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// A word in the tone of the state it names.
    pub(crate) fn state(word: &str) -> Self {
        Self::new(word, Tone::of_state(word))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tone(&self) -> Tone {
        self.tone
    }

    pub(crate) fn width(&self) -> usize {
        width(&self.text)
    }

    /// As [`cut`].
    #[must_use]
    pub(crate) fn cut(&self, columns: usize) -> Self {
        Self { text: cut(&self.text, columns), tone: self.tone }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pieces: Vec<Piece>,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line in one tone.
    pub(crate) fn of(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { pieces: vec![Piece::new(text, tone)] }
    }

    #[must_use]
    pub(crate) fn then(mut self, text: impl AsRef<str>, tone: Tone) -> Self {
        self.push(Piece::new(text, tone));
        self
    }

    #[must_use]
    pub(crate) fn and(self, text: impl AsRef<str>) -> Self {
        self.then(text, Tone::Plain)
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text alone, as where there are no colours.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.pieces.iter().map(Piece::text).collect()
    }

    /// Appends the line with its end to `out`: with colours or without, at most `columns` wide if there is such a limit.
    pub(crate) fn write(&self, look: Look, out: &mut String) {
        let mut room = look.columns.unwrap_or(usize::MAX);
        let start = out.len();
        for piece in &self.pieces {
            let piece = piece.cut(room);
            room -= piece.width();
            if look.colours && piece.tone != Tone::Plain && !piece.text.is_empty() {
                out.push_str("\x1b[");
                out.push_str(piece.tone.parameters());
                out.push('m');
                out.push_str(&piece.text);
                out.push_str("\x1b[0m");
            } else {
                out.push_str(&piece.text);
            }
        }
        // Blanks at the end are of no use to anybody, and wrap.
        let end = out.trim_end_matches(' ').len().max(start);
        out.truncate(end);
        out.push('\n');
    }
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colours: bool,
    /// The width of the terminal; none where there is none.
    pub(crate) columns: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &Line, colours: bool, columns: Option<usize>) -> String {
        let mut out = String::new();
        line.write(Look { colours, columns }, &mut out);
        out
    }

    #[test]
    fn colours_surround_a_piece_and_nothing_else() {
        let line = Line::of("up", Tone::Good).and(" since ").then("noon ", Tone::Plain);
        assert_eq!(written(&line, false, None), "up since noon\n");
        assert_eq!(written(&line, true, None), "\x1b[32mup\x1b[0m since noon\n");
        assert_eq!(written(&line, true, Some(6)), "\x1b[32mup\x1b[0m si…\n");
        assert_eq!(written(&Line::new(), true, Some(0)), "\n");
    }

    #[test]
    fn what_peers_say_is_text() {
        let line = Line::of("\x1b[31m", Tone::Plain).and("\nx");
        assert_eq!(written(&line, false, None), "�[31m�x\n");
    }
}
