//! Byte offsets to lines and columns, and back, in every unit that editors and formats count in.

use rustc_hash::FxHashMap as HashMap;
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

/// What columns count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes of UTF-8.
    Utf8,
    /// Code units of UTF-16.
    Utf16,
    /// Unicode scalar values.
    Utf32,
}

/// A line and a column, both from 0, in an [`Encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// Line, from 0.
    pub line: usize,
    /// Column, from 0.
    pub column: usize,
}

/// A character of more than one byte, and what precedes it in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    /// The first byte of the character in its line.
    start: usize,
    /// Bytes of the character.
    bytes: usize,
    /// By how much the bytes up to the end of the character exceed its UTF-16 units.
    beyond_utf16: usize,
    /// By how much the bytes up to the end of the character exceed its characters.
    beyond_utf32: usize,
}

impl Wide {
    fn beyond(&self, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Utf8 => 0,
            Encoding::Utf16 => self.beyond_utf16,
            Encoding::Utf32 => self.beyond_utf32,
        }
    }
}

/// What some editors put before a text to say that it is Unicode.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The lines of a text, without the text. Lines end with `\n`, `\r\n`, `\r` or the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIndex {
    /// The first byte of each line.
    starts: Vec<usize>,
    /// The first byte behind each line, without what ends it.
    ends: Vec<usize>,
    wide: HashMap<usize, Vec<Wide>>,
}

impl LineIndex {
    /// Finds the lines of `text`. A byte order mark before the first line is no part of it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::from(text, if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 })
    }

    /// Finds the lines of a text that an editor has open. There, a byte order mark is a character like any other.
    #[must_use]
    pub fn of_buffer(text: &str) -> Self {
        Self::from(text, 0)
    }

    /// Finds the lines of `text`, of which the first begins at `first`.
    fn from(text: &str, first: usize) -> Self {
        let bytes = text.as_bytes();
        let (mut starts, mut ends, mut wide) = (vec![first], Vec::new(), HashMap::default());
        for end in memchr::memchr2_iter(b'\n', b'\r', bytes) {
            let is_second = bytes[end] == b'\n' && end > first && bytes[end - 1] == b'\r';
            if is_second {
                // The line has ended at the `\r` before.
                if let Some(start) = starts.last_mut() {
                    *start = end + 1;
                }
                continue;
            }
            ends.push(end.max(first));
            starts.push(end + 1);
        }
        ends.push(text.len().max(first));
        for (line, (start, end)) in starts.iter().zip(&ends).enumerate() {
            let line_text = &text[(*start).min(text.len())..(*end).min(text.len())];
            if !line_text.is_ascii() {
                wide.insert(line, wide_characters(line_text));
            }
        }
        Self { starts, ends, wide }
    }

    /// Returns the place of a byte offset, which must lie on a character's boundary.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let LineColumn { line, column } = self.line_column(offset, Encoding::Utf32);
        Position { line: line + 1, column: column + 1, offset }
    }

    /// Returns the line and column of a byte offset, which must lie on a character's boundary.
    #[must_use]
    pub fn line_column(&self, offset: usize, encoding: Encoding) -> LineColumn {
        let line = self.line(offset);
        let in_line = offset.saturating_sub(self.starts[line]);
        let wide = self.wide.get(&line).map_or(&[][..], Vec::as_slice);
        let before = wide.partition_point(|character| character.start < in_line);
        let beyond = before.checked_sub(1).map_or(0, |last| wide[last].beyond(encoding));
        LineColumn { line, column: in_line - beyond }
    }

    /// Returns the byte offset of a line and column. A column beyond the end of its line means the end, one within a
    /// character its beginning, and a line beyond the last one the end of the text.
    #[must_use]
    pub fn offset(&self, LineColumn { line, column }: LineColumn, encoding: Encoding) -> usize {
        let (Some(start), Some(end)) = (self.starts.get(line), self.ends.get(line)) else {
            return self.ends.last().copied().unwrap_or(0);
        };
        let wide = self.wide.get(&line).map_or(&[][..], Vec::as_slice);
        // The column at which each character ends rises with them.
        let ends_before =
            |character: &Wide| character.start + character.bytes - character.beyond(encoding) <= column;
        let before = wide.partition_point(ends_before);
        let beyond = before.checked_sub(1).map_or(0, |last| wide[last].beyond(encoding));
        let mut in_line = column + beyond;
        if let Some(next) = wide.get(before) {
            // It may lie in the middle of the next one.
            in_line = in_line.min(next.start);
        }
        (start + in_line).min(*end)
    }

    /// Returns the number of lines. A text that ends with the end of a line has an empty one behind it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns the first byte of a line, from 0; beyond the last one the end of the text.
    #[must_use]
    pub fn start(&self, line: usize) -> usize {
        self.starts.get(line).or(self.ends.last()).copied().unwrap_or(0)
    }

    /// Returns where the line of a byte offset begins.
    #[must_use]
    pub fn line_start(&self, offset: usize) -> usize {
        self.starts[self.line(offset)].min(offset)
    }

    /// Returns the line of a byte offset, from 0.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1) - 1
    }
}

