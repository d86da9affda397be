//! The statement to configure: a file and the name of a statement in; its topic, its current configuration and the file
//! with changed settings out.

use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_advisor::{Candidate, Evidence};
use velo_lint::{Document, Options, Route};
use velo_schema::keys::Key;
use velo_schema::{Origin, StrategyKind};

use crate::args::VarArgs;
use crate::clause::with_settings;
use crate::input::read;
use crate::project::Projects;
use crate::statement::{document, print_errors, refuse, select};

/// The statement to configure.
pub(super) struct Target {
    pub input: velo_lint::Source,
    document: Document,
    number: usize,
    vars: VarArgs,
    sources: Vec<Source>,
    /// Index of the source that the advice is about.
    chosen: usize,
    /// Current configuration of the source; `None` if its batches are disabled.
    pub current: Option<Candidate>,
    /// Limit on the records per batch, if any.
    pub cap: Option<u64>,
}

/// A source of the statement and its current configuration.
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
    /// Reads a statement of a file. If the statement has several sources, the source that reads `topic` is chosen.
    pub(super) fn read(
        path: &Path,
        statement: Option<&str>,
        vars: &VarArgs,
        topic: Option<&str>,
    ) -> Result<Self> {
        let input = read(path, &Projects::nearest())?;
        let document = document(&input, vars);
        if print_errors(&document) {
            bail!("{}: fix the errors in the settings first", input.name);
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

    /// Returns the topic that the statement reads, if there is exactly one.
    pub(super) fn topic(&self) -> Result<String> {
        match self.topics().as_slice() {
            [topic] => Ok((*topic).to_owned()),
            [] => bail!("{}: the statement has no source; set the topic with --topic", self.input.name),
            several => bail!(
                "{}: the statement reads several topics; choose one with --topic: {}",
                self.input.name,
                several.join(", ")
            ),
        }
    }

    /// Checks before the run that the WITH clause can be changed to a recommendation.
    pub(super) fn can_be_changed(&self) -> Result<()> {
        // Use the smallest candidates of two strategies: a limit does not affect both, and at most one of them is the
        // current configuration.
        let all = Candidate::all();
        let smallest = |strategy: StrategyKind| {
            let own = all.iter().filter(move |candidate| candidate.strategy == strategy);
            own.min_by_key(|candidate| candidate.plan(None).batch_records.max)
        };
        let both = [StrategyKind::LowLatency, StrategyKind::FixedSize].map(smallest);
        both.into_iter().flatten().try_for_each(|candidate| self.with(candidate).map(drop))
    }

    /// Returns the text of the file with this candidate in the statement's WITH clause.
    pub(super) fn with(&self, candidate: &Candidate) -> Result<String> {
        let options = Options::default();
        let unit = self.document.units(&options).nth(self.number).context("the statement")?;
        let source = self.sources.get(self.chosen).and_then(|source| source.name.as_deref());
        let text = with_settings(&unit, source, candidate).with_context(|| self.input.name.clone())?;
        // Parse the result and check that no other setting changes the configuration.
        let changed =
            velo_lint::Source { text, name: self.input.name.clone(), language: self.input.language };
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
                "{}: other settings of the statement override the recommendation; edit the WITH clause by hand",
                self.input.name
            );
        }
        Ok(changed.text)
    }

    /// Rejects a topic that the statement does not read.
    pub(super) fn must_read(&self, topic: &str, whose: &str) -> Result<()> {
        let topics = self.topics();
        if topics.is_empty() || topics.contains(&topic) {
            return Ok(());
        }
        bail!("{}: the statement reads '{}', but {whose} '{topic}'", self.input.name, topics.join("', '"))
    }

    /// Adapts the evidence of an earlier run to this statement.
    pub(super) fn judge(&mut self, evidence: &mut Evidence) -> Result<()> {
        self.must_read(&evidence.header.topic, "the trials are for")?;
        self.choose(Some(&evidence.header.topic));
        evidence.header.current.clone_from(&self.current);
        evidence.header.max_batch_records = self.cap;
        evidence.keep_to_the_cap();
        Ok(())
    }
}
