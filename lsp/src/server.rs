//! The main loop: messages of the client in, answers and diagnostics out, in order and on one thread.
//!
//! Messages that have arrived are taken together. A request that was cancelled before its turn is not answered, and a
//! text that has changed several times is checked once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, RequestId, Response};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProvider, CompletionOptions, DidChangeTextDocumentParams,
    DidChangeWatchedFilesParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    DocumentSymbolProvider, HoverProvider, InitializeParams, InlayHintProvider, Notification as _,
    PositionEncodingKind, PublishDiagnosticsParams, Request as _, ServerCapabilities, TextDocumentIdentifier,
    TextDocumentPositionParams, TextDocumentSync, TextDocumentSyncKind, TextDocumentSyncOptions, Uri,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use velo_lint::settings::FILE_NAME;
use velo_lint::{Document, Encoding, FileReport, Language};

use crate::check::{Names, check};
use crate::convert::{Places, path};
use crate::documents::{Documents, Open};
use crate::handlers::{View, actions, completion, hints, hover, symbols};
use crate::host::Host;

/// Why a server ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The client does not follow the protocol.
    #[error("the client does not follow the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The client is gone.
    #[error("the client is gone")]
    Gone,
    /// The client has ended without saying that it is done.
    #[error("the client has ended without a shutdown request")]
    Exit,
    /// Standard input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Serves the client on standard input and output until it says that it is done.
///
/// # Errors
/// If the client does not follow the protocol, or is gone without a word.
pub fn serve_stdio(host: Box<dyn Host>) -> Result<(), ServerError> {
    let (connection, threads) = Connection::stdio();
    let served = serve(&connection, host);
    // The writing thread ends once the connection is dropped.
    drop(connection);
    threads.join()?;
    served
}

/// Serves a client until it says that it is done.
///
/// # Errors
/// If the client does not follow the protocol, or is gone without a word.
pub fn serve(connection: &Connection, host: Box<dyn Host>) -> Result<(), ServerError> {
    let (id, params) = connection.initialize_start()?;
    let params: InitializeParams = serde_json::from_value(params).unwrap_or_default();
    let encoding = encoding(&params);
    let result = json!({
        "capabilities": capabilities(encoding),
        "serverInfo": {"name": "velo", "version": env!("CARGO_PKG_VERSION")},
    });
    connection.initialize_finish(id, result)?;
    let folders = folders(&params).iter().map(path).collect();
    let mut server = Server {
        connection,
        host,
        encoding,
        has_snippets: can(&params, "/textDocument/completion/completionItem/snippetSupport"),
        folders,
        open: Documents::default(),
        names: Names::default(),
        has_read_folders: false,
        reports: BTreeMap::new(),
        dirty: BTreeSet::new(),
        is_shut_down: false,
        waiting: VecDeque::new(),
    };
    if can(&params, "/workspace/didChangeWatchedFiles/dynamicRegistration") {
        server.watch()?;
    }
    server.run()
}

/// Returns true if the client says that it can do something.
fn can(params: &InitializeParams, what: &str) -> bool {
    let capabilities = serde_json::to_value(&params.capabilities).unwrap_or_default();
    capabilities.pointer(what).and_then(Json::as_bool).unwrap_or(false)
}

fn encoding(params: &InitializeParams) -> Encoding {
    let general = params.capabilities.general.as_ref();
    let offered = general.and_then(|general| general.position_encodings.clone()).unwrap_or_default();
    // Bytes need no conversion.
    if offered.contains(&PositionEncodingKind::UTF8) { Encoding::Utf8 } else { Encoding::Utf16 }
}

#[allow(deprecated, reason = "older clients have a root only")]
fn folders(params: &InitializeParams) -> Vec<Uri> {
    let value = serde_json::to_value(params).unwrap_or_default();
    let folders = value["workspaceFolders"].as_array().into_iter().flatten();
    let mut uris: Vec<_> = folders.filter_map(|folder| folder["uri"].as_str().map(str::to_owned)).collect();
    if uris.is_empty() {
        uris.extend(value["rootUri"].as_str().map(str::to_owned));
    }
    uris.into_iter().map(Uri).collect()
}

