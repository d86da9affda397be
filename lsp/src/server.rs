//! The main loop: messages of the client in, answers and diagnostics out, in order and on one thread.
//!
//! Messages that have arrived are taken together: a request that was cancelled before its turn is not answered, and a text
//! that has changed several times is checked once.

use std::collections::{BTreeMap, BTreeSet};

use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, RequestId, Response};
use lsp_types::{Notification as _, PublishDiagnosticsParams, Uri};
use serde_json::{Value as Json, json};
use velo_lint::settings::FILE_NAME;
use velo_lint::{FileReport, Incremental, Language, LineIndex};

use crate::capabilities::{self, Client, Feature};
use crate::check::{Checked, check};
use crate::convert::path;
use crate::documents::{Change, Documents, Open};
use crate::handlers::answer::answer;
use crate::handlers::view::{Error, State};
use crate::host::Host;
use crate::inbox::Inbox;
use crate::links::Links;

/// Why a server ends.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The client does not follow the protocol.
    #[error("the client does not follow the protocol: {0}")]
    Protocol(ProtocolError),
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
    let (id, params) = connection.initialize_start().map_err(|error| {
        if error.channel_is_disconnected() { ServerError::Gone } else { ServerError::Protocol(error) }
    })?;
    let client = Client::of(&params);
    let folders = client.folders.iter().map(path).collect();
    let result = json!({
        "capabilities": capabilities::of_server(client.encoding),
        "serverInfo": {"name": "velo", "version": env!("CARGO_PKG_VERSION")},
    });
    let mut server = Server {
        inbox: Inbox::of(connection),
        connection,
        host,
        client,
        folders,
        open: Documents::default(),
        links: Links::default(),
        has_read_folders: false,
        stamps: BTreeMap::new(),
        reports: BTreeMap::new(),
        dirty: BTreeSet::new(),
        is_shut_down: false,
        requests: 0,
    };
    server.host.open_folders(&server.folders);
    server.send(Message::Response(Response::new_ok(id, result)))?;
    server.run()
}

struct Server<'a> {
    connection: &'a Connection,
    inbox: Inbox,
    host: Box<dyn Host>,
    client: Client,
    /// The folders that the client works in.
    folders: Vec<String>,
    open: Documents,
    /// The configuration files that statements name.
    links: Links,
    /// True if the statements in files that are not open were read, too.
    has_read_folders: bool,
    /// The files on disk that matter, as they were last.
    stamps: BTreeMap<String, u64>,
    /// What was found, by URI.
    reports: BTreeMap<String, FileReport>,
    /// The files that may have other findings than before.
    dirty: BTreeSet<String>,
    /// True if the client has said that it is done.
    is_shut_down: bool,
    /// The number of requests to the client.
    requests: i32,
}

