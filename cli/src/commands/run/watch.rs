//! Displays the progress of a job: progress in, a status line, notes and metrics out.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use velo_engine::Progress;
use velo_engine::core::Ledger;
use velo_engine::report::Report;

use crate::log::note;
use crate::metrics::Metrics;
use crate::progress::{Rate, Status};

/// The time after which a job without partitions reports that it waits for an assignment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a job with a status line (on a terminal only), prints its notices and updates the metrics.
pub(super) fn watch(
    metrics: &Metrics,
    joins_group: bool,
    run: impl FnOnce(&mut (dyn FnMut(Progress) + Send)) -> Report,
) -> Report {
    let line = Status::start(ProgressBar::new_spinner(), "{spinner} {wide_msg}");
    let started = Instant::now();
    let (mut rate, mut is_waiting) = (Rate::default(), joins_group);
    run(&mut |progress: Progress| {
        metrics.update(&progress);
        for notice in &progress.notices {
            note(notice);
        }
        let Ledger { delivered, ok, skipped, dlq, .. } = progress.ledger;
        let rate = rate.add(started.elapsed(), ok + skipped + dlq);
        let has_partitions = progress.is_ready || delivered > 0 || !joins_group;
        if is_waiting && (has_partitions || started.elapsed() >= PATIENCE) {
            is_waiting = false;
            if !has_partitions {
                note(WAITING);
            }
        }
        line.bar().set_message(if has_partitions {
            status(&progress, rate)
        } else {
            "waiting for the group to assign partitions".to_owned()
        });
        line.bar().tick();
    })
}

const WAITING: &str = "waiting for the group to assign partitions: a rebalance completes when every member has \
                       rejoined, or when session.timeout.ms (45 s by default) has passed for a member that was killed";

/// Formats the status line.
fn status(progress: &Progress, rate: f64) -> String {
    let Ledger { delivered, ok, skipped, dlq, .. } = progress.ledger;
    let settled = ok + skipped + dlq;
    let mut line = format!(
        "{settled} settled, {} in flight, {rate:.0}/s, batches of {}, {} tier",
        delivered.saturating_sub(settled),
        progress.batch_size,
        progress.tier,
    );
    for (count, what) in [(skipped, "skipped"), (dlq, "dead letters")] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    line
}
