//! Advice for people: the workload, what was tried, the verdict, the clause to paste.

use velo_advisor::advice::{Bound, Gain, Reading, Tried};
use velo_advisor::delays::Availability;
use velo_advisor::trial::Setup;
use velo_advisor::{Advice, Candidate, Confirmation, Cost, Goal, Profile, Recommendation, Refusal, Work};
use velo_schema::guide::Met;
use velo_schema::plan::NearestRow;

use super::export::clause;
use super::plan::table;
use super::style::bold;

/// Candidates that are shown at most.
const MOST_SHOWN: usize = 12;

/// The workload in a few lines.
pub(crate) fn workload(profile: &Profile, work: &Work) -> String {
    let Profile { records, seconds, records_per_s, peak_records_per_s, .. } = profile;
    let scales = profile.dispersions.iter().map(|at| format!("{:.1} at {} ms", at.index, at.window_ms));
    let scales: Vec<_> = scales.collect();
    let dispersion = if scales.is_empty() { format!("{:.1}", profile.dispersion) } else { scales.join(", ") };
    let mut lines = vec![
        format!(
            "{records} records in {seconds:.1} s: {records_per_s:.0}/s, busiest second {peak_records_per_s:.0}/s"
        ),
        format!("dispersion {dispersion} (1: random arrivals, more: bursts)"),
        format!(
            "{:.0} B a record (p50 {}, p99 {}, max {}), {} partitions, {:.0} % in the busiest",
            profile.mean_bytes,
            profile.p50_bytes,
            profile.p99_bytes,
            profile.max_bytes,
            profile.partitions,
            profile.largest_partition_share * 100.0,
        ),
        format!(
            "{:.0} % with a key, {:.0} % without a value{}",
            profile.keyed_share * 100.0,
            profile.null_share * 100.0,
            profile
                .wire_bytes_per_byte
                .map_or(String::new(), |wire| format!("; {wire:.2} bytes on the wire for each of records")),
        ),
    ];
    lines.extend(readable(profile));
    lines.extend(profile.fetch.map(|fetch| {
        format!(
            "a record out of the client: {:.2} µs one by one, {:.2} µs many a call",
            fetch.standard_us, fetch.buffered_us
        )
    }));
    lines.push(format!(
        "a batch is made to cost {:.2} ms + {:.4} ms a record, and {:.2} ms to the sink",
        work.per_batch_ms, work.per_record_ms, work.sink_ms
    ));
    format!("{} {}", bold("workload:"), lines.join("\n          "))
}

/// How soon after their times records can be read, where that was seen.
fn readable(profile: &Profile) -> Option<String> {
    let Availability { least_ms, p50_ms, p99_ms, least_counts } = profile.availability?;
    let counted = if least_counts { "" } else { "; counted from the shortest, as clocks or times are off" };
    Some(format!(
        "readable {least_ms:.1} ms after its time at least, 99 of 100 within {p99_ms:.1} ms (p50 {p50_ms:.1}){counted}"
    ))
}

/// What batches cost, as it was measured, and what that leaves out.
pub(crate) fn cost(cost: &Cost, setup: &Setup, work: &Work) -> String {
    let one = if cost.is_line() {
        let residual = cost.residual * 100.0;
        let Cost { per_batch_ms, per_record_ms, .. } = cost;
        format!("a batch takes {per_batch_ms:.3} ms + {per_record_ms:.5} ms a record, within {residual:.0} %")
    } else {
        let points = cost.points.iter().map(|point| format!("{} in {:.2} ms", point.records, point.ms));
        format!("no line: {}", points.collect::<Vec<_>>().join(", "))
    };
    let mut lines = vec![one];
    lines.extend(
        cost.speedup
            .map(|speedup| format!("several threads do a batch's records {speedup:.1} times as fast")),
    );
    let processor = match (&setup.exec, setup.value_format.as_str()) {
        (Some(exec), _) => format!("'{exec}' on the topic's records"),
        (None, "json") => "decoding JSON".to_owned(),
        (None, _) if work.per_batch_ms + work.per_record_ms > 0.0 => "the given cost".to_owned(),
        (None, _) => "no work of the job's own".to_owned(),
    };
    let sink = if setup.sink_was_measured { "one round trip to a broker" } else { "as given" };
    lines.push(format!("measured: the engine, {processor}; modelled: the way to the sink, {sink}"));
    lines.push(
        "left out: what the sink itself can take, commits, rebalances, other jobs on this machine".to_owned(),
    );
    format!("{} {}", bold("calibration:"), lines.join("\n             "))
}

/// The leader of the rounds, for the progress line.
pub(crate) fn best_so_far(best: &Tried, goal: Goal) -> String {
    let interval = match (goal, best.p99_ms, best.p99_lower_ms.zip(best.p99_upper_ms), best.capacity_range) {
        (Goal::Throughput, _, _, Some((low, high))) => format!(", {low:.0} to {high:.0}/s"),
        (_, Some(p99), Some((low, high)), _) => format!(", p99 {p99:.1} ms ({low:.1} to {high:.1})"),
        _ => String::new(),
    };
    format!("; best so far {}{interval}", best.candidate)
}

/// What was read of the topic.
pub(crate) fn reading(reading: &Reading) -> String {
    let Reading { record_bytes, wire_bytes, seconds, max_bytes_per_s } = *reading;
    format!(
        "{} {:.1} MB of records ({:.1} MB on the wire) in {seconds:.1} s; at most {}/s were allowed",
        bold("read:"),
        record_bytes as f64 / 1e6,
        wire_bytes as f64 / 1e6,
        velo_schema::format_bytes(max_bytes_per_s),
    )
}

