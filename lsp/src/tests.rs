//! A client in memory: what an editor sends, and what it gets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use serde_json::{Value as Json, json};
use velo_lint::{
    Encoding, File, FileError, FileReport, FileSettings, Files, Language, LineColumn, LineIndex, Settings,
};

use crate::host::Host;
use crate::server::serve;

/// A machine whose files are a map.
#[derive(Default, Clone)]
struct Map {
    files: Arc<Mutex<BTreeMap<String, String>>>,
    settings: String,
}

impl Files for Map {
    fn read(&self, _: &str, path: &str) -> Result<File, FileError> {
        let name = format!("/project/{}", path.trim_start_matches("./"));
        let text = self.files.lock().expect("no panic").get(&name).cloned().ok_or(FileError::NotFound)?;
        Ok(File { name, text })
    }
}

impl Host for Map {
    fn open_folders(&mut self, _: &[String]) {}

    fn files(&self) -> &(dyn Files + Sync) {
        self
    }

    fn settings(&self, path: &str) -> FileSettings {
        Settings::parse(&self.settings).expect("settings").of(path.trim_start_matches("/project/"))
    }

    fn excludes(&self, path: &str) -> bool {
        Settings::parse(&self.settings).expect("settings").excludes(path.trim_start_matches("/project/"))
    }

    fn language(&self, path: &str) -> Option<Language> {
        Language::of_file_name(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        self.files.lock().expect("no panic").get(path).cloned()
    }

    fn statements_below(&self, folder: &str) -> Vec<String> {
        let is_below =
            |path: &&String| path.starts_with(folder) && Language::of_file_name(path) == Some(Language::Sql);
        self.files.lock().expect("no panic").keys().filter(is_below).cloned().collect()
    }

    fn root(&self, _: &str) -> Option<String> {
        Some("/project".to_owned())
    }

    fn accept(&self, reports: &mut [FileReport]) {
        let accepted =
            self.files.lock().expect("no panic").get("/project/accepted").cloned().unwrap_or_default();
        for report in reports {
            report.findings.retain(|finding| !accepted.contains(finding.rule));
        }
    }

    fn settings_files(&self) -> Vec<String> {
        vec!["/project/velo.toml".to_owned(), "/project/accepted".to_owned()]
    }

    fn stamp(&self, path: &str) -> u64 {
        self.files.lock().expect("no panic").get(path).map_or(0, |text| text.len() as u64 + 1)
    }

    fn reload(&mut self) {
        self.settings = "[rules]\nout-of-range = 'allow'\n".to_owned();
    }

    fn error(&self) -> Option<String> {
        None
    }
}

/// An editor with a server.
struct Client {
    connection: Connection,
    server: Option<thread::JoinHandle<()>>,
    requests: i32,
    /// The newest diagnostics of each text.
    diagnostics: BTreeMap<String, Vec<Json>>,
    /// What the user was told.
    messages: Vec<String>,
}

fn uri(name: &str) -> String {
    format!("file:///project/{name}")
}

impl Client {
    fn start(host: Map, encodings: &[&str]) -> Self {
        let (server, connection) = Connection::memory();
        let running = thread::spawn(move || serve(&server, Box::new(host)).expect("it is served to the end"));
        let mut client = Self {
            connection,
            server: Some(running),
            requests: 0,
            diagnostics: BTreeMap::new(),
            messages: Vec::new(),
        };
        let params = json!({
            "processId": null,
            "rootUri": "file:///project",
            "capabilities": {"general": {"positionEncodings": encodings}},
        });
        let result = client.ask("initialize", params);
        assert_eq!(result["serverInfo"]["name"], "velo");
        client.tell("initialized", json!({}));
        client
    }

    fn tell(&self, method: &str, params: Json) {
        let message = Message::Notification(Notification::new(method.to_owned(), params));
        self.connection.sender.send(message).expect("a server");
    }

    fn send(&mut self, method: &str, params: Json) -> RequestId {
        self.requests += 1;
        let id = RequestId::from(self.requests);
        let request = Request::new(id.clone(), method.to_owned(), params);
        self.connection.sender.send(Message::Request(request)).expect("a server");
        id
    }

