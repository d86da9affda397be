//! Faults that are built into a job on purpose: each must be found by a scenario that is named here.

use std::sync::Mutex;

use velo_engine::failpoint::Mutant;

use super::{Scenario, errors};
use crate::broker::{Broker, busy, real};

/// The scenario that finds a mutant, and how many seeds it may need.
#[derive(Debug, Clone, Copy)]
enum Hunter {
    Scenario(&'static str, u64),
    /// A job whose request is answered with an error, as in `errors.rs`.
    Forbidden,
    /// A test of the group member in the engine, which runs with all tests.
    Member(&'static str),
}

fn hunter(mutant: Mutant) -> Hunter {
    match mutant {
        Mutant::CommitBeforeDeadLetter | Mutant::CommitPastGap => Hunter::Scenario("letters", 10),
        Mutant::WatermarkOffByOne | Mutant::DeadLetterChanged => Hunter::Scenario("killed", 30),
        // `killed` finds it, too, if a member ends while another one has the rest.
        Mutant::DoneWithoutLanes => Hunter::Member("an_end_that_is_reached_without_the_others_is_found"),
        Mutant::StoppedIsDone => Hunter::Scenario("stopped", 3),
        Mutant::SkipOnOutage => Hunter::Scenario("program", 10),
        Mutant::OlderTransactionCounts | Mutant::BatchReused => Hunter::Scenario("refused", 20),
        Mutant::WriteAfterLoss => Hunter::Scenario("suspended", 20),
        Mutant::ProducerKept => Hunter::Scenario("late", 6),
        Mutant::CommitResultsSwapped => Hunter::Member("swapped_results_of_commits_are_found"),
        Mutant::PassingIsPermanent => Hunter::Scenario("brokers", 10),
        Mutant::PermanentIsPassing => Hunter::Forbidden,
        Mutant::ReceiptBeforeWrite => Hunter::Scenario("replayed", 10),
    }
}

/// Looks for a mutant. Returns how it was found.
fn hunt(broker: &Broker, mutant: Mutant) -> Option<String> {
    let (name, seeds) = match hunter(mutant) {
        Hunter::Scenario(name, seeds) => (name, seeds),
        Hunter::Forbidden => {
            return errors::ignores_what_is_forbidden(mutant)
                .then(|| "errors: a job goes on that must end".to_owned());
        }
        Hunter::Member(test) => return Some(format!("{test}, a test of the engine")),
    };
    (1..=seeds).find_map(|seed| {
        let outcome = Scenario::named(name).run(broker, Some(mutant), seed);
        // A job that takes too long may be on a slow machine.
        let why = outcome.verdict.broken.iter().find(|why| !why.contains(" within "))?;
        let _ = std::fs::remove_dir_all(&outcome.folder);
        Some(format!("{name} --seed {seed}: {why}"))
    })
}

#[test]
#[ignore = "takes minutes: scripts/faults --mutants"]
fn every_mutant_is_found() {
    const JOBS: usize = 4;
    let _busy = busy();
    let broker = real();
    let only = std::env::var("VELO_FAULTS_MUTANT").ok().filter(|name| !name.is_empty());
    let is_wanted =
        |mutant: &&Mutant| only.as_ref().is_none_or(|only| mutant.name().ends_with(only.as_str()));
    assert!(Mutant::ALL.iter().any(|mutant| is_wanted(&mutant)), "there is no mutant '{only:?}'");
    let (queue, missed) = (Mutex::new(Mutant::ALL.iter().filter(is_wanted)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some(mutant) = next else { break };
                    match hunt(&broker, *mutant) {
                        Some(how) => println!("{} | {how}", mutant.name()),
                        None => missed.lock().expect("no panic").push(mutant.name()),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("no panic");
    assert!(missed.is_empty(), "not found: {missed:?}");
}
