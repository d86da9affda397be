//! Advice for people: the workload, what was tried, the verdict, the clause to paste.

use velo_advisor::advice::{Bound, Gain, Holds, Reading, Tried};
use velo_advisor::delays::Availability;
use velo_advisor::drift::FASTEST;
use velo_advisor::trial::Setup;
use velo_advisor::verdict::{Breach, Standing, Verdict, breach, standing};
use velo_advisor::{Advice, Candidate, Confirmation, Cost, Goal, Profile, Recommendation, Refusal, Work};
use velo_schema::format_bytes;
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
            "{:.0} B a record (p50 {}, p99 {}, max {}), {}, {:.0} % in the busiest",
            profile.mean_bytes,
            profile.p50_bytes,
            profile.p99_bytes,
            profile.max_bytes,
            partitions(profile),
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
    lines.extend(profile.cleaning.notes());
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

/// How many partitions had records, of how many.
fn partitions(profile: &Profile) -> String {
    let with_records = profile.partitions;
    match profile.topic_partitions.filter(|all| *all > with_records) {
        Some(all) => format!("{with_records} of {all} partitions had records"),
        None if with_records == 1 => "1 partition".to_owned(),
        None => format!("{with_records} partitions"),
    }
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
    lines.extend(cost.measured_to().map(|most| {
        format!("batches of 1 to {most} records were measured; of larger ones a record takes as long")
    }));
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
        (Goal::Memory, ..) => format!(", {}", format_bytes(best.memory_bytes)),
        (Goal::Cpu, ..) => format!(", {:.1} µs a record", best.work_ms_per_record * 1e3),
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
        format_bytes(max_bytes_per_s),
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
    let verdict = advice.verdict.clone().unwrap_or_else(|| Verdict::of(advice));
    match (&advice.recommendation, &advice.refusal) {
        (Some(recommendation), _) => text += &recommended(advice, recommendation, &verdict),
        (None, Some(refusal)) => text += &refused(advice, refusal, &verdict),
        (None, None) => {}
    }
    text
}

/// The verdict of a refusal: why, what runs now against what is wanted, and what to do.
fn refused(advice: &Advice, refusal: &Refusal, verdict: &Verdict) -> String {
    let mut text = format!("\n{} {refusal}\n", bold("no recommendation:"));
    text += &verdict.current.as_ref().map(|current| runs_now(current, advice)).unwrap_or_default();
    let fallback = verdict.current.clone().unwrap_or_else(|| standing(advice, &Candidate::defaults()));
    let Standing { candidate, meets, .. } = &fallback;
    text += &match (&verdict.current, meets) {
        (Some(_), Some(true)) => format!("  keep what runs now, {candidate}: it meets what is wanted\n"),
        (Some(_), None) => "  nothing was found that speaks for a change, nor for what runs now\n".to_owned(),
        (None, Some(true)) => format!("  the defaults, {candidate}, meet what is wanted\n"),
        (None, None) => format!("  the defaults, {candidate}, were not measured\n"),
        // Whatever breaks what is wanted is not to be kept.
        (_, Some(false)) => String::new(),
    };
    text += missing(refusal);
    text
}

/// What runs now against what is wanted.
fn runs_now(current: &Standing, advice: &Advice) -> String {
    let Standing { candidate, measured, meets, breaks, p99_ms, p99_upper_ms } = current;
    let limit = advice.p99_limit_ms.map(|limit| format!(" of {limit:.1} ms")).unwrap_or_default();
    let p99 = p99_ms.zip(*p99_upper_ms).filter(|_| !matches!(breaks, Some(Breach::Rate { .. })));
    let p99 = p99.map(|(p99, upper)| format!("p99 {p99:.1} ms, {upper:.1} ms with its margin{limit}"));
    let has_limits = advice.p99_limit_ms.is_some() || advice.memory_limit_bytes.is_some();
    let stands = match (meets, breaks) {
        (_, Some(Breach::Latency { .. })) => "it breaks the limit".to_owned(),
        (_, Some(Breach::Memory { needed_bytes, limit_bytes })) => {
            format!("it needs {} of {}", format_bytes(*needed_bytes), format_bytes(*limit_bytes))
        }
        (_, Some(breach @ Breach::Rate { .. })) => format!("it {breach}"),
        (Some(true), None) if has_limits => "it is within the limits".to_owned(),
        (Some(true), None) => "it keeps up".to_owned(),
        (Some(false), None) => "it does not meet what is wanted".to_owned(),
        (None, None) => "it was not measured".to_owned(),
    };
    let basis = (!measured && meets.is_some()).then(|| "by the model".to_owned());
    let parts: Vec<_> = p99.into_iter().chain([stands]).chain(basis).collect();
    format!("  what runs now, {candidate}: {}\n", parts.join("; "))
}

