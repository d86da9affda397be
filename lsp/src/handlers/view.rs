//! What handlers know: everything that the server has, and the text that a request is about.

use std::collections::BTreeMap;
use std::ops::Range;

use lsp_server::ErrorCode;
use velo_lint::scan::Statement;
use velo_lint::unit::Part;
use velo_lint::{Document, FileReport, Files, Language, Options, Span, Unit};

use crate::capabilities::Client;
use crate::convert::Places;
use crate::documents::{Documents, Open};
use crate::host::Host;
use crate::links::{Links, text_of};

/// What the server has.
pub(crate) struct State<'a> {
    pub host: &'a dyn Host,
    pub client: &'a Client,
    pub open: &'a Documents,
    pub links: &'a Links,
    pub reports: &'a BTreeMap<String, FileReport>,
}

impl State<'_> {
    /// Reads a text in place of an open one, with the files that it names. A configuration file is read with the first text
    /// that names it, of which it is a part; the number is that of the file there.
    pub(crate) fn read(&self, open: &Open, text: &str) -> (Document, usize) {
        let files = self.open.over_with(self.host.files(), &open.path, text);
        let namers = self.links.namers(&open.path).filter(|_| open.language == Language::Yaml);
        for namer in namers {
            let Some((name, text, language)) = text_of(namer, self.host, self.open) else { continue };
            let document = Document::read(&name, &text, language, &files);
            let number = (1..document.texts()).find(|n| files.canonical(document.name(*n)) == open.path);
            if let Some(number) = number {
                return (document, number);
            }
        }
        (Document::read(&open.name, text, open.language, &files), 0)
    }
}

/// The text that a request is about.
pub(crate) struct View<'a> {
    pub state: &'a State<'a>,
    pub open: &'a Open,
    pub report: &'a FileReport,
    pub options: &'a Options,
    /// The text with the files that it names. A configuration file is a part of the text that names it.
    pub document: &'a Document,
    /// The number of the text in the document.
    pub file: usize,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Error {
    pub code: ErrorCode,
    pub message: String,
}

impl Error {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl<'a> View<'a> {
    pub(crate) fn places(&self) -> Places<'a> {
        self.open.places(self.state.client.encoding)
    }

    /// The statements that may have something to do with some bytes of the text.
    pub(crate) fn units(&self, range: Range<usize>) -> impl Iterator<Item = Unit<'a>> {
        let is_part = self.file > 0;
        let touches = move |statement: &Statement| {
            is_part || (statement.span.start <= range.end && range.start <= statement.span.end)
        };
        self.document.units_of(self.options, touches)
    }

    /// The clauses of a statement that stand in the text.
    pub(crate) fn clauses<'u>(&self, unit: &'u Unit<'a>) -> impl Iterator<Item = &'u Part<'a>> {
        let file = self.file;
        unit.clauses.iter().filter(move |part| part.file == file)
    }

    /// Returns true if a place is in the text and touches some bytes.
    pub(crate) fn is_at(&self, span: &Span, range: &Range<usize>) -> bool {
        span.file == self.file && span.range.start <= range.end && range.start <= span.range.end
    }
}
