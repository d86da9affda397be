//! Advice for people: the workload, what was tried, the verdict, the clause to paste.

use velo_advisor::advice::{Gain, Tried};
use velo_advisor::{Advice, Candidate, Confirmation, Cost, Goal, Profile, Recommendation, Work};
use velo_schema::guide::Met;
use velo_schema::plan::NearestRow;

use super::export::clause;
use super::plan::table;
use super::style::bold;

/// Candidates that are shown at most.
const MOST_SHOWN: usize = 12;

/// The workload in a few lines.
pub(crate) fn workload(profile: &Profile, work: &Work) -> String {
    format!(
        "{} {} records in {:.1} s: {:.0}/s, busiest second {:.0}/s, dispersion {:.1}\n\
         \x20        {:.0} B a record (p50 {}, p99 {}, max {}), {} partitions, {:.0} % in the busiest, {:.0} % with a key\n\
         \x20        a batch costs {:.2} ms + {:.4} ms a record, and {:.2} ms to the sink",
        bold("workload:"),
        profile.records,
        profile.seconds,
        profile.records_per_s,
        profile.peak_records_per_s,
        profile.dispersion,
        profile.mean_bytes,
        profile.p50_bytes,
        profile.p99_bytes,
        profile.max_bytes,
        profile.partitions,
        profile.largest_partition_share * 100.0,
        profile.keyed_share * 100.0,
        work.per_batch_ms,
        work.per_record_ms,
        work.sink_ms,
    )
}

/// What batches cost, as it was measured.
pub(crate) fn cost(cost: &Cost) -> String {
    let line = format!("{:.3} ms + {:.5} ms a record", cost.per_batch_ms, cost.per_record_ms);
    let what = if cost.is_line() {
        format!("a batch takes {line}, within {:.0} %", cost.residual * 100.0)
    } else {
        let points = cost.points.iter().map(|point| format!("{} in {:.2} ms", point.records, point.ms));
        format!("no line: {}", points.collect::<Vec<_>>().join(", "))
    };
    format!(
        "{} {what}; measured with the engine, its processor and the sink's round trip",
        bold("calibration:")
    )
}

/// The advice in full.
pub(crate) fn text(advice: &Advice) -> String {
    let mut text = if advice.measured || advice.candidates.is_empty() {
        String::new()
    } else {
        format!("{}\n\n", bold("modelled, not measured"))
    };
    text += &if advice.candidates.is_empty() { String::new() } else { candidates(advice) };
    match (&advice.recommendation, &advice.refusal) {
        (Some(recommendation), _) => text += &verdict(advice, recommendation),
        (None, Some(refusal)) => {
            text += &format!(
                "\n{} {refusal}\nkeep what runs now, {}\n{}",
                bold("no recommendation:"),
                advice.current.as_ref().map_or_else(
                    || format!("or the defaults: {}", Candidate::defaults()),
                    ToString::to_string,
                ),
                if refusal.is_infeasible() {
                    ""
                } else {
                    "sample for longer (--sample), or at a busier time\n"
                },
            );
        }
        (None, None) => {}
    }
    text
}

fn candidates(advice: &Advice) -> String {
    let mut table = table(&["candidate", "throughput", "p50", "p99", "rounds", ""]);
    let is_shown = |tried: &&Tried| !advice.measured || tried.rounds > 0;
    let shown: Vec<_> = advice.candidates.iter().filter(is_shown).take(MOST_SHOWN).collect();
    for tried in &shown {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let remark = match (tried.is_feasible, tried.keeps_up, tried.modelled) {
            (_, false, _) => "cannot keep up",
            (false, true, _) => "beyond a limit",
            (true, true, true) if tried.rounds > 0 => "p99 modelled: few batches",
            (true, true, true) => "modelled",
            (true, true, false) => "",
        };
        table.add_row([
            tried.candidate.to_string(),
            format!("{:.0}/s", tried.capacity_records_per_s),
            ms(tried.p50_ms),
            ms(tried.p99_ms),
            tried.rounds.to_string(),
            remark.to_owned(),
        ]);
    }
    let others = advice.candidates.len() - shown.len();
    let others = match others {
        0 => String::new(),
        others if advice.measured => format!("{others} more were predicted to be no better\n"),
        others => format!("and {others} more\n"),
    };
    format!("{table}\n{others}")
}

fn verdict(advice: &Advice, recommendation: &Recommendation) -> String {
    let Recommendation { candidate, tier, max_poll_records, .. } = recommendation;
    let row = match (recommendation.matrix_row, recommendation.nearest_row) {
        (Some(row), _) => format!("decision matrix: {}", row.word()),
        (None, Some(NearestRow { row, size_factor })) => {
            format!("off the decision matrix; nearest row {}, ×{size_factor:.1} in size", row.word())
        }
        (None, None) => "off the decision matrix".to_owned(),
    };
    let mut text = format!(
        "\n{} {candidate}\n  {row}; {tier} tier, max.poll.records {max_poll_records}\n  holds until the rate passes {:.0} records/s\n",
        bold("recommendation:"),
        recommendation.holds_until_records_per_s,
    );
    if let Some(second) = &recommendation.runner_up {
        text += &format!("  runner-up: {second}\n");
    }
    text += &match (&recommendation.gain, recommendation.is_current) {
        (_, true) => "  this is what runs now\n".to_owned(),
        (Some(gain), false) => gained(gain, advice),
        (None, false) => String::new(),
    };
    let own = recommendation.conditions.iter().filter(|condition| condition.strategy == candidate.strategy);
    for condition in own {
        let met = match condition.met {
            Met::Met => "met",
            Met::NotMet => "not met",
            Met::Unknown => "unknown",
        };
        let measured = condition.measured.map_or(String::new(), |value| format!(" ({value:.1})"));
        text += &format!("  guide's condition {met}: {}{measured}\n", condition.text);
    }
    text += &advice.confirmation.as_ref().map(confirmed).unwrap_or_default();
    text + "\n" + &clause(&recommendation.candidate, "")
}

fn confirmed(live: &Confirmation) -> String {
    if live.records == 0 {
        return "  live: no record came while it was confirmed\n".to_owned();
    }
    format!(
        "  live: {} records in {:.1} s, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms; {} tier, {:.1} records a call\n",
        live.records,
        live.seconds,
        live.records_per_s,
        live.p50_ms,
        live.p99_ms,
        live.tier,
        live.records_per_call
    )
}

/// Against what runs now.
fn gained(gain: &Gain, advice: &Advice) -> String {
    let what = match advice.goal {
        Goal::Latency => "p99",
        Goal::Throughput => "time a record",
        Goal::Memory => "memory",
        Goal::Cpu => "work a record",
    };
    let interval = match gain.interval {
        Some((low, high)) => format!(" (95 %: {low:.2} to {high:.2})"),
        None => String::new(),
    };
    let doubt = match (advice.measured, gain.is_certain) {
        (false, _) => ", by the model",
        (true, true) => "",
        (true, false) => ", which these rounds do not prove",
    };
    format!("  {what}: ×{:.2} of what runs now{interval}{doubt}\n", gain.ratio)
}
