//! A process of a job: arguments in, its end and its log out.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::oracle::Offsets;

/// A running process. It is killed when the value is dropped.
pub(crate) struct Member {
    pub number: usize,
    /// Where the source ended when the process was started.
    pub until: Offsets,
    pid: u32,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    log: PathBuf,
}

impl Member {
    /// Starts a process that writes its standard error to `log`.
    pub(crate) fn start(number: usize, until: Offsets, mut command: Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("velo runs");
        let pid = child.id();
        let (end, ended) = channel();
        thread::spawn(move || end.send(child.wait().expect("a child")));
        Self { number, until, pid, ended, status: None, log }
    }

    /// Waits until the process has ended. Returns `None` if it has not within `time`.
    pub(crate) fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = match self.ended.recv_timeout(time) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for process {}", self.pid),
            };
        }
        self.status
    }

    /// Sends a signal, `-STOP` for example.
    pub(crate) fn signal(&self, signal: &str) {
        if self.status.is_none() {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args([signal, &self.pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Returns what the process has written to standard error.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("a log")).into_owned()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.wait(Duration::ZERO).is_none() {
            self.signal("-KILL");
            self.wait(Duration::from_secs(10));
        }
    }
}
