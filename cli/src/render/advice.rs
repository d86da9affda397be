//! Renders an advice as text: the workload, the evaluated candidates, the verdict and the WITH clause.

use velo_advisor::advice::{Gain, Reading};
use velo_advisor::conclude::{breach, standing};
use velo_advisor::delays::Availability;
use velo_advisor::drift::FASTEST;
use velo_advisor::trial::Setup;
use velo_advisor::validity::{Bound, ValidityRange};
use velo_advisor::verdict::{Breach, Standing, Verdict};
use velo_advisor::{
    Advice, Candidate, Confirmation, Cost, Evaluation, Goal, Profile, Recommendation, Refusal, Work,
};
use velo_schema::format_bytes;
use velo_schema::guide::Met;
use velo_schema::plan::NearestRow;

use super::export::clause;
use super::plan::table;
use super::style::bold;

/// Largest number of candidates in the table.
const MOST_SHOWN: usize = 12;

/// Formats the workload in a few lines.
pub(crate) fn workload(profile: &Profile, work: &Work) -> String {
    let Profile { records, seconds, records_per_s, peak_records_per_s, .. } = profile;
    let scales = profile.dispersions.iter().map(|at| format!("{:.1} at {} ms", at.index, at.window_ms));
    let scales: Vec<_> = scales.collect();
    let dispersion = if scales.is_empty() { format!("{:.1}", profile.dispersion) } else { scales.join(", ") };
    let mut lines = vec![
        format!(
            "{records} records in {seconds:.1} s: {records_per_s:.0}/s, busiest second {peak_records_per_s:.0}/s"
        ),
        format!("index of dispersion: {dispersion} (1: random arrivals, higher: bursts)"),
        format!(
            "record size: mean {:.0} B, p50 {} B, p99 {} B, max {} B; {}, {:.0} % of the records in the busiest",
            profile.mean_bytes,
            profile.p50_bytes,
            profile.p99_bytes,
            profile.max_bytes,
            partitions(profile),
            profile.largest_partition_share * 100.0,
        ),
        format!(
            "{:.0} % of the records have a key, {:.0} % have no value{}",
            profile.keyed_share * 100.0,
            profile.null_share * 100.0,
            profile
                .wire_bytes_per_byte
                .map_or(String::new(), |wire| format!("; {wire:.2} wire bytes per record byte")),
        ),
    ];
    lines.extend(readable(profile));
    lines.extend(profile.cleaning.notes());
    lines.extend(profile.fetch.map(|fetch| {
        format!(
            "client cost per record: {:.2} µs (single poll), {:.2} µs (batch poll)",
            fetch.standard_us, fetch.buffered_us
        )
    }));
    lines.push(format!(
        "given work: {:.2} ms per batch + {:.4} ms per record; sink round trip {:.2} ms",
        work.per_batch_ms, work.per_record_ms, work.sink_ms
    ));
    format!("{} {}", bold("workload:"), lines.join("\n          "))
}

/// Formats the number of partitions with records.
fn partitions(profile: &Profile) -> String {
    let with_records = profile.partitions;
    match profile.topic_partitions.filter(|all| *all > with_records) {
        Some(all) => format!("{with_records} of {all} partitions have records"),
        None if with_records == 1 => "1 partition".to_owned(),
        None => format!("{with_records} partitions"),
    }
}

/// Formats the delays until records can be read, if they are known.
fn readable(profile: &Profile) -> Option<String> {
    let Availability { least_ms, p50_ms, p99_ms, least_counts } = profile.availability?;
    let counted = if least_counts {
        ""
    } else {
        "; latencies exclude the shortest delay, because clocks or timestamps are off"
    };
    Some(format!(
        "delay from timestamp until readable: min {least_ms:.1} ms, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms{counted}"
    ))
}