    /// Waits for the answer to a request.
    fn answer(&mut self, id: &RequestId) -> Result<Json, i32> {
        loop {
            match self.connection.receiver.recv().expect("a server") {
                Message::Response(response) if response.id == *id => {
                    return response.response_kind_result();
                }
                Message::Notification(told) if told.method == "textDocument/publishDiagnostics" => {
                    let uri = told.params["uri"].as_str().expect("a URI").to_owned();
                    let found = told.params["diagnostics"].as_array().expect("a list").clone();
                    self.diagnostics.insert(uri, found);
                }
                Message::Notification(told) if told.method == "window/showMessage" => {
                    self.messages.push(told.params["message"].as_str().expect("a text").to_owned());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn ask(&mut self, method: &str, params: Json) -> Json {
        let id = self.send(method, params);
        self.answer(&id).expect("an answer")
    }

    fn open(&mut self, name: &str, language: &str, text: &str) {
        let document = json!({"uri": uri(name), "languageId": language, "version": 1, "text": text});
        self.tell("textDocument/didOpen", json!({"textDocument": document}));
    }

    #[allow(clippy::needless_pass_by_value, reason = "the changes are made for the call")]
    fn change(&mut self, name: &str, changes: Json) {
        let document = json!({"uri": uri(name), "version": 2});
        self.tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": changes}));
    }

    /// Returns the rules of the diagnostics of a text as they are now.
    fn rules(&mut self, name: &str) -> Vec<String> {
        // The answer to any request comes after what was found.
        self.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri(name)}}));
        let found = self.diagnostics.get(&uri(name)).cloned().unwrap_or_default();
        found.iter().map(|found| found["code"].as_str().expect("a rule").to_owned()).collect()
    }

