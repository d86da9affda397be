//! SQL text in; places out between which it can be read piece by piece, with the same tokens.

use super::{Lexer, Reading, Token, TokenKind, is_word, line_length};

/// Returns the end of the piece of `text` that begins at `from`: the end of the line on which a statement ends, or of the
/// text.
///
/// The text up to `from` must consist of such pieces. Returns `None` if the piece cannot be read by itself, because its
/// tokens, or those of later pieces, depend on more than its own text: a quote without its partner, a template tag
/// without end, data after `COPY … FROM stdin`.
#[must_use]
pub fn piece(text: &str, from: usize) -> Option<usize> {
    let (tokens, end) = tokens_of_piece(text, from)?;
    let copies = tokens.first().is_some_and(|first| text[first.span.clone()].eq_ignore_ascii_case("copy"));
    let reading = Reading::of(text, from..end);
    let by_itself = Lexer::new(text, from..end);
    // At the beginning of a text, it would be a byte order mark.
    let has_mark = from > 0 && text[from..].starts_with('\u{feff}');
    let looks_far = tokens.iter().any(|token| looks_far(text.as_bytes(), token));
    (!copies && !has_mark && !looks_far && reading.is_certain() && by_itself.eq(tokens)).then_some(end)
}

/// True if the end of a quoted text may depend on any text after it: the lexer looks for another end first if a word touches
/// the closing quote.
fn looks_far(text: &[u8], token: &Token) -> bool {
    let content = &text[token.span.clone()];
    let is_glued = |end: usize| text.get(end).is_some_and(|byte| is_word(*byte) || *byte == b'\\');
    let escapes = || content.windows(2).any(|pair| pair[0] == b'\\' && pair[1] == content[0]);
    // `y''` and texts over lines with quotes in them are seldom what they seem.
    let is_glued_before =
        || text[..token.span.start].last().is_some_and(|byte| is_word(*byte) || *byte == content[0]);
    let has_quotes = || content.contains(&b'\n') && content[1..content.len() - 1].contains(&content[0]);
    let is_raw = || text[..token.span.start].ends_with(b"q") || text[..token.span.start].ends_with(b"Q");
    token.is_quoted()
        && (is_glued(token.span.end) || is_glued_before() || has_quotes() || escapes() || is_raw())
}

/// The tokens from `from` on up to the first line that ends with a statement, and the end of that line.
fn tokens_of_piece(text: &str, from: usize) -> Option<(Vec<Token>, usize)> {
    let mut lexer = Lexer::new(text, from..text.len());
    let searches = lexer.searches;
    let mut tokens = Vec::new();
    let mut depth = 0;
    while let Some(token) = lexer.next() {
        let mut end = None;
        match token.kind {
            TokenKind::Symbol(b'(') => depth += 1,
            TokenKind::Symbol(b')') => depth -= 1,
            // What an open bracket means depends on the next statement.
            TokenKind::Symbol(b';') if std::mem::take(&mut depth) == 0 => {
                end = end_of_line(text, token.span.end);
            }
            _ => {}
        }
        tokens.push(token);
        if let Some(end) = end {
            // Nothing that was found so far reaches further.
            let is_local =
                lexer.searches == searches && lexer.clause_ahead <= end && lexer.printed_end <= end;
            return is_local.then_some((tokens, end));
        }
    }
    (lexer.searches == searches).then_some((tokens, text.len()))
}

/// The end of the line, with what ends it, if nothing else stands between it and `at`, except for a comment.
fn end_of_line(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let length = line_length(rest.as_bytes());
    let line = rest[..length].trim_start_matches([' ', '\t']);
    let ends = match rest.as_bytes()[length..] {
        [b'\r', b'\n', ..] => 2,
        [_, ..] => 1,
        [] => 0,
    };
    (line.is_empty() || line.starts_with("--")).then_some(at + length + ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Option<Vec<&str>> {
        let mut pieces = Vec::new();
        let mut from = 0;
        while from < text.len() {
            let end = piece(text, from)?;
            pieces.push(&text[from..end]);
            from = end;
        }
        Some(pieces)
    }

    #[test]
    fn a_piece_ends_with_the_line_of_a_statement() {
        let text = "a;\nb ';\n' c; -- ;\r\nd; e;\n\n-- f\ng";
        assert_eq!(pieces(text), Some(vec!["a;\n", "b ';\n' c; -- ;\r\n", "d; e;\n", "\n-- f\ng"]));
        assert_eq!(pieces("(a;\nb;\nc;\n"), Some(vec!["(a;\nb;\n", "c;\n"]));
        assert_eq!(pieces(""), Some(vec![]));
    }

    #[test]
    fn what_depends_on_more_than_its_statement_has_no_pieces() {
        for text in [
            "a 'b;\nc' d 'e;\n",
            "a /* /* b;\nc */;\n",
            "a $x$ b;\n",
            "COPY t FROM stdin;\n1;\n\\.\n",
            "a;\n\u{feff}b;\n",
            "a {{ b;\nc }};\n{% d;\n",
            "a '''b'c;\n",
            "a q'[b';\n",
            "a y'';\n",
            "a '\n''' b;\n",
            "a 'b\\'';\n",
        ] {
            assert_eq!(pieces(text), None, "{text}");
        }
    }
}
