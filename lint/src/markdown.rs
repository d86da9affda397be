//! Markdown text in; the ranges of its fenced `sql` and `yaml` blocks out.
//!
//! Knows as much of `CommonMark` as decides what is a fenced block: quotes, list items, indented code.

use std::borrow::Cow;
use std::ops::Range;

use crate::language::Language;

/// The contents of every fenced block of SQL (`sql`, `ksql`, `hql`), YAML (`yaml`, `yml`) or JSON (`json`, `jsonc`).
#[must_use]
pub fn blocks(text: &str) -> Vec<(Language, Range<usize>)> {
    let mut blocks = Vec::new();
    each_piece(text, |piece| {
        if let Piece::Block(Some(language), content) = piece {
            blocks.push((language, content));
        }
    });
    blocks
}

/// A part of a Markdown text.
enum Piece<'a> {
    /// A fenced block: its language, if it is one of ours, and its content.
    Block(Option<Language>, Range<usize>),
    /// A line outside of all blocks, behind the marks of quotes and lists: its first byte, and itself.
    Line(usize, &'a str),
}

fn each_piece<'a>(text: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let mut open: Option<Fence> = None;
    let mut lists = Lists::default();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let quote = Quote::of(line);
        if let Some(fence) = &open {
            // Where its quote ends a block ends, too.
            let is_left = quote.depth < fence.depth;
            let is_closed = quote.depth == fence.depth && fence.closed_by(quote.rest);
            if is_left || is_closed {
                each(Piece::Block(fence.language, fence.content..start));
                open = None;
            }
            if !is_left {
                continue;
            }
        }
        let Some(content) = lists.content(&quote) else { continue };
        open = Fence::opened_by(content, quote.depth, at);
        each(Piece::Line(at - content.len(), content));
    }
    // A block that is never closed runs to the end of the text.
    if let Some(fence) = open {
        each(Piece::Block(fence.language, fence.content..text.len()));
    }
}

/// The text with the marks of quotes blanked out in `blocks`, every byte in its place.
#[must_use]
pub fn without_quotes<'a>(text: &'a str, blocks: &[(Language, Range<usize>)]) -> Cow<'a, str> {
    let is_quoted = |range: &Range<usize>| text[range.clone()].lines().any(|line| Quote::of(line).depth > 0);
    if !blocks.iter().any(|(_, range)| is_quoted(range)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for (_, range) in blocks {
        clean.push_str(&text[clean.len()..range.start]);
        // The first line's marks are those of the block; more of them are its content.
        let depth = Quote::of(&text[range.clone()]).depth;
        for line in text[range.clone()].split_inclusive('\n') {
            let quote = Quote::up_to(line, depth);
            clean.extend(std::iter::repeat_n(' ', line.len() - quote.rest.len()));
            clean.push_str(quote.rest);
        }
    }
    clean.push_str(&text[clean.len()..]);
    Cow::Owned(clean)
}

/// The comments outside of all fenced blocks that begin a line and end in it.
#[must_use]
pub fn comments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    each_piece(text, |piece| {
        if let Piece::Line(at, line) = piece
            && line.starts_with("<!--")
            && let Some(end) = line.find("-->")
        {
            found.push(at..at + end + "-->".len());
        }
    });
    found
}

/// A line behind its quote marks.
struct Quote<'a> {
    depth: usize,
    rest: &'a str,
}

impl<'a> Quote<'a> {
    fn of(line: &'a str) -> Self {
        Self::up_to(line, usize::MAX)
    }

    fn up_to(line: &'a str, most: usize) -> Self {
        let mut quote = Self { depth: 0, rest: line };
        while quote.depth < most {
            let Some(rest) = quote.rest.trim_start_matches([' ', '\t']).strip_prefix('>') else { break };
            quote = Self { depth: quote.depth + 1, rest };
        }
        quote
    }
}

/// The list items that are open, by the column at which each one's content begins.
#[derive(Default)]
struct Lists(Vec<usize>);