/// What would be needed to say more.
fn missing(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Idle { .. } | Refusal::TooFewRecords { .. } => {
            "sample for longer (--sample), or at a busier time\n"
        }
        Refusal::OpenTransactions { .. } => {
            "end the producer that has left them open (or abort them), and measure again\n"
        }
        Refusal::Capped { .. } => "read more a second (--max-rate), or sample for longer (--sample)\n",
        Refusal::OutOfTime => "give it more time (--budget)\n",
        Refusal::Throttled { .. } => {
            "read less (--max-rate), or ask for a larger quota for this user or client id\n"
        }
        Refusal::Noisy { .. } => "measure again on a machine that has nothing else to do\n",
        Refusal::EveryRecordFails { .. } => "fix the program of --exec, or choose another --value-format\n",
        Refusal::TooShort { .. } => "sample for longer (--sample), or records that say when they came\n",
        Refusal::NoTrials | Refusal::Interrupted => "let it run to its end\n",
        _ => "",
    }
}

fn candidates(advice: &Advice) -> String {
    // What is optimised is what is shown.
    let optimised = match advice.goal {
        Goal::Memory => Some("memory"),
        Goal::Cpu => Some("work a record"),
        Goal::Latency | Goal::Throughput => None,
    };
    let head: Vec<_> = ["candidate", "throughput", "p50 ms", "p99 ms (range)"]
        .into_iter()
        .chain(optimised)
        .chain(["rounds", ""])
        .collect();
    let mut table = table(&head);
    let is_shown = |tried: &&Tried| !advice.measured || tried.rounds > 0;
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
        others if advice.measured => format!("{others} more were predicted to be no better\n"),
        others => format!("and {others} more\n"),
    };
    format!("{table}\n{others}")
}

/// Its throughput, marked as a lower bound if batches of its own size were not measured.
fn capacity(tried: &Tried) -> String {
    let at_least = if tried.capacity_is_at_least { "≥" } else { "" };
    format!("{at_least}{:.0}/s", tried.capacity_records_per_s)
}

/// Its 99th percentile and the range that it lies in.
fn p99(tried: &Tried) -> String {
    match (tried.p99_ms, tried.p99_lower_ms.zip(tried.p99_upper_ms)) {
        (Some(p99), Some((low, high))) => format!("{p99:.1} ({low:.1}–{high:.1})"),
        (Some(p99), None) => format!("{p99:.1}"),
        (None, _) => "-".to_owned(),
    }
}

/// The limit that it breaks, as what it has of what it may or must have; else what its p99 rests on.
fn remark(advice: &Advice, tried: &Tried) -> String {
    match breach(advice, tried) {
        Some(Breach::Memory { needed_bytes, limit_bytes }) => {
            format!("needs {} of {}", format_bytes(needed_bytes), format_bytes(limit_bytes))
        }
        Some(Breach::Latency { p99_upper_ms, limit_ms }) => format!("{p99_upper_ms:.1} of {limit_ms:.1} ms"),
        Some(Breach::Rate { capacity_records_per_s, needed_records_per_s }) => {
            format!("{capacity_records_per_s:.0}/s of {needed_records_per_s:.0}/s")
        }
        None if tried.modelled && tried.rounds > 0 => "p99 modelled: few batches".to_owned(),
        None if tried.modelled => "modelled".to_owned(),
        None => String::new(),
    }
}