fn wide_characters(line: &str) -> Vec<Wide> {
    let (mut beyond_utf16, mut beyond_utf32) = (0, 0);
    let characters = line.char_indices().filter(|(_, character)| !character.is_ascii());
    let wide = characters.map(|(start, character)| {
        let bytes = character.len_utf8();
        beyond_utf16 += bytes - character.len_utf16();
        beyond_utf32 += bytes - 1;
        Wide { start, bytes, beyond_utf16, beyond_utf32 }
    });
    wide.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let lines = LineIndex::new("a\r\nöx\n");
        assert_eq!(lines.position(5), Position { line: 2, column: 2, offset: 5 });
        assert_eq!(lines.position(7), Position { line: 3, column: 1, offset: 7 });
        for (offset, column) in [(3, 1), (6, 3), (5, 2), (3, 1), (6, 3)] {
            assert_eq!(lines.position(offset), Position { line: 2, column, offset });
        }
        assert_eq!((lines.line_start(2), lines.line_start(3), lines.line_start(7)), (0, 3, 7));
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let lines = LineIndex::new("\u{feff}ab\nc");
        assert_eq!(lines.position(3), Position { line: 1, column: 1, offset: 3 });
        assert_eq!(lines.position(4), Position { line: 1, column: 2, offset: 4 });
        assert_eq!(lines.position(0), Position { line: 1, column: 1, offset: 0 });
        assert_eq!(lines.position(6), Position { line: 2, column: 1, offset: 6 });
        assert_eq!((lines.line_start(0), lines.line_start(4), lines.line_start(6)), (0, 3, 6));
        assert_eq!(LineIndex::new("\u{feff}").position(3).column, 1);
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line() {
        let lines = LineIndex::new("a\rb\r\n\nc");
        let starts: Vec<_> = [0, 2, 5, 6].iter().map(|offset| lines.position(*offset).line).collect();
        assert_eq!(starts, [1, 2, 3, 4]);
        assert_eq!(lines.offset(LineColumn { line: 1, column: 9 }, Encoding::Utf16), 3);
    }

    #[test]
    fn columns_are_counted_in_every_encoding() {
        // One unit of UTF-16, two of them, and one byte.
        let text = "é😀x";
        let lines = LineIndex::new(text);
        let columns = |offset| {
            [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32]
                .map(|encoding| lines.line_column(offset, encoding).column)
        };
        assert_eq!([columns(2), columns(6), columns(7)], [[2, 1, 1], [6, 3, 2], [7, 4, 3]]);
        let within = LineColumn { line: 0, column: 2 };
        assert_eq!(lines.offset(within, Encoding::Utf16), 2, "in the middle of a pair");
        assert_eq!(lines.offset(LineColumn { line: 7, column: 0 }, Encoding::Utf16), text.len());
    }

    proptest! {
        #[test]
        fn there_and_back_again(text in "[a\u{e9}\u{20ac}\u{1f600}\r\n]{0,60}") {
            let lines = LineIndex::new(&text);
            for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32] {
                for (offset, character) in text.char_indices() {
                    // What ends a line has no column of its own.
                    if !matches!(character, '\r' | '\n') {
                        prop_assert_eq!(lines.offset(lines.line_column(offset, encoding), encoding), offset);
                    }
                }
            }
        }
    }
}
