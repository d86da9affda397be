//! A processor that is a program: batches go to its stdin as JSON lines, verdicts come from its stdout.
//!
//! The first line says which protocol this is: `{"velo_exec":1}`. Each record of a batch is a line,
//! a blank line ends the batch, and the program answers with one line:
//!
//! - `{"ok":true}`: all records are done and are written as they came;
//! - `{"errors":[{"record":3,"message":"…","retriable":false}]}`: these failed, all others are done;
//! - `{"error":"…"}`: a record is bad and the program cannot say which; it will get halves;
//! - with `"records":[{"record":0,"key":"…","value":"…"}]` beside `ok` or `errors`, these are written
//!   instead of the input, each on account of the input record it names.
//!
//! A program that ends, that takes too long or that answers anything else fails the system: no record
//! is to blame, the batch is held and tried again with a new process.
#![allow(clippy::disallowed_methods, reason = "a child process has pipes and a time-out")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossbeam_channel::{Receiver, SendTimeoutError, Sender};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columns::Batch;
use crate::core::failure::{RowError, Stage};
use crate::processor::{Attempt, Failure, Interrupt, Output, Processor};

/// The first line that a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The version of the protocol: 1.
    pub velo_exec: u32,
}

/// A record as a program gets it: one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputRecord {
    /// Its number in the batch, from 0.
    pub record: u32,
    /// The topic it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<i64>,
    /// Key and value.
    #[serde(flatten)]
    pub payload: Payload,
}

/// Key and value; a field that is not there is null. What is not UTF-8 is in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    /// The key, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The value, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// A program's answer to a batch: one line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Everything is done.
    #[serde(default)]
    pub ok: bool,
    /// The records that failed.
    #[serde(default)]
    pub errors: Vec<AnswerError>,
    /// A record failed, and the program does not know which.
    #[serde(default)]
    pub error: Option<String>,
    /// What to write instead of the input.
    #[serde(default)]
    pub records: Option<Vec<OutputLine>>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerError {
    /// Its number in the batch.
    pub record: u32,
    /// Why.
    pub message: String,
    /// Whether another attempt might succeed.
    #[serde(default)]
    pub retriable: bool,
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputLine {
    /// The input record it is on account of.
    pub record: u32,
    /// Key and value.
    #[serde(flatten)]
    pub payload: Payload,
}

/// The lines of the protocol, each by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protocol {
    /// The first line that a program gets.
    pub hello: Hello,
    /// Each record that it gets.
    pub record: InputRecord,
    /// Its answer to a batch.
    pub answer: Answer,
}

/// How a program is run.
#[derive(Debug, Clone)]
pub struct Exec {
    /// What the shell runs.
    pub command: String,
    /// How long a batch may take.
    pub timeout: Duration,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
}

/// The processor. The program is started with the first batch, and again after it has failed.
#[derive(Debug)]
pub struct ExecProcessor {
    exec: Exec,
    program: Option<Program>,
    stop: Stop,
}

/// Ends all waiting for answers, now and from now on. Clones end the same.
#[derive(Debug, Clone)]
struct Stop {
    /// Whoever waits is told by this being gone.
    sender: Arc<Mutex<Option<Sender<()>>>>,
    stopped: Receiver<()>,
}

impl Stop {
    fn new() -> Self {
        let (sender, stopped) = crossbeam_channel::bounded(0);
        Self { sender: Arc::new(Mutex::new(Some(sender))), stopped }
    }

