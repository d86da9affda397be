//! A running program: a batch goes to its stdin in pieces, the line of its answer comes from its stdout.
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

/// A batch is encoded in pieces of about this size: a copy of all of it is never in memory.
const PIECE_BYTES: usize = 64 << 10;
/// How long a program that has closed its input may take to end its answer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// The job does not wait for it any more.
    Stopped,
    /// It is longer than it may be.
    TooLong,
    /// Its answer does not follow the protocol.
    Breach(String),
    /// The program ended, took too long or wrote what it was not asked for.
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

/// A running program, with a thread at each end: it may write before it has read all.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    version: Version,
    pieces: Option<Sender<Vec<u8>>>,
    pub(super) lines: Receiver<Line>,
    /// True once it was killed and waited for.
    is_gone: bool,
}

impl Program {
    /// Starts it. Lines of more than `most_bytes` bytes are not read.
    ///
    /// # Errors
    /// If the shell cannot be started.
    pub fn start(exec: &Exec, version: Version, most_bytes: u64) -> Result<Self, Problem> {
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
        // A line that nobody asked for waits in its thread, and no other one behind it.
        let (answers, lines) = crossbeam_channel::bounded(0);
        thread::spawn(move || feed(stdin, version, &to_write));
        thread::spawn(move || read_lines(stdout, most_bytes, &answers));
        Ok(Self { child, version, pieces: Some(pieces), lines, is_gone: false })
    }

    /// Sends a batch and waits for the answer, or until `stopped` is closed.
    pub fn ask(
        &mut self,
        batch: &Batch,
        timeout: Duration,
        stopped: &Receiver<()>,
    ) -> Result<Vec<u8>, Problem> {
        if let Ok(line) = self.lines.try_recv() {
            return Err(unasked(&line?));
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
        let time = crossbeam_channel::at(until.unwrap_or_else(far_away));
        crossbeam_channel::select! {
            recv(self.lines) -> line => self.answer(line),
            recv(stopped) -> _ => Err(Problem::Stopped),
            recv(time) -> _ => Err(Problem::Other(format!(
                "no answer to a batch of {} records within {}", batch.len(), format_duration(timeout)
            ))),
        }
    }

    /// Sends a batch; returns the answer if it comes before everything is sent.
    fn send(
        &mut self,
        batch: &Batch,
        until: Option<Instant>,
        stopped: &Receiver<()>,
    ) -> Result<Option<Vec<u8>>, Unsent> {
        let pieces = self.pieces.clone().ok_or_else(|| "the program was ended".to_owned())?;
        let time = crossbeam_channel::at(until.unwrap_or_else(far_away));
        let (mut row, mut early) = (0, None);
        while row <= batch.len() {
            let mut piece = piece_of(batch, &mut row, self.version);
            while !piece.is_empty() {
                crossbeam_channel::select! {
                    send(pieces, std::mem::take(&mut piece)) -> sent => if sent.is_err() {
                        return self.last_words(early).map(Some).map_err(Unsent::Problem);
                    },
                    recv(self.lines) -> line => {
                        let line = self.answer(line)?;
                        if early.is_some() {
                            return Err(unasked(&line).into());
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

    /// Its answer, if it has closed its input after giving one.
    fn last_words(&mut self, early: Option<Vec<u8>>) -> Result<Vec<u8>, Problem> {
        match early {
            Some(line) => Ok(line),
            None => match self.lines.recv_timeout(LAST_WORDS) {
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

    /// Why its input or its output has ended: it has ended, or it only closed one of them.
    fn ending(&mut self) -> Problem {
        // One that is on its way out keeps its own exit code, however late the signal comes.
        let reason = match self.end() {
            Ok(status) if status.code().is_some() => {
                format!("the program ended without an answer: {status}{}", in_words(status))
            }
            Ok(_) => "the program closed its input or its output without an answer, or was killed".to_owned(),
            Err(error) => format!("the program closed its input or its output: {error}"),
        };
        Problem::Other(reason)
    }

    /// Ends the program and whatever it has started, and waits until it is gone.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.pieces = None;
        // Once it was waited for, its number may be that of another process.
        if !std::mem::replace(&mut self.is_gone, true) {
            kill(&mut self.child);
        }
        self.child.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whatever went wrong was reported.
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
            Unread::Failed(error) => Self::Other(format!("its output cannot be read: {error}")),
        }
    }
}

fn unasked(line: &[u8]) -> Problem {
    Problem::Other(format!("the program wrote a line that it was not asked for: {}", shortened(line)))
}

/// What a shell means by an exit code.
fn in_words(status: ExitStatus) -> &'static str {
    match status.code() {
        Some(126) => " (the shell cannot execute it)",
        Some(127) => " (the shell did not find it)",
        _ => "",
    }
}

/// A time that does not come: a time-out beyond what the clock can count.
fn far_away() -> Instant {
    Instant::now() + Duration::from_hours(24 * 365)
}

/// The next rows of a batch as lines, from `row` on; after the last one the blank line that ends it.
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

/// Writes the greeting and each piece; a program that does not read any more ends it.
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

/// The next line without its end; `None` at the end of the output.
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

/// Kills a program with its own children: it leads a process group.
#[cfg(unix)]
fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It fails only if all of them are gone.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

#[cfg(not(unix))]
fn kill(child: &mut Child) {
    // It fails only if the program is gone.
    let _ = child.kill();
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
        // The thread that writes ends with the first line that nobody reads.
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
        // Unless it came before the question.
        match ask() {
            Ok(line) => assert_eq!(line, b"early"),
            Err(problem) => assert_eq!(problem, unasked(b"early")),
        }
    }

    #[test]
    fn a_program_is_ended_with_whatever_it_has_started() {
        let mut program = Program::start(&exec("sleep 1000 & wait"), Version::V2, 1000).unwrap();
        let lines = program.lines.clone();
        program.end().unwrap();
        // Its output ends only once the child that has inherited it is gone, too.
        let ended = lines.recv_timeout(Duration::from_mins(1));
        assert!(matches!(ended, Err(RecvTimeoutError::Disconnected)), "{ended:?}");
    }
}
