//! Comments that silence rules: `velo: allow(rule, …) reason`, for a line, a block or the file.
//!
//! `-- velo: allow(rule)` in SQL, `# velo: allow(rule)` in YAML, `<!-- velo: allow(rule) -->` in
//! Markdown. `allow` stands for its own line, or for the next line with text if it stands alone;
//! `allow-block` for the statement, the fenced block or the mapping that follows; `allow-file` for
//! the whole file. What silences nothing is reported.

use rustc_hash::FxHashMap as HashMap;
use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use crate::finding::Finding;
use crate::language::Language;
use crate::lexer::line_comments;
use crate::line_index::LineIndex;
use crate::markdown;
use crate::statements::blocks;
use crate::yaml;

/// Every comment of a text that silences rules.
#[derive(Debug, Default)]
pub struct Suppressions(Vec<Suppression>);

/// A rule that a comment silences.
#[derive(Debug)]
pub(crate) struct Suppression {
    /// The rule's name as written.
    pub rule: String,
    /// Where it is written.
    pub span: Range<usize>,
    /// True if the comment is nearly one that silences a rule.
    pub is_malformed: bool,
    /// What to remove with it; nothing where its comment names other rules, too.
    pub removal: Option<Range<usize>>,
    /// Where the rule is silent.
    reach: Range<usize>,
    used: bool,
}

/// The word that a comment of ours begins with.
const MARK: &str = "velo:";

/// The words that silence rules: for a line, a block and the file.
const WORDS: [&str; 3] = ["allow", "allow-block", "allow-file"];

/// The words of other linters for it.
const WORDS_OF_OTHERS: [&str; 6] = ["disable", "expect", "ignore", "noqa", "off", "suppress"];

/// True if a comment without brackets most probably was to silence a rule. `velo: tuned in May` is only a comment.
fn is_nearly_allow(written: &str) -> bool {
    let word = written.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
    let word = word.to_ascii_lowercase();
    let is_near = |known: &str| strsim::osa_distance(&word, known) <= 2;
    WORDS.iter().any(|known| is_near(known)) || WORDS_OF_OTHERS.iter().any(|known| word.starts_with(known))
}

impl Suppressions {
    /// The comments in `text`, whose statements lie at `statements`.
    #[must_use]
    pub fn of(text: &str, language: Language, statements: &[Range<usize>]) -> Self {
        if memmem::find(text.as_bytes(), MARK.as_bytes()).is_none() {
            return Self::default();
        }
        let blocks = blocks(text, language);
        let clean = match language {
            Language::Markdown => markdown::without_quotes(text, &blocks),
            Language::Sql | Language::Yaml => Cow::Borrowed(text),
        };
        let text = &*clean;
        let own = if language == Language::Markdown { markdown::comments(text) } else { Vec::new() };
        let mut comments: Vec<_> = own.into_iter().map(|comment| (comment, Language::Markdown)).collect();
        for (language, range) in &blocks {
            let found = match language {
                Language::Sql => line_comments(text, range.clone()),
                Language::Yaml | Language::Markdown => yaml::comments(text, range.clone()),
            };
            comments.extend(found.into_iter().map(|comment| (comment, *language)));
        }
        comments.sort_by_key(|(comment, _)| comment.start);
        let fences: &[_] = if language == Language::Markdown { &blocks } else { &[] };
        let mut reader = Reader { text, statements, blocks: fences, ..Reader::default() };
        let mut comments = comments.into_iter().peekable();
        let lines = LineIndex::new(text);
        for number in 0..lines.count() {
            let (at, end) = (lines.start(number), lines.start(number + 1).min(text.len()));
            let line = &text[at.min(end)..end];
            let first = comments.next_if(|(comment, _)| comment.start < end);
            let is_commented = first.is_some();
            reader.line(at, line, first);
            while is_commented && let Some(next) = comments.next_if(|(comment, _)| comment.start < end) {
                reader.line(at, line, Some(next));
            }
        }
        crate::steps::add(text.len());
        Self(reader.found)
    }