fn capabilities(encoding: Encoding) -> ServerCapabilities {
    let triggers = ["'", "\"", ".", "=", " ", ":"].map(str::to_owned).to_vec();
    ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 | Encoding::Utf32 => PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(TextDocumentSync::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::Incremental),
            ..TextDocumentSyncOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(triggers),
            ..CompletionOptions::default()
        }),
        hover_provider: Some(HoverProvider::Bool(true)),
        document_symbol_provider: Some(DocumentSymbolProvider::Bool(true)),
        inlay_hint_provider: Some(InlayHintProvider::Bool(true)),
        code_action_provider: Some(CodeActionProvider::CodeActionOptions(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QuickFix, CodeActionKind::SourceFixAll]),
            ..CodeActionOptions::default()
        })),
        ..ServerCapabilities::default()
    }
}

struct Server<'a> {
    connection: &'a Connection,
    host: Box<dyn Host>,
    encoding: Encoding,
    /// The folders that the client works in.
    folders: Vec<String>,
    open: Documents,
    has_snippets: bool,
    /// The configuration files that statements name.
    names: Names,
    /// True if the statements in files that are not open were read, too.
    has_read_folders: bool,
    /// What was found, by path.
    reports: BTreeMap<String, FileReport>,
    /// The texts that have changed and were not checked since.
    dirty: BTreeSet<String>,
    /// True if the client has said that it is done.
    is_shut_down: bool,
    /// Messages that have arrived.
    waiting: VecDeque<Message>,
}

