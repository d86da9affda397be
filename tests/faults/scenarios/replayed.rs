//! `velo dlq replay` is killed at its edges, again and again, and repeated: each dead letter goes back once.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use velo_engine::failpoint::{Edge, Mutant};

use crate::faults::member::Member;
use crate::faults::oracle::{OnBad, Verdict, difference};
use crate::faults::trial::{Outcome, Plan, Site, Trial, read_all};
use crate::faults::workload::{Kind, Workload};
use crate::run::program;

const EDGES: [Edge; 4] = [Edge::ReplayBegun, Edge::ReplayWritten, Edge::ReplayNoted, Edge::ReplayEnded];
const PATIENCE: Duration = Duration::from_mins(2);
/// The header that names a replayed record's origin.
const OF: &str = "velo.replay.of";

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan { on_bad: OnBad::DeadLetter, members: 1, ..Plan::draw(&mut random) };
    let workload = Workload::new(seed, 4000, 3);
    let mut trial = Trial::new(site, plan, workload);
    let mut job = trial.start(0, None);
    if trial.ended(&mut job) != Some(0) {
        trial.break_promise("the job did not end well".to_owned());
        return trial.finish();
    }
    for round in 0..random.u32(1..6) {
        let edge = EDGES[random.usize(..EDGES.len())];
        let armed = format!("{}={}*off->return", edge.name(), random.u32(0..3));
        let mut killed = replay(site, &trial, round, Some(&armed));
        let Some(status) = killed.wait(PATIENCE) else {
            trial.break_promise(format!("a replay has not come to {armed} and not ended"));
            break;
        };
        // It may come to its end before it comes to the edge.
        if status.code().is_some_and(|code| code != 0) {
            trial.break_promise(format!("a replay failed: {}", killed.said()));
        }
    }
    for round in [100, 101] {
        let mut whole = replay(site, &trial, round, None);
        if whole.wait(PATIENCE).and_then(|status| status.code()) != Some(0) {
            trial.break_promise(format!("a whole replay failed: {}", whole.said()));
        }
    }
    let replayed = check(site, &trial, workload);
    let mut outcome = trial.verdict();
    outcome.verdict.broken.extend(replayed.broken);
    outcome.verdict.lost += replayed.lost;
    outcome.verdict.twice += replayed.twice;
    outcome
}

fn replay(site: &Site<'_>, trial: &Trial<'_>, round: u32, armed: Option<&str>) -> Member {
    let mut command = program();
    // At this rate a receipt is due after 20 records.
    command.args(["dlq", "replay", &trial.observed().dlq, "--rate", "20"]);
    command.args(["--bootstrap-servers", &site.address]);
    let mutant = site.mutant.filter(|mutant| *mutant == Mutant::ReceiptBeforeWrite);
    let mutant = mutant.map(|mutant| format!("{}=return", mutant.name()));
    let armed: Vec<_> = armed.map(str::to_owned).into_iter().chain(mutant).collect();
    command.env("FAILPOINTS", armed.join(";"));
    Member::start(0, None, command, trial.folder().join(format!("replay{round}.log")))
}

/// Each dead letter is in the source again, as it was, and once.
fn check(site: &Site<'_>, trial: &Trial<'_>, workload: Workload) -> Verdict {
    let mut verdict = Verdict::default();
    let mut times = BTreeMap::<u64, u32>::new();
    for mut found in read_all(site.broker, &trial.observed().source) {
        let count = found.headers.len();
        found.headers.retain(|(name, _)| name != OF);
        let number = Workload::number(&found.headers).filter(|_| found.headers.len() < count);
        let Some(number) = number else { continue };
        *times.entry(number).or_default() += 1;
        let difference =
            difference(&workload.record(number), trial.source().timestamp_ms(number), &found, false);
        verdict.broken.extend(difference.map(|what| format!("replayed record {number}: {what}")));
    }
    for number in (0..workload.records).filter(|number| workload.record(*number).kind == Kind::Undecodable) {
        match times.get(&number).copied().unwrap_or(0) {
            1 => {}
            0 => {
                verdict.lost += 1;
                verdict.broken.push(format!("dead letter {number} was not replayed"));
            }
            times => {
                verdict.twice += 1;
                verdict.broken.push(format!("dead letter {number} was replayed {times} times"));
            }
        }
    }
    verdict
}