    /// Returns the number of rules that comments name.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes out what is silenced in `file`, and returns what silences nothing.
    pub(crate) fn apply(mut self, file: usize, findings: &mut Vec<Finding>) -> Vec<Suppression> {
        let mut by_rule = HashMap::<String, Vec<usize>>::default();
        self.0.sort_by_key(|suppression| (suppression.reach.start, suppression.reach.end));
        for (index, suppression) in self.0.iter().enumerate() {
            by_rule.entry(suppression.rule.clone()).or_default().push(index);
        }
        findings.retain(|finding| {
            let Some(candidates) = by_rule.get(finding.rule).filter(|_| finding.file == file) else {
                return true;
            };
            let at = finding.span.start;
            let behind = candidates.partition_point(|index| self.0[*index].reach.start <= at);
            let reaching = candidates[..behind].iter().rev().copied().find(|index| {
                crate::steps::add(1);
                self.0[*index].reach.contains(&at)
            });
            if let Some(index) = reaching {
                self.0[index].used = true;
            }
            reaching.is_none()
        });
        self.0.into_iter().filter(|suppression| !suppression.used).collect()
    }
}

/// Goes through a text line by line.
#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    statements: &'a [Range<usize>],
    blocks: &'a [(Language, Range<usize>)],
    /// Comments that stand alone and wait for the next line with text.
    waiting: Vec<(usize, Reach)>,
    /// Mappings that are silenced until a line is indented no deeper.
    open: Vec<(usize, usize)>,
    found: Vec<Suppression>,
}

/// How far a comment reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Line,
    Mapping,
}

impl Reader<'_> {
    fn line(&mut self, at: usize, line: &str, comment: Option<(Range<usize>, Language)>) {
        let end = at + line.len();
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if !content.is_empty() {
            self.open.retain(|(depth, index)| {
                let goes_on = indent > *depth || self.found[*index].reach.start == at;
                if !goes_on {
                    self.found[*index].reach.end = at;
                }
                goes_on
            });
        }
        let text_end = comment.as_ref().map_or(end, |(comment, _)| comment.start.max(at));
        let is_text = !self.text[at..text_end].trim().is_empty();
        if is_text {
            for (index, reach) in self.waiting.drain(..) {
                self.found[index].reach = at..end;
                if reach == Reach::Mapping {
                    self.found[index].reach = at..self.text.len();
                    self.open.push((indent, index));
                }
            }
        }
        let Some((comment, language)) = comment else { return };
        let body = self.text[comment.clone()].trim_start_matches(['-', '#', '/', '<', '!', ' ', '\t']);
        let Some(body) = body.strip_prefix(MARK) else { return };
        let body = comment.end - body.len()..comment.end;
        // Alone on its line, the line goes with it.
        let stands_alone =
            self.text[at..comment.start].trim().is_empty() && self.text[comment.end..end].trim().is_empty();
        let removal = if stands_alone { at..end } else { comment.clone() };
        let calls = calls(self.text, body.clone());
        let written = self.text[body.clone()].trim();
        if calls.is_empty() && is_nearly_allow(written) {
            self.found.push(Suppression {
                rule: written.to_owned(),
                span: body,
                is_malformed: true,
                removal: None,
                reach: end..end,
                used: false,
            });
        }
        for (word, rules) in calls {
            let alone = rules.len() == 1;
            for rule in rules {
                let index = self.found.len();
                let reach = match word {
                    "allow" if is_text => at..end,
                    "allow-file" => 0..self.text.len(),
                    "allow-block" if language != Language::Yaml => self.block(comment.end, language),
                    "allow-block" => {
                        self.waiting.push((index, Reach::Mapping));
                        end..end
                    }
                    "allow" => {
                        self.waiting.push((index, Reach::Line));
                        end..end
                    }
                    // Another word silences nothing, and is reported as that.
                    _ => end..end,
                };
                let is_malformed = !WORDS.contains(&word);
                self.found.push(Suppression {
                    rule: self.text[rule.clone()].to_owned(),
                    span: rule,
                    is_malformed,
                    removal: (alone && !is_malformed).then(|| removal.clone()),
                    reach,
                    used: false,
                });
            }
        }
    }

    /// The statement or the fenced block that `at` lies in, or that comes next.
    fn block(&self, at: usize, language: Language) -> Range<usize> {
        let next = match language {
            Language::Markdown => self
                .blocks
                .get(self.blocks.partition_point(|(_, block)| block.end <= at))
                .map(|(_, block)| block),
            _ => self.statements.get(self.statements.partition_point(|span| span.end <= at)),
        };
        next.cloned().unwrap_or(at..at)
    }
}

