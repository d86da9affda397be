//! Answers to requests: an open text with what was found in it and a place in, the answer out. No handler changes
//! anything.

pub(crate) mod actions;
pub(crate) mod completion;
pub(crate) mod hints;
pub(crate) mod hover;
pub(crate) mod symbols;

use velo_lint::{Document, Encoding, FileReport, Options};

use crate::documents::Open;

/// What handlers know of a text.
pub(crate) struct View<'a> {
    pub open: &'a Open,
    pub report: &'a FileReport,
    /// The text with the files that it names.
    pub document: &'a Document,
    pub options: &'a Options,
    pub encoding: Encoding,
    /// True if the client can place the cursor in what it inserts.
    pub has_snippets: bool,
}
