//! From a keystroke to its diagnostics: texts of 5,000 lines, changed one character at a time. Prints the time of the
//! median and the slowest percent, and the memory after all edits.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::thread;
use std::time::Instant;

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use serde_json::{Value as Json, json};
use velo_lint::{FileReport, FileSettings, Files, Language, NoFiles};
use velo_lsp::{Host, serve};

/// A machine without files.
struct Nothing;

impl Host for Nothing {
    fn open_folders(&mut self, _: &[String]) {}

    fn files(&self) -> &(dyn Files + Sync) {
        &NoFiles
    }

    fn settings(&self, _: &str) -> FileSettings {
        FileSettings::default()
    }

    fn excludes(&self, _: &str) -> bool {
        false
    }

    fn language(&self, path: &str) -> Option<Language> {
        Language::of_file_name(path)
    }

    fn read(&self, _: &str) -> Option<String> {
        None
    }

    fn statements_below(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn root(&self, _: &str) -> Option<String> {
        None
    }

    fn accept(&self, _: &mut [FileReport]) {}

    fn settings_files(&self) -> Vec<String> {
        Vec::new()
    }

    fn stamp(&self, _: &str) -> u64 {
        0
    }

    fn reload(&mut self) {}

    fn error(&self) -> Option<String> {
        None
    }
}

/// Five lines each. One statement of ten has a finding.
const GOOD: &str = "CREATE STREAM s AS SELECT id, amount FROM orders WHERE amount > 10 -- large ones\nWITH ('batch.strategy' = 'fixed_size',\n  'batch.size' = '500', 'batch.timeout' = '1s',\n  'failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'orders.dlq'\n);\n";
const BAD: &str = "CREATE STREAM s AS SELECT id, amount FROM orders WHERE amount > 10 -- large ones\nWITH ('batch.strategy' = 'fixed_size',\n  'batch.size' = '500', 'batch.timeout' = '1000',\n  'failure_strategy' = 'SendToDLQ', 'dlq.topic' = 'orders.dlq'\n);\n";
const LINES: usize = 5000;
const EDITS: usize = 10_000;

/// A text that is edited.
struct Case {
    name: &'static str,
    text: String,
    /// The line of an edit, and the column behind which a digit comes and goes.
    place: fn(usize) -> (usize, usize),
}

fn cases() -> [Case; 3] {
    let sql = (0..LINES / 5).map(|number| if number % 10 == 9 { BAD } else { GOOD }).collect();
    // A file of another system, with settings of ours in one place.
    let others =
        "  - name: worker\n    image: registry/worker:1.4\n    env: {SIZE: \"5\"}\n    ports: [80]\n";
    let yaml =
        format!("batch:\n  size: 500\nfailure_strategy: FailBatch\nservices:\n{}", others.repeat(LINES / 4));
    let prose = "A line of prose about streams of orders.\n".repeat(50);
    let markdown = format!("{prose}```sql\n{GOOD}```\n").repeat(LINES / 57);
    [
        // Each statement in turn.
        Case { name: "a.sql", text: sql, place: |edit| (5 * (edit * 7919 % (LINES / 5)) + 2, 21) },
        Case { name: "a.yaml", text: yaml, place: |_| (1, 11) },
        Case { name: "a.md", text: markdown, place: |edit| (57 * (edit * 7919 % (LINES / 57)) + 53, 21) },
    ]
}

fn main() {
    for case in cases() {
        measure(&case);
    }
}

fn measure(case: &Case) {
    let (server, client) = Connection::memory();
    let running = thread::spawn(move || serve(&server, Box::new(Nothing)));
    let tell = |method: &str, params: Json| {
        let message = Message::Notification(Notification::new(method.to_owned(), params));
        client.sender.send(message).expect("a server");
    };
    let next = || client.receiver.recv().expect("a server");
    let request = |id: i32, method: &str, params: Json| {
        let request = Request::new(RequestId::from(id), method.to_owned(), params);
        client.sender.send(Message::Request(request)).expect("a server");
    };
    request(1, "initialize", json!({"capabilities": {}}));
    next();
    tell("initialized", json!({}));
    let uri = format!("file:///project/{}", case.name);
    let document = json!({"uri": uri, "languageId": "", "version": 0, "text": case.text});
    tell("textDocument/didOpen", json!({"textDocument": document}));
    next();
    let before = resident_mib();
    let mut times: Vec<_> = (2..EDITS + 2)
        .map(|edit| {
            // A digit comes, and goes with the next edit.
            let (line, column) = (case.place)(edit / 2);
            let place = |character: usize| json!({"line": line, "character": character});
            let change = if edit % 2 == 0 {
                json!({"range": {"start": place(column), "end": place(column)}, "text": "0"})
            } else {
                json!({"range": {"start": place(column), "end": place(column + 1)}, "text": ""})
            };
            let began = Instant::now();
            let document = json!({"uri": uri, "version": edit});
            tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": [change]}));
            next();
            began.elapsed()
        })
        .collect();
    times.sort();
    let after = resident_mib();
    let (median, p99, worst) = (times[EDITS / 2], times[EDITS * 99 / 100], times[EDITS - 1]);
    let lines = case.text.lines().count();
    println!(
        "{}: {lines} lines, {EDITS} edits: median {median:.1?}, p99 {p99:.1?}, worst {worst:.1?}; resident {before} MiB \
         after opening, {after} MiB after all edits",
        case.name
    );
    request(2, "shutdown", Json::Null);
    tell("exit", Json::Null);
    running.join().expect("it ends").expect("it is served");
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
