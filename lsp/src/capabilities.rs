//! What the client can do in, what the server does out.

use lsp_types::{
    ChangeNotifications, CodeActionKind, CodeActionOptions, CodeActionProvider, CompletionOptions,
    DocumentSymbolProvider, HoverProvider, InlayHintProvider, PositionEncodingKind, RenameOptions,
    RenameProvider, Save, ServerCapabilities, TextDocumentSync, TextDocumentSyncKind,
    TextDocumentSyncOptions, Uri, WorkspaceFoldersServerCapabilities, WorkspaceOptions,
};
use serde_json::Value as Json;
use velo_lint::Encoding;

/// What some clients can do and others cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// It places the cursor in what it inserts.
    Snippets,
    /// It tells of files that change on disk.
    WatchedFiles,
    /// It asks for hints again when it is told to.
    HintRefresh,
    /// Its edits say which version of a text they are for.
    VersionedEdits,
}

impl Feature {
    /// Every feature, and its place in the capabilities of the client.
    const ALL: [(Self, &'static str); 4] = [
        (Self::Snippets, "/textDocument/completion/completionItem/snippetSupport"),
        (Self::WatchedFiles, "/workspace/didChangeWatchedFiles/dynamicRegistration"),
        (Self::HintRefresh, "/workspace/inlayHint/refreshSupport"),
        (Self::VersionedEdits, "/workspace/workspaceEdit/documentChanges"),
    ];
}

/// What the client has said about itself.
#[derive(Debug)]
pub(crate) struct Client {
    pub encoding: Encoding,
    features: Vec<Feature>,
    /// The folders that it works in.
    pub folders: Vec<Uri>,
}

impl Client {
    /// Reads the parameters of `initialize`. What is missing or wrong counts as not there.
    pub(crate) fn of(params: &Json) -> Self {
        let can = |(_, what): &(Feature, &str)| {
            params["capabilities"].pointer(what).and_then(Json::as_bool).unwrap_or(false)
        };
        let offered = params.pointer("/capabilities/general/positionEncodings").and_then(Json::as_array);
        // Bytes need no conversion.
        let has_utf8 = offered.into_iter().flatten().any(|encoding| encoding == "utf-8");
        let folders = params["workspaceFolders"].as_array().into_iter().flatten();
        let mut folders: Vec<_> = folders.filter_map(folder).collect();
        if folders.is_empty() {
            folders.extend(params["rootUri"].as_str().map(|uri| Uri(uri.to_owned())));
        }
        Self {
            encoding: if has_utf8 { Encoding::Utf8 } else { Encoding::Utf16 },
            features: Feature::ALL
                .iter()
                .filter(|feature| can(feature))
                .map(|(feature, _)| *feature)
                .collect(),
            folders,
        }
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}

/// Reads a folder of the protocol.
pub(crate) fn folder(json: &Json) -> Option<Uri> {
    Some(Uri(json["uri"].as_str()?.to_owned()))
}

/// The action that applies all fixes of velo. Clients that ask for `source.fixAll` mean it, too.
pub(crate) fn fix_all_kind() -> CodeActionKind {
    CodeActionKind::from("source.fixAll.velo".to_owned())
}

/// Returns what the server does.
pub(crate) fn of_server(encoding: Encoding) -> ServerCapabilities {
    let triggers = ["'", "\"", ".", "=", ":"].map(str::to_owned).to_vec();
    ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 | Encoding::Utf32 => PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(TextDocumentSync::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::Incremental),
            save: Some(Save::Bool(true)),
            ..TextDocumentSyncOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(triggers),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProvider::Bool(true)),
        document_symbol_provider: Some(DocumentSymbolProvider::Bool(true)),
        inlay_hint_provider: Some(InlayHintProvider::Bool(true)),
        rename_provider: Some(RenameProvider::RenameOptions(RenameOptions {
            prepare_provider: Some(true),
            ..RenameOptions::default()
        })),
        code_action_provider: Some(CodeActionProvider::CodeActionOptions(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QuickFix, fix_all_kind()]),
            ..CodeActionOptions::default()
        })),
        workspace: Some(WorkspaceOptions {
            workspace_folders: Some(WorkspaceFoldersServerCapabilities {
                supported: Some(true),
                change_notifications: Some(ChangeNotifications::Bool(true)),
            }),
            ..WorkspaceOptions::default()
        }),
        ..ServerCapabilities::default()
    }
}