    fn stop(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl ExecProcessor {
    /// A processor that runs `exec`.
    #[must_use]
    pub fn new(exec: Exec) -> Self {
        Self { exec, program: None, stop: Stop::new() }
    }

    fn program(&mut self) -> Result<&mut Program, String> {
        if self.program.is_none() {
            self.program = Some(Program::start(&self.exec)?);
        }
        self.program.as_mut().ok_or_else(|| "the program is not running".to_owned())
    }
}

impl Processor for ExecProcessor {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        let (timeout, stopped) = (self.exec.timeout, self.stop.stopped.clone());
        let answer = self.program().and_then(|program| program.ask(batch, timeout, &stopped));
        let answer = answer.and_then(|line| read_answer(&line, batch.len()));
        match answer {
            Ok(answer) => verdict(answer, out),
            Err(problem) => {
                // Whatever it still says belongs to no batch.
                self.program = None;
                Err(Failure::System(format!("--exec: {problem}")))
            }
        }
    }

    /// Another process of the same program.
    fn fork(&self) -> Option<Box<dyn Processor>> {
        let (exec, stop) = (self.exec.clone(), self.stop.clone());
        Some(Box::new(Self { exec, program: None, stop }))
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Box::new(move || stop.stop()))
    }
}

/// Puts out what an answer says.
fn verdict(answer: Answer, out: &mut Output) -> Result<(), Failure> {
    if let Some(error) = answer.error {
        return Err(Failure::Unnamed(error));
    }
    match answer.records {
        None => out.forward_all(),
        Some(records) => {
            for OutputLine { record, payload } in records {
                let (key, value) = payload.bytes().unwrap_or_default();
                out.push(record, key, value);
            }
        }
    }
    if answer.errors.is_empty() {
        return Ok(());
    }
    let row_error = |error: AnswerError| RowError {
        row: error.record,
        stage: Stage::Process,
        message: error.message,
        retriable: error.retriable,
    };
    let mut errors: Vec<_> = answer.errors.into_iter().map(row_error).collect();
    errors.sort_by_key(|error| error.row);
    Err(Failure::Rows(errors))
}

/// Reads an answer to a batch of `rows` records.
fn read_answer(line: &str, rows: u32) -> Result<Answer, String> {
    let answer: Answer = serde_json::from_str(line)
        .map_err(|error| format!("the answer is not as it should be: {error}: {}", shortened(line)))?;
    let says = [answer.ok, !answer.errors.is_empty(), answer.error.is_some()];
    if says.iter().filter(|says| **says).count() != 1 {
        return Err(format!("the answer says not one of ok, errors and error: {}", shortened(line)));
    }
    let numbers = answer.errors.iter().map(|error| error.record);
    let written = answer.records.iter().flatten().map(|line| line.record);
    if let Some(record) = numbers.chain(written).find(|record| *record >= rows) {
        return Err(format!("the answer names record {record} of a batch of {rows}"));
    }
    if answer.records.iter().flatten().any(|line| line.payload.bytes().is_none()) {
        return Err("a record of the answer holds no base64 where it should".to_owned());
    }
    Ok(answer)
}

/// The beginning of a line, for an error.
fn shortened(line: &str) -> String {
    const MOST: usize = 200;
    let shown: String = line.chars().take(MOST).collect();
    if shown.len() < line.len() { format!("{shown}…") } else { shown }
}

type Bytes = Option<Vec<u8>>;

impl Payload {
    fn of(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        let text = |bytes: Option<&[u8]>| match bytes.map(std::str::from_utf8) {
            Some(Ok(text)) => (Some(text.to_owned()), None),
            Some(Err(_)) => (None, bytes.map(|bytes| BASE64.encode(bytes))),
            None => (None, None),
        };
        let ((key, key_base64), (value, value_base64)) = (text(key), text(value));
        Self { key, key_base64, value, value_base64 }
    }

    /// Key and value; none where the base64 is none.
    fn bytes(&self) -> Option<(Bytes, Bytes)> {
        let part = |text: &Option<String>, base64: &Option<String>| match base64 {
            Some(base64) => BASE64.decode(base64).ok().map(Some),
            None => Some(text.as_ref().map(|text| text.clone().into_bytes())),
        };
        Some((part(&self.key, &self.key_base64)?, part(&self.value, &self.value_base64)?))
    }
}

/// A running program, with a thread at each end: it may write before it has read all.
#[derive(Debug)]
struct Program {
    child: Child,
    batches: Option<Sender<Arc<Vec<u8>>>>,
    lines: Receiver<Result<String, String>>,
    /// Whether it was ended.
    is_gone: bool,
}

