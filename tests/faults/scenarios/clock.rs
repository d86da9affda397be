//! The wall clock is set back and forward by an hour while a job runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;

use crate::broker::root;
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan { cost: "0.5ms/record", ..Plan::draw(&mut random) };
    let workload = Workload::new(seed, 8000, 4);
    let trial = Trial::new(site, plan, workload);
    let (library, shift) = (library(trial.folder()), trial.folder().join("shift"));
    set(&shift, 0);
    let environment = [("LD_PRELOAD", &library), ("CLOCK_SHIFT", &shift)];
    let environment = environment.map(|(name, path)| (name.to_owned(), path.display().to_string()));
    let mut trial = trial.with_environment(environment.to_vec());
    let mut members = trial.start_all();
    for _ in 0..random.u32(1..5) {
        if !trial.wait_for_more(random.i64(1..1500), &mut members) {
            break;
        }
        set(&shift, [-3600, -1, 0, 1, 3600][random.usize(..5)]);
    }
    trial.all_end_well(&mut members);
    drop(members);
    trial.finish()
}

/// Writes the shift of the clock, in seconds, to the place that the processes have mapped.
fn set(path: &Path, seconds: i64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(path).expect("a file");
    file.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
}

/// Builds the library that shifts the clock.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(root().join("tests/faults/clock.c"))
        .arg("-ldl")
        .status();
    assert!(built.is_ok_and(|status| status.success()), "a C compiler is needed, as for librdkafka");
    library
}