    fn about(&mut self, method: &str, name: &str, line: u32, character: u32) -> Json {
        let params = json!({
            "textDocument": {"uri": uri(name)},
            "position": {"line": line, "character": character},
        });
        self.ask(method, params)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        self.ask("shutdown", Json::Null);
        self.tell("exit", Json::Null);
        self.server.take().expect("a server").join().expect("it ends");
    }
}

trait Kind {
    fn response_kind_result(self) -> Result<Json, i32>;
}

impl Kind for lsp_server::Response {
    fn response_kind_result(self) -> Result<Json, i32> {
        let json = serde_json::to_value(&self).expect("JSON");
        match json.get("error") {
            Some(error) => Err(i32::try_from(error["code"].as_i64().expect("a code")).expect("small")),
            None => Ok(json["result"].clone()),
        }
    }
}

const BAD: &str = "-- \u{1f600}\nCREATE STREAM s AS SELECT * FROM orders WITH (\n  /* \u{1f600} */ 'batch.strategy' = 'FixedSize',\n  'batch.size' = '0', 'failure_strategy' = 'FailBatch'\n);\n";

#[test]
fn findings_follow_every_change() {
    for (encoding, column) in [("utf-8", 33), ("utf-16", 31)] {
        let mut client = Client::start(Map::default(), &[encoding]);
        client.open("a.sql", "sql", BAD);
        assert_eq!(client.rules("a.sql"), ["non-canonical-spelling", "out-of-range"]);
        let start = client.diagnostics[&uri("a.sql")][0]["range"]["start"].clone();
        assert_eq!((&start["line"], &start["character"]), (&2.into(), &column.into()), "{encoding}");
        // The size is typed, digit by digit; then a line is put before all.
        let place = |character: u32| json!({"line": 3, "character": character});
        client.change("a.sql", json!([{"range": {"start": place(18), "end": place(19)}, "text": "5"}]));
        client.change("a.sql", json!([{"range": {"start": place(19), "end": place(19)}, "text": "00"}]));
        assert_eq!(client.rules("a.sql"), ["non-canonical-spelling"]);
        let top = json!({"line": 0, "character": 0});
        client.change("a.sql", json!([{"range": {"start": top, "end": top}, "text": "\n"}]));
        client.rules("a.sql");
        assert_eq!(client.diagnostics[&uri("a.sql")][0]["range"]["start"]["line"], 3);
        client.change("a.sql", json!([{"text": "SELECT 1;"}]));
        assert_eq!(client.rules("a.sql"), [""; 0]);
    }
}

#[test]
fn a_client_that_offers_no_encoding_gets_that_of_the_protocol() {
    let mut client = Client::start(Map::default(), &[]);
    client.open("a.sql", "sql", BAD);
    client.rules("a.sql");
    assert_eq!(client.diagnostics[&uri("a.sql")][0]["range"]["start"]["character"], 31);
}

#[test]
fn a_configuration_file_is_part_of_the_statements_that_name_it() {
    let statement = "CREATE STREAM s AS SELECT * FROM orders WITH ('config_file' = 'c.yaml', 'batch.strategy' = 'time_window', 'failure_strategy' = 'FailBatch');";
    let config = "batch:\n  window: 5s\n";
    let files = [("/project/a.sql", statement), ("/project/c.yaml", config)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let files = Arc::new(Mutex::new(files.into()));
    let mut client = Client::start(Map { files, settings: String::new() }, &["utf-8"]);
    // The statement is on disk only, and has the strategy that the window needs.
    client.open("c.yaml", "yaml", config);
    assert_eq!(client.rules("c.yaml"), [""; 0]);
    client.open("a.sql", "sql", statement);
    // A change in one is seen in the other.
    client.change("a.sql", json!([{"text": statement.replace("time_window", "fixed_size")}]));
    assert_eq!(client.rules("a.sql"), [""; 0]);
    assert_eq!(client.rules("c.yaml"), ["inert-key"]);
    client.change("c.yaml", json!([{"text": "batch:\n  size: 0\n"}]));
    assert_eq!(client.rules("c.yaml"), ["out-of-range"]);
}

#[test]
fn a_configuration_file_that_appears_is_found() {
    let statement = "CREATE STREAM s AS SELECT * FROM orders WITH ('config_file' = 'c.yaml', 'failure_strategy' = 'FailBatch');";
    let map = Map::default();
    let mut client = Client::start(map.clone(), &["utf-8"]);
    client.open("a.sql", "sql", statement);
    assert_eq!(client.rules("a.sql"), ["config-file"]);
    map.files
        .lock()
        .expect("no panic")
        .insert("/project/c.yaml".to_owned(), "batch:\n  size: 500\n".to_owned());
    let changes = json!({"changes": [{"uri": uri("c.yaml"), "type": 1}]});
    client.tell("workspace/didChangeWatchedFiles", changes);
    assert_eq!(client.rules("a.sql"), [""; 0]);
}

/// A machine with these files in the project.
fn machine(files: &[(&str, &str)]) -> Map {
    let files = files.iter().map(|(name, text)| (format!("/project/{name}"), (*text).to_owned())).collect();
    Map { files: Arc::new(Mutex::new(files)), settings: String::new() }
}

const NAMES_CONFIG: &str = "CREATE STREAM s AS SELECT * FROM orders WITH ('config_file' = './c.yaml', 'batch.strategy' = 'time_window', 'failure_strategy' = 'FailBatch');";

#[test]
fn a_configuration_file_that_cannot_be_used_for_a_moment_stays_a_part_of_its_statement() {
    let map = machine(&[("a.sql", NAMES_CONFIG), ("c.yaml", "batch: {window: 5s}\n")]);
    let mut client = Client::start(map, &["utf-8"]);
    client.open("a.sql", "sql", NAMES_CONFIG);
    client.open("c.yaml", "yaml", "batch: {window: 5s}\n");
    assert_eq!((client.rules("a.sql"), client.rules("c.yaml")), (vec![], vec![]));
    client.change("c.yaml", json!([{"text": ""}]));
    assert_eq!(client.rules("a.sql"), ["config-file"]);
    client.change("c.yaml", json!([{"text": "batch: {window: 0s}\n"}]));
    assert_eq!(client.rules("a.sql"), [""; 0]);
    assert_eq!(client.rules("c.yaml"), ["out-of-range"]);
    // Without the statement it is a file of its own.
    client.change("c.yaml", json!([{"text": "batch: {window: 5s}\n"}]));
    client.change("a.sql", json!([{"text": "SELECT 1;"}]));
    assert_eq!(client.rules("c.yaml"), ["default-failure-strategy", "required-key-missing"]);
}

#[test]
fn what_a_client_does_not_tell_of_is_noticed_on_disk() {
    let map = machine(&[("a.sql", NAMES_CONFIG), ("c.yaml", "batch: {window: 5s}\n")]);
    let mut client = Client::start(map.clone(), &["utf-8"]);
    client.open("a.sql", "sql", NAMES_CONFIG);
    client.open("b.sql", "sql", BAD);
    assert_eq!(client.rules("a.sql"), [""; 0]);
    let write = |name: &str, text: &str| {
        map.files.lock().expect("no panic").insert(format!("/project/{name}"), text.to_owned());
    };
    write("c.yaml", "");
    assert_eq!(client.rules("a.sql"), ["config-file"]);
    assert_eq!(client.rules("b.sql").len(), 2);
    map.files.lock().expect("no panic").remove("/project/c.yaml");
    assert_eq!(client.rules("a.sql"), ["config-file"]);
    write("c.yaml", "batch: {window: 5s}\n");
    assert_eq!(client.rules("a.sql"), [""; 0], "it has appeared again");
    write("accepted", "non-canonical-spelling");
    assert_eq!(client.rules("b.sql"), [""; 0], "settings are read again, and accept the other one");
}

#[test]
fn a_file_that_is_open_under_two_names_has_its_findings_under_both() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", BAD);
    client.open("x/../a.sql", "sql", BAD);
    assert_eq!((client.rules("a.sql").len(), client.rules("x/../a.sql").len()), (2, 2));
    // Each has the findings of its own text.
    client.open("b.yaml", "yaml", "failure_strategy: FailBatch\nbatch: {size: 0}\n");
    client.open("x/../b.yaml", "yaml", "failure_strategy: FailBatch\nbatch: {sise: 5}\n");
    assert!(client.rules("b.yaml").contains(&"out-of-range".to_owned()));
    assert_eq!(client.rules("x/../b.yaml"), ["unknown-key"]);
    client.tell("textDocument/didClose", json!({"textDocument": {"uri": uri("x/../a.sql")}}));
    assert_eq!((client.rules("a.sql").len(), client.rules("x/../a.sql").len()), (2, 0));
}

#[test]
fn a_change_that_cannot_be_read_is_said() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", BAD);
    assert_eq!(client.rules("a.sql").len(), 2);
    client.change("a.sql", json!([{"range": {"start": 5}, "text": "x"}]));
    assert_eq!(client.rules("a.sql"), [""; 0]);
    assert!(client.messages[0].contains("close the file and open it again"), "{:?}", client.messages);
}

