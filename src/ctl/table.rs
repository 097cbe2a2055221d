// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables: rows of cells under titles, sorted, filtered and laid out for a width. What is in them is not known here.

use crate::line::{Line, Piece, Tone};
use std::cmp::Ordering;

/// Between two columns.
const GAP: &str = "  ";

/// A column of text is not made narrower than this when the room is short.
const NARROWEST: usize = 8;

/// A title and how its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Numbers stand to the right, and are never cut.
    pub(crate) right: bool,
}

/// A column of text.
pub(crate) const fn text(title: &'static str) -> Column {
    Column { title, right: false }
}

/// A column of numbers.
pub(crate) const fn number(title: &'static str) -> Column {
    Column { title, right: true }
}

/// What is shown, and what it counts for when rows are sorted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) piece: Piece,
    /// None: the text itself.
    rank: Option<f64>,
}

impl Cell {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self { piece: Piece::plain(text), rank: None }
    }

    /// A word in the tone of the state it names.
    pub(crate) fn state(word: &str) -> Self {
        Self { piece: Piece::state(word), rank: None }
    }

    /// `number` as it is shown, in sort order of the number itself.
    pub(crate) fn number(number: f64, shown: impl AsRef<str>) -> Self {
        Self { piece: Piece::plain(shown), rank: Some(number) }
    }

    #[must_use]
    pub(crate) fn toned(self, tone: Tone) -> Self {
        Self { piece: Piece::new(self.piece.text(), tone), rank: self.rank }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.rank, other.rank) {
            // Most first: that is what people look for in numbers.
            (Some(a), Some(b)) => b.total_cmp(&a),
            _ => self.piece.text().cmp(other.piece.text()),
        }
    }
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    /// What the row stands for, where that matters: the number of a connection.
    pub(crate) id: u64,
}

