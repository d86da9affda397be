//! Sends a part: its records in, acknowledged records with receipts out. Reports records that cannot be written.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use velo_engine::failpoint::{Edge, Mutant, is_on, reach};

use super::state::Replay;

impl Replay<'_> {
    /// Sends the part, waits for the acknowledgements, and writes its receipts.
    pub(super) fn send_part(&mut self) -> Result<()> {
        if self.args.dry_run {
            return Ok(());
        }
        self.part_bytes = 0;
        let part = std::mem::take(&mut self.part);
        self.begin(&part)?;
        reach(Edge::ReplayBegun);
        if is_on(Mutant::ReceiptBeforeWrite) {
            for record in &part {
                let arrived = self.arrived.entry((record.target.clone(), record.letter.0)).or_default();
                arrived.insert((record.letter.1, record.letter.1 + 1));
            }
            self.note()?;
            reach(Edge::ReplayNoted);
        }
        let mut numbers = HashMap::new();
        let mut failed = Vec::new();
        for (index, record) in part.iter().enumerate() {
            self.wait_for_turn();
            match record.send(&self.producer) {
                Ok(number) => drop(numbers.insert(number, index)),
                Err(error) => failed.push((index, error)),
            }
        }
        let cut_off = "some records were not acknowledged; fix the cause and repeat the replay to write them";
        let settled = self.producer.settle().context(cut_off)?;
        failed.extend(
            settled
                .into_iter()
                .filter_map(|undelivered| Some((*numbers.get(&undelivered.number)?, undelivered.error))),
        );
        failed.sort_by_key(|(index, _)| *index);
        // The brokers reject whole requests. Sent one by one, only the invalid record is rejected.
        let mut outage = None;
        let mut refused = HashSet::new();
        for (index, error) in failed {
            refused.insert(index);
            if error.is_passing() {
                outage = Some(error);
            } else if outage.is_none() {
                match part[index].send(&self.producer).and_then(|_| self.producer.flush()) {
                    Ok(()) => drop(refused.remove(&index)),
                    Err(error) if error.is_passing() => outage = Some(error),
                    Err(error) => self.failed(&part[index].origin, &error),
                }
            }
        }
        let duplicates = std::mem::take(&mut self.duplicates);
        for (index, record) in part.into_iter().enumerate() {
            let again = duplicates.iter().filter(|(origin, _)| *origin == record.origin);
            let letters: Vec<_> = again.map(|(_, at)| *at).chain([record.letter]).collect();
            if !refused.contains(&index) {
                for (partition, offset) in letters {
                    let arrived = self.arrived.entry((record.target.clone(), partition)).or_default();
                    arrived.insert((offset, offset + 1));
                }
            } else if let Some(target) = self.targets.get_mut(&record.target) {
                target.sent -= 1;
                target.skipped -= letters.len() as u64 - 1;
                target.there.remove(&record.origin);
            }
        }
        reach(Edge::ReplayWritten);
        self.note()?;
        reach(Edge::ReplayNoted);
        outage.map_or(Ok(()), |error| Err(error).context(cut_off))
    }

    /// Waits until `--rate` allows the next record. Lost time is not made up for, so the rate is never exceeded.
    fn wait_for_turn(&mut self) {
        let Some(rate) = self.args.rate else { return };
        std::thread::sleep(self.next_send.saturating_duration_since(Instant::now()));
        self.next_send = self.next_send.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
    }
}