/// Formats the measured cost of batches and its limitations.
pub(crate) fn cost(cost: &Cost, setup: &Setup, work: &Work) -> String {
    let one = if cost.is_line() {
        let residual = cost.residual * 100.0;
        let Cost { per_batch_ms, per_record_ms, .. } = cost;
        format!(
            "{per_batch_ms:.3} ms per batch + {per_record_ms:.5} ms per record (largest deviation {residual:.0} %)"
        )
    } else {
        let points = cost.points.iter().map(|point| format!("{}: {:.2} ms", point.records, point.ms));
        format!("time by records per batch (not linear): {}", points.collect::<Vec<_>>().join(", "))
    };
    let mut lines = vec![one];
    lines.extend(
        cost.speedup.map(|speedup| {
            format!("several threads process the records of a batch {speedup:.1} times as fast")
        }),
    );
    let processor = match (&setup.exec, setup.value_format.as_str()) {
        (Some(exec), _) => format!("'{exec}' on records of the topic"),
        (None, "json") => "JSON decoding".to_owned(),
        (None, _) if work.per_batch_ms + work.per_record_ms > 0.0 => "given work".to_owned(),
        (None, _) => "no processing work".to_owned(),
    };
    let sink = if setup.sink_was_measured { "one measured round trip to a broker" } else { "given" };
    lines.extend(cost.measured_to().map(|most| {
        format!(
            "measured batch sizes: 1 to {most} records; larger batches are assumed to cost as much per record"
        )
    }));
    lines.push(format!("measured: engine, {processor}; modelled: sink latency ({sink})"));
    lines.push(
        "not included: the sink's own capacity, commits, rebalances, other load on this machine".to_owned(),
    );
    format!("{} {}", bold("calibration:"), lines.join("\n             "))
}

/// Formats the best candidate so far, for the progress line.
pub(crate) fn best_so_far(best: &Evaluation, goal: Goal) -> String {
    let interval = match (goal, best.p99_ms, best.p99_lower_ms.zip(best.p99_upper_ms), best.capacity_range) {
        (Goal::Throughput, _, _, Some((low, high))) => format!(", {low:.0} to {high:.0} records/s"),
        (Goal::Memory, ..) => format!(", {}", format_bytes(best.memory_bytes)),
        (Goal::Cpu, ..) => format!(", {:.1} µs per record", best.work_ms_per_record * 1e3),
        (_, Some(p99), Some((low, high)), _) => format!(", p99 {p99:.1} ms ({low:.1} to {high:.1} ms)"),
        _ => String::new(),
    };
    format!("; best so far {}{interval}", best.candidate)
}

/// Formats the amount of data that was read from the topic.
pub(crate) fn reading(reading: &Reading) -> String {
    let Reading { record_bytes, wire_bytes, seconds, max_bytes_per_s } = *reading;
    format!(
        "{} {} of records ({} on the wire) in {seconds:.1} s; limit {}/s",
        bold("read:"),
        format_bytes(record_bytes),
        format_bytes(wire_bytes),
        format_bytes(max_bytes_per_s),
    )
}

/// Formats a finished run: the measurements, the notes and the advice.
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

/// Formats the advice.
pub(crate) fn text(advice: &Advice) -> String {
    let mut text = if advice.measured || advice.candidates.is_empty() {
        String::new()
    } else {
        format!("{}\n\n", bold("modelled, not measured"))
    };
    text += &if advice.candidates.is_empty() { String::new() } else { candidates(advice) };
    let verdict = advice.verdict.clone().unwrap_or_else(|| Verdict::of(advice));
    match (&advice.recommendation, &advice.refusal) {
        (Some(recommendation), _) => text += &recommended(advice, recommendation, &verdict),
        (None, Some(refusal)) => text += &refused(advice, refusal, &verdict),
        (None, None) => {}
    }
    text
}

/// Formats a refusal: the reason, the current configuration against the objective, and what to do.
fn refused(advice: &Advice, refusal: &Refusal, verdict: &Verdict) -> String {
    let mut text = format!("\n{} {refusal}\n", bold("no recommendation:"));
    text +=
        &verdict.current.as_ref().map(|current| current_configuration(current, advice)).unwrap_or_default();
    let fallback = verdict.current.clone().unwrap_or_else(|| standing(advice, &Candidate::defaults()));
    let Standing { candidate, meets, .. } = &fallback;
    text += &match (&verdict.current, meets) {
        (Some(_), Some(true)) => {
            format!("  keep the current configuration ({candidate}), which meets the objective\n")
        }
        (Some(_), None) => "  there is no evidence for or against the current configuration\n".to_owned(),
        (None, Some(true)) => format!("  the default configuration ({candidate}) meets the objective\n"),
        (None, None) => format!("  the default configuration ({candidate}) was not measured\n"),
        // Do not recommend to keep a configuration that violates a limit.
        (_, Some(false)) => String::new(),
    };
    text += remedy(refusal);
    text
}

