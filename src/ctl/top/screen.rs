// SPDX-License-Identifier: MIT OR Apache-2.0
//! The terminal as ratatui draws on it: the sequences of ECMA-48 that every terminal of today understands.
//!
//! Invariants: what was entered is left, by [`Screen`]'s destructor and by the hook of panics alike; only drawing writes.
//! Ratatui's own back ends are not used: each brings an event loop along. Not here: keys, what is drawn.

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use std::io::{self, Write};
use tunnel::sys::terminal;

/// The alternate screen, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
/// Plain text, the cursor, the screen that was there before.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// What a terminal that does not know its size is taken for.
const UNKNOWN: (u16, u16) = (80, 24);

/// A terminal that is all ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Screen(());

impl Screen {
    /// Takes the terminal, and sees to it that a panic, too, gives it back before it is told.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn enter() -> io::Result<Self> {
        enter()?;
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            told(panic);
        }));
        Ok(Self(()))
    }

    /// Gives the terminal back, stops, and takes it again when the shell says so.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        leave();
        terminal::suspend();
        enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    terminal::enter()?;
    write(ENTER)
}

fn leave() {
    let _it_may_be_gone = write(LEAVE);
    terminal::leave();
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What is drawn, until it is flushed.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    pending: Vec<u8>,
    /// Without, only weight and inversion tell things apart.
    colours: bool,
}

impl Canvas {
    pub(crate) fn new(colours: bool) -> Self {
        Self { pending: Vec::new(), colours }
    }

    fn put(&mut self, text: &str) {
        self.pending.extend_from_slice(text.as_bytes());
    }

    fn go(&mut self, x: u16, y: u16) {
        // Counted from one, the row first (CUP).
        self.put(&format!("\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1));
    }
}

impl Backend for Canvas {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut style = None;
        let mut last: Option<(u16, u16)> = None;
        for (x, y, cell) in content {
            let before = x.checked_sub(1).map(|before| (before, y));
            if before.is_none() || last != before {
                self.go(x, y);
            }
            // A cell of two columns leaves the cursor where it is told anew.
            last = Some((x, y));
            let wanted = (cell.fg, cell.modifier);
            if style != Some(wanted) {
                let parameters = parameters(cell.fg, cell.modifier, self.colours);
                self.put(&format!("\x1b[{parameters}m"));
                style = Some(wanted);
            }
            self.put(cell.symbol());
        }
        self.put("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Only drawing below a prompt asks for it.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        self.go(position.x, position.y);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.put(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = terminal::size().unwrap_or(UNKNOWN);
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&self.pending)?;
        self.pending.clear();
        out.flush()
    }
}

/// The parameters of SGR (ECMA-48 8.3.117), from plain on.
fn parameters(colour: Color, modifier: Modifier, colours: bool) -> String {
    let mut text = "0".to_owned();
    for (one, parameter) in [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::UNDERLINED, ";4"),
        (Modifier::REVERSED, ";7"),
    ] {
        if modifier.contains(one) {
            text.push_str(parameter);
        }
    }
    if colours {
        // The tones there are; everything else is the terminal's own colour.
        text.push_str(match colour {
            Color::Red => ";31",
            Color::Green => ";32",
            Color::Yellow => ";33",
            _ => "",
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(cells: &[(u16, u16, Cell)], colours: bool) -> String {
        let mut canvas = Canvas::new(colours);
        canvas.draw(cells.iter().map(|(x, y, cell)| (*x, *y, cell))).unwrap();
        String::from_utf8(canvas.pending).unwrap()
    }

    fn cell(symbol: &'static str, colour: Color) -> Cell {
        let mut cell = Cell::new(symbol);
        cell.fg = colour;
        cell
    }

    #[test]
    fn neighbours_need_no_movement_and_equals_no_style() {
        let cells = [
            (0, 0, cell("a", Color::Red)),
            (1, 0, cell("b", Color::Red)),
            (0, 1, cell("c", Color::Reset)),
            (5, 1, cell("d", Color::Reset)),
        ];
        assert_eq!(drawn(&cells, true), "\x1b[1;1H\x1b[0;31mab\x1b[2;1H\x1b[0mc\x1b[2;6Hd\x1b[0m");
        assert!(!drawn(&cells, false).contains("31"));
    }

    #[test]
    fn the_last_column_does_not_run_into_the_next_row() {
        let cells = [(u16::MAX, 0, cell("a", Color::Reset)), (0, 1, cell("b", Color::Reset))];
        assert_eq!(drawn(&cells, true), "\x1b[1;65536H\x1b[0ma\x1b[2;1Hb\x1b[0m");
    }
}
