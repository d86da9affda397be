//! SQL text in; the quotes of it that are not what they seem out.
//!
//! An apostrophe in a comment of an unknown dialect, or a forgotten quote, turns code and strings inside
//! out up to the next one. In a text that is inside out, strings are glued to words and `WITH (` stands in
//! a string. Such a stretch is read again without one of its quotes: the one that leaves the least of it
//! inside out, provided that the clause is code then.

use std::cmp::Reverse;
use std::ops::Range;

use memchr::memchr;

use super::line::with_before;
use super::quote::ends_in_word;
use super::{Lexer, Searches, Token, TokenKind, is_word, line_length};

/// What a quote is if it does not simply open a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// It opens nothing: an apostrophe, or a quote without its partner.
    Stray,
    /// It opens a text in which a backslash keeps the next quote.
    Escapes,
}

/// How the quotes of a text are read.
#[derive(Debug, Default)]
pub struct Reading {
    others: Vec<(usize, Other)>,
    unbalanced: Vec<usize>,
    is_certain: bool,
}

impl Reading {
    /// Reads `range` of `text`.
    #[must_use]
    pub fn of(text: &str, range: Range<usize>) -> Self {
        let mut reading = Self::default();
        let mut search = Search::new(text, range);
        let searches = search.searches;
        let mut has_doubts = false;
        let mut from = search.range.start;
        while let Some(doubt) = search.next_doubt(&reading, from) {
            has_doubts = true;
            let settled = match &doubt {
                Doubt::Hidden(hidden) => search.settle(&mut reading, hidden),
                Doubt::Unclosed { quote, .. } => search.close(&mut reading, *quote),
            };
            if let Some((at, other)) = settled {
                from = at;
                search.go_back(at, other);
                continue;
            }
            from = doubt.end();
            if let Doubt::Hidden(hidden) = doubt {
                search.give_up(hidden.quote);
            }
        }
        reading.is_certain = !has_doubts && search.searches == searches;
        reading.unbalanced = search.unbalanced;
        reading.unbalanced.sort_unstable();
        reading.unbalanced.dedup();
        reading
    }

    /// The quotes that do not simply open a text, in order.
    #[must_use]
    pub fn others(&self) -> &[(usize, Other)] {
        &self.others
    }

    /// Quotes outside of clauses that open a text which nothing closes, in order.
    #[must_use]
    pub fn unbalanced(&self) -> &[usize] {
        &self.unbalanced
    }

    /// True if every quote, comment and tag has its end, and none can be read in two ways.
    pub(super) fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Reads the quote at `at` in another way; returns how it was read before.
    fn set(&mut self, at: usize, other: Option<Other>) -> Option<Other> {
        match (self.others.binary_search_by_key(&at, |(at, _)| *at), other) {
            (Ok(index), Some(other)) => Some(std::mem::replace(&mut self.others[index].1, other)),
            (Ok(index), None) => Some(self.others.remove(index).1),
            (Err(index), Some(other)) => {
                self.others.insert(index, (at, other));
                None
            }
            (Err(_), None) => None,
        }
    }
}

/// A quoted text since the last clause began.
#[derive(Debug, Clone)]
struct Quoted {
    span: Range<usize>,
    is_in_clause: bool,
}

/// A clause within a quoted text.
#[derive(Debug)]
struct Hidden {
    /// Where its `WITH` stands.
    with: usize,
    /// Where the text ends that hides it.
    end: usize,
    /// The quote of that text.
    quote: u8,
}

/// A quoted text that cannot be what it seems.
enum Doubt {
    /// It hides a clause.
    Hidden(Hidden),
    /// Nothing closes it.
    Unclosed {
        /// Its quote.
        quote: u8,
        /// Where it ends.
        end: usize,
    },
}

impl Doubt {
    fn end(&self) -> usize {
        match self {
            Self::Hidden(hidden) => hidden.end,
            Self::Unclosed { end, .. } => *end,
        }
    }
}

/// A quote and another way to read it.
struct Candidate {
    at: usize,
    other: Other,
    /// How much of the text is inside out then.
    cost: usize,
}

