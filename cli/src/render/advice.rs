//! Advice for people: the workload, what was tried, the verdict, the clause to paste.

use velo_advisor::{Advice, Confirmation, Profile, Recommendation, Work};
use velo_schema::guide::Met;
use velo_schema::plan::NearestRow;

use super::plan::table;
use super::style::bold;

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

/// The advice in full.
pub(crate) fn text(advice: &Advice) -> String {
    let mut text = if advice.candidates.is_empty() { String::new() } else { candidates(advice) };
    match (&advice.recommendation, &advice.refusal) {
        (Some(recommendation), _) => text += &verdict(advice, recommendation),
        (None, Some(refusal)) => {
            text += &format!(
                "\n{} {refusal}\nkeep what runs now, or the defaults: batch.strategy fixed_size, batch.size 100\n{}",
                bold("no recommendation:"),
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
    for tried in &advice.candidates {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        let remark = match (tried.is_feasible, tried.keeps_up, tried.modelled) {
            (_, false, _) => "cannot keep up",
            (false, true, _) => "above the p99 asked for",
            (true, true, true) => "p99 modelled: few batches",
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
    format!("{table}\n")
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
    if let Some(second) = recommendation.runner_up {
        text += &format!("  runner-up: {second}\n");
    }
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
    text + &clause(recommendation)
}

fn confirmed(live: &Confirmation) -> String {
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

/// The clause to paste.
fn clause(recommendation: &Recommendation) -> String {
    let settings: Vec<_> = recommendation
        .settings
        .iter()
        .map(|setting| format!("    '{}' = '{}'", setting.key, setting.value))
        .collect();
    format!("\nWITH (\n{}\n)\n", settings.join(",\n"))
}