#[test]
fn the_files_that_matter_are_watched_if_the_client_can() {
    let (server, connection) = Connection::memory();
    let capabilities = json!({"workspace": {"didChangeWatchedFiles": {"dynamicRegistration": true}}});
    let request = |id: i32, method: &str, params: Json| {
        Message::Request(Request::new(RequestId::from(id), method.to_owned(), params))
    };
    let told = |method: &str| Message::Notification(Notification::new(method.to_owned(), json!({})));
    for message in [
        request(1, "initialize", json!({"capabilities": capabilities})),
        told("initialized"),
        request(2, "shutdown", Json::Null),
        told("exit"),
    ] {
        connection.sender.send(message).expect("a server");
    }
    serve(&server, Box::new(Map::default())).expect("it is served to the end");
    drop(server);
    let asked = connection.receiver.iter().find_map(|message| match message {
        Message::Request(request) => Some(request),
        _ => None,
    });
    let asked = asked.expect("a registration");
    assert_eq!(asked.method, "client/registerCapability");
    let watchers = &asked.params["registrations"][0]["registerOptions"]["watchers"];
    assert_eq!(watchers[0]["globPattern"], "**/velo.toml");
}

#[test]
fn settings_are_read_again_when_they_change() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", BAD);
    assert_eq!(client.rules("a.sql").len(), 2);
    let changes = json!({"changes": [{"uri": uri("velo.toml"), "type": 2}]});
    client.tell("workspace/didChangeWatchedFiles", changes);
    assert_eq!(client.rules("a.sql"), ["non-canonical-spelling"]);
}

#[test]
fn a_text_that_is_excluded_or_closed_has_no_findings() {
    let settings = "exclude = ['vendor/']".to_owned();
    let mut client = Client::start(Map { settings, ..Map::default() }, &["utf-8"]);
    client.open("vendor/a.sql", "sql", BAD);
    assert_eq!(client.rules("vendor/a.sql"), [""; 0]);
    client.open("b.sql", "sql", BAD);
    assert_eq!(client.rules("b.sql").len(), 2);
    client.tell("textDocument/didClose", json!({"textDocument": {"uri": uri("b.sql")}}));
    assert_eq!(client.rules("b.sql"), [""; 0]);
}

/// The titles of the actions for a line, and the text after the one with this title.
fn actions(client: &mut Client, name: &str, line: u32, only: &[&str]) -> Vec<Json> {
    let place = |character: u32| json!({"line": line, "character": character});
    let params = json!({
        "textDocument": {"uri": uri(name)},
        "range": {"start": place(0), "end": place(200)},
        "context": {"diagnostics": [], "only": only},
    });
    client.ask("textDocument/codeAction", params).as_array().expect("actions").clone()
}

/// A text after edits in UTF-8, of which none overlap.
fn applied(text: &str, edits: &[Json]) -> String {
    let lines = LineIndex::of_buffer(text);
    let place = |place: &Json| {
        let number = |name: &str| usize::try_from(place[name].as_u64().expect("a number")).expect("small");
        let place = LineColumn { line: number("line"), column: number("character") };
        lines.offset(place, Encoding::Utf8)
    };
    let mut spans: Vec<_> = edits
        .iter()
        .map(|edit| (place(&edit["range"]["start"])..place(&edit["range"]["end"]), &edit["newText"]))
        .collect();
    spans.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, new) in spans {
        text.replace_range(span, new.as_str().expect("a text"));
    }
    text
}

#[test]
fn fixes_that_uncover_others_are_made_at_once() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    let text = "CREATE STREAM s AS SELECT * FROM orders WITH ('batch.strategy' = 'FixedSize', 'batch.size' '500' 'failure_strategy' = 'FailBatch',);\n";
    client.open("a.sql", "sql", text);
    let all = actions(&mut client, "a.sql", 0, &["source.fixAll"]);
    let fixed = applied(text, all[0]["edit"]["changes"][uri("a.sql")].as_array().expect("edits"));
    let options = velo_lint::Options::default();
    assert_eq!(fixed, velo_lint::fixed(text, Language::Sql, &options, false));
    assert!(fixed.contains("'batch.size' = '500', 'failure"), "{fixed}");
}