/// Formats the current configuration against the objective.
fn current_configuration(current: &Standing, advice: &Advice) -> String {
    let Standing { candidate, measured, meets, breaks, p99_ms, p99_upper_ms } = current;
    let limit = advice.p99_limit_ms.map(|limit| format!(", limit {limit:.1} ms")).unwrap_or_default();
    let p99 = p99_ms.zip(*p99_upper_ms).filter(|_| !matches!(breaks, Some(Breach::Rate { .. })));
    let p99 = p99.map(|(p99, upper)| format!("p99 {p99:.1} ms ({upper:.1} ms with margin){limit}"));
    let has_limits = advice.p99_limit_ms.is_some() || advice.memory_limit_bytes.is_some();
    let stands = match (meets, breaks) {
        (_, Some(Breach::Latency { .. })) => "exceeds the limit".to_owned(),
        (_, Some(Breach::Memory { needed_bytes, limit_bytes })) => {
            format!("needs {} of memory, limit {}", format_bytes(*needed_bytes), format_bytes(*limit_bytes))
        }
        (_, Some(breach @ Breach::Rate { .. })) => breach.to_string(),
        (Some(true), None) if has_limits => "meets the limits".to_owned(),
        (Some(true), None) => "keeps up".to_owned(),
        (Some(false), None) => "does not meet the objective".to_owned(),
        (None, None) => "not measured".to_owned(),
    };
    let basis = (!measured && meets.is_some()).then(|| "modelled".to_owned());
    let parts: Vec<_> = p99.into_iter().chain([stands]).chain(basis).collect();
    format!("  current configuration ({candidate}): {}\n", parts.join("; "))
}

/// Returns what to do about a refusal.
fn remedy(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Idle { .. } | Refusal::TooFewRecords { .. } => {
            "sample for longer (--sample), or when the topic is busier\n"
        }
        Refusal::OpenTransactions { .. } => "commit or abort the open transactions, then measure again\n",
        Refusal::Capped { .. } => "raise the read rate limit (--max-rate), or sample for longer (--sample)\n",
        Refusal::OutOfTime => "raise the time budget (--budget)\n",
        Refusal::Throttled { .. } => {
            "lower the read rate limit (--max-rate), or raise the quota of this user or client id\n"
        }
        Refusal::Noisy { .. } => "measure again on a machine without other load\n",
        Refusal::EveryRecordFails { .. } => "fix the program of --exec, or set another --value-format\n",
        Refusal::TooShort { .. } => {
            "sample for longer (--sample), or a topic with distinct record timestamps\n"
        }
        Refusal::NoTrials | Refusal::Interrupted => "run it again without interruption\n",
        _ => "",
    }
}

/// Formats the table of candidates.
fn candidates(advice: &Advice) -> String {
    // Show the optimised quantity in a column of its own.
    let optimised = match advice.goal {
        Goal::Memory => Some("memory"),
        Goal::Cpu => Some("work per record"),
        Goal::Latency | Goal::Throughput => None,
    };
    let head: Vec<_> = ["candidate", "throughput", "p50 ms", "p99 ms (range)"]
        .into_iter()
        .chain(optimised)
        .chain(["rounds", ""])
        .collect();
    let mut table = table(&head);
    let is_shown = |tried: &&Evaluation| !advice.measured || tried.rounds > 0;
    let shown: Vec<_> = advice.candidates.iter().filter(is_shown).take(MOST_SHOWN).collect();
    for tried in &shown {
        let optimised = match advice.goal {
            Goal::Memory => Some(format_bytes(tried.memory_bytes)),
            Goal::Cpu => Some(format!("{:.1} µs", tried.work_ms_per_record * 1e3)),
            Goal::Latency | Goal::Throughput => None,
        };
        let row = [
            tried.candidate.to_string(),
            capacity(tried),
            tried.p50_ms.map_or("-".to_owned(), |ms| format!("{ms:.1}")),
            p99(tried),
        ];
        let rest = [tried.rounds.to_string(), remark(advice, tried)];
        table.add_row(row.into_iter().chain(optimised).chain(rest));
    }
    let others = advice.candidates.len() - shown.len();
    let others = match others {
        0 => String::new(),
        others if advice.measured => {
            format!("{others} more candidates were not tried, because the model predicts no improvement\n")
        }
        others => format!("{others} more candidates are not shown\n"),
    };
    format!("{table}\n{others}")
}

