//! `batch.parallel`: processes a batch on several threads. The records of a key are always processed by the same thread
//! and in order. Records without a key are processed in the order of their partition.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use super::bisect::bisect;
use super::{Attempt, Failure, Interrupt, Output, Processor, Unprocessed};
use crate::batch::Batch;
use crate::core::failure::RowError;

/// A processor and its forks. Each of them processes a subset of the keys.
pub(crate) struct Parallel {
    own: Box<dyn Processor>,
    own_part: Box<Part>,
    helpers: Vec<Helper>,
}

/// The rows of a batch for one processor, and their results. A part is passed back and forth between the threads, so
/// that its memory is reused.
#[derive(Default)]
struct Part {
    rows: Vec<u32>,
    picked: Batch,
    attempt: u32,
    bad: Vec<RowError>,
    output: Output,
    unprocessed: Option<Unprocessed>,
}

struct Helper {
    parts: Option<Sender<Box<Part>>>,
    done: Receiver<Box<Part>>,
    /// The part, while it is not being processed.
    idle: Option<Box<Part>>,
    thread: Option<JoinHandle<()>>,
}

impl Parallel {
    /// Creates up to `most` processors from `own` and its forks.
    ///
    /// # Errors
    /// If `own` cannot be forked or `most` is 1. The error is `own`.
    pub(crate) fn of(own: Box<dyn Processor>, most: usize) -> Result<Self, Box<dyn Processor>> {
        let forks: Vec<_> = (1..most).map_while(|_| own.fork()).collect();
        if forks.is_empty() {
            return Err(own);
        }
        let helpers = forks.into_iter().map(Helper::start).collect();
        Ok(Self { own, own_part: Box::default(), helpers })
    }

    /// Returns the parts that are not being processed.
    fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        let helpers = self.helpers.iter_mut().filter_map(|helper| helper.idle.as_deref_mut());
        std::iter::once(&mut *self.own_part).chain(helpers)
    }

    /// Assigns each row to a part. Rows with the same key are always assigned to the same part.
    fn share(&mut self, batch: &Batch, attempt: Attempt) {
        for part in self.parts() {
            part.rows.clear();
            part.attempt = attempt.number;
        }
        let count = self.helpers.len() as u64 + 1;
        for row in 0..batch.len() {
            let mut hasher = DefaultHasher::new();
            match (batch.key(row), batch.origin(row)) {
                (Some(key), _) => key.hash(&mut hasher),
                (None, Some(origin)) => (&origin.topic, origin.partition).hash(&mut hasher),
                (None, None) => batch.lane(row).hash(&mut hasher),
            }
            let part = usize::try_from(hasher.finish() % count).unwrap_or(0);
            let helper = part.checked_sub(1).and_then(|helper| self.helpers[helper].idle.as_deref_mut());
            helper.unwrap_or(&mut self.own_part).rows.push(row);
        }
    }
}

impl Part {
    fn process(&mut self, processor: &mut dyn Processor) {
        let attempt = Attempt { number: self.attempt };
        match bisect(processor, &self.picked, Vec::new(), attempt) {
            Ok((bad, output)) => (self.bad, self.output) = (bad, output),
            Err(unprocessed) => self.unprocessed = Some(unprocessed),
        }
        self.picked.release();
    }
}

impl Helper {
    fn start(mut processor: Box<dyn Processor>) -> Self {
        let (parts, to_do) = crossbeam_channel::bounded::<Box<Part>>(1);
        let (finished, done) = crossbeam_channel::bounded(1);
        let thread = thread::spawn(move || {
            for mut part in to_do {
                part.process(&mut *processor);
                if finished.send(part).is_err() {
                    return;
                }
            }
        });
        Self { parts: Some(parts), done, idle: Some(Box::default()), thread: Some(thread) }
    }

    /// Sends the part to the helper's thread. [`finish`](Self::finish) waits for its return.
    fn begin(&mut self, batch: &Batch) {
        let Some(mut part) = self.idle.take_if(|part| !part.rows.is_empty()) else { return };
        batch.pick_into(&part.rows, &mut part.picked);
        // Sending fails only if the thread has panicked, and then `finish` returns the panic.
        let _ = self.parts.as_ref().map(|parts| parts.send(part));
    }