#[test]
fn every_fix_is_an_action_and_so_are_all_together() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    let text = BAD.replace("'0'", "'10'").replace("'failure", "'batch.timeout' = '1000', 'failure");
    client.open("a.sql", "sql", &text);
    let titles = |actions: &[Json]| {
        actions.iter().map(|action| action["title"].as_str().expect("a title").to_owned()).collect::<Vec<_>>()
    };
    let spelling = actions(&mut client, "a.sql", 2, &["quickfix"]);
    assert_eq!(titles(&spelling), ["Write fixed_size", "Allow non-canonical-spelling here"]);
    assert_eq!(spelling[0]["isPreferred"], true);
    let edit = &spelling[0]["edit"]["changes"][uri("a.sql")][0];
    assert_eq!((&edit["newText"], &edit["range"]["start"]["line"]), (&"fixed_size".into(), &2.into()));
    let comment = &spelling[1]["edit"]["changes"][uri("a.sql")][0];
    assert_eq!(comment["newText"], "  -- velo: allow(non-canonical-spelling) reason\n");
    assert_eq!(comment["range"]["start"], json!({"line": 2, "character": 0}));
    let both = titles(&actions(&mut client, "a.sql", 3, &["quickfix"]));
    for reading in ["Write 1000ms (may change behaviour)", "Write 1000s (may change behaviour)"] {
        assert!(both.contains(&reading.to_owned()), "{both:?}");
    }
    let all = actions(&mut client, "a.sql", 0, &["source.fixAll"]);
    let edits = all[0]["edit"]["changes"][uri("a.sql")].as_array().expect("edits");
    assert_eq!(applied(&text, edits), text.replace("FixedSize", "fixed_size"));
    assert_eq!(edits[0]["range"]["start"], json!({"line": 2, "character": 0}), "only the line that differs");
    assert_eq!(actions(&mut client, "a.sql", 0, &["source.fixAll.velo"]).len(), 1);
    assert_eq!(actions(&mut client, "a.sql", 0, &["source.organizeImports"]), [""; 0]);
}

#[test]
fn keys_that_fit_the_strategy_come_first_and_values_are_those_of_the_key() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", "CREATE STREAM s AS SELECT * FROM orders WITH (\n'batch.strategy' = 'mega_batch',\n'batch.m' = '1',\n'failure_strategy' = '', 'dlq.topic' = ''\n);\n");
    let sorted = |items: &Json| {
        let mut items = items.as_array().expect("items").clone();
        items.sort_by_key(|item| item["sortText"].as_str().expect("an order").to_owned());
        items.into_iter().map(|item| item["label"].as_str().expect("a label").to_owned()).collect::<Vec<_>>()
    };
    let keys = sorted(&client.about("textDocument/completion", "a.sql", 2, 8));
    let at = |key: &str| keys.iter().position(|known| known == key);
    assert!(at("batch.mega_batch_size") < at("batch.window"), "{keys:?}");
    assert_eq!(at("batch.strategy"), None, "it is set");
    let strategies = sorted(&client.about("textDocument/completion", "a.sql", 1, 22));
    assert!(strategies.contains(&"low_latency".to_owned()) && strategies.len() == 6, "{strategies:?}");
    let failures = sorted(&client.about("textDocument/completion", "a.sql", 3, 22));
    assert_eq!(failures.len(), 4, "{failures:?}");
    let topics = sorted(&client.about("textDocument/completion", "a.sql", 3, 40));
    assert_eq!(topics, ["orders.dlq"]);
    // Where nothing is chosen yet there is a set of settings for each strategy.
    client.open("b.sql", "sql", "CREATE STREAM s AS SELECT * FROM orders WITH (\n\n);\n");
    let all = sorted(&client.about("textDocument/completion", "b.sql", 1, 0));
    assert!(all.contains(&"time_window: all settings".to_owned()), "{all:?}");
    client.open("c.yaml", "yaml", "batch:\n  strategy: time_window\n  size: \n");
    let values = sorted(&client.about("textDocument/completion", "c.yaml", 1, 14));
    assert!(values.contains(&"mega_batch".to_owned()), "{values:?}");
}

