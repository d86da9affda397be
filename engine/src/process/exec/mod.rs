//! A processor that runs an external program: batches are written to its stdin as JSON lines, answers are read from
//! its stdout.
//!
//! The first line is the version of the protocol: `{"velo_exec":2}`. Each record of a batch is one line, a blank line
//! ends the batch, and the program answers with one line:
//!
//! - `{"ok":true}`: all records succeeded and are written unchanged.
//! - `{"errors":[{"record":3,"message":"…","retriable":false}]}`: these records failed, all others succeeded.
//! - `{"error":"…"}`: a record failed and the program cannot name it. The batch is sent again in halves.
//! - With `"records":[{"record":0,"key":"…","value":"…"}]` in addition to `ok` or `errors`, these records are written
//!   instead of the input. A record keeps the headers of the input record that it names, unless it has `headers`.
//!
//! An answer with an unknown field is rejected. The length of an answer is limited: if the answer to a batch is too
//! long, the batch is sent again in halves, down to a single record, which then fails.
//!
//! If the program exits, exceeds its time-out or answers anything else, the attempt fails without blaming a record,
//! and the batch is retried with a new process. Before the first valid answer such a failure fails the job.

mod program;
pub mod protocol;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use velo_schema::format_bytes;

use super::{Attempt, Failure, Interrupt, Output, Processor};
use crate::batch::Batch;
use program::{Problem, Program};
use protocol::{Verdict, Version};

pub use protocol::Protocol;

/// The maximum length of an answer in bytes. A memory limit may reduce it.
pub const MOST_ANSWER_BYTES: u64 = 64 << 20;

/// The program to run.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The shell command.
    pub command: String,
    /// The time-out of a batch.
    pub timeout: Duration,
    /// The variables that are added to the environment of the program.
    pub environment: Vec<(String, String)>,
}

/// A processor that runs a program. The program is started with the first batch and restarted after a failure.
#[derive(Debug)]
pub struct ExecProcessor {
    exec: Exec,
    version: Version,
    most_answer_bytes: u64,
    program: Option<Program>,
    /// True once a process of this program or of a fork has given a valid answer.
    has_answered: Arc<AtomicBool>,
    /// The number of consecutive answers that did not follow the protocol.
    breaches: u32,
    stop: Stop,
}

/// The number of consecutive answers that do not follow the protocol after which the job fails.
const MAX_BREACHES: u32 = 5;

/// Stops all current and future waits for answers. Clones share the same state.
#[derive(Debug, Clone)]
struct Stop {
    /// Dropping the sender disconnects `stopped`, which ends the waits.
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
    /// Creates a processor that runs `exec` with the newest version of the protocol.
    #[must_use]
    pub fn new(exec: Exec) -> Self {
        Self {
            exec,
            version: Version::default(),
            most_answer_bytes: MOST_ANSWER_BYTES,
            program: None,
            has_answered: Arc::default(),
            breaches: 0,
            stop: Stop::new(),
        }
    }

    /// Sets the version of the protocol.
    #[must_use]
    pub fn speaking(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Sets the maximum length of an answer in bytes.
    #[must_use]
    pub fn answering_within(self, most_answer_bytes: u64) -> Self {
        Self { most_answer_bytes, ..self }
    }

    fn ask(&mut self, batch: &Batch) -> Result<Verdict, Problem> {
        let program = match &mut self.program {
            Some(program) => program,
            none => none.insert(Program::start(&self.exec, self.version, self.most_answer_bytes)?),
        };
        let line = program.ask(batch, self.exec.timeout, &self.stop.stopped)?;
        Verdict::read(&line, batch.len(), self.version).map_err(Problem::Breach)
    }

    /// Returns the failure of a batch of `rows` records to which there is no valid answer.
    fn failure(&self, problem: Problem, rows: u32) -> Failure {
        let has_answered = self.has_answered.load(Ordering::Acquire);
        let reason = match problem {
            Problem::Stopped => return Failure::System("--exec: the job has ended".to_owned()),
            Problem::Breach(reason) if has_answered && self.breaches >= MAX_BREACHES => {
                let reason = format!("--exec: {reason} ({MAX_BREACHES} times in a row)");
                return Failure::Fatal(reason);
            }
            Problem::Other(reason) | Problem::Breach(reason) => reason,
            Problem::TooLong => {
                let most = format_bytes(self.most_answer_bytes);
                let reason = format!("the program's answer to {rows} records is longer than {most}");
                // A smaller batch has a shorter answer. A single record with too long an answer fails.
                if rows > 1 || has_answered {
                    return Failure::Unnamed(reason);
                }
                reason
            }
        };
        if has_answered {
            return Failure::System(format!("--exec: {reason}"));
        }
        Failure::Fatal(format!("--exec: {reason}; not retried, because no batch was answered before"))
    }
}

impl Processor for ExecProcessor {
    fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
        match self.ask(batch) {
            Ok(verdict) => {
                self.has_answered.store(true, Ordering::Release);
                self.breaches = 0;
                verdict.put_out(out)
            }
            Err(problem) => {
                // Later output of this process belongs to no batch.
                self.program = None;
                self.breaches = if matches!(problem, Problem::Breach(_)) { self.breaches + 1 } else { 0 };
                Err(self.failure(problem, batch.len()))
            }
        }
    }