/// Rows under titles.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// The column the rows were sorted by.
    sorted: Option<usize>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), sorted: None }
    }

    pub(crate) fn push(&mut self, id: u64, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a row with other columns");
        self.rows.push(Row { cells, id });
    }

    /// The column that `title` names, by its title or the beginning of it.
    pub(crate) fn column(&self, title: &str) -> Option<usize> {
        let wanted = title.to_ascii_uppercase();
        let exact = self.columns.iter().position(|column| column.title == wanted);
        let begins = || self.columns.iter().position(|column| column.title.starts_with(&wanted));
        exact.or_else(|| if wanted.is_empty() { None } else { begins() })
    }

    /// Sorts by a column: texts upwards, numbers downwards, or the other way around; equal rows keep their order.
    pub(crate) fn sort(&mut self, column: usize, reverse: bool) {
        self.sorted = Some(column);
        self.rows.sort_by(|a, b| {
            let order = match (a.cells.get(column), b.cells.get(column)) {
                (Some(a), Some(b)) => a.compare(b),
                _ => Ordering::Equal,
            };
            if reverse { order.reverse() } else { order }
        });
    }

    /// Keeps the rows of which a cell contains `words`, whatever its case.
    pub(crate) fn keep(&mut self, words: &str) {
        let words = words.to_lowercase();
        self.rows
            .retain(|row| row.cells.iter().any(|cell| cell.piece.text().to_lowercase().contains(&words)));
    }

    /// The title line and the rows. With a width, columns of text give way first, the widest of them most.
    pub(crate) fn lines(&self, columns: Option<usize>) -> Vec<Line> {
        let widths = self.widths(columns);
        let titles: Vec<Piece> =
            self.columns.iter().enumerate().map(|(at, column)| self.title(at, column)).collect();
        let head = self.line(titles.iter(), &widths);
        let rows = self.rows.iter().map(|row| self.line(row.cells.iter().map(|cell| &cell.piece), &widths));
        std::iter::once(head).chain(rows).collect()
    }

    fn title(&self, at: usize, column: &Column) -> Piece {
        Piece::new(column.title, if self.sorted == Some(at) { Tone::Marked } else { Tone::Strong })
    }

    fn line<'p>(&self, pieces: impl Iterator<Item = &'p Piece>, widths: &[usize]) -> Line {
        let mut line = Line::new();
        for ((at, piece), (column, width)) in pieces.enumerate().zip(self.columns.iter().zip(widths)) {
            if at > 0 {
                line.push(Piece::plain(GAP));
            }
            let piece = if column.right { piece.clone() } else { piece.cut(*width) };
            let blanks = Piece::plain(" ".repeat(width.saturating_sub(piece.width())));
            let (first, second) = if column.right { (blanks, piece) } else { (piece, blanks) };
            line.push(first);
            line.push(second);
        }
        line
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let widest = |at: usize| {
            self.rows.iter().filter_map(move |row| row.cells.get(at)).map(|cell| cell.piece.width())
        };
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| widest(at).max().unwrap_or(0).max(column.title.len()))
            .collect();
        let Some(limit) = limit else { return widths };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(limit);
        while excess > 0 {
            let yielding = widths.iter_mut().zip(&self.columns).filter(|(_, column)| !column.right);
            let Some((width, _)) =
                yielding.max_by_key(|(width, _)| **width).filter(|(width, _)| **width > NARROWEST)
            else {
                break;
            };
            *width -= 1;
            excess -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[text("NAME"), text("SERVER"), number("ACTIVE")]);
        for (id, name, server, active) in [
            (1, "web", "192.0.2.1:443", 9.0),
            (2, "a-very-long-service-name", "-", 1200.0),
            (3, "Mail", "-", 9.0),
        ] {
            table.push(
                id,
                vec![Cell::text(name), Cell::text(server), Cell::number(active, format!("{active}"))],
            );
        }
        table
    }

    fn texts(table: &Table, columns: Option<usize>) -> Vec<String> {
        table.lines(columns).iter().map(|line| line.text().trim_end().to_owned()).collect()
    }

    #[test]
    fn numbers_stand_to_the_right_and_texts_to_the_left() {
        assert_eq!(
            texts(&sample(), None),
            [
                "NAME                      SERVER         ACTIVE",
                "web                       192.0.2.1:443       9",
                "a-very-long-service-name  -                1200",
                "Mail                      -                   9",
            ]
        );
    }

    #[test]
    fn short_of_room_the_widest_text_gives_way_and_numbers_never() {
        let narrow = texts(&sample(), Some(40));
        assert_eq!(narrow[2], "a-very-long-serv…  -                1200");
        let least = texts(&sample(), Some(1));
        assert_eq!(least[2], "a-very-…  -           1200");
        assert_eq!(least[1], "web       192.0.2…       9");
    }

    #[test]
    fn rows_are_sorted_by_what_they_count_for() {
        let order = |column, reverse| {
            let mut table = sample();
            table.sort(column, reverse);
            table.rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(order(2, false), [2, 1, 3]);
        assert_eq!(order(2, true), [1, 3, 2]);
        assert_eq!(order(0, false), [3, 2, 1]);
        assert_eq!(order(7, false), [1, 2, 3], "a column that is not there");
        let table = sample();
        assert_eq!(
            [table.column("active"), table.column("ser"), table.column("x"), table.column("")],
            [Some(2), Some(1), None, None]
        );
    }

    #[test]
    fn a_filter_looks_into_every_cell_whatever_the_case() {
        let left = |words: &str| {
            let mut table = sample();
            table.keep(words);
            table.rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(
            (left("mail"), left("192.0"), left("zebra"), left("")),
            (vec![3], vec![1], vec![], vec![1, 2, 3])
        );
    }

    #[test]
    fn an_empty_table_is_its_titles() {
        assert_eq!(texts(&Table::new(&[text("NAME"), number("N")]), Some(80)), ["NAME  N"]);
    }
}
