//! Why a statement cannot be run as it stands, beyond the errors of lint: a statement and a route in; each reason
//! with its place out. Lint checks texts that may be anybody's; a run knows that the statement is ours.

use velo_schema::keys::Key;

use crate::files::FileError;
use crate::ownership::{NearFailureKey, is_failure_key, near_failure_key};
use crate::route::Route;
use crate::scan::RawValue;
use crate::span::Span;
use crate::topic_keys::near_topic_key;
use crate::unit::{Reading, Unit};

/// A reason why a statement cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// The place.
    pub span: Span,
    /// The reason.
    pub why: Why,
}

/// Why a statement cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// A key for failures or topics is misspelt.
    #[error("'{key}' is not a key and would have no effect; did you mean '{near}'?")]
    Misspelt {
        /// As written.
        key: String,
        /// The key that is meant.
        near: String,
    },
    /// A key for failures has a prefix that names nothing.
    #[error("'{key}' would have no effect: the statement has no source or sink called '{prefix}'")]
    UnknownScope {
        /// As written.
        key: String,
        /// Its prefix.
        prefix: String,
    },
    /// A key for failures stands in a clause of another system.
    #[error(
        "'{key}' would have no effect: this clause is read as another system's; move the key into a WITH (…) of its own, in quotes"
    )]
    ForeignClause {
        /// As written.
        key: String,
    },
    /// A placeholder has no value.
    #[error("{}: {placeholder} has no value; set the variable, or add --var NAME=VALUE", subject(.key.as_deref()))]
    Open {
        /// The key; of a name none.
        key: Option<String>,
        /// The placeholder as written.
        placeholder: String,
    },
    /// A value is no plain text.
    #[error("the value of '{key}' cannot be read before the job runs; write it as a plain text")]
    NotText {
        /// The key.
        key: String,
    },
    /// A template decides which entries there are.
    #[error("a template decides which entries this clause has; render the file first")]
    Template,
    /// A configuration file cannot be read.
    #[error("{path}: {error}")]
    LostFile {
        /// As written.
        path: String,
        /// Why.
        error: FileError,
    },
}

impl Why {
    /// True if a value, a name or a file is not known here, and false if the statement itself is wrong.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::NotText { .. } | Self::Template | Self::LostFile { .. })
    }

    /// True if a key is nearly one of ours, in whatever company.
    #[must_use]
    pub fn is_near_ours(&self) -> bool {
        matches!(self, Self::Misspelt { .. } | Self::UnknownScope { .. })
    }
}

fn subject(key: Option<&str>) -> String {
    key.map_or_else(|| "the name of a topic".to_owned(), |key| format!("'{key}'"))
}

/// Why the statement cannot be run along `route`, in the order of the places; empty if it can.
#[must_use]
pub fn refusals(unit: &Unit<'_>, route: &Route) -> Vec<Refusal> {
    let mut found = open(unit, route);
    found.extend(misread(unit));
    for lost in &unit.lost {
        let why = Why::LostFile { path: lost.path.clone(), error: lost.error.clone() };
        found.push(Refusal { span: lost.span.clone(), why });
    }
    for part in unit.clauses.iter().filter(|part| part.is_templated) {
        let range = part.clause.span.start..part.clause.span.start;
        found.push(Refusal { span: Span { file: part.file, range }, why: Why::Template });
    }
    found.sort_by_key(|refusal| (refusal.span.file, refusal.span.range.start));
    found
}

/// The values and topics that only a variable could give.
#[must_use]
pub fn open(unit: &Unit<'_>, route: &Route) -> Vec<Refusal> {
    let mut found = Vec::new();
    for item in unit.items.iter().filter(|item| matches!(item.reading, Reading::Open)) {
        let (key, span) = (item.qualified(), item.value_span.clone());
        let written = match item.filled_in {
            Some(expanded) => expanded.open.clone(),
            None if matches!(item.raw.value, RawValue::Text(_)) => vec![item.value.to_owned()],
            None => {
                found.push(Refusal { span, why: Why::NotText { key } });
                continue;
            }
        };
        found.extend(written.into_iter().map(|placeholder| Refusal {
            span: span.clone(),
            why: Why::Open { key: Some(key.clone()), placeholder },
        }));
    }
    for endpoint in route.endpoints().filter(|endpoint| endpoint.topic.name.is_none()) {
        let Some(key) = &endpoint.topic.key else {
            let name = unit.statement.names.iter().find(|name| name.text == endpoint.name);
            let range = name.map_or(unit.statement.span.clone(), |name| name.outer.clone());
            let why = Why::Open { key: None, placeholder: endpoint.name.clone() };
            found.push(Refusal { span: Span::here(range), why });
            continue;
        };
        let Some(foreign) = unit.foreign.iter().find(|foreign| foreign.key == key) else { continue };
        if foreign.open.is_empty() {
            let why = Why::NotText { key: key.clone() };
            found.push(Refusal { span: foreign.span.clone(), why });
        }
        found.extend(foreign.open.iter().map(|placeholder| Refusal {
            span: foreign.span.clone(),
            why: Why::Open { key: Some(key.clone()), placeholder: (*placeholder).to_owned() },
        }));
    }
    found
}

/// Keys for failures and topics that would have no effect, and records would be lost or come from elsewhere.
fn misread(unit: &Unit<'_>) -> Vec<Refusal> {
    let mut found = Vec::new();
    let strangers = unit.strangers.iter().map(|stranger| (stranger.key, &stranger.span, false));
    let others = unit.foreign.iter().map(|foreign| (foreign.key, &foreign.span, foreign.of_foreign_clause));
    for (key, span, of_foreign_clause) in strangers.chain(others) {
        let is_failure = |rest: &str| Key::from_name(rest).is_some_and(is_failure_key);
        let near = near_failure_key(key, &unit.names);
        let own = key.to_owned();
        let why = if of_foreign_clause {
            let is_ours = is_failure(key) || is_failure(unit.names.split(key, is_failure).1);
            let is_near = near.is_some_and(|near| matches!(near, NearFailureKey::Misspelt(near) if near.ends_with(Key::FailureStrategy.name())));
            (is_ours || is_near).then_some(Why::ForeignClause { key: own })
        } else {
            match near {
                Some(NearFailureKey::Misspelt(near)) => Some(Why::Misspelt { key: own, near }),
                Some(NearFailureKey::UnknownScope(prefix)) => Some(Why::UnknownScope { key: own, prefix }),
                None => near_topic_key(key, &unit.names).map(|near| Why::Misspelt { key: own, near }),
            }
        };
        found.extend(why.map(|why| Refusal { span: span.clone(), why }));
    }
    found
}
