//! A SQL text that changes a little at a time: the text in, its findings out, of which only those of statements that have
//! changed are looked for again.
//!
//! The text is taken apart into pieces, each a few whole statements (see [`lexer::piece`](crate::lexer::piece)). A piece
//! that has not changed since the last check keeps its findings. They are the same as those of [`Document::check`] for
//! the whole text; a text that cannot be taken apart has to be checked as a whole.

use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use crate::document::Document;
use crate::files::NoFiles;
use crate::finding::Finding;
use crate::language::Language;
use crate::lexer::piece;
use crate::options::Options;
use crate::ownership::CONFIG_FILE;
use crate::scan::ends_with_statement;

/// The pieces of a SQL text with what was found in each.
#[derive(Debug, Default)]
pub struct Incremental {
    text: String,
    options: Arc<Options>,
    pieces: Vec<Piece>,
}

/// What was found in some statements.
#[derive(Debug)]
struct Piece {
    bytes: usize,
    /// The bytes of its statements, from its own beginning.
    statements: Vec<Range<usize>>,
    /// The findings, whose places count from its beginning.
    findings: Vec<Finding>,
}

/// What was found in a whole text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The bytes of its statements.
    pub statements: Vec<Range<usize>>,
    /// The findings, in the order of their places.
    pub findings: Vec<Finding>,
}

/// What makes a finding depend on other statements: files that several name, and comments for more than a line.
const REACHES_FURTHER: [&str; 3] = [CONFIG_FILE, "allow-file", "allow-block"];

impl Incremental {
    /// Checks a text. Returns `None` if it has to be checked as a whole.
    pub fn check(&mut self, text: &str, options: &Arc<Options>) -> Option<Found> {
        if self.options != *options {
            *self = Self { options: Arc::clone(options), ..Self::default() };
        }
        let pieces = self.take_apart(text);
        self.text.clear();
        self.pieces = pieces?;
        self.text.push_str(text);
        Some(self.found())
    }

    /// Takes a text apart. Pieces before and after the bytes that have changed are kept.
    fn take_apart(&mut self, text: &str) -> Option<Vec<Piece>> {
        let has = |word: &&str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
        if REACHES_FURTHER.iter().any(has) {
            return None;
        }
        let (same_before, same_behind) = common(self.text.as_bytes(), text.as_bytes());
        let old_bytes = self.text.len();
        let mut old = std::mem::take(&mut self.pieces).into_iter().peekable();
        let mut pieces = Vec::with_capacity(old.len() + 1);
        let mut at = 0;
        // The last piece ends because the text does.
        while let Some(kept) =
            old.next_if(|piece| at + piece.bytes <= same_before && at + piece.bytes < old_bytes)
        {
            at += kept.bytes;
            pieces.push(kept);
        }
        let mut old_at = at;
        while at < text.len() {
            let rest = text.len() - at;
            while let Some(changed) = old.next_if(|_| old_bytes - old_at > rest) {
                old_at += changed.bytes;
            }
            // The rest is the same, and is taken apart at the same places.
            if rest <= same_behind && old_bytes - old_at == rest {
                pieces.extend(old);
                break;
            }
            let end = piece(text, at)?;
            if end < text.len() && !ends_with_statement(&text[at..end]) {
                return None;
            }
            pieces.push(Piece::of(&text[at..end], &self.options));
            at = end;
        }
        Some(pieces)
    }

    fn found(&self) -> Found {
        let mut found = Found::default();
        let mut start = 0;
        for piece in &self.pieces {
            found.statements.extend(piece.statements.iter().map(|span| start + span.start..start + span.end));
            found.findings.extend(piece.findings.iter().map(|finding| finding.moved(start)));
            start += piece.bytes;
        }
        found
    }
}

impl Piece {
    /// Checks a piece. Its statements name no files.
    fn of(text: &str, options: &Options) -> Self {
        let document = Document::read("", text, Language::Sql, &NoFiles);
        Self { bytes: text.len(), statements: document.spans(0), findings: document.check(options) }
    }
}

/// Returns the lengths in bytes of the common prefix of two texts, and of the common suffix of what follows it.
fn common(old: &[u8], new: &[u8]) -> (usize, usize) {
    let same = |(old, new): &(&u8, &u8)| old == new;
    let before = old.iter().zip(new).take_while(same).count();
    let behind = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(same).count();
    (before, behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps;

    fn whole(text: &str) -> Found {
        let document = Document::read("", text, Language::Sql, &NoFiles);
        Found { statements: document.spans(0), findings: document.check(&Options::default()) }
    }

    #[test]
    fn only_what_has_changed_is_checked_again() {
        let statement =
            |size: &str| format!("CREATE STREAM s AS SELECT * FROM t WITH ('batch.size' = '{size}');\n");
        let options = Arc::default();
        let mut pieces = Incremental::default();
        let mut text = statement("5").repeat(100);
        assert_eq!(pieces.check(&text, &options), Some(whole(&text)));
        for size in ["x", "10", "0", ""] {
            let at = 50 * statement("5").len();
            let end = at + text[at..].find('\n').expect("a line") + 1;
            text.replace_range(at..end, &statement(size));
            let before = steps::taken();
            let found = pieces.check(&text, &options);
            let taken = steps::taken() - before;
            let before = steps::taken();
            assert_eq!(found, Some(whole(&text)));
            assert!(taken * 20 < steps::taken() - before, "{taken} steps for one statement of a hundred");
            assert_eq!(pieces.pieces.len(), 100);
        }
    }

    #[test]
    fn a_text_is_whole_if_its_findings_depend_on_several_statements() {
        let options = Arc::default();
        for text in [
            "WITH ('config_file' = 'a.yaml');\n",
            "-- velo: allow-file(unknown-key) x\nWITH ('batch.sise' = '5');\n",
            "a 'b;\n",
        ] {
            assert_eq!(Incremental::default().check(text, &options), None, "{text}");
        }
    }

    #[test]
    fn other_options_mean_other_findings() {
        let text = "WITH ('failure_strategy' = 'FailBatch', 'batch.strategy' = 'mega_batch');\n";
        let mut silent = Options::default();
        silent.levels.set("blast-radius", crate::Level::Allow);
        let silent = Arc::new(silent);
        let mut pieces = Incremental::default();
        let known = pieces.check(text, &Arc::default());
        assert_ne!(pieces.check(text, &silent), known);
        assert_eq!(pieces.check(text, &Arc::default()), known);
    }
}
