//! The way of records through a statement: a source and the sink, with their topics and with what holds at the
//! source, in the job and at the sink. Lint, plan, run and advise all take it from here.

use velo_schema::{Settings, Side};

use crate::scan::Name;
use crate::topics::{Topic, topic};
use crate::unit::Unit;

/// A source or a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, which keys may begin with.
    pub name: String,
    /// Its URI, if the statement names it by one.
    pub uri: Option<String>,
    /// Its topic.
    pub topic: Topic,
}

/// One source of a statement and its sink.
#[derive(Debug)]
pub struct Route {
    /// What is read; `None` if the statement names no source.
    pub source: Option<Endpoint>,
    /// What is written; `None` if the statement names no sink.
    pub sink: Option<Endpoint>,
    /// What holds where records are fetched, decoded and batched.
    pub at_source: Settings,
    /// What holds where they are processed.
    pub in_job: Settings,
    /// What holds where results are written.
    pub at_sink: Settings,
}

impl Route {
    /// A route for each source, in the order of the statement; one without a source if it names none.
    #[must_use]
    pub fn all(unit: &Unit<'_>) -> Vec<Self> {
        let sources = unit.statement.sources();
        if sources.is_empty() {
            return vec![Self::of(unit, None)];
        }
        sources.into_iter().map(|source| Self::of(unit, Some(source))).collect()
    }

    /// The route of the statement's first source, or of none.
    #[must_use]
    pub fn first(unit: &Unit<'_>) -> Self {
        Self::of(unit, unit.statement.sources().first().copied())
    }

    /// The route from `source`.
    #[must_use]
    pub fn of(unit: &Unit<'_>, source: Option<&Name>) -> Self {
        let sink = unit.statement.sinks().first().copied();
        let endpoint = |name: Option<&Name>, side| {
            name.map(|name| Endpoint {
                name: name.text.clone(),
                uri: name.uri.clone(),
                topic: topic(unit, &name.text, side),
            })
        };
        let text = |name: Option<&Name>| name.map(|name| name.text.clone());
        Self {
            source: endpoint(source, Side::Source),
            sink: endpoint(sink, Side::Sink),
            at_source: unit.settings(Side::Source, text(source).as_deref()),
            in_job: unit.settings(Side::Job, None),
            at_sink: unit.settings(Side::Sink, text(sink).as_deref()),
        }
    }

    /// The endpoints that there are.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.source.iter().chain(&self.sink)
    }
}