struct Search<'a> {
    text: &'a str,
    range: Range<usize>,
    searches: Searches,
    /// How many bytes may still be read again.
    budget: usize,
    /// Quoted texts since the last clause began.
    quoted: Vec<Quoted>,
    /// Open brackets since the last clause began; 0 outside of clauses.
    clause_depth: usize,
    unbalanced: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(text: &'a str, range: Range<usize>) -> Self {
        /// How often the text may be read again, all readings taken together.
        const BUDGET: usize = 16;
        Self {
            text,
            budget: range.len().saturating_mul(BUDGET),
            searches: Lexer::new(text, range.clone()).searches,
            range,
            quoted: Vec::new(),
            clause_depth: 0,
            unbalanced: Vec::new(),
        }
    }

    fn lexer<'r>(&self, reading: &'r Reading, from: usize) -> Lexer<'r>
    where
        'a: 'r,
    {
        let mut lexer = Lexer::with(self.text, self.range.clone(), reading);
        lexer.searches = self.searches;
        if from > self.range.start {
            lexer.seek(from);
        }
        lexer
    }

    /// Reads on from `from` to the next quoted text that cannot be what it seems.
    fn next_doubt(&mut self, reading: &Reading, from: usize) -> Option<Doubt> {
        let mut lexer = self.lexer(reading, from);
        let mut is_with = false;
        while let Some(token) = lexer.next() {
            self.searches = lexer.searches;
            match token.kind {
                TokenKind::Quoted { closed } => {
                    let is_in_clause = self.clause_depth > 0;
                    self.quoted.push(Quoted { span: token.span.clone(), is_in_clause });
                    if let Some(hidden) = self.hidden(&token, closed) {
                        return Some(Doubt::Hidden(hidden));
                    }
                    if !closed {
                        let quote = self.byte(token.span.start);
                        return Some(Doubt::Unclosed { quote, end: token.span.end });
                    }
                }
                TokenKind::Symbol(b'(') if is_with => {
                    self.quoted.clear();
                    self.clause_depth = 1;
                }
                TokenKind::Symbol(b'(') if self.clause_depth > 0 => self.clause_depth += 1,
                TokenKind::Symbol(b')') => self.clause_depth = self.clause_depth.saturating_sub(1),
                TokenKind::Symbol(b';') => self.clause_depth = 0,
                _ => {}
            }
            is_with = token.kind == TokenKind::Word && self.text[token.span].eq_ignore_ascii_case("with");
        }
        None
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes()[at]
    }

    /// True if a word ends directly before `at`; the prefix of a string is none.
    fn is_glued_before(&self, at: usize) -> bool {
        ends_in_word(&self.text.as_bytes()[self.range.start..at])
    }

    /// True if a word begins at `at`.
    fn is_glued_behind(&self, at: usize) -> bool {
        at < self.range.end && (is_word(self.byte(at)) || self.byte(at) == b'\\')
    }

    /// The clause that begins in a quoted text which is glued to a word, or which nothing closes.
    fn hidden(&self, token: &Token, closed: bool) -> Option<Hidden> {
        let Range { start, end } = token.span;
        let is_glued_behind = closed && (self.is_glued_behind(end) || self.begins_template(end));
        let mut inner = token.inner();
        if !closed {
            let rest = &self.text.as_bytes()[inner.start..self.range.end];
            inner.end = inner.start + line_length(rest);
        }
        let content = &self.text.as_bytes()[inner.clone()];
        // A name has no lines.
        let is_no_name = self.byte(start) == b'`' && memchr(b'\n', content).is_some();
        if closed && !is_no_name && !is_glued_behind && !self.is_glued_before(start) {
            return None;
        }
        crate::steps::add(content.len());
        let mut from = 0;
        while let Some(found) = memchr(b'(', &content[from..]) {
            from += found + 1;
            let opens = opens_entries(&content[from..], is_glued_behind);
            if let Some(with) = with_before(content, from - 1).filter(|_| opens) {
                return Some(Hidden { with: inner.start + with, end, quote: self.byte(start) });
            }
        }
        None
    }

    fn begins_template(&self, at: usize) -> bool {
        let rest = &self.text.as_bytes()[at..self.range.end];
        [b"${".as_slice(), b"{{", b"{%", b"<%"].iter().any(|mark| rest.starts_with(mark))
    }

    /// Reads a quote in another way, so that the clause is code; returns what was changed.
    fn settle(&mut self, reading: &mut Reading, hidden: &Hidden) -> Option<(usize, Other)> {
        /// How many quotes are tried for one clause.
        const MOST_TRIES: usize = 4;
        for Candidate { at, other, .. } in self.candidates(hidden)?.into_iter().take(MOST_TRIES) {
            self.budget = self.budget.checked_sub(hidden.with - at + 1)?;
            let before = reading.set(at, Some(other));
            let mut tokens = self.lexer(reading, at);
            let reached = tokens.by_ref().find(|token| token.span.end > hidden.with);
            if reached.is_some_and(|token| token.kind == TokenKind::Word && token.span.start == hidden.with) {
                return Some((at, other));
            }
            reading.set(at, before);
        }
        None
    }

    /// The quotes before a hidden clause, the most probable first.
    fn candidates(&mut self, hidden: &Hidden) -> Option<Vec<Candidate>> {
        let first = self.quoted.first()?.span.start;
        self.budget = self.budget.checked_sub(hidden.with - first + 1)?;
        let mut candidates = self.of_quote(hidden.quote);
        // A quote of another kind may have swallowed half of a pair.
        let is_half = |quoted: &&Quoted| {
            let content = &self.text.as_bytes()[quoted.span.clone()];
            let quotes = memchr::memchr_iter(hidden.quote, content).count();
            content[0] != hidden.quote && quotes % 2 == 1
        };
        let of_others = self.quoted.iter().rev().filter(is_half);
        candidates.extend(of_others.map(|quoted| self.candidate(quoted, usize::MAX)));
        Some(candidates)
    }

    /// The quotes of one kind, the most probable first: those that leave the least inside out if they
    /// open nothing. Before such a quote the texts are as they are read; behind it they are the gaps.
    fn of_quote(&self, quote: u8) -> Vec<Candidate> {
        let chain: Vec<_> = self.quoted.iter().filter(|q| self.byte(q.span.start) == quote).collect();
        let as_read = |quoted: &Quoted| self.inside_out(quoted.span.clone());
        let swapped: Vec<_> = chain
            .windows(2)
            .map(|pair| self.inside_out(pair[0].span.end - 1..pair[1].span.start + 1))
            .collect();
        let mut behind: usize = swapped.iter().sum();
        let mut before = 0;
        let mut candidates = Vec::with_capacity(chain.len());
        for (index, quoted) in chain.iter().enumerate() {
            candidates.push(self.candidate(quoted, before + behind));
            before += as_read(quoted);
            behind -= swapped.get(index).copied().unwrap_or(0);
        }
        candidates.sort_by_key(|candidate| (candidate.cost, Reverse(candidate.at)));
        candidates
    }

    fn candidate(&self, quoted: &Quoted, cost: usize) -> Candidate {
        let Range { start: at, end } = quoted.span;
        let content = &self.text.as_bytes()[at + 1..(end - 1).max(at + 1)];
        let escapes = content.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        // `don't`: nothing else looks like that.
        let is_apostrophe = self.is_glued_before(at) && self.is_glued_behind(at + 1);
        let cost =
            (cost.saturating_add(2)).saturating_sub(2 * usize::from(is_apostrophe) + usize::from(escapes));
        Candidate { at, other: if escapes { Other::Escapes } else { Other::Stray }, cost }
    }

    /// How much speaks against a text from one quote to another.
    fn inside_out(&self, span: Range<usize>) -> usize {
        let content = &self.text.as_bytes()[span.clone()];
        let has_lines = memchr(b'\n', content).is_some();
        usize::from(self.is_glued_before(span.start))
            + usize::from(self.is_glued_behind(span.end))
            + usize::from(has_lines)
    }

    /// Goes back to a quote that is read in another way.
    fn go_back(&mut self, at: usize, other: Other) {
        let index = self.quoted.partition_point(|quoted| quoted.span.start < at);
        let is_in_clause = self.quoted.get(index).is_some_and(|quoted| quoted.is_in_clause);
        self.quoted.truncate(index);
        self.clause_depth = usize::from(is_in_clause);
        self.unbalanced.retain(|unbalanced| *unbalanced < at);
        // An apostrophe in a comment that is not known as one has no partner and needs none.
        if other == Other::Stray && !is_in_clause && !self.is_glued_before(at) {
            self.unbalanced.push(at);
        }
    }

    /// Leaves what cannot be settled: of its quotes only the most probable one is remembered.
    fn give_up(&mut self, quote: u8) {
        let most_probable = self.of_quote(quote).first().map(|candidate| candidate.at);
        self.quoted.retain(|quoted| Some(quoted.span.start) == most_probable);
    }

    /// There is an odd number of a quote: one of them is escaped by a backslash, or lacks its partner.
    /// Reads the one in another way, or notes the other.
    fn close(&mut self, reading: &mut Reading, quote: u8) -> Option<(usize, Other)> {
        let size = self.quoted.first().map_or(0, |first| self.range.end - first.span.start);
        self.budget = self.budget.checked_sub(size)?;
        let Candidate { at, other, .. } = self.of_quote(quote).into_iter().next()?;
        if other == Other::Escapes && reading.set(at, Some(other)) != Some(other) {
            return Some((at, other));
        }
        let is_in_clause = |quoted: &Quoted| quoted.span.start == at && quoted.is_in_clause;
        if !self.quoted.iter().any(is_in_clause) {
            self.unbalanced.push(at);
        }
        None
    }
}

