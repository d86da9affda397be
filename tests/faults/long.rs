//! The long set: `scripts/faults` in, a table of scenarios out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{SCENARIOS, Scenario};
use crate::broker::{busy, real};
use crate::faults::oracle::Verdict;
use crate::faults::trial::{Outcome, folder};

/// What came of all runs of a scenario.
#[derive(Debug, Default)]
struct Row {
    runs: u64,
    records: u64,
    lost: u64,
    twice: u64,
    gone: u64,
    broken: u64,
    recovery: Duration,
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.records += outcome.verdict.records;
        self.lost += outcome.verdict.lost;
        self.twice += outcome.verdict.twice;
        self.gone += outcome.verdict.gone;
        self.broken += u64::from(!outcome.verdict.broken.is_empty());
        self.recovery = self.recovery.max(outcome.recovery);
    }
}

/// How long, from which seed on, and what.
struct Settings {
    time: Duration,
    seed: u64,
    scenarios: Vec<Scenario>,
    /// How many runs go on at a time.
    jobs: usize,
}

impl Settings {
    fn from_environment() -> Self {
        let number = |name: &str, default| {
            let text = std::env::var(name).ok().filter(|text| !text.is_empty());
            text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
        };
        let only = std::env::var("VELO_FAULTS_SCENARIO").ok().filter(|name| !name.is_empty());
        let scenarios = only.map_or_else(|| SCENARIOS.to_vec(), |name| vec![Scenario::named(&name)]);
        let minutes = number("VELO_FAULTS_MINUTES", 10);
        Self {
            time: Duration::from_mins(minutes),
            seed: number("VELO_FAULTS_SEED", 1),
            scenarios,
            jobs: usize::try_from(number("VELO_FAULTS_JOBS", 4)).expect("small"),
        }
    }
}

/// Returns the rows as text.
fn table(rows: &BTreeMap<&str, Row>) -> String {
    let mut text = format!(
        "{:12} {:>6} {:>10} {:>6} {:>8} {:>8} {:>14} {:>7}\n",
        "scenario", "runs", "records", "lost", "twice", "gone", "recovery (max)", "broken"
    );
    for (name, Row { runs, records, lost, twice, gone, broken, recovery }) in rows {
        let recovery_s = recovery.as_secs_f64();
        writeln!(
            text,
            "{name:12} {runs:6} {records:10} {lost:6} {twice:8} {gone:8} {recovery_s:>12.1} s {broken:7}"
        )
        .expect("text");
    }
    text
}

/// The outcome of a run whose test itself has failed.
fn failed() -> Outcome {
    let broken = vec!["the test has panicked, see above".to_owned()];
    Outcome { verdict: Verdict { broken, ..Verdict::default() }, ..Outcome::default() }
}

#[test]
#[ignore = "the long set of fault tests: run scripts/faults"]
fn long_set() {
    let _busy = busy();
    let broker = real();
    let settings = Settings::from_environment();
    assert!(settings.jobs > 0, "at least one job");
    let end = Instant::now() + settings.time;
    let rows: Mutex<BTreeMap<&str, Row>> = Mutex::default();
    let next = Mutex::new(settings.seed);
    std::thread::scope(|scope| {
        for _ in 0..settings.jobs {
            scope.spawn(|| {
                // At least one round, and whole rounds.
                let take = || {
                    let mut next = next.lock().expect("no panic");
                    let seed = *next;
                    let is_first = seed == settings.seed;
                    *next += 1;
                    (is_first || Instant::now() < end).then_some(seed)
                };
                while let Some(seed) = take() {
                    for scenario in &settings.scenarios {
                        let run = || scenario.run(&broker, None, seed);
                        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| failed());
                        if !outcome.verdict.broken.is_empty() {
                            println!(
                                "{} --seed {seed}: {:#?}; logs: {}",
                                scenario.name,
                                outcome.verdict.broken,
                                outcome.folder.display()
                            );
                        }
                        rows.lock().expect("no panic").entry(scenario.name).or_default().add(&outcome);
                    }
                    // For a set that is stopped before its end.
                    let so_far = table(&rows.lock().expect("no panic"));
                    std::fs::write(folder().join("table.txt"), so_far).expect("written");
                }
            });
        }
    });
    let rows = rows.into_inner().expect("no panic");
    print!("{}", table(&rows));
    assert!(rows.values().all(|row| row.broken == 0), "promises were broken: see above");
}