/// A finished run as its terminal showed it: what was measured, the advice, what was read and noted.
pub(crate) fn whole(advice: &Advice) -> String {
    let mut lines = Vec::new();
    if let (Some(profile), Some(work)) = (&advice.profile, &advice.work) {
        lines.push(workload(profile, work));
        let measured = advice.cost.as_ref().zip(advice.setup.as_ref()).filter(|_| advice.measured);
        lines.extend(measured.map(|(cost_of, setup)| cost(cost_of, setup, work)));
    }
    lines.extend(advice.reading.as_ref().map(reading));
    lines.extend(advice.notes.iter().map(|note| format!("note: {note}")));
    lines.push(text(advice));
    lines.join("\n")
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
                missing(refusal),
            );
        }
        (None, None) => {}
    }
    text
}

/// What would be needed to say more.
fn missing(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Idle { .. } | Refusal::TooFewRecords { .. } => {
            "sample for longer (--sample), or at a busier time\n"
        }
        Refusal::Throttled { .. } => {
            "read less (--max-rate), or ask for a larger quota for this user or client id\n"
        }
        Refusal::Noisy { .. } => "measure again on a machine that has nothing else to do\n",
        Refusal::EveryRecordFails { .. } => "mend the program of --exec, or choose another --value-format\n",
        Refusal::TooShort { .. } => "sample for longer (--sample), or records that say when they came\n",
        Refusal::NoTrials | Refusal::Interrupted => "let it run to its end\n",
        _ => "",
    }
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
        "\n{} {candidate}\n  {row}; {tier} tier, max.poll.records {max_poll_records}\n{}{}",
        bold("recommendation:"),
        confidence(advice, recommendation),
        holds(recommendation),
    );
    if let Some(second) = &recommendation.runner_up {
        let against = recommendation.gain_over_runner_up.as_ref();
        let against = against.map_or(String::new(), |gain| format!("; {}", gained(gain, advice, "its")));
        text += &format!("  runner-up: {second}{against}\n");
    }
    text += &match (&recommendation.gain, recommendation.is_current, &advice.current) {
        (_, true, _) => "  this is what runs now\n".to_owned(),
        (Some(gain), ..) => format!("  {}\n", gained(gain, advice, "of what runs now in")),
        (None, _, Some(current)) => {
            match advice.candidates.iter().find(|tried| tried.candidate == *current) {
                Some(tried) if !tried.keeps_up => format!("  what runs now, {current}, does not keep up\n"),
                Some(_) => String::new(),
                None => format!("  what runs now, {current}, was not measured\n"),
            }
        }
        (None, ..) => String::new(),
    };
    if advice.failed_share > 0.0 {
        text += &format!(
            "  {:.1} % of the records failed while they were processed\n",
            advice.failed_share * 100.0
        );
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
    text += &advice.confirmation.as_ref().map(|live| confirmed("live", live)).unwrap_or_default();
    let current = advice.current_confirmation.as_ref();
    text += &current.map(|live| confirmed("live, what runs now", live)).unwrap_or_default();
    text + "\n" + &clause(&recommendation.candidate, "")
}

/// How sure the recommended candidate's own figures are.
fn confidence(advice: &Advice, recommendation: &Recommendation) -> String {
    let own = advice.candidates.iter().find(|tried| tried.candidate == recommendation.candidate);
    let Some(own) = own else { return String::new() };
    let p99 = match (own.p99_ms, own.p99_lower_ms.zip(own.p99_upper_ms)) {
        (Some(p99), Some((low, high))) => {
            format!("p99 {p99:.1} ms (with its margin {low:.1} to {high:.1}), ")
        }
        _ => String::new(),
    };
    let rounds = format!("{} {}", own.rounds, if own.rounds == 1 { "round" } else { "rounds" });
    let basis = match (advice.measured, own.modelled) {
        (false, _) => "by the model".to_owned(),
        (true, false) => rounds,
        (true, true) => format!("{rounds}, p99 by the model"),
    };
    format!("  {p99}at most {:.0} records/s; {basis}\n", own.capacity_records_per_s)
}

/// How far the workload may drift.
fn holds(recommendation: &Recommendation) -> String {
    let mut text = String::new();
    let bounds = recommendation.holds.as_ref().map(|holds| (&holds.until, &holds.from));
    if let Some((Some(until), _)) = bounds {
        let Bound { records_per_s, because } = until;
        text += &format!("  holds until the rate passes {records_per_s:.0} records/s: {because}\n");
    } else {
        let until = recommendation.holds_until_records_per_s;
        text += &format!("  holds until the rate passes {until:.0} records/s\n");
    }
    if let Some((_, Some(from))) = bounds {
        text +=
            &format!("  and until it falls below {:.0} records/s: {}\n", from.records_per_s, from.because);
    }
    text
}

fn confirmed(what: &str, live: &Confirmation) -> String {
    if live.records == 0 {
        return format!("  {what}: no record came while it was confirmed\n");
    }
    format!(
        "  {what}: {} records in {:.1} s, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms; {} tier, {:.1} records a call\n",
        live.records,
        live.seconds,
        live.records_per_s,
        live.p50_ms,
        live.p99_ms,
        live.tier,
        live.records_per_call
    )
}

/// Against another one, by the goal.
fn gained(gain: &Gain, advice: &Advice, whose: &str) -> String {
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
    let doubt = match (advice.goal, advice.measured, gain.is_certain) {
        // It is counted, not measured.
        (Goal::Memory, ..) | (_, true, true) => "",
        (Goal::Cpu, ..) | (_, false, _) => ", by the model",
        (_, true, false) => ", which these rounds do not prove",
    };
    format!("×{:.2} {whose} {what}{interval}{doubt}", gain.ratio)
}
