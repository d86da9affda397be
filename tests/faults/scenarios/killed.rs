//! Processes are killed, as by `kill -9`, at an edge of the life of a member, a batch, a record or a transaction.

use std::time::Duration;

use fastrand::Rng;
use velo_engine::failpoint::Edge;

use crate::faults::oracle::OnBad;
use crate::faults::trial::{Outcome, Plan, Site, Trial};
use crate::faults::workload::Workload;

/// A job that is killed is expected to have been killed by then.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn run(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    run_at(site, seed, &Plan::draw(&mut random), draw)
}

/// The process is killed when dead letters are due and have waited for longer than the interval of commits.
pub(crate) fn with_letters_due(site: &Site<'_>, seed: u64) -> Outcome {
    let mut random = Rng::with_seed(seed);
    let plan = Plan { on_bad: OnBad::DeadLetter, exactly_once: false, ..Plan::draw(&mut random) };
    run_at(site, seed, &plan, |random, _| Kill {
        edge: Edge::DeadLetterDue,
        passed: random.u32(0..20),
        pause: Duration::from_secs(3),
    })
}

/// Where a process is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    edge: Edge,
    /// How often it comes to the edge before.
    passed: u32,
    /// How long it waits there once, before it is killed the next time. The rest of the process goes on meanwhile, to
    /// commit for example.
    pause: Duration,
}

/// Kills the members of a job several times, each time at an edge that is drawn, and lets it finish.
pub(crate) fn run_at(
    site: &Site<'_>,
    seed: u64,
    plan: &Plan,
    mut draw_kill: impl FnMut(&mut Rng, &Plan) -> Kill,
) -> Outcome {
    let mut random = Rng::with_seed(seed ^ 1);
    let workload = Workload::new(seed, 6000, 4);
    let mut trial = Trial::new(site, *plan, workload);
    let mut members: Vec<_> = (1..plan.members).map(|number| trial.start(number, None)).collect();
    for _ in 0..random.u32(1..5) {
        let Kill { edge, passed, pause } = draw_kill(&mut random, plan);
        let pause = if pause.is_zero() { String::new() } else { format!("1*sleep({})->", pause.as_millis()) };
        let armed = format!("{}={passed}*off->{pause}return", edge.name());
        let mut victim = trial.start(0, Some(&armed));
        let Some(status) = victim.wait(PATIENCE) else {
            trial.break_promise(format!("nothing happens at {} after {passed}", edge.name()));
            break;
        };
        if status.code().is_some() {
            // It has come to the end before it came to the edge.
            trial.all_end_well(std::slice::from_mut(&mut victim));
            break;
        }
        trial.incident();
    }
    for member in &mut members {
        member.signal("-TERM");
    }
    trial.all_end_or_are_stopped(&mut members);
    drop(members);
    trial.finish()
}

/// Draws an edge of such a job.
fn draw(random: &mut Rng, plan: &Plan) -> Kill {
    let edges: Vec<_> = Edge::ALL.iter().filter(|edge| is_of(**edge, plan)).collect();
    let edge = *edges[random.usize(..edges.len())];
    let passed = match edge {
        Edge::RecordSent | Edge::RecordAcked => random.u32(0..2000),
        Edge::DeadLetterDue => random.u32(0..40),
        Edge::LaneFilled
        | Edge::BatchSealed
        | Edge::BatchProcessed
        | Edge::BatchWritten
        | Edge::BatchSettled => random.u32(0..20),
        Edge::TransactionBegun | Edge::TransactionOffsets | Edge::TransactionCommitted => random.u32(0..5),
        _ => 0,
    };
    let pause = Duration::from_secs(if random.u8(..4) == 0 { 3 } else { 0 });
    Kill { edge, passed, pause }
}

/// True if a job of this kind comes to this edge.
fn is_of(edge: Edge, plan: &Plan) -> bool {
    match edge {
        Edge::TransactionBegun | Edge::TransactionOffsets | Edge::TransactionCommitted => plan.exactly_once,
        Edge::TransactionAborted
        | Edge::ReplayBegun
        | Edge::ReplayWritten
        | Edge::ReplayNoted
        | Edge::ReplayEnded => false,
        _ => true,
    }
}
