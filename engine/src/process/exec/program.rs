//! A running program: a batch is written to its stdin in pieces, the line of its answer is read from its stdout.
#![allow(clippy::disallowed_methods, reason = "a child process has pipes and a time-out")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use velo_schema::format_duration;

use super::Exec;
use super::protocol::{Version, shortened, write_hello, write_record};
use crate::batch::Batch;

/// The approximate size of the pieces in which a batch is encoded, so that no complete copy of it is in memory.
const PIECE_BYTES: usize = 64 << 10;
/// The time-out of the answer of a program that has closed its input.
const FINAL_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no valid answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The job has stopped waiting for the answer.
    Stopped,
    /// The answer exceeds the maximum length.
    TooLong,
    /// The answer does not follow the protocol.
    Breach(String),
    /// The program ended, exceeded its time-out or wrote an unexpected line.
    Other(String),
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

/// A line that the program wrote.
type Line = Result<Vec<u8>, Unread>;

/// Why a line was not read.
#[derive(Debug)]
pub(super) enum Unread {
    TooLong,
    Failed(io::Error),
}

/// A running program. Separate threads write to its stdin and read from its stdout, because a program may write before
/// it has read the whole batch.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    version: Version,
    pieces: Option<Sender<Vec<u8>>>,
    pub(super) lines: Receiver<Line>,
    /// True once the program was killed and waited for.
    is_gone: bool,
}

impl Program {
    /// Starts the program. Lines of more than `most_bytes` bytes are not read.
    ///
    /// # Errors
    /// If the shell cannot be started.
    pub(super) fn start(exec: &Exec, version: Version, most_bytes: u64) -> Result<Self, Problem> {
        let mut child = shell(&exec.command)
            .envs(exec.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("'{}' cannot be started: {error}", exec.command))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(format!("'{}' has no stdin or no stdout", exec.command).into());
        };
        let (pieces, to_write) = crossbeam_channel::bounded(1);
        // With a capacity of 0, an unexpected line waits in its thread, and no further line is read.
        let (answers, lines) = crossbeam_channel::bounded(0);
        thread::spawn(move || feed(stdin, version, &to_write));
        thread::spawn(move || read_lines(stdout, most_bytes, &answers));
        Ok(Self { child, version, pieces: Some(pieces), lines, is_gone: false })
    }

    /// Sends a batch and waits for the answer.
    ///
    /// # Errors
    /// If there is no valid answer within `timeout`, or `stopped` is closed before it.
    pub(super) fn ask(
        &mut self,
        batch: &Batch,
        timeout: Duration,
        stopped: &Receiver<()>,
    ) -> Result<Vec<u8>, Problem> {
        if let Ok(line) = self.lines.try_recv() {
            return Err(unexpected(&line?));
        }
        let until = Instant::now().checked_add(timeout);
        let early = self.send(batch, until, stopped).map_err(|problem| match problem {
            Unsent::TimedOut => Problem::Other(format!(
                "the program has not read its batch within {}",
                format_duration(timeout)
            )),
            Unsent::Problem(problem) => problem,
        })?;
        if let Some(line) = early {
            return Ok(line);
        }
        let time = crossbeam_channel::at(until.unwrap_or_else(distant_future));
        crossbeam_channel::select! {
            recv(self.lines) -> line => self.answer(line),
            recv(stopped) -> _ => Err(Problem::Stopped),
            recv(time) -> _ => Err(Problem::Other(format!(
                "no answer to a batch of {} records within {}", batch.len(), format_duration(timeout)
            ))),
        }
    }

    /// Sends a batch. Returns the answer if it arrives before the whole batch is sent.
    fn send(
        &mut self,
        batch: &Batch,
        until: Option<Instant>,
        stopped: &Receiver<()>,
    ) -> Result<Option<Vec<u8>>, Unsent> {
        let pieces = self.pieces.clone().ok_or_else(|| "the program was stopped".to_owned())?;
        let time = crossbeam_channel::at(until.unwrap_or_else(distant_future));
        let (mut row, mut early) = (0, None);
        while row <= batch.len() {
            let mut piece = piece_of(batch, &mut row, self.version);
            while !piece.is_empty() {
                crossbeam_channel::select! {
                    send(pieces, std::mem::take(&mut piece)) -> sent => if sent.is_err() {
                        return self.final_answer(early).map(Some).map_err(Unsent::Problem);
                    },
                    recv(self.lines) -> line => {
                        let line = self.answer(line)?;
                        if early.is_some() {
                            return Err(unexpected(&line).into());
                        }
                        early = Some(line);
                    }
                    recv(stopped) -> _ => return Err(Problem::Stopped.into()),
                    recv(time) -> _ => return Err(Unsent::TimedOut),
                }
            }
        }
        Ok(early)
    }

    /// Returns the answer of a program that has closed its input.
    fn final_answer(&mut self, early: Option<Vec<u8>>) -> Result<Vec<u8>, Problem> {
        match early {
            Some(line) => Ok(line),
            None => match self.lines.recv_timeout(FINAL_ANSWER_TIMEOUT) {
                Ok(line) => Ok(line?),
                Err(_) => Err(self.ending()),
            },
        }
    }

    fn answer(&mut self, line: Result<Line, crossbeam_channel::RecvError>) -> Result<Vec<u8>, Problem> {
        match line {
            Ok(line) => Ok(line?),
            Err(_) => Err(self.ending()),
        }
    }

    /// Kills the program and returns why its input or output was closed.
    fn ending(&mut self) -> Problem {
        // A program that is already exiting keeps its own exit code despite the signal.
        let reason = match self.end() {
            Ok(status) if status.code().is_some() => {
                format!("the program ended without an answer: {status}{}", in_words(status))
            }
            Ok(_) => "the program closed its input or output without an answer, or was killed".to_owned(),
            Err(error) => format!("the program closed its input or output: {error}"),
        };
        Problem::Other(reason)
    }

    /// Kills the program with its children and waits for its exit.
    pub(super) fn end(&mut self) -> io::Result<ExitStatus> {
        self.pieces = None;
        // After the wait, another process may have the same process id.
        if !std::mem::replace(&mut self.is_gone, true) {
            kill(&mut self.child);
        }
        self.child.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors have already been reported.
        let _ = self.end();
    }
}

