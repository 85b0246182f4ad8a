//! Text tables whose columns line up.

use std::fmt::Write;

use crate::terminal::one_line;

/// How a column's cells are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Spaces after the cell, for text.
    Left,
    /// Spaces before the cell, for numbers.
    Right,
}

/// Rows of cells under headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    alignments: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with a row of headings.
    pub fn new(columns: [(&str, Align); N]) -> Self {
        Self {
            alignments: columns.map(|(_, align)| align),
            rows: vec![columns.map(|(heading, _)| heading.into())],
        }
    }

    /// Adds a row, which stays one row whatever the cells hold.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| one_line(&cell).into_owned()));
    }

    /// The table as text, two spaces between columns and none at the end of a line.
    pub fn render(&self) -> String {
        let width = |column: usize| {
            // Characters, as `format!` counts a width.
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, align), width) in row.iter().zip(self.alignments).zip(widths) {
                match align {
                    Align::Left => write!(line, "{cell:<width$}  "),
                    Align::Right => write!(line, "{cell:>width$}  "),
                }
                .expect("writing to a String cannot fail");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table =
            Table::new([("NAME", Align::Left), ("BYTES", Align::Right), ("", Align::Left)]);
        table.row(["é".into(), "1".into(), String::new()]);
        table.row(["long\n\x1b".into(), "1,234,567".into(), "x".into()]);
        assert_eq!(
            table.render(),
            "NAME            BYTES\n\
             é                   1\n\
             long\\n\\x1b  1,234,567  x\n"
        );
    }
}
