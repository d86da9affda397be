//! Ends a replay: its counts in, its last receipts, the summary and the exit code out.

use std::process::ExitCode;

use anyhow::{Result, bail};
use velo_engine::failpoint::{Edge, reach};

use super::state::Replay;
use super::target::Target;

impl Replay<'_> {
    pub(super) fn finish(mut self) -> Result<ExitCode> {
        if !self.args.dry_run {
            self.note()?;
            for (name, _) in self.targets.iter().filter(|(_, target)| target.has_begun) {
                self.end(name, vec![self.id.clone()])?;
            }
            self.settle_receipts()?;
            reach(Edge::ReplayEnded);
        }
        let would = if self.args.dry_run { "would be " } else { "" };
        for (name, target) in self.targets.iter().filter(|(_, target)| target.partitions.is_some()) {
            let Target { sent, skipped, superseded, .. } = target;
            println!("{name}: {sent} {would}replayed, {skipped} already present");
            if *superseded > 0 {
                println!(
                    "{name}: {superseded} skipped: the topic is compacted and has newer records of the same keys \
                     (--over-newer writes them anyway)"
                );
            }
        }
        if self.left > 0 {
            println!("{} left for the next replay (--limit)", self.left);
        }
        if self.failed > 0 {
            bail!("{} records of '{}' were not replayed", self.failed, self.args.letters.topic);
        }
        Ok(ExitCode::SUCCESS)
    }
}
