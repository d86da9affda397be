//! Text in, tokens out. Checks that each token is a range of the text after the previous token, and that the lexer skips
//! only blanks, comments and tags: for both readings of quotes, and for a part of a text, such as a Markdown block.

#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use velo_lint::lexer::{Lexer, Reading, line_comments};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let third = text.floor_char_boundary(text.len() / 3);
    for range in [0..text.len(), third..text.floor_char_boundary(2 * text.len() / 3)] {
        tokens_cover(&text, &range, Lexer::new(&text, range.clone()));
        let reading = Reading::of(&text, range.clone());
        tokens_cover(&text, &range, Lexer::with(&text, range.clone(), &reading));
        comments_are_lines(&text, &range);
    }
});

fn tokens_cover(text: &str, range: &Range<usize>, lexer: Lexer<'_>) {
    let mut end = range.start;
    for token in lexer {
        let span = token.span.clone();
        assert!(end <= span.start && span.start < span.end && span.end <= range.end, "{token:?} after {end}");
        assert!(text.get(span.clone()).is_some() && text.get(token.inner()).is_some(), "{token:?}");
        assert!(is_skipped(&text[end..span.start]), "skipped {:?}", &text[end..span.start]);
        end = span.end;
    }
    assert!(is_skipped(&text[end..range.end]), "skipped {:?}", &text[end..range.end]);
}

/// True if a text between two tokens is blank, or begins as a comment, a client command or a template tag does.
fn is_skipped(between: &str) -> bool {
    let rest = between.trim_start_matches(is_blank);
    let marks = ['-', '/', '#', '{', '<', '\\', '.', '!'];
    // REM, REMARK and PROMPT begin client commands.
    rest.is_empty() || rest.starts_with(marks) || rest.starts_with(['r', 'R', 'p', 'P'])
}

fn is_blank(character: char) -> bool {
    let pasted = ['\u{b}', '\u{a0}', '\u{200b}', '\u{3000}', '\u{feff}'];
    character.is_ascii_whitespace() || pasted.contains(&character)
}

fn comments_are_lines(text: &str, range: &Range<usize>) {
    let mut end = range.start;
    for comment in line_comments(text, range.clone()) {
        assert!(end <= comment.start && comment.end <= range.end, "{comment:?} after {end}");
        let line = text.get(comment.clone()).expect("character boundaries");
        assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
        end = comment.end;
    }
}
