//! Formats the result of a run: a report in, text out.

use std::time::Duration;

use velo_engine::report::{Latency, Report};
use velo_schema::format_elapsed;

/// Formats the result of a run: the ledger, then batches, throughput and latencies.
pub(crate) fn summary(report: &Report) -> String {
    let ledger = &report.ledger;
    let written = report.sink_batches.as_ref().map_or_else(String::new, |groups| {
        format!("; written in {}, median {} records", groups.count, groups.size_p50)
    });
    let lost = if ledger.lost > 0 { format!(", lost {}", ledger.lost) } else { String::new() };
    let sum = format!(
        "delivered {} = ok {} + skipped {} + dlq {} + failed {} + uncommitted {}  (gaps {}{lost})",
        ledger.delivered,
        ledger.ok,
        ledger.skipped,
        ledger.dlq,
        ledger.failed,
        ledger.uncommitted,
        ledger.gaps,
    );
    // Without batches the other figures are meaningless.
    if report.batches.count == 0 {
        return sum;
    }
    format!(
        "{sum}\n\
         {} batches, median {} records{written}; {} dequeue calls, {:.1} records each; {} tier\n\
         {}, {:.0} records/s\n\
         {}",
        report.batches.count,
        report.batches.size_p50,
        report.dequeue.calls,
        report.dequeue.records_per_call,
        report.tier.actual,
        format_elapsed(Duration::try_from_secs_f64(report.seconds).unwrap_or_default()),
        report.records_per_s,
        latencies(report),
    )
}

/// Formats the latency that the job added, and the age of the records when they were settled.
fn latencies(report: &Report) -> String {
    let ms = |ms: f64| format_elapsed(Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::MAX));
    let quantiles = |latency: &Latency| format!("p50 {}, p99 {}", ms(latency.p50), ms(latency.p99));
    let (added, age) = (&report.added_latency_ms, &report.latency_ms);
    let all: Vec<_> = [("latency added by this job", added), ("age of records when settled", age)]
        .into_iter()
        .filter(|(_, latency)| latency.count > 0)
        .map(|(name, latency)| format!("{name}: {}", quantiles(latency)))
        .collect();
    match all.is_empty() {
        false => all.join("; "),
        // Reports of earlier versions have no count.
        true if age.max > 0.0 => format!("age of records when settled: {}", quantiles(age)),
        true if report.ledger.ok > 0 => {
            "no latency was measured: all records arrived within --warm-up".to_owned()
        }
        true => "no latency was measured: no record was settled as ok".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use velo_engine::Engine;
    use velo_engine::source::memory::MemorySource;

    use super::*;

    fn report(values: usize) -> Report {
        let source = MemorySource::new(vec![b"{}".to_vec(); values]);
        Engine::builder(velo_schema::Config::default()).start(source).report()
    }

    #[test]
    fn a_summary_without_batches_is_the_ledger_only() {
        assert_eq!(summary(&report(0)).lines().count(), 1);
        let some = report(250);
        let failed =
            Report { latency_ms: Latency::default(), added_latency_ms: Latency::default(), ..some.clone() };
        let late = summary(&failed);
        assert!(late.ends_with("no latency was measured: all records arrived within --warm-up"), "{late}");
        let some = summary(&some);
        assert!(some.contains("latency added by this job: p50 "), "{some}");
        assert!(some.contains("; age of records when settled: p50 "), "{some}");
        assert!(some.contains("3 batches, median 100 records"), "{some}");
    }
}
