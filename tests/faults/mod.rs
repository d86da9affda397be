//! Jobs under faults: what the world does to a job, and one oracle that says whether records were lost, written twice
//! or committed too early.
//!
//! A scenario is a function of a site (brokers) and a seed. A short set with fixed seeds runs with all tests;
//! `scripts/faults` runs the long set.

mod errors;
mod kafka;
mod long;
mod member;
mod mutants;
mod observer;
mod oracle;
mod protocol;
mod proxy;
mod scenarios;
mod source;
mod trial;
mod workload;

use velo_engine::failpoint::Mutant;

use crate::broker::{Broker, busy, real};
use trial::{Outcome, Site};

/// A kind of fault, by name.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(&Site<'_>, u64) -> Outcome,
}

const SCENARIOS: [Scenario; 16] = [
    Scenario { name: "brokers", run: scenarios::brokers::run },
    Scenario { name: "clock", run: scenarios::clock::run },
    Scenario { name: "cluster", run: scenarios::cluster::run },
    Scenario { name: "denied", run: scenarios::denied::run },
    Scenario { name: "killed", run: scenarios::killed::run },
    Scenario { name: "late", run: scenarios::late::run },
    Scenario { name: "letters", run: scenarios::killed::with_letters_due },
    Scenario { name: "program", run: scenarios::program::run },
    Scenario { name: "proxied", run: scenarios::proxied::run },
    Scenario { name: "refused", run: scenarios::refused::run },
    Scenario { name: "replayed", run: scenarios::replayed::run },
    Scenario { name: "shapes", run: scenarios::shapes::run },
    Scenario { name: "stopped", run: scenarios::stopped::run },
    Scenario { name: "suspended", run: scenarios::suspended::run },
    Scenario { name: "topics", run: scenarios::topics::run },
    Scenario { name: "transactions", run: scenarios::transactions::run },
];

impl Scenario {
    fn named(name: &str) -> Self {
        let found = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
        found.unwrap_or_else(|| panic!("there is no scenario '{name}'"))
    }

    fn run(self, broker: &Broker, mutant: Option<Mutant>, seed: u64) -> Outcome {
        (self.run)(&Site::new(broker, mutant), seed)
    }
}

/// Runs a scenario with these seeds side by side. Panics with the first broken promise.
fn keeps_its_promises(name: &str, seeds: std::ops::Range<u64>) {
    let _busy = busy();
    let (broker, scenario) = (real(), Scenario::named(name));
    std::thread::scope(|scope| {
        let broker = &broker;
        let run = |seed| (seed, scope.spawn(move || scenario.run(broker, None, seed)));
        let runs: Vec<_> = seeds.map(run).collect();
        for (seed, run) in runs {
            let Outcome { verdict, folder, .. } = run.join().expect("no panic");
            let logs = folder.display();
            assert!(
                verdict.broken.is_empty(),
                "scripts/faults --scenario {name} --seed {seed}: {:#?}; logs: {logs}",
                verdict.broken
            );
        }
    });
}

#[test]
fn a_job_that_is_killed_at_any_edge_keeps_its_promises() {
    keeps_its_promises("killed", 1..7);
}

#[test]
fn a_job_that_is_killed_before_dead_letters_are_written_keeps_its_promises() {
    keeps_its_promises("letters", 1..3);
}

#[test]
fn a_job_whose_broker_goes_and_comes_keeps_its_promises() {
    keeps_its_promises("brokers", 1..3);
}

#[test]
fn a_job_whose_program_misbehaves_keeps_its_promises() {
    keeps_its_promises("program", 1..5);
}

#[test]
fn a_job_whose_clock_is_set_keeps_its_promises() {
    keeps_its_promises("clock", 1..4);
}

#[test]
fn a_job_whose_leaders_move_keeps_its_promises() {
    keeps_its_promises("cluster", 1..2);
}

#[test]
fn a_job_whose_network_fails_keeps_its_promises() {
    keeps_its_promises("proxied", 1..4);
}

#[test]
fn a_job_whose_requests_arrive_late_keeps_its_promises() {
    keeps_its_promises("late", 0..6);
}

#[test]
fn a_job_whose_records_are_refused_keeps_its_promises() {
    keeps_its_promises("refused", 1..5);
}

#[test]
fn a_replay_that_is_killed_at_any_edge_puts_each_dead_letter_back_once() {
    keeps_its_promises("replayed", 1..4);
}

#[test]
fn a_job_that_is_stopped_keeps_its_promises() {
    keeps_its_promises("stopped", 1..4);
}

#[test]
fn a_job_that_is_suspended_keeps_its_promises() {
    keeps_its_promises("suspended", 1..4);
}

#[test]
fn a_job_whose_topic_changes_keeps_its_promises() {
    keeps_its_promises("topics", 3..6);
}

#[test]
fn a_job_that_reads_transactions_keeps_its_promises() {
    keeps_its_promises("transactions", 1..3);
}

#[test]
fn a_job_that_reads_records_of_every_shape_keeps_its_promises() {
    keeps_its_promises("shapes", 1..3);
}

#[test]
fn a_job_that_loses_its_permissions_keeps_its_promises() {
    keeps_its_promises("denied", 1..3);
}
