//! A file and the name of a statement in; the topic it reads, what it runs with, and the file with other
//! settings out.

use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_advisor::{Candidate, Evidence};
use velo_lint::{Document, Options};
use velo_schema::keys::Key;
use velo_schema::{Origin, Side, StrategyKind};

use crate::clause::with_settings;
use crate::input::{Input, read};
use crate::query;
use crate::render::plan::sides;
use crate::statement::{print_errors, select};

/// The statement that is to be configured.
pub(super) struct Target {
    pub input: Input,
    document: Document,
    number: usize,
    /// What it runs with; none where its batches are switched off.
    pub current: Option<Candidate>,
    /// Its cap on the records of a batch, where it has one.
    pub cap: Option<u64>,
}

impl Target {
    pub fn read(path: &Path, statement: Option<&str>) -> Result<Self> {
        let input = read(path, None)?;
        let document = input.document();
        if print_errors(&document) {
            bail!("{}: mend its settings first", input.name);
        }
        let number = select(&document, statement)?;
        let options = Options::default();
        let unit = document.units(&options).nth(number).context("the statement that was selected")?;
        let (settings, ..) = sides(&unit);
        let current = Candidate::of_settings(&settings);
        let cap = settings.get(Key::BatchMaxSize);
        let cap = (cap.origin != Origin::Default).then(|| settings.config().max_batch_records);
        Ok(Self { input, document, number, current, cap })
    }

    /// The topic that it reads, where its query says so.
    pub fn topic(&self) -> Result<String> {
        let options = Options::default();
        let unit = self.document.units(&options).nth(self.number).context("the statement")?;
        let span = unit.statement.query.clone().unwrap_or_default();
        let name = || format!("{}: name the topic with --topic", self.input.name);
        let source = query::source(&unit.text[span]).with_context(name)?;
        velo_lint::topics::topic(&unit, &source, Side::Source)
            .name
            .with_context(|| format!("{}; the statement's is a placeholder", name()))
    }

    /// Whether its clause could be changed to whatever may be recommended: better known before than after.
    pub fn can_be_changed(&self) -> Result<()> {
        // The smallest of two strategies: no cap is in the way of both, nor are both what runs now.
        let all = Candidate::all();
        let smallest = |strategy: StrategyKind| {
            let own = all.iter().filter(move |candidate| candidate.strategy == strategy);
            own.min_by_key(|candidate| candidate.plan(None).batch_records.max)
        };
        let both = [StrategyKind::LowLatency, StrategyKind::FixedSize].map(smallest);
        both.into_iter().flatten().try_for_each(|candidate| self.with(candidate).map(drop))
    }

    /// The file with this candidate in the statement's clause.
    pub fn with(&self, candidate: &Candidate) -> Result<String> {
        let options = Options::default();
        let unit = self.document.units(&options).nth(self.number).context("the statement")?;
        let text = with_settings(&unit, candidate).with_context(|| self.input.name.clone())?;
        // What was written is read again: nothing else may have a say in what holds now.
        let changed = Input { text, name: self.input.name.clone(), language: self.input.language };
        let document = changed.document();
        let reads = document.units(&options).nth(self.number).map(|unit| sides(&unit).0.config());
        let wanted = candidate.config();
        let plan = |config: &velo_schema::Config| velo_schema::Plan::of(config, None);
        let is_meant = |config: &velo_schema::Config| {
            config.enabled && config.strategy == wanted.strategy && plan(config) == plan(&wanted)
        };
        if !reads.as_ref().is_some_and(is_meant) {
            bail!(
                "{}: other settings of the statement would change what was recommended; write the clause by hand",
                self.input.name
            );
        }
        Ok(changed.text)
    }

    /// Refuses another topic than the statement's own. A query that is not understood may read any.
    pub fn must_read(&self, topic: &str, whose: &str) -> Result<()> {
        match self.topic() {
            Ok(own) if own != topic => {
                bail!("{}: the statement reads '{own}', and {whose} '{topic}'", self.input.name)
            }
            _ => Ok(()),
        }
    }

    /// The evidence of an earlier run as evidence about this statement.
    pub fn judge(&self, evidence: &mut Evidence) -> Result<()> {
        self.must_read(&evidence.header.topic, "the trials are of")?;
        evidence.header.current.clone_from(&self.current);
        evidence.header.max_batch_records = self.cap;
        evidence.keep_to_the_cap();
        Ok(())
    }
}