/// Why a batch was not sent.
enum Unsent {
    TimedOut,
    Problem(Problem),
}

impl<P: Into<Problem>> From<P> for Unsent {
    fn from(problem: P) -> Self {
        Self::Problem(problem.into())
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLong => Self::TooLong,
            Unread::Failed(error) => Self::Other(format!("the program's output cannot be read: {error}")),
        }
    }
}

fn unexpected(line: &[u8]) -> Problem {
    Problem::Other(format!("the program wrote an unexpected line: {}", shortened(line)))
}

/// Returns the meaning of an exit code of the shell, for an error message.
fn in_words(status: ExitStatus) -> &'static str {
    match status.code() {
        Some(126) => " (command not executable)",
        Some(127) => " (command not found)",
        _ => "",
    }
}

/// Returns a time a year ahead, for a time-out that the clock cannot represent.
fn distant_future() -> Instant {
    Instant::now() + Duration::from_hours(24 * 365)
}

/// Returns the next rows of a batch as lines, starting at `row`. A blank line follows the last row.
fn piece_of(batch: &Batch, row: &mut u32, version: Version) -> Vec<u8> {
    let mut piece = Vec::new();
    while piece.len() < PIECE_BYTES && *row <= batch.len() {
        if *row < batch.len() {
            write_record(batch, *row, version, &mut piece);
        } else {
            piece.push(b'\n');
        }
        *row += 1;
    }
    piece
}