impl Server<'_> {
    fn run(&mut self) -> Result<(), ServerError> {
        loop {
            self.waiting.extend(self.connection.receiver.try_iter());
            self.drop_cancelled()?;
            let message = if let Some(message) = self.waiting.pop_front() {
                message
            } else {
                self.check()?;
                self.connection.receiver.recv().map_err(|_| ServerError::Gone)?
            };
            match message {
                Message::Request(request) => {
                    let response = self.answer(request)?;
                    self.send(Message::Response(response))?;
                }
                Message::Notification(notification) if notification.method == "exit" => {
                    return if self.is_shut_down { Ok(()) } else { Err(ServerError::Exit) };
                }
                Message::Notification(notification) => self.notice(notification),
                Message::Response(_) => {}
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), ServerError> {
        self.connection.sender.send(message).map_err(|_| ServerError::Gone)
    }

    /// Asks the client to watch the files that are not open.
    fn watch(&self) -> Result<(), ServerError> {
        let endings: Vec<_> = Language::ENDINGS.iter().map(|(ending, _)| *ending).collect();
        let patterns = [format!("**/{FILE_NAME}"), format!("**/*.{{{}}}", endings.join(","))];
        let watchers: Vec<_> = patterns.iter().map(|pattern| json!({"globPattern": pattern})).collect();
        let method = lsp_types::DidChangeWatchedFilesNotification::METHOD.as_str();
        let options = json!({"watchers": watchers});
        let params =
            json!({"registrations": [{"id": "files", "method": method, "registerOptions": options}]});
        let id = RequestId::from("files".to_owned());
        self.send(Message::Request(Request::new(id, "client/registerCapability".to_owned(), params)))
    }

    /// Answers the requests that the client has cancelled before their turn.
    fn drop_cancelled(&mut self) -> Result<(), ServerError> {
        let is_cancel = |message: &&Message| matches!(message, Message::Notification(notification) if notification.method == "$/cancelRequest");
        let cancelled: Vec<_> = self.waiting.iter().filter(is_cancel).filter_map(cancelled).collect();
        for id in cancelled {
            let is_it = |message: &Message| matches!(message, Message::Request(request) if request.id == id);
            if let Some(index) = self.waiting.iter().position(is_it) {
                self.waiting.remove(index);
                let code = ErrorCode::RequestCanceled as i32;
                self.send(Message::Response(Response::new_err(id, code, "cancelled".to_owned())))?;
            }
        }
        Ok(())
    }

    fn notice(&mut self, notification: Notification) {
        let Notification { method, params } = notification;
        if method == lsp_types::DidOpenTextDocumentNotification::METHOD.as_str() {
            if let Ok(DidOpenTextDocumentParams { text_document: opened }) = serde_json::from_value(params) {
                let path = self.canonical(&opened.uri);
                let named = serde_json::to_value(&opened.language_id).unwrap_or_default();
                let language = self.language(&path, named.as_str().unwrap_or_default());
                let open = Open::new(opened.uri, opened.version, language, opened.text);
                self.open.0.insert(path.clone(), open);
                self.has_changed(path);
            }
        } else if method == lsp_types::DidChangeTextDocumentNotification::METHOD.as_str() {
            if let Ok(DidChangeTextDocumentParams { text_document, content_changes }) =
                serde_json::from_value(params)
            {
                let path = self.canonical(&text_document.text_document_identifier.uri);
                if let Some(open) = self.open.0.get_mut(&path) {
                    open.change(text_document.version, content_changes, self.encoding);
                    self.has_changed(path);
                }
            }
        } else if method == lsp_types::DidCloseTextDocumentNotification::METHOD.as_str() {
            if let Ok(DidCloseTextDocumentParams { text_document }) = serde_json::from_value(params) {
                let path = self.canonical(&text_document.uri);
                self.open.0.remove(&path);
                // What an editor does not show has no diagnostics.
                self.reports.remove(&path);
                self.publish(&text_document.uri, None, &[]);
                self.has_changed(path);
            }
        } else if method == lsp_types::DidChangeWatchedFilesNotification::METHOD.as_str()
            && let Ok(DidChangeWatchedFilesParams { changes }) = serde_json::from_value(params)
        {
            for change in changes {
                let path = self.canonical(&change.uri);
                if path.ends_with(FILE_NAME) {
                    self.reload();
                } else {
                    self.has_changed(path);
                }
            }
        }
    }

    fn canonical(&self, uri: &Uri) -> String {
        self.host.files().canonical(&path(uri))
    }

    /// Returns the language of a text by its name, otherwise by what the client calls it.
    fn language(&self, path: &str, named: &str) -> Language {
        let by_client = match named {
            "yaml" | "json" | "jsonc" | "dockercompose" => Language::Yaml,
            "markdown" => Language::Markdown,
            _ => Language::Sql,
        };
        self.host.language(path).unwrap_or(by_client)
    }

    /// Reads all settings again, and checks everything with them.
    fn reload(&mut self) {
        self.host.reload();
        for (path, open) in &mut self.open.0 {
            open.language = self.host.language(path).unwrap_or(open.language);
        }
        self.has_read_folders = false;
        self.dirty.extend(self.open.0.keys().cloned());
    }

    fn has_changed(&mut self, path: String) {
        self.names.update(&path, &*self.host, &self.open);
        self.dirty.insert(path);
    }

    /// Checks what has changed, and publishes what was found in the texts that are open.
    fn check(&mut self) -> Result<(), ServerError> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let dirty = std::mem::take(&mut self.dirty);
        let is_part =
            |path: &String| self.open.0.get(path).is_some_and(|open| open.language == Language::Yaml);
        if !self.has_read_folders && dirty.iter().any(is_part) {
            // Files that are not open may name it.
            self.names = Names::read(&self.folders, &*self.host, &self.open);
            self.has_read_folders = true;
        }
        let reports = check(&dirty, &self.names, &*self.host, &self.open);
        let mut found: BTreeMap<_, _> =
            reports.into_iter().map(|report| (self.host.files().canonical(&report.name), report)).collect();
        // A text that is not checked any more has nothing.
        for path in dirty.iter().filter(|path| self.open.0.contains_key(*path)) {
            found.entry(path.clone()).or_insert_with(|| nothing(path, &self.open.0[path]));
        }
        for (path, report) in found {
            if let Some(open) = self.open.0.get(&path) {
                let places = open.places(self.encoding);
                self.publish_findings(&open.uri, Some(open.version), places, &report);
                self.reports.insert(path, report);
            }
        }
        if let Some(error) = self.host.error() {
            let params = json!({"type": 1, "message": error});
            let method = "window/showMessage".to_owned();
            self.send(Message::Notification(Notification { method, params }))?;
        }
        Ok(())
    }

    fn publish_findings(&self, uri: &Uri, version: Option<i32>, places: Places<'_>, report: &FileReport) {
        let diagnostics: Vec<_> = report.findings.iter().map(|finding| places.diagnostic(finding)).collect();
        self.publish(uri, version, &diagnostics);
    }

    fn publish(&self, uri: &Uri, version: Option<i32>, diagnostics: &[lsp_types::Diagnostic]) {
        let params =
            PublishDiagnosticsParams { uri: uri.clone(), version, diagnostics: diagnostics.to_vec() };
        let method = lsp_types::PublishDiagnosticsNotification::METHOD.as_str().to_owned();
        // A client that is gone is noticed when its next message is waited for.
        let _ = self.send(Message::Notification(Notification::new(method, params)));
    }

    /// Answers a request. What was found has to be up to date first.
    fn answer(&mut self, request: Request) -> Result<Response, ServerError> {
        let Request { id, method, params } = request;
        if self.is_shut_down {
            let code = ErrorCode::InvalidRequest as i32;
            return Ok(Response::new_err(id, code, "the server is shut down".to_owned()));
        }
        if method == "shutdown" {
            self.is_shut_down = true;
            return Ok(Response::new_ok(id, Json::Null));
        }
        self.check()?;
        let is = |wanted: lsp_types::LspRequestMethod<'static>| method == wanted.as_str();
        Ok(if is(lsp_types::HoverRequest::METHOD) {
            self.at(id, params, hover::hover)
        } else if is(lsp_types::CompletionRequest::METHOD) {
            self.at(id, params, |view, offset| Some(completion::completion(view, offset)))
        } else if is(lsp_types::CodeActionRequest::METHOD) {
            self.with(id, params, |view, params: lsp_types::CodeActionParams| {
                let places = view.open.places(view.encoding);
                let range = places.offset(params.range.start)..places.offset(params.range.end);
                Some(actions::actions(view, &range, &params.context.only.unwrap_or_default()))
            })
        } else if is(lsp_types::InlayHintRequest::METHOD) {
            self.with(id, params, |view, params: lsp_types::InlayHintParams| {
                let places = view.open.places(view.encoding);
                let range = places.offset(params.range.start)..places.offset(params.range.end);
                Some(hints::hints(view, &range))
            })
        } else if is(lsp_types::DocumentSymbolRequest::METHOD) {
            self.with(id, params, |view, _: lsp_types::DocumentSymbolParams| Some(symbols::symbols(view)))
        } else {
            let code = ErrorCode::MethodNotFound as i32;
            Response::new_err(id, code, format!("velo does not know {method}"))
        })
    }

    /// Answers a request about a place in a text.
    fn at<R: Serialize>(
        &self,
        id: RequestId,
        params: Json,
        answer: impl Fn(&View<'_>, usize) -> Option<R>,
    ) -> Response {
        self.with(id, params, |view, params: TextDocumentPositionParams| {
            answer(view, view.open.places(view.encoding).offset(params.position))
        })
    }

    /// Answers a request about a text; nothing if it is not open.
    fn with<P: DeserializeOwned, R: Serialize>(
        &self,
        id: RequestId,
        params: Json,
        answer: impl Fn(&View<'_>, P) -> Option<R>,
    ) -> Response {
        let identifier = serde_json::from_value::<TextDocumentIdentifier>(params["textDocument"].clone());
        let (Ok(identifier), Ok(params)) = (identifier, serde_json::from_value::<P>(params)) else {
            let code = ErrorCode::InvalidParams as i32;
            return Response::new_err(id, code, "the parameters are not those of the request".to_owned());
        };
        let path = self.canonical(&identifier.uri);
        let Some(open) = self.open.0.get(&path) else { return Response::new_ok(id, Json::Null) };
        let none = nothing(&path, open);
        let options = self.host.settings(&path).options;
        let files = self.open.over(self.host.files());
        let view = View {
            open,
            report: self.reports.get(&path).unwrap_or(&none),
            document: &Document::read(&path, &open.text, open.language, &files),
            options: &options,
            encoding: self.encoding,
            has_snippets: self.has_snippets,
        };
        Response::new_ok(id, answer(&view, params))
    }
}

/// A report without findings.
fn nothing(path: &str, open: &Open) -> FileReport {
    FileReport {
        name: path.to_owned(),
        text: open.text.clone(),
        language: open.language,
        statements: Vec::new(),
        parts: Vec::new(),
        findings: Vec::new(),
    }
}

fn cancelled(message: &Message) -> Option<RequestId> {
    let Message::Notification(notification) = message else { return None };
    serde_json::from_value(notification.params["id"].clone()).ok()
}