impl Program {
    fn start(exec: &Exec) -> Result<Self, String> {
        let mut child = shell(&exec.command)
            .envs(exec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("'{}' cannot be started: {error}", exec.command))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(format!("'{}' has no stdin or no stdout", exec.command));
        };
        let (batches, to_write) = crossbeam_channel::bounded(1);
        let (answers, lines) = crossbeam_channel::bounded(16);
        thread::spawn(move || feed(stdin, &to_write));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if answers.send(line.map_err(|error| error.to_string())).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, batches: Some(batches), lines, is_gone: false })
    }

    /// Sends a batch and waits for the answer, or until nobody wants it any more.
    fn ask(&mut self, batch: &Batch, timeout: Duration, stopped: &Receiver<()>) -> Result<String, String> {
        if let Ok(line) = self.lines.try_recv() {
            let line = line.unwrap_or_default();
            return Err(format!("the program said something that it was not asked: {}", shortened(&line)));
        }
        let batches = self.batches.as_ref().ok_or("the program was ended")?;
        match batches.send_timeout(Arc::new(lines_of(batch)), timeout) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => {
                return Err(format!("the program has not read the batch before within {timeout:?}"));
            }
            // What it could not be given ended the thread that writes: the program's end may be seen
            // here as well as in its output.
            Err(SendTimeoutError::Disconnected(_)) => return Err(self.ending()),
        }
        crossbeam_channel::select! {
            recv(self.lines) -> line => match line {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(error)) => Err(format!("its output cannot be read: {error}")),
                Err(_) => Err(self.ending()),
            },
            recv(stopped) -> _ => Err("the job has ended".to_owned()),
            default(timeout) => {
                Err(format!("no answer to a batch of {} records within {timeout:?}", batch.len()))
            }
        }
    }

    /// Why its input or its output is at its end: it has ended, or it only closed one of them.
    fn ending(&mut self) -> String {
        // One that is on its way out keeps its own exit code, however late the signal comes.
        match self.end() {
            Ok(status) if status.code().is_some() => format!("the program ended without an answer: {status}"),
            Ok(_) => "the program closed its input or its output without an answer, or was killed".to_owned(),
            Err(error) => format!("the program closed its input or its output: {error}"),
        }
    }

    /// Ends the program and whatever it has started, and waits until it is gone.
    fn end(&mut self) -> std::io::Result<ExitStatus> {
        self.batches = None;
        // Once it was waited for, its number may be somebody else's.
        if !std::mem::replace(&mut self.is_gone, true) {
            kill(&mut self.child);
        }
        self.child.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What there is to say of it has been said.
        let _ = self.end();
    }
}

/// Kills a program with its own children: it leads a process group.
#[cfg(unix)]
fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It fails only where all of them are gone.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    // It fails only where it is gone.
    let _ = child.kill();
}

