//! Runs a part of a benchmark in a process of its own, so that its CPU time and memory are its own: a subject by name in,
//! what it took out.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cost::cpu_seconds;

const OPTION: &str = "--subject";

/// What a subject took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub records: u64,
    /// The sum of all bytes that were read, to compare subjects.
    pub checksum: u64,
    pub seconds: f64,
    /// Of the whole process, its start included.
    pub cpu_s: f64,
    pub peak_mib: f64,
}

impl Cost {
    pub(crate) fn records_per_s(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    pub(crate) fn cpu_us_per_record(&self) -> f64 {
        self.cpu_s / self.records as f64 * 1e6
    }
}

/// The subject that this process is to run, with its arguments, if it is one of [`run`].
pub(crate) fn asked() -> Option<Vec<String>> {
    let asked: Vec<_> = std::env::args().skip_while(|argument| argument != OPTION).skip(1).collect();
    (!asked.is_empty()).then_some(asked)
}

/// Ends a process that was started by [`run`].
pub(crate) fn ended(records: u64, checksum: u64, elapsed: Duration) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: f64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    let cost = Cost {
        records,
        checksum,
        seconds: elapsed.as_secs_f64(),
        cpu_s: cpu_seconds().0,
        peak_mib: peak_kib / 1024.0,
    };
    println!("{}", serde_json::to_string(&cost).expect("JSON"));
}

/// Runs a subject of this benchmark in a new process.
pub(crate) fn run(subject: &[&str]) -> Cost {
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).arg(OPTION).args(subject).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{subject:?}");
    serde_json::from_slice(&output.stdout).expect("a cost")
}
