//! A file and the name of a statement in; the topic it reads, what it runs with, and the file with other
//! settings out.

use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_advisor::{Candidate, Evidence};
use velo_lint::{Document, Options, Route};
use velo_schema::keys::Key;
use velo_schema::{Origin, StrategyKind};

use crate::args::VarArgs;
use crate::clause::with_settings;
use crate::input::{Input, read};
use crate::statement::{document, print_errors, refuse, select};

/// The statement that is to be configured.
pub(super) struct Target {
    pub input: Input,
    document: Document,
    number: usize,
    vars: VarArgs,
    /// Its sources; the one that is advised on.
    sources: Vec<Source>,
    chosen: usize,
    /// What the source runs with; none if its batches are switched off.
    pub current: Option<Candidate>,
    /// The cap on the records of its batches, if it has one.
    pub cap: Option<u64>,
}

/// A source of the statement, and what it runs with.
struct Source {
    name: Option<String>,
    topic: Option<String>,
    current: Option<Candidate>,
    cap: Option<u64>,
}

impl Source {
    fn of(route: &Route) -> Self {
        let cap = route.at_source.get(Key::BatchMaxSize);
        Self {
            name: route.source.as_ref().map(|source| source.name.clone()),
            topic: route.source.as_ref().and_then(|source| source.topic.name.clone()),
            current: Candidate::of_settings(&route.at_source),
            cap: (cap.origin != Origin::Default).then(|| route.at_source.config().max_batch_records),
        }
    }
}

impl Target {
    /// The statement of a file; of several sources the one that reads `topic` is advised on.
    pub fn read(path: &Path, statement: Option<&str>, vars: &VarArgs, topic: Option<&str>) -> Result<Self> {
        let input = read(path, None)?;
        let document = document(&input, vars);
        if print_errors(&document) {
            bail!("{}: fix the errors in its settings first", input.name);
        }
        let number = select(&document, statement)?;
        let options = Options::default();
        let unit = document.units(&options).nth(number).context("the statement that was selected")?;
        let routes = Route::all(&unit);
        for route in &routes {
            refuse(&document, &unit, route)?;
        }
        let sources = routes.iter().map(Source::of).collect();
        let vars = vars.clone();
        let mut target = Self { input, document, number, vars, sources, chosen: 0, current: None, cap: None };
        target.choose(topic);
        Ok(target)
    }

    /// Chooses the source that reads `topic`, or the first one.
    fn choose(&mut self, topic: Option<&str>) {
        let reads = |source: &Source| topic.is_some() && source.topic.as_deref() == topic;
        self.chosen = self.sources.iter().position(reads).unwrap_or(0);
        let Some(Source { current, cap, .. }) = self.sources.get(self.chosen) else { return };
        (self.current, self.cap) = (current.clone(), *cap);
    }

    fn topics(&self) -> Vec<&str> {
        self.sources.iter().filter_map(|source| source.topic.as_deref()).collect()
    }

    /// The topic that it reads, if that is one.
    pub fn topic(&self) -> Result<String> {
        match self.topics().as_slice() {
            [topic] => Ok((*topic).to_owned()),
            [] => bail!("{}: the statement names no source; name the topic with --topic", self.input.name),
            several => bail!(
                "{}: the statement reads several topics; choose one with --topic: {}",
                self.input.name,
                several.join(", ")
            ),
        }
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
        let source = self.sources.get(self.chosen).and_then(|source| source.name.as_deref());
        let text = with_settings(&unit, source, candidate).with_context(|| self.input.name.clone())?;
        // What was written is read again: nothing else may have a say in what holds now.
        let changed = Input { text, name: self.input.name.clone(), language: self.input.language };
        let document = document(&changed, &self.vars);
        let unit = document.units(&options).nth(self.number);
        let reads = unit.and_then(|unit| Some(Route::all(&unit).get(self.chosen)?.at_source.config()));
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

    /// Refuses a topic that the statement does not read.
    pub fn must_read(&self, topic: &str, whose: &str) -> Result<()> {
        let topics = self.topics();
        if topics.is_empty() || topics.contains(&topic) {
            return Ok(());
        }
        bail!("{}: the statement reads '{}', and {whose} '{topic}'", self.input.name, topics.join("', '"))
    }

    /// The evidence of an earlier run as evidence about this statement.
    pub fn judge(&mut self, evidence: &mut Evidence) -> Result<()> {
        self.must_read(&evidence.header.topic, "the trials are of")?;
        self.choose(Some(&evidence.header.topic));
        evidence.header.current.clone_from(&self.current);
        evidence.header.max_batch_records = self.cap;
        evidence.keep_to_the_cap();
        Ok(())
    }
}
