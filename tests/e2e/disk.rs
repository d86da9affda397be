//! A full disk and a full standard output: what could not be written is said, and nothing half-written is left.

use std::fs::File;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::broker::{busy, embedded, quiet};
use crate::run::{BUFFERED, Job};
use crate::topic::Load;

/// The command with a limit of no bytes for every file that it writes. Pipes are not limited.
fn without_space(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    limited.stdout(Stdio::piped()).stderr(Stdio::piped());
    limited
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_report_that_finds_no_space_is_an_error_and_leaves_nothing_behind() {
    let _busy = busy();
    let broker = embedded();
    let load = Load { number: 100, partitions: 1, bytes: 100, poison_every: u64::MAX };
    let job = Job::new(&broker, load, BUFFERED);
    let output = without_space(&job.command()).output().expect("velo runs");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write the report"), "{}", stderr(&output));
    assert!(!job.report_path().exists());
    // The records themselves have arrived.
    assert_eq!(crate::topic::count(&broker, &job.sink), 100);
}

#[test]
fn trials_that_find_no_space_are_an_error() {
    let _quiet = quiet();
    let folder = TempDir::new().expect("a folder");
    let mut advise = crate::run::program();
    let trials = folder.path().join("trials.jsonl");
    advise.args(["advise", "--demo", "alerts", "--sample", "3s", "--budget", "4s", "--trials"]).arg(&trials);
    let output = without_space(&advise).output().expect("velo runs");
    assert!(stderr(&output).contains("trials are not saved"), "{}", stderr(&output));
    // On a machine that is too slow, there is no recommendation either.
    assert!(matches!(output.status.code(), Some(1 | 3 | 4)), "{output:?}");
    assert!(!trials.exists());
}

#[test]
fn a_full_standard_output_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let sql = folder.path().join("job.sql");
    std::fs::write(&sql, "CREATE STREAM b AS SELECT * FROM a WITH ('batch.size' = '5', 'bach.size' = '1');")
        .expect("written");
    let sql = sql.display().to_string();
    let commands: [&[&str]; 6] =
        [&["keys"], &["rules"], &["schema"], &["lint", &sql], &["plan", &sql], &["completions", "bash"]];
    for arguments in commands {
        let full = File::options().write(true).open("/dev/full").expect("a device");
        let mut velo = Command::new(env!("CARGO_BIN_EXE_velo"));
        let output = velo.args(arguments).stdout(full).output().expect("velo runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("No space left on device"), "{arguments:?}: {}", stderr(&output));
    }
}