#[test]
fn hover_explains_a_key_and_hints_what_a_clause_means() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", &BAD.replace("'0'", "'500'"));
    let hover = client.about("textDocument/hover", "a.sql", 3, 5);
    let text = hover["contents"]["value"].as_str().expect("Markdown");
    assert!(text.contains("**batch.size**") && text.contains("**takes** records"), "{text}");
    assert_eq!(client.about("textDocument/hover", "a.sql", 0, 0), Json::Null);
    client.open("b.sql", "sql", "WITH ('failure_strategy' = 'FailBatch', 'batch.sise' = '5');");
    let hover = client.about("textDocument/hover", "b.sql", 0, 45);
    let text = hover["contents"]["value"].as_str().expect("Markdown");
    assert!(text.contains("Did you mean **batch.size**?"), "{text}");
    let whole = json!({"start": {"line": 0, "character": 0}, "end": {"line": 9, "character": 0}});
    let hints =
        client.ask("textDocument/inlayHint", json!({"textDocument": {"uri": uri("a.sql")}, "range": whole}));
    let label = hints[0]["label"].as_str().expect("a label");
    assert!(label.contains("fixed_size: poll 500, Buffered"), "{label}");
    assert_eq!(hints[0]["position"], json!({"line": 4, "character": 1}));
    let symbols = client.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri("a.sql")}}));
    assert_eq!(
        (&symbols[0]["name"], &symbols[0]["children"][1]["name"]),
        (&"s".into(), &"batch.size".into())
    );
}

/// The texts after the first completion with this label was taken at the `|` of a text.
fn completed(name: &str, marked: &str, label: &str) -> Option<String> {
    let at = marked.find('|').expect("a mark");
    let text = marked.replacen('|', "", 1);
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open(name, "", &text);
    let lines = LineIndex::of_buffer(&text);
    let LineColumn { line, column } = lines.line_column(at, Encoding::Utf8);
    let number = |number: usize| u32::try_from(number).expect("small");
    let items = client.about("textDocument/completion", name, number(line), number(column));
    let item = items.as_array()?.iter().find(|item| item["label"] == label)?.clone();
    Some(applied(&text, &[item["textEdit"].clone()]))
}

#[test]
fn completion_writes_what_can_stand_where_it_is() {
    for (name, marked, label, expected) in [
        (
            "a.yaml",
            "failure_strategy: FailBatch\nbatch:\n  si|",
            "size",
            "failure_strategy: FailBatch\nbatch:\n  size: ",
        ),
        (
            "a.yaml",
            "failure_strategy: FailBatch\nsource:\n  batch:\n    |\n",
            "size",
            "failure_strategy: FailBatch\nsource:\n  batch:\n    size: \n",
        ),
        (
            "a.json",
            "{\"failure_strategy\": \"FailBatch\", \"batch\": {|}}",
            "size",
            "{\"failure_strategy\": \"FailBatch\", \"batch\": {\"size\": }}",
        ),
        (
            "a.sql",
            "CREATE STREAM s AS SELECT COUNT(*) FROM t WITH (|);",
            "batch.size",
            "CREATE STREAM s AS SELECT COUNT(*) FROM t WITH ('batch.size' = '');",
        ),
        (
            "a.yaml",
            "failure_strategy: FailBatch\nbatch:\n  s|\n  size: 5\n",
            "strategy",
            "failure_strategy: FailBatch\nbatch:\n  strategy: \n  size: 5\n",
        ),
        ("a.velo.yaml", "batch:\n  |", "size", "batch:\n  size: "),
        (
            "a.yaml",
            "ba|\nfailure_strategy: FailBatch\n",
            "batch.size",
            "batch.size: \nfailure_strategy: FailBatch\n",
        ),
        ("a.velo.json", "{|}", "failure_strategy", "{\"failure_strategy\": \"\"}"),
        ("b.yaml", "failure_strategy: |", "FailBatch", "failure_strategy: FailBatch"),
        (
            "a.yaml",
            "failure_strategy: FailBatch\n|",
            "time_window: all settings",
            "failure_strategy: FailBatch\nbatch.strategy: time_window\nbatch.window: 5s",
        ),
        (
            "a.sql",
            "CREATE STREAM s AS SELECT * FROM orders WITH ('orders.batch.si|' = '5');",
            "orders.batch.size",
            "CREATE STREAM s AS SELECT * FROM orders WITH ('orders.batch.size' = '5');",
        ),
        (
            "a.md",
            "```sql\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.strategy' = 'me|');\n```\n",
            "mega_batch",
            "```sql\nCREATE STREAM s AS SELECT * FROM t WITH ('batch.strategy' = 'mega_batch');\n```\n",
        ),
    ] {
        assert_eq!(completed(name, marked, label).as_deref(), Some(expected), "{marked}");
    }
    // What is set is not offered again, whatever is half written above.
    let half = "failure_strategy: FailBatch\nbatch:\n  s|\n  size: 5\n  timeout: 5s\n";
    assert_eq!(completed("a.yaml", half, "size"), None);
    assert_eq!(completed("a.md", &format!("```yaml\n{half}```\n"), "size"), None);
    assert_eq!(completed("a.yaml", "failure_strategy: FailBatch\nbatch: {size: 5, |}\n", "size"), None);
    let half = "CREATE STREAM s AS SELECT * FROM t WITH (\n  'ba|\n  'batch.size' = '5'\n);\n";
    assert_eq!(completed("a.sql", half, "batch.size"), None);
    for (name, marked) in [
        ("a.sql", "CREATE STREAM s AS SELECT COUNT(|*) FROM t WITH ('batch.size' = '5');"),
        ("a.sql", "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', |);"),
        ("a.sql", "WITH ('batch.size' = '5');\nSELECT |"),
    ] {
        assert_eq!(completed(name, marked, "batch.strategy"), None, "{marked}");
    }
}

