//! The protocol's types and ours: URIs and paths, ranges and bytes, findings and diagnostics.

use std::collections::HashMap;

use lsp_types::{
    Code, Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DocumentChange, Location,
    MarkupContent, MarkupKind, Message, OptionalVersionedTextDocumentIdentifier, Position, Range,
    TextDocumentEdit, TextDocumentIdentifier, TextEdit, Uri, WorkspaceEdit,
};
use url::Url;
use velo_lint::{Edit, Encoding, Finding, LineColumn, LineIndex, Severity};

/// The name under which diagnostics are shown.
pub(crate) const SOURCE: &str = "velo";

/// Returns the path of a file; the URI itself if it is of another kind, such as that of a text without a file.
pub(crate) fn path(uri: &Uri) -> String {
    let path = Url::parse(&uri.0).ok().and_then(|url| url.to_file_path().ok());
    path.map_or_else(|| uri.0.clone(), |path| path.to_string_lossy().into_owned())
}

/// Returns the URI of a file.
pub(crate) fn uri(path: &str) -> Option<Uri> {
    Some(Uri(Url::from_file_path(path).ok()?.to_string()))
}

/// Positions of a text in the encoding of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    pub lines: &'a LineIndex,
    /// The text.
    pub uri: &'a Uri,
    pub encoding: Encoding,
}

impl Places<'_> {
    pub(crate) fn position(&self, offset: usize) -> Position {
        let LineColumn { line, column } = self.lines.line_column(offset, self.encoding);
        Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            character: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn range(&self, bytes: &std::ops::Range<usize>) -> Range {
        Range { start: self.position(bytes.start), end: self.position(bytes.end) }
    }

    pub(crate) fn offset(&self, position: Position) -> usize {
        let line = usize::try_from(position.line).unwrap_or(usize::MAX);
        let column = usize::try_from(position.character).unwrap_or(usize::MAX);
        self.lines.offset(LineColumn { line, column }, self.encoding)
    }

    pub(crate) fn edit(&self, edit: &Edit) -> TextEdit {
        TextEdit { range: self.range(&edit.span), new_text: edit.text.clone() }
    }

    pub(crate) fn diagnostic(&self, finding: &Finding) -> Diagnostic {
        Diagnostic {
            range: self.range(&finding.span),
            severity: Some(match finding.severity {
                Severity::Error => DiagnosticSeverity::Error,
                Severity::Warning => DiagnosticSeverity::Warning,
                Severity::Info => DiagnosticSeverity::Information,
            }),
            code: Some(Code::String(finding.rule.to_owned())),
            code_description: None,
            source: Some(SOURCE.to_owned()),
            message: Message::String(finding.message.clone()),
            tags: None,
            related_information: finding.related.as_ref().map(|related| {
                let location = Location { uri: self.uri.clone(), range: self.range(&related.span) };
                vec![DiagnosticRelatedInformation { location, message: related.what.to_owned() }]
            }),
            data: None,
        }
    }
}

/// The changes of a text: its URI, its version if it is open, and the edits.
pub(crate) struct Edits {
    pub uri: Uri,
    pub version: Option<i32>,
    pub changes: Vec<TextEdit>,
}

/// Returns changes as the protocol has them. With versions, the client refuses edits of a text that has changed since.
pub(crate) fn workspace_edit(texts: Vec<Edits>, has_versions: bool) -> WorkspaceEdit {
    if !has_versions {
        let changes: HashMap<_, _> = texts.into_iter().map(|text| (text.uri, text.changes)).collect();
        return WorkspaceEdit { changes: Some(changes), document_changes: None, change_annotations: None };
    }
    let change = |Edits { uri, version, changes }| {
        DocumentChange::from(TextDocumentEdit {
            text_document: OptionalVersionedTextDocumentIdentifier {
                version,
                text_document_identifier: TextDocumentIdentifier { uri },
            },
            edits: changes.into_iter().map(Into::into).collect(),
        })
    };
    let changes = texts.into_iter().map(change).collect();
    WorkspaceEdit { changes: None, document_changes: Some(changes), change_annotations: None }
}

/// Returns Markdown as the protocol has it.
pub(crate) fn markdown(text: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value: text }
}
