//! `velo lsp` as an editor runs it: on its standard input and output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lsp_server::{Message, Notification, Request, RequestId};
use serde_json::{Value as Json, json};
use velo_lint::{Encoding, Language, LineIndex};

use crate::support::{project, stderr, velo};

/// An editor with a server.
struct Editor {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    requests: i32,
    /// The newest diagnostics by URI.
    diagnostics: BTreeMap<String, Vec<Json>>,
}

fn uri(path: &Path) -> String {
    let path = path.canonicalize().expect("a file");
    url::Url::from_file_path(path).expect("an absolute path").to_string()
}

impl Editor {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_velo"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("velo runs");
        let input = BufWriter::new(child.stdin.take().expect("a pipe"));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut editor = Self { child, input, output, requests: 0, diagnostics: BTreeMap::new() };
        let params = json!({
            "processId": std::process::id(),
            "workspaceFolders": [{"uri": uri(folder), "name": "project"}],
            "rootUri": null,
            "capabilities": {"general": {"positionEncodings": ["utf-8", "utf-16"]}},
        });
        let result = editor.ask("initialize", params).expect("an answer");
        assert_eq!(result["capabilities"]["positionEncoding"], "utf-8");
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: &Message) {
        message.write(&mut self.input).expect("a server");
        self.input.flush().expect("a server");
    }

    fn tell(&mut self, method: &str, params: Json) {
        self.send(&Message::Notification(Notification::new(method.to_owned(), params)));
    }

    fn ask(&mut self, method: &str, params: Json) -> Option<Json> {
        self.requests += 1;
        let id = RequestId::from(self.requests);
        self.send(&Message::Request(Request::new(id.clone(), method.to_owned(), params)));
        loop {
            match Message::read(&mut self.output).expect("a message").expect("a server") {
                Message::Response(response) => {
                    assert_eq!(response.id, id);
                    return serde_json::to_value(response).expect("JSON").get("result").cloned();
                }
                Message::Notification(told) if told.method == "textDocument/publishDiagnostics" => {
                    let uri = told.params["uri"].as_str().expect("a URI").to_owned();
                    let found = told.params["diagnostics"].as_array().expect("a list").clone();
                    self.diagnostics.insert(uri, found);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(&mut self, path: &Path) {
        let text = fs::read_to_string(path).expect("a text");
        let document = json!({"uri": uri(path), "languageId": "sql", "version": 1, "text": text});
        self.tell("textDocument/didOpen", json!({"textDocument": document}));
    }

    /// Ends the server as an editor does.
    fn end(mut self) {
        assert_eq!(self.ask("shutdown", Json::Null), Some(Json::Null));
        self.tell("exit", Json::Null);
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// The SQL, YAML, JSON and Markdown files below a folder.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else if Language::of_file_name(&path.to_string_lossy()).is_some() {
            found.push(path);
        }
    }
    found
}

/// A finding: line and column from 0 in bytes, severity, rule and message.
type Place = (u64, u64, String, String, String);

/// What the command line finds below a folder, by URI.
fn by_command_line(folder: &Path) -> BTreeMap<String, BTreeSet<Place>> {
    let output = Command::new(env!("CARGO_BIN_EXE_velo"))
        .args(["lint", "--format", "json"])
        .current_dir(folder)
        .output()
        .expect("velo runs");
    let findings: Vec<Json> = serde_json::from_slice(&output.stdout).expect("findings");
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for finding in findings {
        let text = |name: &str| finding[name].as_str().expect("a text").to_owned();
        let path = folder.join(text("file"));
        let offset = usize::try_from(finding["start"]["offset"].as_u64().expect("an offset")).expect("small");
        let lines = LineIndex::new(&fs::read_to_string(&path).expect("a text"));
        let place = lines.line_column(offset, Encoding::Utf8);
        let place = (place.line as u64, place.column as u64, text("severity"), text("rule"), text("message"));
        found.entry(uri(&path)).or_default().insert(place);
    }
    found
}

#[test]
fn the_server_finds_what_the_command_line_finds_in_every_fixture() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let expected = by_command_line(&fixtures);
    let mut editor = Editor::start(&fixtures);
    let files = texts(&fixtures);
    assert!(files.len() > 100, "{}", files.len());
    for file in &files {
        editor.open(file);
        // An editor reads what it is told; the answer comes after what was found.
        editor.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri(file)}}));
    }
    let severity = |number: &Json| match number.as_u64() {
        Some(1) => "error",
        Some(2) => "warning",
        _ => "info",
    };
    let place = |found: &Json| {
        let start = &found["range"]["start"];
        let number = |name: &str| start[name].as_u64().expect("a number");
        let text = |name: &str| found[name].as_str().expect("a text").to_owned();
        (
            number("line"),
            number("character"),
            severity(&found["severity"]).to_owned(),
            text("code"),
            text("message"),
        )
    };
    for file in &files {
        let uri = uri(file);
        let found: BTreeSet<_> = editor.diagnostics.get(&uri).into_iter().flatten().map(place).collect();
        assert_eq!(found, expected.get(&uri).cloned().unwrap_or_default(), "{uri}");
    }
    editor.end();
}

#[test]
fn a_settings_file_that_is_wrong_is_reported_and_read_again() {
    let sql = "CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'fixed_size', 'batch.size' = '0', 'failure_strategy' = 'FailBatch');\n";
    let folder = project(&[("velo.toml", "[rules]\nout-of-range = 'allow'\n"), ("a.sql", sql)]);
    let (file, settings) = (folder.path().join("a.sql"), folder.path().join("velo.toml"));
    let mut editor = Editor::start(folder.path());
    editor.open(&file);
    let symbols = json!({"textDocument": {"uri": uri(&file)}});
    editor.ask("textDocument/documentSymbol", symbols.clone());
    assert_eq!(editor.diagnostics[&uri(&file)], Vec::<Json>::new());
    fs::write(&settings, "[rules]\nout-of-range = 'warning'\n").expect("written");
    let changes = json!({"changes": [{"uri": uri(&settings), "type": 2}]});
    editor.tell("workspace/didChangeWatchedFiles", changes);
    editor.ask("textDocument/documentSymbol", symbols);
    assert_eq!(editor.diagnostics[&uri(&file)][0]["severity"], 2);
    editor.end();
}

#[test]
fn an_editor_that_is_gone_ends_the_server() {
    let folder = project(&[("a.sql", "SELECT 1;")]);
    let mut editor = Editor::start(folder.path());
    drop(editor.input);
    let status = editor.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(2), "nothing has said that it is done");
    let help = velo(&folder, &["lsp", "--help"]);
    assert!(help.status.success(), "{}", stderr(&help));
}
