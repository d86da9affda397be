//! A real Kafka for a benchmark: started by `scripts/kafka`, ends with its pipe.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use velo_engine::kafka::ClientSettings;

/// Runs for as long as it is held.
pub(crate) struct Broker {
    script: Child,
    pipe: Option<ChildStdin>,
    pub settings: ClientSettings,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let mut script = Command::new(root.join("scripts/kafka"))
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/kafka runs");
        let pipe = script.stdin.take();
        let mut line = String::new();
        BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("ready ").expect("Kafka is ready").to_owned();
        let settings = ClientSettings::new(address, BTreeMap::new()).expect("no properties");
        Self { script, pipe, settings }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.pipe = None;
        self.script.wait().expect("an end");
    }
}