impl Lists {
    /// What a line says within its list items; none where it is indented code.
    fn content<'a>(&mut self, quote: &Quote<'a>) -> Option<&'a str> {
        // One blank behind a quote mark belongs to the mark.
        let line =
            if quote.depth > 0 { quote.rest.strip_prefix(' ').unwrap_or(quote.rest) } else { quote.rest };
        let mut rest = line.trim_start_matches([' ', '\t']);
        if rest.trim().is_empty() {
            return None;
        }
        let mut column = columns(&line[..line.len() - rest.len()]);
        self.0.retain(|content| *content <= column);
        while let Some(behind) = behind_marker(rest).filter(|_| column < self.inner() + 4) {
            column += columns(&rest[..rest.len() - behind.len()]);
            rest = behind;
            self.0.push(column);
        }
        (column < self.inner() + 4).then_some(rest)
    }

    fn inner(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }
}

fn columns(blank: &str) -> usize {
    const TAB: usize = 4;
    blank.chars().fold(0, |column, c| if c == '\t' { (column / TAB + 1) * TAB } else { column + 1 })
}

/// What stands behind `- `, `* `, `+ `, `1. ` or `1) `.
fn behind_marker(line: &str) -> Option<&str> {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let marked = if digits.len() < line.len() && line.len() - digits.len() < 10 {
        digits.strip_prefix(['.', ')'])?
    } else {
        line.strip_prefix(['-', '*', '+'])?
    };
    let behind = marked.trim_start_matches([' ', '\t']);
    (behind.len() < marked.len() && !behind.trim().is_empty()).then_some(behind)
}

struct Fence {
    mark: char,
    length: usize,
    depth: usize,
    language: Option<Language>,
    content: usize,
}

impl Fence {
    fn opened_by(line: &str, depth: usize, content: usize) -> Option<Self> {
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.len() - line.trim_start_matches(mark).len();
        let info = line[length..].trim();
        let word = info.split([' ', ',', '{', ':']).find(|word| !word.is_empty()).unwrap_or("");
        let language = match word.trim_matches(['.', '}']).to_ascii_lowercase().as_str() {
            "sql" | "ksql" | "hql" => Some(Language::Sql),
            "yaml" | "yml" | "json" | "jsonc" => Some(Language::Yaml),
            _ => None,
        };
        let is_fence = length >= 3 && !(mark == '`' && info.contains('`'));
        is_fence.then_some(Self { mark, length, depth, language, content })
    }

    fn closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.length && line.trim_matches(self.mark).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Language, &str)> {
        blocks(text).into_iter().map(|(language, range)| (language, &text[range])).collect()
    }

    const SQL: Language = Language::Sql;
    const YAML: Language = Language::Yaml;

    #[test]
    fn only_blocks_of_our_languages_count_and_inner_fences_do_not_close() {
        let text = "a\n```sql\nA\n```\n```yaml\nB\n```\n```toml\nT\n```\n~~~~ SQL title\nC\n~~~\nD\n~~~~\n  ```yml\n  E\n";
        assert_eq!(found(text), [(SQL, "A\n"), (YAML, "B\n"), (SQL, "C\n~~~\nD\n"), (YAML, "  E\n")]);
    }

    #[test]
    fn a_quote_ends_its_block_and_is_content_of_others() {
        assert_eq!(found("> ```sql\n> A\n\nB\n"), [(SQL, "> A\n")]);
        assert_eq!(found("```text\n> ```\n> ```sql\nA\n```\n```sql\nB\n```\n"), [(SQL, "B\n")]);
    }

    #[test]
    fn lists_hold_blocks_and_indented_code_does_not() {
        assert_eq!(
            found("- ```sql\n  A\n  ```\n2. x\n\n   ```yaml\n   B\n   ```\n"),
            [(SQL, "  A\n"), (YAML, "   B\n")]
        );
        assert_eq!(found("x\n\n    ```sql\n    A\n    ```\n"), []);
    }

    #[test]
    fn quote_marks_are_blanked_in_place() {
        let text = "> ```yaml\n> a:\n>   b: \">\"\n> ```\n";
        let clean = without_quotes(text, &blocks(text));
        assert_eq!(clean, "> ```yaml\n  a:\n    b: \">\"\n> ```\n");
    }
}
