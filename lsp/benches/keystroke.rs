//! From a keystroke to its diagnostics: a text of 5,000 lines, changed one character at a time. Prints the time of the
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

/// Five lines.
const STATEMENT: &str = "CREATE STREAM s AS SELECT id, amount FROM orders WHERE amount > 10 -- large ones\nWITH ('batch.strategy' = 'fixed_size',\n  'batch.size' = '500', 'batch.timeout' = '1s',\n  'failure_strategy' = 'SendToDLQ', 'bootstrap.servers' = 'kafka:9092'\n);\n";
const STATEMENTS: usize = 1000;
const EDITS: usize = 10_000;

fn main() {
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
    let uri = "file:///project/a.sql";
    let text = STATEMENT.repeat(STATEMENTS);
    let document = json!({"uri": uri, "languageId": "sql", "version": 0, "text": text});
    tell("textDocument/didOpen", json!({"textDocument": document}));
    next();
    let before = resident_mib();
    let mut times: Vec<_> = (2..EDITS + 2)
        .map(|edit| {
            // Each statement in turn gets a digit after its batch size, which the next edit deletes.
            let line = 5 * (edit / 2 * 7919 % STATEMENTS) + 2;
            let place = |character: usize| json!({"line": line, "character": character});
            let change = if edit % 2 == 0 {
                json!({"range": {"start": place(21), "end": place(21)}, "text": "0"})
            } else {
                json!({"range": {"start": place(21), "end": place(22)}, "text": ""})
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
    println!(
        "{} lines, {EDITS} edits: median {median:.1?}, p99 {p99:.1?}, worst {worst:.1?}",
        5 * STATEMENTS
    );
    println!("resident: {before} MiB after opening, {after} MiB after all edits");
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