    /// Waits for the part.
    ///
    /// # Errors
    /// If the helper's thread has panicked. The error is the panic.
    fn finish(&mut self) -> thread::Result<()> {
        if self.idle.is_none() {
            match self.done.recv() {
                Ok(part) => self.idle = Some(part),
                // The thread ends before `parts` is closed only by a panic.
                Err(_) => self.thread.take().map_or(Ok(()), JoinHandle::join)?,
            }
        }
        Ok(())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            // A panic was already returned by `finish`.
            let _ = thread.join();
        }
    }
}

impl Processor for Parallel {
    fn interrupt(&self) -> Option<Interrupt> {
        self.own.interrupt()
    }

    fn process(&mut self, batch: &Batch, out: &mut Output, attempt: Attempt) -> Result<(), Failure> {
        self.share(batch, attempt);
        for helper in &mut self.helpers {
            helper.begin(batch);
        }
        if !self.own_part.rows.is_empty() {
            batch.pick_into(&self.own_part.rows, &mut self.own_part.picked);
            self.own_part.process(&mut *self.own);
        }
        for helper in &mut self.helpers {
            if let Err(panic) = helper.finish() {
                std::panic::resume_unwind(panic);
            }
        }
        let (mut bad, mut unprocessed) = (Vec::new(), None::<Unprocessed>);
        let is_input = self.parts().all(|part| part.rows.is_empty() || part.output.is_input());
        if is_input {
            out.forward_all();
        }
        for Part { rows, bad: of_part, output, unprocessed: reason, .. } in self.parts() {
            let of_batch = |error: RowError| RowError { row: rows[error.row as usize], ..error };
            bad.extend(of_part.drain(..).map(of_batch));
            let output = std::mem::take(output);
            if !is_input {
                out.append(output, rows);
            }
            // A fatal error of one part takes precedence over other errors.
            let is_fatal = unprocessed.as_ref().is_some_and(|other| other.is_fatal);
            if let Some(found) = reason.take().filter(|_| !is_fatal) {
                unprocessed = Some(found);
            }
        }
        if let Some(unprocessed) = unprocessed {
            return Err(unprocessed.into());
        }
        out.sort();
        bad.sort_by_key(|error| error.row);
        if bad.is_empty() { Ok(()) } else { Err(Failure::Rows(bad)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Record};
    use crate::core::failure::Stage;
    use crate::ids::{LaneId, LaneName, Names};
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    /// A fork, a key and an offset.
    type Seen = (usize, Option<Vec<u8>>, i64);

    /// Records which fork processes which rows. Fails rows whose offset is divisible by five, and names them if `names`
    /// is true.
    struct Watching {
        fork: usize,
        seen: Arc<Mutex<Vec<Seen>>>,
        forks: Arc<Mutex<usize>>,
        names: bool,
    }

    impl Processor for Watching {
        fn process(&mut self, batch: &Batch, out: &mut Output, _: Attempt) -> Result<(), Failure> {
            let rows = 0..batch.len();
            let bad: Vec<_> = rows.clone().filter(|row| batch.offset(*row) % 5 == 0).collect();
            if self.names || bad.is_empty() {
                let mut seen = self.seen.lock().unwrap();
                let row = |row| (self.fork, batch.key(row).map(<[u8]>::to_vec), batch.offset(row));
                seen.extend(rows.clone().map(row));
            }
            rows.for_each(|row| out.push(row, None, Some(&batch.offset(row).to_be_bytes())));
            let error =
                |row| RowError { row, stage: Stage::Process, message: "five".into(), retriable: false };
            match bad.len() {
                0 => Ok(()),
                _ if self.names => Err(Failure::Rows(bad.into_iter().map(error).collect())),
                _ => Err(Failure::Unnamed("one of them".into())),
            }
        }

        fn fork(&self) -> Option<Box<dyn Processor>> {
            let mut forks = self.forks.lock().unwrap();
            *forks += 1;
            let (seen, forks_of) = (Arc::clone(&self.seen), Arc::clone(&self.forks));
            Some(Box::new(Self { fork: *forks, seen, forks: forks_of, names: self.names }))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        /// Over several batches, the records of each key are processed by one processor in order. The same holds for
        /// the records of a partition without keys. The output is in row order.
        #[test]
        fn each_key_stays_with_one_processor_and_in_order(
            batches in prop::collection::vec(prop::collection::vec((0_u32..3, prop::option::of(0_u8..6)), 1..40), 1..5),
            names in any::<bool>(),
        ) {
            let seen = Arc::<Mutex<Vec<_>>>::default();
            let watching = Watching { fork: 0, seen: Arc::clone(&seen), forks: Arc::default(), names };
            let mut parallel = Parallel::of(Box::new(watching), 3).ok().expect("it forks");
            let mut builder = BatchBuilder::default();
            let mut lane_names = Names::default();
            for lane in 0..3 {
                lane_names.insert(LaneId(lane), LaneName { topic: "t".into(), partition: i32::try_from(lane).unwrap() });
            }
            let mut offset = 0;
            let mut lanes = HashMap::new();
            for rows in batches {
                let first = offset;
                for (lane, key) in &rows {
                    let key = key.map(|key| [key]);
                    builder.push(LaneId(*lane), Record { offset, key: key.as_ref().map(<[u8; 1]>::as_slice), ..Record::default() });
                    lanes.insert(offset, *lane);
                    offset += 1;
                }
                let mut output = Output::default();
                let batch = builder.seal(lane_names.clone());
                let result = parallel.process(&batch, &mut output, Attempt { number: 0 });
                let expected: Vec<_> = (first..offset).filter(|offset| offset % 5 == 0).collect();
                let bad: Vec<_> = match result {
                    Ok(()) => Vec::new(),
                    Err(Failure::Rows(bad)) => bad.iter().map(|error| batch.offset(error.row)).collect(),
                    Err(other) => panic!("{other:?}"),
                };
                prop_assert_eq!(&bad, &expected);
                let rows: Vec<_> = output.of_rows(0..batch.len()).map(|(row, _)| row).collect();
                let all = (0..batch.len()).filter(|row| names || !bad.contains(&batch.offset(*row)));
                prop_assert_eq!(rows, all.collect::<Vec<_>>());
            }
            let mut of_key = HashMap::<_, Vec<(usize, i64)>>::new();
            for (fork, key, offset) in seen.lock().unwrap().iter() {
                let lane = key.is_none().then(|| lanes[offset]);
                of_key.entry((lane, key.clone())).or_default().push((*fork, *offset));
            }
            for (key, seen) in of_key {
                prop_assert!(seen.iter().all(|(fork, _)| *fork == seen[0].0), "{:?}: {:?}", key, seen);
                prop_assert!(seen.is_sorted_by_key(|(_, offset)| *offset), "{:?}: {:?}", key, seen);
            }
        }
    }

    #[test]
    fn a_failed_system_is_everybodys_and_a_processor_without_forks_stays_alone() {
        struct Down;
        impl Processor for Down {
            fn process(&mut self, batch: &Batch, _: &mut Output, _: Attempt) -> Result<(), Failure> {
                let fails = (0..batch.len()).any(|row| batch.key(row) == Some(b"3"));
                if fails { Err(Failure::System("down".into())) } else { Ok(()) }
            }
            fn fork(&self) -> Option<Box<dyn Processor>> {
                Some(Box::new(Self))
            }
        }
        let mut parallel = Parallel::of(Box::new(Down), 4).ok().expect("it forks");
        let mut builder = BatchBuilder::default();
        for key in 0..10_u8 {
            let key = [b'0' + key];
            builder.push(LaneId(0), Record { offset: 0, key: Some(&key), ..Record::default() });
        }
        let batch = builder.seal(Names::default());
        let result = parallel.process(&batch, &mut Output::default(), Attempt { number: 0 });
        assert_eq!(result, Err(Failure::System("down".into())));
        let alone = crate::process::exec::ExecProcessor::new(crate::process::exec::Exec {
            command: String::new(),
            timeout: std::time::Duration::ZERO,
            environment: Vec::new(),
        });
        assert!(Parallel::of(Box::new(alone), 1).is_err(), "there is one thread");
    }
}