/// Formats the capacity, marked as a lower bound if batches of the candidate's own size were not measured.
fn capacity(tried: &Evaluation) -> String {
    let at_least = if tried.capacity_is_at_least { "≥" } else { "" };
    format!("{at_least}{:.0}/s", tried.capacity_records_per_s)
}

/// Formats the p99 and its range.
fn p99(tried: &Evaluation) -> String {
    match (tried.p99_ms, tried.p99_lower_ms.zip(tried.p99_upper_ms)) {
        (Some(p99), Some((low, high))) => format!("{p99:.1} ({low:.1}–{high:.1})"),
        (Some(p99), None) => format!("{p99:.1}"),
        (None, _) => "-".to_owned(),
    }
}

/// Formats the violated limit, or the basis of the p99.
fn remark(advice: &Advice, tried: &Evaluation) -> String {
    match breach(advice, tried) {
        Some(Breach::Memory { needed_bytes, limit_bytes }) => {
            format!("{} > limit {}", format_bytes(needed_bytes), format_bytes(limit_bytes))
        }
        Some(Breach::Latency { p99_upper_ms, limit_ms }) => {
            format!("{p99_upper_ms:.1} > limit {limit_ms:.1} ms")
        }
        Some(Breach::Rate { capacity_records_per_s, needed_records_per_s }) => {
            format!("{capacity_records_per_s:.0} < required {needed_records_per_s:.0}/s")
        }
        None if tried.modelled && tried.rounds > 0 => "p99 modelled (few batches)".to_owned(),
        None if tried.modelled => "modelled".to_owned(),
        None => String::new(),
    }
}

/// Formats a recommendation with its verdict.
fn recommended(advice: &Advice, recommendation: &Recommendation, verdict: &Verdict) -> String {
    let Recommendation { candidate, tier, max_poll_records, .. } = recommendation;
    let row = match (recommendation.matrix_row, recommendation.nearest_row) {
        (Some(row), _) => format!("decision matrix row: {}", row.word()),
        (None, Some(NearestRow { row, size_factor })) => {
            format!("no decision matrix row; nearest: {}, {size_factor:.1} times its size", row.word())
        }
        (None, None) => "no decision matrix row".to_owned(),
    };
    let contradicted =
        verdict.contradiction().map_or(String::new(), |how| format!("\n  {}: {how}", bold("contradicted")));
    let mut text = format!(
        "\n{} {candidate}{contradicted}\n  {row}; {tier} tier, max.poll.records {max_poll_records}\n{}{}",
        bold("recommendation:"),
        values(advice, recommendation),
        validity(advice, recommendation),
    );
    if let Some(second) = &recommendation.runner_up {
        let against = recommendation.gain_over_runner_up.as_ref();
        let against =
            against.map_or(String::new(), |gain| format!("; compared with it: {}", gained(gain, advice)));
        text += &format!("  runner-up: {second}{against}\n");
    }
    if recommendation.is_current {
        text += "  this is the current configuration\n";
    } else if let Some(current) = &verdict.current {
        text += &current_configuration(current, advice);
        let gain = recommendation.gain.as_ref();
        text += &gain.map_or(String::new(), |gain| {
            format!("  compared with the current configuration: {}\n", gained(gain, advice))
        });
    }
    if advice.failed_share > 0.0 {
        text += &format!("  {:.1} % of the records failed during processing\n", advice.failed_share * 100.0);
    }
    let own = recommendation.conditions.iter().filter(|condition| condition.strategy == candidate.strategy);
    for condition in own {
        let met = match condition.met {
            Met::Met => "met",
            Met::NotMet => "not met",
            Met::Unknown => "unknown",
        };
        let measured = condition.measured.map_or(String::new(), |value| format!(" (measured: {value:.1})"));
        text += &format!("  condition of the guide {met}: {}{measured}\n", condition.text);
    }
    text += &advice.confirmation.as_ref().map(|live| confirmed("live", live)).unwrap_or_default();
    let current = advice.current_confirmation.as_ref();
    text += &current.map(|live| confirmed("live, current configuration", live)).unwrap_or_default();
    text += &confidence(verdict);
    text + "\n" + &clause(&recommendation.candidate, "")
}