    /// Creates a processor with another process of the same program.
    fn fork(&self) -> Option<Box<dyn Processor>> {
        let Self { exec, version, most_answer_bytes, program: _, has_answered, breaches: _, stop } = self;
        Some(Box::new(Self {
            exec: exec.clone(),
            version: *version,
            most_answer_bytes: *most_answer_bytes,
            program: None,
            has_answered: Arc::clone(has_answered),
            breaches: 0,
            stop: stop.clone(),
        }))
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Box::new(move || stop.stop()))
    }
}

/// Reads the answer to a batch of `rows` records and adds its output to `out`. Only for the fuzz target `exec_answer`.
///
/// # Errors
/// If the line is not a valid answer. The inner error is a failure that the answer reports.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read_answer(
    line: &[u8],
    rows: u32,
    version: Version,
    out: &mut Output,
) -> Result<Result<(), Failure>, String> {
    Ok(Verdict::read(line, rows, version)?.put_out(out))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::{LaneId, Names};

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

    /// Returns a program in `sh` that answers each batch with the output of `answer`; `n` is the number of its records.
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
    fn a_program_may_write_before_it_has_read_and_a_batch_may_be_larger_than_a_pipe() {
        // The program fills its output pipe first: a deadlock if the whole batch were written before reading.
        let command = "sh -c 'printf \"{\\\"ok\\\":true,\\\"records\\\":[\"; \
                       yes \"{\\\"record\\\":0},\" | head -n 100000 | tr -d \"\\n\"; \
                       while IFS= read -r line && [ -n \"$line\" ]; do :; done; \
                       echo \"{\\\"record\\\":1}]}\"; :'";
        let large = vec![b'x'; 100 << 10];
        let (result, output) = ask(&mut exec(command), &batch(&[&large, &large, &large]));
        assert_eq!((result, output.counts(3)), (Ok(()), vec![100_000, 1, 0]));
    }

    const OK: &str = "echo \"{\\\"ok\\\":true}\"";

    /// Returns a program that answers the first batch correctly and then runs `then`.
    fn answering_once_then(then: &str) -> String {
        answering(&format!("{OK}; {then}"))
    }

    #[test]
    fn a_program_that_never_answers_as_it_should_ends_the_job_with_its_reason() {
        let cases = [
            ("exit 3".to_owned(), "ended without an answer: exit status: 3"),
            ("/no/such/program".to_owned(), "exit status: 127 (command not found)"),
            ("/dev/null".to_owned(), "exit status: 126 (command not executable)"),
            (answering("echo garbage"), "does not follow the protocol"),
            (answering("echo {}"), "exactly one of ok, errors and error"),
            ("sh -c 'read hello; read line; exit 0'".to_owned(), "ended without an answer"),
        ];
        for (command, reason) in cases {
            let (result, output) = ask(&mut exec(&command), &batch(&[b"{}", b"{}"]));
            let Err(Failure::Fatal(message)) = result else { panic!("{command}: {result:?}") };
            assert!(message.contains(reason), "{command}: {message}");
            assert_eq!(output.counts(2), [0, 0], "{command}");
        }
    }

    #[test]
    fn a_program_that_fails_after_an_answer_is_started_again_and_gets_the_batch_again() {
        for (then, reason) in [("exit 3", "exit status: 3"), ("kill -9 $$", "exit status: 137")] {
            let mut processor = exec(&answering_once_then(then));
            let input = batch(&[b"{}"]);
            assert_eq!(ask(&mut processor, &input).0, Ok(()));
            let (failed, _) = ask(&mut processor, &input);
            let Err(Failure::System(message)) = failed else { panic!("{then}: {failed:?}") };
            assert!(message.contains(reason), "{then}: {message}");
            let (again, output) = ask(&mut processor, &input);
            assert_eq!((again, output.counts(1)), (Ok(()), vec![1]), "{then}");
        }
    }

    #[test]
    fn a_program_that_breaks_the_protocol_again_and_again_ends_the_job() {
        let (mut processor, input) = (exec(&answering(OK)), batch(&[b"{}"]));
        assert_eq!(ask(&mut processor, &input).0, Ok(()));
        processor.exec.command = answering("echo {}");
        processor.program = None;
        for _ in 1..MAX_BREACHES {
            assert!(matches!(ask(&mut processor, &input).0, Err(Failure::System(_))));
        }
        let (failed, _) = ask(&mut processor, &input);
        let Err(Failure::Fatal(message)) = failed else { panic!("{failed:?}") };
        assert!(message.contains("(5 times in a row)"), "{message}");
    }

    #[test]
    fn one_process_that_has_answered_speaks_for_its_forks() {
        let mut processor = exec(&answering_once_then("exit 3"));
        let mut fork = processor.fork().unwrap();
        let input = batch(&[b"{}"]);
        assert_eq!(ask(&mut processor, &input).0, Ok(()));
        let mut process = || fork.process(&input, &mut Output::default(), Attempt { number: 0 });
        assert_eq!(process(), Ok(()));
        assert!(matches!(process(), Err(Failure::System(_))));
    }

    #[test]
    fn an_answer_without_an_end_is_not_kept_and_a_single_record_fails_for_its_own() {
        let endless = "tr '\\0' x < /dev/zero";
        let mut never = exec(endless).answering_within(100_000);
        let (failed, _) = ask(&mut never, &batch(&[b"{}", b"{}"]));
        let reason = "the program's answer to 2 records is longer than 97.7 KiB";
        assert_eq!(failed, Err(Failure::Unnamed(reason.to_owned())));
        let (failed, _) = ask(&mut never, &batch(&[b"{}"]));
        assert!(matches!(failed, Err(Failure::Fatal(_))), "{failed:?}");
        // After a valid answer, an answer that is too long does not fail the job.
        let mut once = exec(&answering(&format!("if [ $n -eq 1 ]; then {OK}; else {endless}; fi")));
        once = once.answering_within(1000);
        assert_eq!(ask(&mut once, &batch(&[b"{}"])).0, Ok(()));
        assert!(matches!(ask(&mut once, &batch(&[b"{}", b"{}"])).0, Err(Failure::Unnamed(_))));
    }

    #[test]
    fn the_version_of_the_protocol_is_the_first_line() {
        for (version, hello) in [(Version::V1, "{\"velo_exec\":1}"), (Version::V2, "{\"velo_exec\":2}")] {
            let strict = format!(
                "read -r hello; [ \"$hello\" = '{hello}' ] || exit 9; while IFS= read -r line; do [ -z \"$line\" ] && {OK}; done"
            );
            assert_eq!(ask(&mut exec(&strict).speaking(version), &batch(&[b"{}"])).0, Ok(()));
        }
    }

    #[test]
    fn a_program_that_says_nothing_is_ended_after_its_time() {
        let timeout = Duration::from_millis(50);
        let slow = Exec { command: "sleep 1000".to_owned(), timeout, environment: Vec::new() };
        let (result, _) = ask(&mut ExecProcessor::new(slow), &batch(&[b"{}"]));
        let Err(Failure::Fatal(message)) = result else { panic!("{result:?}") };
        assert!(message.contains("no answer to a batch of 1 records within 50ms"), "{message}");
        // The batch is larger than a pipe buffer.
        let large = vec![b'x'; 1 << 20];
        let slow = Exec { command: "sleep 1000".to_owned(), timeout, environment: Vec::new() };
        let (result, _) = ask(&mut ExecProcessor::new(slow), &batch(&[large.as_slice(); 4]));
        let Err(Failure::Fatal(message)) = result else { panic!("{result:?}") };
        assert!(message.contains("has not read its batch within 50ms"), "{message}");
    }

    #[test]
    fn a_job_that_ends_waits_for_no_answer() {
        let timeout = Duration::from_hours(1);
        let exec = Exec { command: "sleep 1000".to_owned(), timeout, environment: Vec::new() };
        let processor = ExecProcessor::new(exec);
        let (interrupt, fork) = (processor.interrupt().unwrap(), processor.fork().unwrap());
        let waiting = [Box::new(processor) as Box<dyn Processor>, fork].map(|mut processor| {
            std::thread::spawn(move || {
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
}