/// True if what stands behind an opening bracket can be the entries of a clause; if it is blank, the
/// quote behind it opens the first key.
fn opens_entries(rest: &[u8], is_glued_behind: bool) -> bool {
    let rest = rest.trim_ascii_start();
    match rest {
        [] => is_glued_behind,
        [b'\'' | b'"' | b'`' | b'$' | b'{' | b'-' | b'/' | b'#' | b'<' | b')', ..] => true,
        _ => {
            let is_of_key = |byte: &&u8| is_word(**byte) || matches!(byte, b'.' | b'-' | b' ');
            let key = rest.iter().take_while(is_of_key).count();
            key > 0 && rest.get(key) == Some(&b'=')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quoted texts of `sql`, and the quotes without a partner.
    fn read(sql: &str) -> (Vec<&str>, Vec<usize>) {
        let reading = Reading::of(sql, 0..sql.len());
        let tokens = Lexer::with(sql, 0..sql.len(), &reading);
        let quoted = tokens.filter(Token::is_quoted).map(|token| &sql[token.inner()]).collect();
        (quoted, reading.unbalanced().to_vec())
    }

    #[test]
    fn the_reading_is_kept_that_finds_the_clause() {
        for before in [
            "% don't",
            "% O'Brien",
            "% O'Brien, and I can't, and O'Neill won't",
            "% 6\" pipes",
            "% `x",
            "% don't\nSELECT 'x', 'y z', \"a\" FROM t;",
            "SELECT 'a', 'b' FROM t;\n% don't",
            "SELECT 'C:\\' AS a, 'b\\' c', 'd' FROM t;",
        ] {
            let sql = format!("{before}\nCREATE STREAM s AS SELECT * FROM t WITH ('k' = 'v', \"l\" = 'w');");
            let (quoted, _) = read(&sql);
            assert!(quoted.ends_with(&["k", "v", "l", "w"]), "{before}: {quoted:?}");
        }
    }

    #[test]
    fn the_first_quote_of_what_is_inside_out_is_the_stray_one() {
        let sql = "% O'Brien\nSELECT 'x' FROM t;\nSELECT 'y' FROM u WITH ('k' = 'v');";
        assert_eq!(read(sql).0, ["x", "y", "k", "v"]);
        let sql = "SELECT 'x', 'y' FROM t; % O'Brien\nSELECT 'z' FROM u WITH ('k' = 'v');";
        assert_eq!(read(sql).0, ["x", "y", "z", "k", "v"]);
    }

    #[test]
    fn a_quote_without_its_partner_is_named_once_at_its_place() {
        assert_eq!(read("SELECT 'x FROM t WITH ('k' = 'v')").1, [7]);
        assert_eq!(read("SELECT 'x FROM t").1, [7]);
        assert_eq!(read("SELECT 'x FROM t, 'y', 'z'").1, [7]);
        assert_eq!(
            read("% O'Brien\nSELECT 'x' WITH ('k' = 'v')").1,
            [0; 0],
            "an apostrophe needs no partner"
        );
        assert_eq!(read("SELECT 'x' WITH ('k' = 'v)").1, [0; 0], "that is the clause's own mistake");
        assert_eq!(read("SELECT 'x', 'it''s' WITH ('k' = 'v')").1, [0; 0]);
    }

    #[test]
    fn strings_that_hold_a_clause_stay_strings() {
        for sql in [
            "SELECT 'WITH (''k'' = ''v'')' AS a",
            "EXECUTE 'CREATE TABLE t WITH (a = 1)' || x",
            "SELECT 'x' AS a, N'WITH (\"k\" = 5)'",
            "SELECT 'over\ntwo lines; WITH (batch.size = minus)\n' AS t",
        ] {
            assert!(Reading::of(sql, 0..sql.len()).others().is_empty(), "{sql}");
        }
    }
}