/// Every `word(rule, rule)` in a comment's body, with the places of the rules in the text.
fn calls(line: &str, body: Range<usize>) -> Vec<(&str, Vec<Range<usize>>)> {
    let mut calls = Vec::new();
    let mut at = body.start;
    while let Some(open) = line[at..body.end].find('(').map(|open| at + open) {
        let Some(close) = line[open..body.end].find(')').map(|close| open + close) else { break };
        let word = line[at..open].rsplit([' ', '\t', ',']).next().unwrap_or_default();
        let mut rules = Vec::new();
        let mut start = open + 1;
        for rule in line[open + 1..close].split(',') {
            let begin = start + (rule.len() - rule.trim_start().len());
            rules.push(begin..begin + rule.trim().len());
            start += rule.len() + 1;
        }
        calls.push((word, rules));
        at = close + 1;
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(text: &str, language: Language) -> Vec<(String, String)> {
        let statements: Vec<_> = crate::statements::statements(text, language)
            .into_iter()
            .map(|statement| statement.span)
            .collect();
        let found = Suppressions::of(text, language, &statements).0;
        found.into_iter().map(|s| (s.rule, text[s.reach].trim().to_owned())).collect()
    }

    fn of(rule: &str, reach: &str) -> (String, String) {
        (rule.to_owned(), reach.to_owned())
    }

    #[test]
    fn a_comment_is_for_its_own_line_or_for_the_next() {
        let text = "x -- velo: allow(a, b) because\n  -- velo: allow(c)\n\n -- more\ny\nz\n";
        let own = "x -- velo: allow(a, b) because";
        assert_eq!(reaches(text, Language::Sql), [of("a", own), of("b", own), of("c", "y")]);
    }

    #[test]
    fn a_comment_in_a_quoted_block_is_for_the_next_line() {
        let text = "> ```sql\n> -- velo: allow(a)\n> x\n> ```\n";
        assert_eq!(reaches(text, Language::Markdown), [of("a", "> x")]);
    }

    #[test]
    fn only_comments_silence() {
        for (text, language) in [
            ("SELECT '-- velo: allow(a) b' /* -- velo: allow(a) */;", Language::Sql),
            ("x: '# velo: allow(a) b'\ny: a#velo: allow(a)\nz: |\n  # velo: allow-file(a)\n", Language::Yaml),
            ("{\"x\": \"# velo: allow(a) b\"}", Language::Yaml),
            ("`<!-- velo: allow(a) -->`\n```html\n<!-- velo: allow(a) -->\n```\n", Language::Markdown),
        ] {
            assert_eq!(reaches(text, language), [], "{text}");
        }
        assert_eq!(reaches("-- velo: alow a\nx", Language::Sql), [of("alow a", "")], "it is reported");
    }

    #[test]
    fn a_block_is_a_statement_a_mapping_or_a_fence() {
        let sql = "-- velo: allow-block(a)\nCREATE STREAM s AS SELECT 1 WITH ('k' = 'v');\nSELECT 2;";
        assert_eq!(reaches(sql, Language::Sql)[0].1, "CREATE STREAM s AS SELECT 1 WITH ('k' = 'v')");
        let yaml = "# velo: allow-block(a)\nbatch:\n  size: 5\n\n  enable: true\nother: 1\n";
        assert_eq!(reaches(yaml, Language::Yaml)[0].1, "batch:\n  size: 5\n\n  enable: true");
        let markdown = "<!-- velo: allow-block(a) -->\n\n```sql\nSELECT 1\n```\n";
        assert_eq!(reaches(markdown, Language::Markdown)[0].1, "SELECT 1");
        assert_eq!(reaches("-- velo: allow-file(a)\nx", Language::Sql)[0].1, "-- velo: allow-file(a)\nx");
    }
}