#[test]
fn a_configuration_file_is_completed_as_a_part_of_its_statement() {
    let config = "batch:\n  \n  window: 5s\n";
    let mut client = Client::start(machine(&[("a.sql", NAMES_CONFIG), ("c.yaml", config)]), &["utf-8"]);
    client.open("c.yaml", "yaml", config);
    client.rules("c.yaml");
    let items = client.about("textDocument/completion", "c.yaml", 1, 2);
    let mut labels: Vec<_> = items.as_array().expect("items").iter().collect();
    labels.sort_by_key(|item| item["sortText"].as_str().expect("an order"));
    // The strategy of the statement has no use for the size.
    assert_ne!(labels[0]["label"], "size");
    assert!(
        !labels.iter().any(|item| item["label"] == "window" || item["label"] == "strategy"),
        "{labels:?}"
    );
    let hover = client.about("textDocument/hover", "c.yaml", 2, 4);
    let text = hover["contents"]["value"].as_str().expect("Markdown");
    assert!(text.contains("**longest wait** 5s"), "{text}");
}

/// The texts after what is at a place of `a.sql` was renamed; the code of the error if it is refused.
fn renamed(files: &[(&str, &str)], character: u32, new: &str) -> Result<Vec<String>, i32> {
    let mut client = Client::start(machine(files), &["utf-8"]);
    client.open("a.sql", "sql", files[0].1);
    let id = client.send(
        "textDocument/rename",
        json!({
            "textDocument": {"uri": uri("a.sql")},
            "position": {"line": 0, "character": character},
            "newName": new,
        }),
    );
    let edit = client.answer(&id)?;
    let after = |(name, text): &(&str, &str)| match edit["changes"][uri(name)].as_array() {
        Some(edits) => applied(text, edits),
        None => (*text).to_owned(),
    };
    Ok(files.iter().map(after).collect())
}

#[test]
fn a_rename_leaves_nothing_of_the_old_name() {
    let settings = "WITH ('config_file' = 'c.yaml', 'failure_strategy' = 'FailBatch');";
    let a = format!("CREATE STREAM s AS SELECT t.id FROM t {settings}");
    let b = format!("CREATE STREAM r AS SELECT * FROM t {settings}");
    let config = "t:\n  batch:\n    size: 5\nt.batch.timeout: 5s\nt.batch.sise: 5\n";
    let files = [("a.sql", a.as_str()), ("b.sql", b.as_str()), ("c.yaml", config)];
    let expected =
        files.map(|(_, text)| text.replace("t.id FROM t", "n.id FROM n").replace("FROM t", "FROM n"));
    let expected = expected.map(|text| text.replace("t:\n  b", "n:\n  b").replace("t.batch", "n.batch"));
    let nested = [
        ("a.sql", "CREATE STREAM s AS SELECT * FROM db.t WITH ('config_file' = 'c.yaml');"),
        ("c.yaml", "db:\n  t:\n    batch: {size: 5}\n"),
    ];
    let after = renamed(&nested, 36, "db.n").expect("it is renamed");
    assert_eq!(after, [nested[0].1.replace("db.t", "db.n"), nested[1].1.replace("  t:", "  n:")]);
    assert_eq!(renamed(&nested, 36, "n"), Err(-32602), "the mapping of db would have to go");
    assert_eq!(renamed(&files, 36, "n").expect("it is renamed"), expected);
}

#[test]
fn columns_are_renamed_with_their_source_wherever_they_are() {
    for (sql, at, expected) in [
        (
            "CREATE STREAM s AS WITH c AS (SELECT t.a FROM t) SELECT t.b FROM c JOIN t ON true;",
            46,
            "CREATE STREAM s AS WITH c AS (SELECT n.a FROM n) SELECT n.b FROM c JOIN n ON true;",
        ),
        ("INSERT INTO o SELECT orders.id FROM db.orders;", 40, "INSERT INTO o SELECT n.id FROM n;"),
        ("INSERT INTO o SELECT t.id FROM t AS t;", 31, "INSERT INTO o SELECT t.id FROM n AS t;"),
        ("INSERT INTO o SELECT db.t.id, t.x FROM db.t;", 40, "INSERT INTO o SELECT n.id, n.x FROM n;"),
        ("INSERT INTO o SELECT {{ t.id }} FROM t;", 37, "INSERT INTO o SELECT {{ t.id }} FROM n;"),
    ] {
        assert_eq!(renamed(&[("a.sql", sql)], at, "n"), Ok(vec![expected.to_owned()]), "{sql}");
    }
    let join = "INSERT INTO o SELECT * FROM a JOIN b ON true;";
    let aliased = "INSERT INTO o SELECT * FROM a JOIN b AS c ON true;";
    assert_eq!(renamed(&[("a.sql", aliased)], 28, "c"), Err(-32602));
    assert!(renamed(&[("a.sql", aliased)], 28, "A").is_ok());
    for refused in ["b", "left", "source", "5", "a..b", "{{x", "select", "my-topic"] {
        assert_eq!(renamed(&[("a.sql", join)], 28, refused), Err(-32602), "{refused}");
    }
    assert!(renamed(&[("a.sql", join)], 28, "${ENV}_a").is_ok());
}

