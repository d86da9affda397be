//! Faults that are built into a job on purpose: each must be found by a scenario that is named here.

use velo_engine::failpoint::Mutant;

use super::Scenario;
use crate::broker::{busy, real};

/// The scenario that finds a mutant, and how many seeds it may need.
fn hunter(mutant: Mutant) -> (&'static str, u64) {
    match mutant {
        Mutant::CommitBeforeDeadLetter
        | Mutant::CommitPastGap
        | Mutant::WatermarkOffByOne
        | Mutant::DeadLetterChanged => ("killed", 30),
        Mutant::SkipOnOutage => ("program", 10),
        Mutant::OlderTransactionCounts | Mutant::BatchReused => ("refused", 20),
        Mutant::DoneWithoutLanes
        | Mutant::WriteAfterLoss
        | Mutant::CommitResultsSwapped
        | Mutant::PassingIsPermanent
        | Mutant::PermanentIsPassing
        | Mutant::StoppedIsDone
        | Mutant::ReceiptBeforeWrite => ("suspended", 20),
    }
}

#[test]
#[ignore = "takes minutes: part of the long set"]
fn every_mutant_is_found() {
    let _busy = busy();
    let broker = real();
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let (name, seeds) = hunter(*mutant);
        let scenario = Scenario::named(name);
        let found = (1..=seeds).find_map(|seed| {
            let outcome = scenario.run(&broker, Some(*mutant), seed);
            let why = outcome.verdict.broken.first().cloned()?;
            let _ = std::fs::remove_dir_all(outcome.folder);
            Some((seed, why))
        });
        match found {
            Some((seed, why)) => println!("{} | {name} --seed {seed} | {why}", mutant.name()),
            None => missed.push(mutant.name()),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