/// Writes the greeting and each batch; a program that has gone ends it.
fn feed(mut stdin: ChildStdin, batches: &Receiver<Arc<Vec<u8>>>) {
    let mut hello = serde_json::to_vec(&Hello { velo_exec: 1 }).unwrap_or_default();
    hello.push(b'\n');
    if stdin.write_all(&hello).is_err() {
        return;
    }
    for batch in batches {
        if stdin.write_all(&batch).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// A batch as the program gets it.
fn lines_of(batch: &Batch) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in 0..batch.len() {
        let origin = batch.origin(row);
        let record = InputRecord {
            record: row,
            topic: origin.map(|name| name.topic.to_string()),
            partition: origin.map(|name| name.partition),
            offset: batch.offset(row),
            timestamp_ms: batch.timestamp_ms(row),
            payload: Payload::of(batch.key(row), batch.value(row)),
        };
        serde_json::to_writer(&mut lines, &record).expect("text keys and a memory buffer");
        lines.push(b'\n');
    }
    lines.push(b'\n');
    lines
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt;

    // A group of its own: it is killed as a whole, and Ctrl-C on the terminal is not for it.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::columns::{BatchBuilder, LaneId, Names, Record};
    use crossbeam_channel::RecvTimeoutError;

    fn batch(values: &[&[u8]]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    fn exec(command: &str) -> ExecProcessor {
        let timeout = Duration::from_secs(20);
        ExecProcessor::new(Exec { command: command.to_owned(), timeout, environment: Vec::new() })
    }

    fn ask(processor: &mut ExecProcessor, batch: &Batch) -> (Result<(), Failure>, Output) {
        let mut output = Output::default();
        let result = processor.process(batch, &mut output, Attempt { number: 0 });
        (result, output)
    }

    /// A program in `sh` that answers each batch with what `answer` prints; `n` counts its records.
    fn answering(answer: &str) -> String {
        format!(
            "sh -c 'read hello; n=0; while IFS= read -r line; do \
             if [ -z \"$line\" ]; then {answer}; n=0; else n=$((n+1)); fi; done'"
        )
    }

    #[test]
    fn a_program_gets_every_record_and_answers_batch_after_batch() {
        let mut processor = exec(&answering(
            "echo \"{\\\"errors\\\":[{\\\"record\\\":$((n-1)),\\\"message\\\":\\\"$n\\\"}]}\"",
        ));
        for rows in [1_usize, 3, 2] {
            let (result, output) = ask(&mut processor, &batch(&vec![b"{}".as_slice(); rows]));
            let Err(Failure::Rows(errors)) = result else { panic!("{result:?}") };
            assert_eq!(
                (errors[0].row as usize, errors[0].message.as_str()),
                (rows - 1, rows.to_string().as_str())
            );
            assert!(!errors[0].retriable);
            assert_eq!(output.counts(u32::try_from(rows).unwrap()), vec![1; rows]);
        }
    }

    #[test]
    fn a_program_that_ended_before_it_was_asked_is_named_by_its_exit_code() {
        let mut program = Program::start(&exec("exit 3").exec).unwrap();
        // The writer ends with the first line that nobody reads.
        let batches = program.batches.clone().unwrap();
        while batches.send(Arc::new(vec![b'\n'])).is_ok() {}
        let (_open, stopped) = crossbeam_channel::bounded(1);
        let refusal = program.ask(&batch(&[b"{}"]), Duration::from_secs(20), &stopped).unwrap_err();
        assert!(refusal.ends_with("exit status: 3"), "{refusal}");
    }

    #[test]
    fn records_go_and_come_as_they_are_whatever_their_bytes() {
        let input = batch(&[b"text", b"\xff\x00"]);
        let lines = String::from_utf8(lines_of(&input)).unwrap();
        let records: Vec<InputRecord> = lines
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(lines.ends_with("\n\n"));
        let bytes: Vec<_> = records.iter().map(|record| record.payload.bytes().unwrap().1.unwrap()).collect();
        assert_eq!(bytes, [b"text".to_vec(), b"\xff\x00".to_vec()]);
        let answer = r#"{"ok":true,"records":[{"record":1,"value_base64":"/wA="},{"record":1,"key":"k"}]}"#;
        let mut processor =
            exec(&answering(&format!("printf \"%s\\\\n\" \"{}\"", answer.replace('"', "\\\""))));
        let (result, output) = ask(&mut processor, &input);
        assert_eq!((result, output.counts(2)), (Ok(()), vec![0, 2]));
    }

    #[test]
    fn a_program_that_misbehaves_fails_the_system_with_its_reason() {
        let cases = [
            ("exit 3".to_owned(), "ended without an answer"),
            ("/no/such/program".to_owned(), "ended without an answer"),
            (answering("echo garbage"), "not as it should be"),
            (answering("echo {}"), "not one of ok, errors and error"),
            (answering("echo \"{\\\"ok\\\":true,\\\"x\\\":1}\""), "unknown field `x`"),
            (
                answering("echo \"{\\\"errors\\\":[{\\\"record\\\":9,\\\"message\\\":\\\"\\\"}]}\""),
                "record 9 of a batch of 2",
            ),
            (
                answering(
                    "echo \"{\\\"ok\\\":true,\\\"records\\\":[{\\\"record\\\":0,\\\"value_base64\\\":\\\"?\\\"}]}\"",
                ),
                "no base64",
            ),
            ("sh -c 'read hello; read line; exit 0'".to_owned(), "ended without an answer"),
        ];
        for (command, reason) in cases {
            let (result, output) = ask(&mut exec(&command), &batch(&[b"{}", b"{}"]));
            let Err(Failure::System(message)) = result else { panic!("{command}: {result:?}") };
            assert!(message.contains(reason), "{command}: {message}");
            assert_eq!(output.counts(2), [0, 0], "{command}");
        }
    }

    #[test]
    fn a_program_that_says_nothing_is_ended_after_its_time() {
        let slow = Exec {
            command: "sleep 1000".to_owned(),
            timeout: Duration::from_millis(50),
            environment: Vec::new(),
        };
        let (result, _) = ask(&mut ExecProcessor::new(slow), &batch(&[b"{}"]));
        let Err(Failure::System(message)) = result else { panic!("{result:?}") };
        assert!(message.contains("no answer to a batch of 1 records within 50ms"), "{message}");
    }

    #[test]
    fn a_job_that_ends_waits_for_no_answer() {
        let exec = Exec {
            command: "sleep 1000".to_owned(),
            timeout: Duration::from_hours(1),
            environment: Vec::new(),
        };
        let processor = ExecProcessor::new(exec);
        let (interrupt, fork) = (processor.interrupt().unwrap(), processor.fork().unwrap());
        let waiting = [Box::new(processor) as Box<dyn Processor>, fork].map(|mut processor| {
            thread::spawn(move || {
                let attempt = Attempt { number: 0 };
                processor.process(&batch(&[b"{}"]), &mut Output::default(), attempt)
            })
        });
        interrupt();
        for thread in waiting {
            let result = thread.join().unwrap();
            assert_eq!(result, Err(Failure::System("--exec: the job has ended".to_owned())));
        }
    }

    #[test]
    fn a_program_is_ended_with_whatever_it_has_started() {
        let command = "sleep 1000 & wait".to_owned();
        let exec = Exec { command, timeout: Duration::ZERO, environment: Vec::new() };
        let mut program = Program::start(&exec).unwrap();
        let lines = program.lines.clone();
        program.end().unwrap();
        // Its output ends only once the child that has inherited it is gone, too.
        assert_eq!(lines.recv_timeout(Duration::from_mins(1)), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_program_may_write_before_it_has_read_and_a_batch_may_be_larger_than_a_pipe() {
        // It fills its own output first: whoever wrote all before reading would wait for ever.
        let command = "sh -c 'printf \"{\\\"ok\\\":true,\\\"records\\\":[\"; \
                       yes \"{\\\"record\\\":0},\" | head -n 100000 | tr -d \"\\n\"; \
                       while IFS= read -r line && [ -n \"$line\" ]; do :; done; \
                       echo \"{\\\"record\\\":1}]}\"; :'";
        let large = vec![b'x'; 100 << 10];
        let (result, output) = ask(&mut exec(command), &batch(&[&large, &large, &large]));
        assert_eq!((result, output.counts(3)), (Ok(()), vec![100_000, 1, 0]));
    }

    #[test]
    fn after_a_failure_a_new_program_gets_the_batch_again() {
        let flag = std::env::temp_dir().join(format!("velo-exec-{}", std::process::id()));
        let _ = std::fs::remove_file(&flag);
        let path = flag.display();
        let command = format!(
            "sh -c 'if [ -e {path} ]; then read h; while IFS= read -r l; do [ -z \"$l\" ] && echo \"{{\\\"ok\\\":true}}\"; done; else : > {path}; fi'"
        );
        let mut processor = exec(&command);
        let input = batch(&[b"{}"]);
        let (first, _) = ask(&mut processor, &input);
        let (second, output) = ask(&mut processor, &input);
        std::fs::remove_file(&flag).unwrap();
        assert!(matches!(first, Err(Failure::System(_))), "{first:?}");
        assert_eq!((second, output.counts(1)), (Ok(()), vec![1]));
    }
}