impl Server<'_> {
    fn run(&mut self) -> Result<(), ServerError> {
        loop {
            for id in self.inbox.take_cancelled() {
                let code = ErrorCode::RequestCanceled as i32;
                self.send(Message::Response(Response::new_err(id, code, "cancelled".to_owned())))?;
            }
            let message = if let Some(message) = self.inbox.next() {
                message
            } else {
                self.check()?;
                self.inbox.wait().ok_or(ServerError::Gone)?
            };
            match message {
                Message::Request(request) => {
                    let response = self.answer(request)?;
                    self.send(Message::Response(response))?;
                }
                Message::Notification(notification) if notification.method == "exit" => {
                    return if self.is_shut_down { Ok(()) } else { Err(ServerError::Exit) };
                }
                Message::Notification(notification) => self.notice(notification)?,
                Message::Response(_) => {}
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), ServerError> {
        self.connection.sender.send(message).map_err(|_| ServerError::Gone)
    }

    fn tell(&self, method: &str, params: Json) -> Result<(), ServerError> {
        self.send(Message::Notification(Notification { method: method.to_owned(), params }))
    }

    /// Asks the client for something. No answer is needed.
    fn ask(&mut self, method: &str, params: Json) -> Result<(), ServerError> {
        self.requests += 1;
        let id = RequestId::from(self.requests);
        self.send(Message::Request(Request::new(id, method.to_owned(), params)))
    }

    /// Asks the client to watch the files that are not open.
    fn watch(&mut self) -> Result<(), ServerError> {
        let endings: Vec<_> = Language::ENDINGS.iter().map(|(ending, _)| *ending).collect();
        let patterns = [format!("**/{FILE_NAME}"), format!("**/*.{{{}}}", endings.join(","))];
        let watchers: Vec<_> = patterns.iter().map(|pattern| json!({"globPattern": pattern})).collect();
        let method = lsp_types::DidChangeWatchedFilesNotification::METHOD.as_str();
        let registration =
            json!({"id": "files", "method": method, "registerOptions": {"watchers": watchers}});
        self.ask("client/registerCapability", json!({"registrations": [registration]}))
    }

    fn notice(&mut self, notification: Notification) -> Result<(), ServerError> {
        let Notification { method, params } = notification;
        let document = &params["textDocument"];
        let uri = Uri(document["uri"].as_str().unwrap_or_default().to_owned());
        match method.as_str() {
            "initialized" if self.client.has(Feature::WatchedFiles) => self.watch()?,
            "textDocument/didOpen" => self.opened(uri, document),
            "textDocument/didChange" => self.changed(&uri, &params)?,
            "textDocument/didClose" => {
                if let Some(open) = self.open.remove(&uri) {
                    // What an editor does not show has no diagnostics.
                    self.reports.remove(&uri.0);
                    self.publish(&uri, None, &[])?;
                    self.has_changed(&open.path);
                }
            }
            "workspace/didChangeWatchedFiles" => {
                let changes = params["changes"].as_array().into_iter().flatten();
                for uri in changes.filter_map(|change| change["uri"].as_str()) {
                    self.changed_on_disk(&path(&Uri(uri.to_owned())));
                }
            }
            "workspace/didChangeWorkspaceFolders" => {
                let folders = |which: &str| {
                    let folders = params["event"][which].as_array().into_iter().flatten();
                    folders.filter_map(capabilities::folder).map(|uri| path(&uri)).collect::<Vec<_>>()
                };
                let (added, removed) = (folders("added"), folders("removed"));
                self.folders.retain(|folder| !removed.contains(folder));
                self.folders.extend(added);
                self.host.open_folders(&self.folders);
                self.reload();
            }
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, uri: Uri, document: &Json) {
        let text = document["text"].as_str().unwrap_or_default().to_owned();
        let name = path(&uri);
        let path = self.host.files().canonical(&name);
        let by_client = language(document["languageId"].as_str().unwrap_or_default());
        let language = self.host.language(&name).unwrap_or(by_client);
        let version = document["version"].as_i64().and_then(|version| i32::try_from(version).ok());
        self.open.add(Open {
            uri,
            name,
            path: path.clone(),
            version: version.unwrap_or(0),
            language,
            lines: LineIndex::of_buffer(&text),
            text,
            pieces: Incremental::default(),
        });
        self.has_changed(&path);
    }

    fn changed(&mut self, uri: &Uri, params: &Json) -> Result<(), ServerError> {
        let changes = params["contentChanges"].as_array().into_iter().flatten();
        let changes: Option<Vec<_>> = changes.map(Change::parse).collect();
        let version = params["textDocument"]["version"].as_i64().unwrap_or_default();
        let Some(open) = self.open.get_mut(uri) else { return Ok(()) };
        let path = open.path.clone();
        if let Some(changes) = changes {
            open.change(i32::try_from(version).unwrap_or(0), changes, self.client.encoding);
        } else {
            // What the client has is not known any more.
            self.open.remove(uri);
            self.publish(uri, None, &[])?;
            let message = format!("velo cannot read a change of {path}: close the file and open it again");
            self.tell("window/showMessage", json!({"type": 1, "message": message}))?;
        }
        self.has_changed(&path);
        Ok(())
    }

    /// Reads all settings again, and checks everything with them.
    fn reload(&mut self) {
        self.host.reload();
        for open in self.open.iter_mut() {
            open.language = self.host.language(&open.name).unwrap_or(open.language);
        }
        self.has_read_folders = false;
        self.dirty.extend(self.open.iter().map(|open| open.path.clone()));
    }

    fn has_changed(&mut self, path: &str) {
        self.dirty.extend(self.links.related(path));
        self.links.update(path, &*self.host, &self.open);
        self.dirty.extend(self.links.related(path));
    }

    fn changed_on_disk(&mut self, name: &str) {
        let path = self.host.files().canonical(name);
        let is_settings = self.host.settings_files().contains(&path) || path.ends_with(FILE_NAME);
        if is_settings {
            self.reload();
        } else if self.open.at(&path).is_none() {
            self.has_changed(&path);
        }
    }

    /// The settings files, baselines and configuration files that matter, whether they are there or not.
    fn files_on_disk(&self) -> Vec<String> {
        self.host.settings_files().into_iter().chain(self.links.files()).collect()
    }

    /// Notices files that have changed on disk. Some clients do not tell, and none tells of all files.
    fn look_at_disk(&mut self) {
        for file in self.files_on_disk() {
            let stamp = self.host.stamp(&file);
            if self.stamps.insert(file.clone(), stamp).is_some_and(|before| before != stamp) {
                self.changed_on_disk(&file);
            }
        }
    }

    /// Reads which configuration files the statements name in files that are not open.
    fn read_folders(&mut self) {
        if std::mem::replace(&mut self.has_read_folders, true) {
            return;
        }
        let mut folders = self.folders.clone();
        let others = self.open.iter().filter_map(|open| self.host.root(&open.name));
        folders.extend(others.filter(|_| self.folders.is_empty()));
        self.links = Links::read(&folders, &*self.host, &self.open);
    }

    /// Checks what has changed, and publishes what was found in the texts that are open.
    fn check(&mut self) -> Result<(), ServerError> {
        self.look_at_disk();
        if self.dirty.is_empty() {
            return Ok(());
        }
        let dirty = std::mem::take(&mut self.dirty);
        let is_part = |open: &Open| open.language == Language::Yaml && dirty.contains(&open.path);
        if self.open.iter().any(is_part) {
            self.read_folders();
        }
        let checked = check(&dirty, &self.links, &*self.host, &mut self.open);
        let has_several = checked.len() > 1;
        for Checked { uri, report } in checked {
            let Some(open) = self.open.get(&uri) else { continue };
            let places = open.places(self.client.encoding);
            let diagnostics: Vec<_> =
                report.findings.iter().map(|finding| places.diagnostic(finding)).collect();
            self.publish(&uri, Some(open.version), &diagnostics)?;
            self.reports.insert(uri.0, report);
        }
        if let Some(error) = self.host.error() {
            self.tell("window/showMessage", json!({"type": 1, "message": error}))?;
        }
        if has_several && self.client.has(Feature::HintRefresh) {
            self.ask("workspace/inlayHint/refresh", Json::Null)?;
        }
        // Files that were read for the first time are compared with this state later.
        for file in self.files_on_disk() {
            let host = &self.host;
            self.stamps.entry(file).or_insert_with_key(|file| host.stamp(file));
        }
        Ok(())
    }

    fn publish(
        &self,
        uri: &Uri,
        version: Option<i32>,
        diagnostics: &[lsp_types::Diagnostic],
    ) -> Result<(), ServerError> {
        let params =
            PublishDiagnosticsParams { uri: uri.clone(), version, diagnostics: diagnostics.to_vec() };
        let method = lsp_types::PublishDiagnosticsNotification::METHOD.as_str().to_owned();
        self.send(Message::Notification(Notification::new(method, params)))
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
        if method == "textDocument/rename" {
            self.read_folders();
        }
        let state = State {
            host: &*self.host,
            client: &self.client,
            open: &self.open,
            links: &self.links,
            reports: &self.reports,
        };
        Ok(match answer(&state, &method, params) {
            Ok(result) => Response::new_ok(id, result),
            Err(Error { code, message }) => Response::new_err(id, code as i32, message),
        })
    }
}

/// Returns the language of a text by what the client calls it.
fn language(named: &str) -> Language {
    match named {
        "yaml" | "json" | "jsonc" | "dockercompose" => Language::Yaml,
        "markdown" | "mdx" | "quarto" => Language::Markdown,
        _ => Language::Sql,
    }
}