/// Formats the confidence and the reasons that lower it.
fn confidence(verdict: &Verdict) -> String {
    let because = match verdict.reservations.as_slice() {
        [] => String::new(),
        reservations => format!("; {}", reservations.join("; ")),
    };
    format!("  confidence: {}{because}\n", verdict.confidence)
}

/// Formats the values of the recommended candidate and their basis.
fn values(advice: &Advice, recommendation: &Recommendation) -> String {
    let Some(own) = advice.evaluation(&recommendation.candidate) else { return String::new() };
    let optimised = match advice.goal {
        Goal::Memory => format!("memory {}, ", format_bytes(own.memory_bytes)),
        Goal::Cpu => format!("work {:.1} µs per record, ", own.work_ms_per_record * 1e3),
        Goal::Latency | Goal::Throughput => String::new(),
    };
    let p99 = match (own.p99_ms, own.p99_lower_ms.zip(own.p99_upper_ms)) {
        (Some(p99), Some((low, high))) => {
            format!("p99 {p99:.1} ms ({low:.1} to {high:.1} ms with margin), ")
        }
        _ => String::new(),
    };
    let rounds = format!("{} {}", own.rounds, if own.rounds == 1 { "round" } else { "rounds" });
    let basis = match (advice.measured, own.modelled) {
        (false, _) => "modelled".to_owned(),
        (true, false) => rounds,
        (true, true) => format!("{rounds}, p99 modelled"),
    };
    let does = if own.capacity_is_at_least {
        format!(
            "capacity at least {:.0} records/s (larger batches were not measured)",
            own.capacity_records_per_s
        )
    } else {
        format!("capacity {:.0} records/s", own.capacity_records_per_s)
    };
    format!("  {optimised}{p99}{does}; {basis}\n")
}

/// Formats the range of rates in which the recommendation is valid.
fn validity(advice: &Advice, recommendation: &Recommendation) -> String {
    let own = advice.evaluation(&recommendation.candidate);
    // The capacity is a lower bound if batches of this size were not measured.
    let least = if own.is_some_and(|own| own.capacity_is_at_least) { "at least " } else { "" };
    let Some(ValidityRange { from, until, .. }) = &recommendation.holds else {
        let until = recommendation.holds_until_records_per_s;
        return format!("  keeps up with a mean rate of up to {least}{until:.0} records/s\n");
    };
    let mut text = match (until, &advice.profile) {
        (Some(Bound { records_per_s, because }), _) => {
            format!("  valid up to {least}{records_per_s:.0} records/s; above this rate, {because}\n")
        }
        (None, Some(profile)) => {
            let fastest = profile.records_per_s * FASTEST;
            format!("  valid up to at least {fastest:.0} records/s; higher rates were not simulated\n")
        }
        (None, None) => String::new(),
    };
    if let Some(Bound { records_per_s, because }) = from {
        text += &format!("  valid down to {records_per_s:.0} records/s; below this rate, {because}\n");
    }
    text
}

/// Formats a measurement on the live topic.
fn confirmed(what: &str, live: &Confirmation) -> String {
    if live.records == 0 {
        return format!("  {what}: no record arrived during the confirmation\n");
    }
    // Older versions did not count batches.
    let batches = if live.batches > 0 { format!(" in {} batches", live.batches) } else { String::new() };
    format!(
        "  {what}: {} records in {:.1} s{batches}, {:.0} records/s, p50 {:.1} ms, p99 {:.1} ms; {} tier, {:.1} records \
         per call\n",
        live.records,
        live.seconds,
        live.records_per_s,
        live.p50_ms,
        live.p99_ms,
        live.tier,
        live.records_per_call
    )
}

/// Formats a comparison with another configuration, by the goal.
fn gained(gain: &Gain, advice: &Advice) -> String {
    let what = match advice.goal {
        Goal::Latency => "p99",
        Goal::Throughput => "time per record",
        Goal::Memory => "memory",
        Goal::Cpu => "work per record",
    };
    let interval = match gain.interval {
        Some((low, high)) => format!(" (95 % interval {low:.2} to {high:.2})"),
        None => String::new(),
    };
    let doubt = match (advice.goal, advice.measured, gain.is_certain) {
        // Memory is calculated, not measured.
        (Goal::Memory, ..) | (_, true, true) => "",
        (Goal::Cpu, ..) | (_, false, _) => ", modelled",
        (_, true, false) => ", not significant",
    };
    format!("{what} ×{:.2}{interval}{doubt}", gain.ratio)
}
