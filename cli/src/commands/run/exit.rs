//! Ends a run: signals in, a drained or an ended job out; then the report in, its output and the exit code out.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use velo_engine::Control;
use velo_engine::failpoint::{Mutant, is_on};
use velo_engine::report::{Outcome, Report};

use super::report_file::write_report;
use super::summary::summary;
use crate::args::RunArgs;
use crate::log::{self, fail, say};

/// The exit code of a job that a second signal ended.
const EXIT_FORCED: u8 = 130;

/// Handles SIGINT, SIGTERM and SIGHUP: the first signal drains the job, the second one ends it immediately.
pub(super) struct Signalled {
    forced: Arc<AtomicBool>,
}

impl Signalled {
    pub(super) fn listen(control: &Control) -> Result<Self> {
        let forced = Arc::new(AtomicBool::new(false));
        let (control, second) = (control.clone(), Arc::clone(&forced));
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot install signal handlers")?;
        std::thread::spawn(move || {
            let mut received = signals.forever();
            if received.next().is_some() {
                say("draining; repeat the signal to end immediately");
                control.drain();
            }
            if received.next().is_some() {
                second.store(true, Ordering::Release);
                control.abandon();
            }
        });
        Ok(Self { forced })
    }
}

pub(super) fn finish(args: &RunArgs, report: &Report, signals: &Signalled) -> ExitCode {
    say(&summary(report));
    if let Some(error) = &report.error {
        fail(error);
    }
    if let Some(path) = &args.report
        && let Err(error) = write_report(path, report)
    {
        log::error(&format!("cannot write the report: {error:#}"));
        return ExitCode::FAILURE;
    }
    let forced = signals.forced.load(Ordering::Acquire);
    match report.outcome {
        _ if forced => ExitCode::from(EXIT_FORCED),
        Outcome::Drained if args.until_end && !report.end_of_input && !is_on(Mutant::StoppedIsDone) => {
            log::error(
                "the job was stopped before the end of the topic; the records in flight were settled and committed",
            );
            ExitCode::FAILURE
        }
        Outcome::Drained => ExitCode::SUCCESS,
        Outcome::Failed | Outcome::Interrupted => ExitCode::FAILURE,
    }
}
