//! The texts that the client has open: changes in, texts out. Other files are read from the host.

use std::collections::BTreeMap;

use lsp_types::{TextDocumentContentChangeEvent, Uri};
use velo_lint::{Encoding, Files, Language, LineIndex, Overlay};

use crate::convert::Places;

/// A text that the client has open.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub uri: Uri,
    pub version: i32,
    pub language: Language,
    pub text: String,
    pub lines: LineIndex,
}

/// The texts that the client has open, by path.
#[derive(Debug, Default)]
pub(crate) struct Documents(pub BTreeMap<String, Open>);

impl Open {
    pub(crate) fn new(uri: Uri, version: i32, language: Language, text: String) -> Self {
        let lines = LineIndex::new(&text);
        Self { uri, version, language, text, lines }
    }

    /// Applies changes in their order.
    pub(crate) fn change(
        &mut self,
        version: i32,
        changes: Vec<TextDocumentContentChangeEvent>,
        encoding: Encoding,
    ) {
        self.version = version;
        for change in changes {
            match change {
                TextDocumentContentChangeEvent::TextDocumentContentChangePartial(part) => {
                    let places = Places { lines: &self.lines, encoding };
                    let (start, end) = (places.offset(part.range.start), places.offset(part.range.end));
                    self.text.replace_range(start..end.max(start), &part.text);
                }
                TextDocumentContentChangeEvent::TextDocumentContentChangeWholeDocument(whole) => {
                    self.text = whole.text;
                }
            }
            self.lines = LineIndex::new(&self.text);
        }
    }

    pub(crate) fn places(&self, encoding: Encoding) -> Places<'_> {
        Places { lines: &self.lines, encoding }
    }
}

impl Documents {
    /// Returns the files of the host, with the open texts in place of theirs.
    pub(crate) fn over<'a>(&'a self, files: &'a (dyn Files + Sync)) -> Overlay<'a> {
        Overlay::new(files, self.0.iter().map(|(path, open)| (path.as_str(), open.text.as_str())))
    }
}