/// Writes the first line and each piece, until the program closes its input.
fn feed(mut stdin: ChildStdin, version: Version, pieces: &Receiver<Vec<u8>>) {
    let mut hello = Vec::new();
    write_hello(version, &mut hello);
    if stdin.write_all(&hello).is_err() {
        return;
    }
    for piece in pieces {
        if stdin.write_all(&piece).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Reads line after line until the output ends or a line is too long.
fn read_lines(stdout: ChildStdout, most_bytes: u64, answers: &Sender<Line>) {
    let mut stdout = BufReader::with_capacity(PIECE_BYTES, stdout);
    while let Some(line) = read_line(&mut stdout, most_bytes) {
        let is_last = line.is_err();
        if answers.send(line).is_err() || is_last {
            return;
        }
    }
}

/// Reads the next line without its line break. Returns `None` at the end of the output.
fn read_line(from: &mut impl BufRead, most_bytes: u64) -> Option<Line> {
    let mut line = Vec::new();
    match from.take(most_bytes.saturating_add(1)).read_until(b'\n', &mut line) {
        Err(error) => Some(Err(Unread::Failed(error))),
        Ok(0) => None,
        Ok(_) => {
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if line.len() as u64 > most_bytes {
                return Some(Err(Unread::TooLong));
            }
            Some(Ok(line))
        }
    }
}

/// Kills a program with its children. The program is the leader of a process group.
#[cfg(unix)]
fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It fails only if all processes of the group have exited.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    // It fails only if the program has exited.
    let _ = child.kill();
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt;

    // With its own process group the program is killed as a whole, and does not get Ctrl-C of the terminal.
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
    use crate::batch::{BatchBuilder, Record};
    use crate::ids::{LaneId, Names};
    use crossbeam_channel::RecvTimeoutError;
    use std::sync::Arc;

    fn exec(command: &str) -> Exec {
        Exec { command: command.to_owned(), timeout: Duration::from_secs(20), environment: Vec::new() }
    }

    fn batch(values: &[&[u8]]) -> Arc<Batch> {
        let mut builder = BatchBuilder::default();
        for (offset, value) in (0..).zip(values) {
            builder.push(LaneId(0), Record { offset, value: Some(value), ..Record::default() });
        }
        builder.seal(Names::default())
    }

    #[test]
    fn a_line_is_read_up_to_its_bound() {
        let lines = |text: &str, most| {
            let mut from = text.as_bytes();
            std::iter::from_fn(|| read_line(&mut from, most))
                .map(|line| line.map(|line| String::from_utf8(line).unwrap()).map_err(|_| ()))
                .take(3)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("abc\n\nd", 3), [Ok("abc".to_owned()), Ok(String::new()), Ok("d".to_owned())]);
        assert_eq!(lines("abcd\n", 3)[0], Err(()));
        assert_eq!(lines("abcd", 3)[0], Err(()));
        assert_eq!(lines("abc", 3), [Ok("abc".to_owned())]);
    }

    #[test]
    fn the_pieces_of_a_batch_are_bounded_and_end_with_a_blank_line() {
        let value = vec![b'x'; PIECE_BYTES / 4];
        let batch = batch(&[value.as_slice(); 40]);
        let (mut row, mut pieces) = (0, Vec::new());
        while row <= batch.len() {
            pieces.push(piece_of(&batch, &mut row, Version::V2));
        }
        assert!(pieces.len() >= 10);
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < 2 * PIECE_BYTES));
        let lines = String::from_utf8(pieces.concat()).unwrap();
        assert!(lines.ends_with("\n\n"));
        assert_eq!(lines.lines().count(), 41);
    }

    #[test]
    fn a_program_that_ended_before_it_was_asked_is_named_by_its_exit_code() {
        let mut program = Program::start(&exec("exit 3"), Version::V2, 1000).unwrap();
        // The writing thread ends with the first line that cannot be written.
        let pieces = program.pieces.clone().unwrap();
        while pieces.send(vec![b'\n']).is_ok() {}
        let (_open, stopped) = crossbeam_channel::bounded(1);
        let refusal = program.ask(&batch(&[b"{}"]), Duration::from_secs(20), &stopped).unwrap_err();
        assert_eq!(refusal, Problem::Other("the program ended without an answer: exit status: 3".to_owned()));
    }

    #[test]
    fn an_answer_before_the_end_of_the_batch_is_the_answer() {
        let command = "echo early; read -r hello; while IFS= read -r line; do :; done";
        let mut program = Program::start(&exec(command), Version::V2, 1000).unwrap();
        let (_open, stopped) = crossbeam_channel::bounded(1);
        let large = vec![b'x'; 4 * PIECE_BYTES];
        let mut ask = || program.ask(&batch(&[&large, &large, &large]), Duration::from_secs(20), &stopped);
        // The line is unexpected if it arrives before the batch is sent.
        match ask() {
            Ok(line) => assert_eq!(line, b"early"),
            Err(problem) => assert_eq!(problem, unexpected(b"early")),
        }
    }

    #[test]
    fn a_program_is_ended_with_whatever_it_has_started() {
        let mut program = Program::start(&exec("sleep 1000 & wait"), Version::V2, 1000).unwrap();
        let lines = program.lines.clone();
        program.end().unwrap();
        // The output ends only once the child that has inherited it has exited, too.
        let ended = lines.recv_timeout(Duration::from_mins(1));
        assert!(matches!(ended, Err(RecvTimeoutError::Disconnected)), "{ended:?}");
    }
}
