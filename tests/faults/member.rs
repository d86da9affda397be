//! A process of a job: arguments in, its end and its log out.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::observer::Observed;
use super::oracle::Offsets;

/// What a process does: it reads a topic to the end that it had when the process was started.
#[derive(Debug, Clone)]
pub(crate) struct Duty {
    pub observed: Observed,
    pub until: Offsets,
}

/// The end of a process.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub status: ExitStatus,
    /// What a process with a duty has left undone although it has ended with 0.
    pub undone: Option<String>,
}

/// A running process. It is killed when the value is dropped.
pub(crate) struct Member {
    pub number: usize,
    pid: u32,
    ended: Receiver<End>,
    end: Option<End>,
    log: PathBuf,
}

impl Member {
    /// Starts a process that writes its standard error to `log`.
    pub(crate) fn start(number: usize, duty: Option<Duty>, mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("velo runs");
        let pid = child.id();
        let (end, ended) = channel();
        thread::spawn(move || {
            let status = child.wait().expect("a child");
            // At once, before others do what this one has not done.
            let undone = duty.filter(|_| status.success()).and_then(Duty::undone);
            end.send(End { status, undone })
        });
        Self { number, pid, ended, end: None, log }
    }

    /// Waits until the process has ended. Returns `None` if it has not within `time`.
    pub(crate) fn end(&mut self, time: Duration) -> Option<End> {
        if self.end.is_none() {
            self.end = match self.ended.recv_timeout(time) {
                Ok(end) => Some(end),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for process {}", self.pid),
            };
        }
        self.end.clone()
    }

    /// Waits until the process has ended. Returns `None` if it has not within `time`.
    pub(crate) fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        self.end(time).map(|end| end.status)
    }

    /// Sends a signal, `-STOP` for example.
    pub(crate) fn signal(&self, signal: &str) {
        if self.end.is_none() {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args([signal, &self.pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Returns what the process has written to standard error.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("a log")).into_owned()
    }
}

impl Duty {
    /// Returns what is committed, if that is less than was to be done.
    fn undone(self) -> Option<String> {
        let Some(committed) = self.observed.committed_at_last() else {
            return Some("the brokers do not tell what was committed".to_owned());
        };
        let mut ends = self.until.iter();
        let is_done = ends.all(|(partition, end)| committed.get(partition).is_some_and(|at| at >= end));
        (!is_done).then(|| format!("committed was {committed:?}"))
    }
}

/// Returns the last error that a process has printed.
pub(crate) fn last_error(said: &str) -> Option<&str> {
    let error = |line: &'_ str| line.starts_with("error: ") || line.starts_with("the job failed: ");
    said.lines().rev().find(|line| error(line))
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.wait(Duration::ZERO).is_none() {
            self.signal("-KILL");
            self.wait(Duration::from_secs(10));
        }
    }
}