#[test]
fn a_source_is_renamed_with_its_settings_and_columns() {
    let sql = "-- \u{1f600} orders\nCREATE STREAM s AS SELECT orders.id, o.x FROM orders JOIN \"o\" o ON orders.id = o.id WITH ('orders.batch.size' = '5', 'config_file' = 'c.yaml');\nINSERT INTO orders SELECT * FROM raw;\nSELECT orders FROM other;\n";
    let config = "failure_strategy: FailBatch\norders.batch.timeout: 5s\n";
    let mut client = Client::start(machine(&[("c.yaml", config)]), &["utf-8"]);
    client.open("a.sql", "sql", sql);
    let place = json!({"line": 2, "character": 14});
    let about = json!({"textDocument": {"uri": uri("a.sql")}, "position": place});
    let prepared = client.ask("textDocument/prepareRename", about.clone());
    assert_eq!(prepared["placeholder"], "orders");
    let mut params = about;
    params["newName"] = json!("purchases");
    let edit = client.ask("textDocument/rename", params.clone());
    let renamed = applied(sql, edit["changes"][uri("a.sql")].as_array().expect("edits"));
    let expected = sql
        .replace("orders.", "purchases.")
        .replace("FROM orders", "FROM purchases")
        .replace("INTO orders", "INTO purchases");
    assert_eq!(renamed, expected);
    let renamed = applied(config, edit["changes"][uri("c.yaml")].as_array().expect("edits"));
    assert_eq!(renamed, config.replace("orders", "purchases"));
    params["newName"] = json!("a b");
    let id = client.send("textDocument/rename", params);
    assert_eq!(client.answer(&id), Err(-32602));
    // What is no name of a source cannot be renamed.
    assert_eq!(client.about("textDocument/prepareRename", "a.sql", 1, 1), Json::Null);
}

#[test]
fn what_is_unknown_or_wrong_is_an_error() {
    let mut client = Client::start(Map::default(), &["utf-8"]);
    client.open("a.sql", "sql", BAD);
    let id = client.send("velo/unknown", json!({}));
    assert_eq!(client.answer(&id), Err(-32601));
    let id = client.send("textDocument/hover", json!({"textDocument": 5}));
    assert_eq!(client.answer(&id), Err(-32602));
    let unopened = client.about("textDocument/hover", "nowhere.sql", 0, 0);
    assert_eq!(unopened, Json::Null);
}

#[test]
fn a_request_that_is_cancelled_before_its_turn_is_not_answered() {
    let (server, connection) = Connection::memory();
    let request = |id: i32, method: &str, params: Json| {
        Message::Request(Request::new(RequestId::from(id), method.to_owned(), params))
    };
    let told =
        |method: &str, params: Json| Message::Notification(Notification::new(method.to_owned(), params));
    let hover = json!({"textDocument": {"uri": uri("a.sql")}, "position": {"line": 0, "character": 0}});
    // All of it is there before the server begins.
    for message in [
        request(1, "initialize", json!({"capabilities": {}})),
        told("initialized", json!({})),
        request(2, "textDocument/hover", hover.clone()),
        request(3, "textDocument/hover", hover),
        told("$/cancelRequest", json!({"id": 3})),
        told("$/cancelRequest", json!({"id": 99})),
        request(4, "shutdown", Json::Null),
        told("exit", Json::Null),
    ] {
        connection.sender.send(message).expect("a server");
    }
    serve(&server, Box::new(Map::default())).expect("it is served to the end");
    drop(server);
    let mut answers: Vec<_> = connection
        .receiver
        .iter()
        .filter_map(|message| match message {
            Message::Response(response) => {
                Some((response.id.to_string(), response.response_kind_result().err()))
            }
            _ => None,
        })
        .collect();
    answers.sort();
    let expected = [("1", None), ("2", None), ("3", Some(-32800)), ("4", None)];
    assert_eq!(answers, expected.map(|(id, error)| (id.to_owned(), error)));
}
