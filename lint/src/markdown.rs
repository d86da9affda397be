//! Markdown text in; the ranges of its fenced `sql` and `yaml` blocks out.

use std::ops::Range;

use crate::Language;

/// The contents of every fenced block whose language is `sql`, `yaml` or `yml`.
#[must_use]
pub fn blocks(text: &str) -> Vec<(Language, Range<usize>)> {
    let mut blocks = Vec::new();
    let mut open: Option<Fence> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        match (&open, Fence::of_line(line)) {
            (None, Some(fence)) => open = Some(Fence { content: at, ..fence }),
            (Some(fence), Some(other)) if fence.closed_by(&other, line) => {
                blocks.extend(fence.language.map(|language| (language, fence.content..start)));
                open = None;
            }
            _ => {}
        }
    }
    // A block that is never closed runs to the end of the text.
    let rest = open.and_then(|fence| Some((fence.language?, fence.content..text.len())));
    blocks.extend(rest);
    blocks
}

struct Fence {
    mark: char,
    length: usize,
    language: Option<Language>,
    content: usize,
}

impl Fence {
    fn of_line(line: &str) -> Option<Self> {
        // Blocks in lists and quotes are indented or marked with '>'.
        let line = line.trim_start_matches([' ', '\t', '>']);
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.len() - line.trim_start_matches(mark).len();
        let info = line[length..].trim();
        let word = info.split([' ', ',', '{', ':']).find(|word| !word.is_empty()).unwrap_or("");
        let language = match word.trim_matches(['.', '}']).to_ascii_lowercase().as_str() {
            "sql" => Some(Language::Sql),
            "yaml" | "yml" => Some(Language::Yaml),
            _ => None,
        };
        (length >= 3 && !(mark == '`' && info.contains('`'))).then_some(Self {
            mark,
            length,
            language,
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
    fn only_blocks_of_our_languages_count_and_inner_fences_do_not_close() {
        let text = "a\n```sql\nA\n```\n```yaml\nB\n```\n```toml\nT\n```\n~~~~ SQL title\nC\n~~~\nD\n~~~~\n  ```yml\n  E\n";
        let found: Vec<_> =
            blocks(text).into_iter().map(|(language, range)| (language, &text[range])).collect();
        let (sql, yaml) = (Language::Sql, Language::Yaml);
        assert_eq!(found, [(sql, "A\n"), (yaml, "B\n"), (sql, "C\n~~~\nD\n"), (yaml, "  E\n")]);
    }
}
