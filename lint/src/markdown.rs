//! Markdown text in; the ranges of its fenced `sql` blocks out.

use std::ops::Range;

/// The contents of every fenced block whose language is `sql`.
#[must_use]
pub fn sql_blocks(text: &str) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut open: Option<Fence> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        match (&open, Fence::of_line(line)) {
            (None, Some(fence)) => open = Some(Fence { content: at, ..fence }),
            (Some(fence), Some(other)) if fence.closed_by(&other, line) => {
                blocks.extend(fence.is_sql.then_some(fence.content..start));
                open = None;
            }
            _ => {}
        }
    }
    // A block that is never closed runs to the end of the text.
    blocks.extend(open.filter(|fence| fence.is_sql).map(|fence| fence.content..text.len()));
    blocks
}

struct Fence {
    mark: char,
    length: usize,
    is_sql: bool,
    content: usize,
}

impl Fence {
    fn of_line(line: &str) -> Option<Self> {
        // Blocks in lists and quotes are indented or marked with '>'.
        let line = line.trim_start_matches([' ', '\t', '>']);
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.len() - line.trim_start_matches(mark).len();
        let info = line[length..].trim();
        let language = info.split([' ', ',', '{', ':']).find(|word| !word.is_empty()).unwrap_or("");
        let is_sql = language.trim_matches(['.', '}']).eq_ignore_ascii_case("sql");
        (length >= 3 && !(mark == '`' && info.contains('`'))).then_some(Self {
            mark,
            length,
            is_sql,
            content: 0,
        })
    }

    fn closed_by(&self, other: &Self, line: &str) -> bool {
        let bare = line.trim().trim_start_matches([' ', '>']).trim_matches(other.mark).is_empty();
        other.mark == self.mark && other.length >= self.length && bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sql_blocks_count_and_inner_fences_do_not_close() {
        let text = "a\n```sql\nA\n```\n```yaml\nB\n```\n~~~~ SQL title\nC\n~~~\nD\n~~~~\n  ```sql\n  E\n";
        let found: Vec<_> = sql_blocks(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["A\n", "C\n~~~\nD\n", "  E\n"]);
    }
}
