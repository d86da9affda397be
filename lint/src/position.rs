//! Byte offsets to lines and columns.

use std::cell::Cell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in Unicode scalar values, from 1.
    pub column: usize,
    /// Offset in bytes, from 0.
    pub offset: usize,
}

/// What some editors put before a text to say that it is Unicode.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where the lines of a text begin.
#[derive(Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The last offset that was asked for and its column: most questions come in order, and a line
    /// may be as long as the text.
    last: Cell<(usize, usize)>,
}

impl<'a> Lines<'a> {
    /// Finds the lines of `text`; they end with `\n`, `\r\n` or the text. A byte order mark before the
    /// first line is no part of it.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let first = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1);
        Self { text, starts: std::iter::once(first).chain(ends).collect(), last: Cell::new((first, 1)) }
    }

    /// The place of a byte offset, which must lie on a character's boundary.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line(offset);
        let start = self.starts[line - 1];
        if offset <= start {
            return Position { line, column: 1, offset };
        }
        let (known, known_column) = self.last.get();
        let (from, column) =
            if (start..=offset).contains(&known) { (known, known_column) } else { (start, 1) };
        let between = &self.text[from..offset];
        crate::steps::add(between.len());
        let column = column + between.chars().count();
        self.last.set((offset, column));
        Position { line, column, offset }
    }

    /// Where the line of a byte offset begins.
    #[must_use]
    pub fn line_start(&self, offset: usize) -> usize {
        self.starts[self.line(offset) - 1].min(offset)
    }

    /// The line of a byte offset, from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let lines = Lines::new("a\r\nöx\n");
        assert_eq!(lines.position(5), Position { line: 2, column: 2, offset: 5 });
        assert_eq!(lines.position(7), Position { line: 3, column: 1, offset: 7 });
        for (offset, column) in [(3, 1), (6, 3), (5, 2), (3, 1), (6, 3)] {
            assert_eq!(lines.position(offset), Position { line: 2, column, offset });
        }
        assert_eq!((lines.line_start(2), lines.line_start(3), lines.line_start(7)), (0, 3, 7));
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let lines = Lines::new("\u{feff}ab\nc");
        assert_eq!(lines.position(3), Position { line: 1, column: 1, offset: 3 });
        assert_eq!(lines.position(4), Position { line: 1, column: 2, offset: 4 });
        assert_eq!(lines.position(0), Position { line: 1, column: 1, offset: 0 });
        assert_eq!(lines.position(6), Position { line: 2, column: 1, offset: 6 });
        assert_eq!((lines.line_start(0), lines.line_start(4), lines.line_start(6)), (0, 3, 6));
        assert_eq!(Lines::new("\u{feff}").position(3).column, 1);
    }
}