/// The verdict of a recommendation.
fn recommended(advice: &Advice, recommendation: &Recommendation, verdict: &Verdict) -> String {
    let Recommendation { candidate, tier, max_poll_records, .. } = recommendation;
    let row = match (recommendation.matrix_row, recommendation.nearest_row) {
        (Some(row), _) => format!("decision matrix: {}", row.word()),
        (None, Some(NearestRow { row, size_factor })) => {
            format!("off the decision matrix; nearest row {}, ×{size_factor:.1} in size", row.word())
        }
        (None, None) => "off the decision matrix".to_owned(),
    };
    let contradicted =
        verdict.contradiction().map_or(String::new(), |how| format!("\n  {}: {how}", bold("contradicted")));
    let mut text = format!(
        "\n{} {candidate}{contradicted}\n  {row}; {tier} tier, max.poll.records {max_poll_records}\n{}{}",
        bold("recommendation:"),
        confidence(advice, recommendation),
        holds(advice, recommendation),
    );
    if let Some(second) = &recommendation.runner_up {
        let against = recommendation.gain_over_runner_up.as_ref();
        let against = against.map_or(String::new(), |gain| format!("; {}", gained(gain, advice, "its")));
        text += &format!("  runner-up: {second}{against}\n");
    }
    if recommendation.is_current {
        text += "  this is what runs now\n";
    } else if let Some(current) = &verdict.current {
        text += &runs_now(current, advice);
        let gain = recommendation.gain.as_ref();
        text += &gain
            .map_or(String::new(), |gain| format!("  {}\n", gained(gain, advice, "of what runs now in")));
    }
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
    text += &sure(verdict);
    text + "\n" + &clause(&recommendation.candidate, "")
}

/// How sure it is, and why it is no surer.
fn sure(verdict: &Verdict) -> String {
    let because = match verdict.reservations.as_slice() {
        [] => String::new(),
        reservations => format!(": {}", reservations.join("; ")),
    };
    format!("  confidence {}{because}\n", verdict.confidence)
}

/// How sure the recommended candidate's own figures are.
fn confidence(advice: &Advice, recommendation: &Recommendation) -> String {
    let Some(own) = advice.tried(&recommendation.candidate) else { return String::new() };
    let optimised = match advice.goal {
        Goal::Memory => format!("memory {}, ", format_bytes(own.memory_bytes)),
        Goal::Cpu => format!("work {:.1} µs a record, ", own.work_ms_per_record * 1e3),
        Goal::Latency | Goal::Throughput => String::new(),
    };
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
    let does = if own.capacity_is_at_least {
        format!("at least {:.0} records/s (larger batches were not measured)", own.capacity_records_per_s)
    } else {
        format!("at most {:.0} records/s", own.capacity_records_per_s)
    };
    format!("  {optimised}{p99}{does}; {basis}\n")
}

/// How far the workload may drift.
fn holds(advice: &Advice, recommendation: &Recommendation) -> String {
    let own = advice.tried(&recommendation.candidate);
    // By batches that were measured.
    let least = if own.is_some_and(|own| own.capacity_is_at_least) { "at least " } else { "" };
    let Some(Holds { from, until, .. }) = &recommendation.holds else {
        let until = recommendation.holds_until_records_per_s;
        return format!("  keeps up {least}until the rate passes {until:.0} records/s\n");
    };
    let mut text = match (until, &advice.profile) {
        (Some(Bound { records_per_s, because }), _) => {
            format!("  holds {least}until the rate passes {records_per_s:.0} records/s: {because}\n")
        }
        (None, Some(profile)) => {
            let fastest = profile.records_per_s * FASTEST;
            format!(
                "  holds at least until the rate passes {fastest:.0} records/s: higher rates were not simulated\n"
            )
        }
        (None, None) => String::new(),
    };
    if let Some(Bound { records_per_s, because }) = from {
        text += &format!("  and until it falls below {records_per_s:.0} records/s: {because}\n");
    }
    text
}

fn confirmed(what: &str, live: &Confirmation) -> String {
    if live.records == 0 {
        return format!("  {what}: no record came while it was confirmed\n");
    }
    // Older runs did not count them.
    let batches = if live.batches > 0 { format!(" in {} batches", live.batches) } else { String::new() };
    format!(
        "  {what}: {} records in {:.1} s{batches}, {:.0}/s, p50 {:.1} ms, p99 {:.1} ms; {} tier, {:.1} records a call\n",
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
