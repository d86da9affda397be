//! The file of trials: what an earlier run has left of the same workload, and what this one finds out, each
//! line before the next finding is sought.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use velo_advisor::Evidence;
use velo_advisor::trial::{EvidenceError, Header, write_header, write_predicted, write_trial};

/// How far a workload may have changed since the trials that a run goes on from.
const DRIFT: f64 = 0.2;

/// Where trials are kept.
pub(super) struct Trials {
    path: PathBuf,
}

impl Trials {
    /// Makes sure that there can be a file, and that what is there is one of trials: better now than when
    /// everything has been measured. Nothing is left where there was nothing.
    pub fn at(path: PathBuf) -> Result<Self> {
        let name = || path.display().to_string();
        if path.is_file() && std::fs::metadata(&path).with_context(name)?.len() > 0 {
            let file = File::open(&path).with_context(name)?;
            match Evidence::read(BufReader::new(file)) {
                Ok(_) | Err(EvidenceError::Version(_)) => {}
                Err(error) => bail!(
                    "{} is there, and is no file of trials ({error}): name another one with --trials",
                    name()
                ),
            }
        }
        let was_there = path.exists();
        File::options().create(true).append(true).open(&path).with_context(name)?;
        if !was_there {
            std::fs::remove_file(&path).with_context(name)?;
        }
        Ok(Self { path })
    }

    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What an earlier run that was interrupted has left, if it is still true; else why not, where that is
    /// worth telling.
    pub fn unfinished(&self, now: &Header) -> Result<Evidence, Option<String>> {
        let file = File::open(&self.path).map_err(|_| None)?;
        let evidence = Evidence::read(BufReader::new(file)).map_err(|_| None)?;
        if evidence.is_complete {
            return Err(None);
        }
        match difference(&evidence.header, now) {
            Some(what) => {
                Err(Some(format!("{}: {what} is another one than now; starting over", self.name())))
            }
            None => Ok(evidence),
        }
    }

    /// Begins the file with what is known.
    pub fn begin(&self, evidence: &Evidence) -> Result<BufWriter<File>> {
        let begun = || -> std::io::Result<_> {
            if !self.path.is_file() && self.path.exists() {
                // A pipe, or a device: it stays what it is.
                let mut file = BufWriter::new(File::options().write(true).open(&self.path)?);
                write(&mut file, evidence)?;
                return Ok(file);
            }
            // What is there stays whole until the new one is.
            let folder =
                self.path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
            let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
            write(&mut file, evidence)?;
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            Ok(BufWriter::new(file.persist(&self.path)?))
        };
        begun().with_context(|| self.name())
    }
}

fn write(file: &mut dyn Write, evidence: &Evidence) -> std::io::Result<()> {
    write_header(file, &evidence.header)?;
    evidence.predicted.iter().try_for_each(|trial| write_predicted(file, trial))?;
    evidence.trials.iter().try_for_each(|trial| write_trial(file, trial))
}

/// What keeps trials of `then` from counting now.
fn difference(then: &Header, now: &Header) -> Option<&'static str> {
    let is_near = |then: f64, now: f64| (1.0 - now / then.max(1e-9)).abs() <= DRIFT;
    let (work_then, work) = (then.work, now.work);
    let is_same = |a: f64, b: f64| a.total_cmp(&b).is_eq();
    let same_cost = is_same(work_then.per_batch_ms, work.per_batch_ms)
        && is_same(work_then.per_record_ms, work.per_record_ms);
    // A measured round trip is never the same twice; the costs that were measured have the one of then.
    let same_sink = now.setup.sink_was_measured || is_same(work_then.sink_ms, work.sink_ms);
    [
        (then.topic == now.topic, "the topic"),
        (then.setup.bootstrap_servers == now.setup.bootstrap_servers, "the cluster"),
        (then.setup == now.setup && same_cost && same_sink, "what a batch has to do"),
        ((&then.current, then.max_batch_records) == (&now.current, now.max_batch_records), "what runs now"),
        (then.wishes == now.wishes, "what is wanted"),
        (is_near(then.profile.records_per_s, now.profile.records_per_s), "the rate"),
        (is_near(then.profile.peak_records_per_s, now.profile.peak_records_per_s), "the busiest second"),
        (is_near(then.profile.mean_bytes, now.profile.mean_bytes), "the size of records"),
    ]
    .into_iter()
    .find_map(|(is_same, what)| (!is_same).then_some(what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use velo_advisor::trial::{Setup, VERSION};
    use velo_advisor::{Cost, Goal, Profile, Wishes, Work};
    use velo_engine::processor::Synthetic;

    use super::*;

    fn header() -> Header {
        Header {
            version: VERSION,
            topic: "orders".into(),
            setup: Setup { bootstrap_servers: Some("a:9092".into()), ..Setup::default() },
            wishes: Wishes { goal: Goal::Latency, p99: None, memory_bytes: None },
            max_batch_records: None,
            profile: Profile::random(1000.0, 100),
            work: Work::new(Synthetic::default(), Duration::from_millis(1)),
            cost: Cost::line(Duration::from_millis(1), Duration::ZERO),
            current: None,
        }
    }

    #[test]
    fn trials_count_for_the_same_workload_only() {
        let then = header();
        assert_eq!(difference(&then, &then), None);
        let nearly = Header { profile: Profile::random(1100.0, 110), ..header() };
        assert_eq!(difference(&then, &nearly), None);
        let exec = Setup { exec: Some("cat".into()), ..then.setup.clone() };
        let cluster = Setup { bootstrap_servers: Some("b:9092".into()), ..then.setup.clone() };
        let memory = Wishes { goal: Goal::Memory, ..then.wishes };
        for (now, what) in [
            (Header { topic: "others".into(), ..header() }, "the topic"),
            (Header { setup: cluster, ..header() }, "the cluster"),
            (Header { setup: exec, ..header() }, "what a batch has to do"),
            (
                Header { work: Work::new(Synthetic::default(), Duration::ZERO), ..header() },
                "what a batch has to do",
            ),
            (Header { wishes: memory, ..header() }, "what is wanted"),
            (Header { profile: Profile::random(2000.0, 100), ..header() }, "the rate"),
            (Header { profile: Profile::random(1000.0, 500), ..header() }, "the size of records"),
        ] {
            assert_eq!(difference(&then, &now), Some(what));
        }
    }

    #[test]
    fn a_file_that_is_none_of_trials_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "mine\n").expect("written");
        assert!(Trials::at(path.clone()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "mine\n");
        let new = folder.path().join("new.jsonl");
        let trials = Trials::at(new.clone()).expect("it can be there");
        assert!(!new.exists());
        // A line that was not written to its end does not count.
        drop(trials.begin(&Evidence::predicted(header(), Vec::new())).expect("begun"));
        let mut file = File::options().append(true).open(&new).expect("a file");
        file.write_all(b"{\"trial\":{\"cand").expect("written");
        let evidence = Trials::at(new).expect("trials").unfinished(&header()).expect("it is the same");
        assert_eq!((evidence.header, evidence.trials.len()), (header(), 0));
    }
}
