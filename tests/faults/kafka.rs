//! A real Kafka of a scenario's own, which it can kill, stop, pause and start again: `scripts/kafka run`, told by lines
//! what to do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::broker::{Broker, root};

/// An answer comes within this time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Brokers that run until the value is dropped.
pub(crate) struct OwnKafka {
    pub broker: Broker,
    /// What else there is, by name: listeners' addresses, a folder of certificates.
    pub others: BTreeMap<String, String>,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    script: Child,
}

impl OwnKafka {
    /// Starts brokers with these arguments of `scripts/kafka run`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut script = Command::new(root().join("scripts/kafka"))
            .arg("run")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/kafka runs");
        let stdin = script.stdin.take();
        let stdout = BufReader::new(script.stdout.take().expect("a pipe"));
        let (said, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| said.send(line)));
        let mut kafka =
            Self { broker: Broker::At(String::new()), others: BTreeMap::new(), stdin, lines, script };
        let ready = kafka.line();
        let address = ready.strip_prefix("ready ").expect("Kafka is ready");
        kafka.broker = Broker::At(address.to_owned());
        if arguments.contains(&"--proxied") || arguments.contains(&"--secured") {
            let mut line = kafka.line();
            while line != "end" {
                let (name, value) = line.split_once(' ').expect("a name and a value");
                kafka.others.insert(name.to_owned(), value.to_owned());
                line = kafka.line();
            }
        }
        kafka
    }

    /// Runs one of Kafka's own programs against the brokers.
    pub(crate) fn tool(&self, class: &str, arguments: &[&str]) {
        let output = Command::new(root().join("scripts/kafka"))
            .args(["tool", class, "--bootstrap-server", &self.broker.address()])
            .args(arguments)
            .output()
            .expect("scripts/kafka runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Does something to the brokers (`kill`, `stop`, `start`, `pause`, `continue`) and waits until it is done.
    pub(crate) fn command(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it runs");
        writeln!(stdin, "{command}").expect("scripts/kafka reads");
        let answer = self.line();
        let verb = command.split(' ').next().unwrap_or_default();
        let expected = match verb {
            "kill" => "killed",
            "stop" => "stopped",
            "pause" => "paused",
            "continue" => "continued",
            _ => "ready",
        };
        assert!(answer.starts_with(expected), "{command}: {answer}");
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("scripts/kafka answers")
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        // The end of its input ends the script and the brokers.
        self.stdin = None;
        let _ = self.script.wait();
    }
}
