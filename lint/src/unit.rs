//! A statement as the rules see it: every entry of ours with its scope, key and reading.

use std::ops::Range;

use velo_schema::keys::Key;
use velo_schema::value::{Parsed, Placeholder, ValueError, placeholder};
use velo_schema::{Config, Entry, Scope, Settings, Side};

use crate::ownership::{Owner, is_foreign_clause, owner};
use crate::scan::{Fault, RawEntry, Statement, Text};

/// A statement with its entries sorted by whose they are.
#[derive(Debug)]
pub struct Unit<'a> {
    /// The whole text that all spans count in.
    pub text: &'a str,
    /// The statement.
    pub statement: &'a Statement,
    /// Entries of ours, in order.
    pub items: Vec<Item<'a>>,
    /// Entries that are nearly ours.
    pub strangers: Vec<Stranger<'a>>,
    /// Everything else, in order: the settings of other systems.
    pub foreign: Vec<(&'a str, Option<&'a str>)>,
    /// Syntax mistakes at entries of ours.
    pub faults: Vec<&'a Fault>,
}

/// An entry of ours.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its scope.
    pub scope: Scope,
    /// Its key.
    pub key: Key,
    /// The entry as it stands.
    pub raw: &'a RawEntry,
    /// Its value's text; for a placeholder, the default inside of it.
    pub value: &'a str,
    /// Where that text stands.
    pub value_span: Range<usize>,
    /// What it says.
    pub reading: Reading,
}

/// What a value says.
#[derive(Debug)]
pub enum Reading {
    /// A value.
    Known(Parsed),
    /// No value of its key.
    Wrong(ValueError),
    /// Not known before the job is deployed.
    Open,
    /// There is none.
    Missing,
}

/// An entry that is not ours but should be.
#[derive(Debug)]
pub struct Stranger<'a> {
    /// The key as written.
    pub key: &'a str,
    /// Where it stands.
    pub span: Range<usize>,
    /// What is wrong with it.
    pub owner: Owner,
}

impl<'a> Unit<'a> {
    /// Sorts the entries of a statement.
    #[must_use]
    pub fn new(text: &'a str, statement: &'a Statement) -> Self {
        let mut unit = Self {
            text,
            statement,
            items: Vec::new(),
            strangers: Vec::new(),
            foreign: Vec::new(),
            faults: Vec::new(),
        };
        for clause in &statement.clauses {
            let foreign_clause = is_foreign_clause(text, clause);
            let ours_before = unit.items.len();
            let mut near_misses = Vec::new();
            let mut ours = vec![false; clause.entries.len()];
            for (index, raw) in clause.entries.iter().enumerate() {
                let key = &text[raw.key.span.clone()];
                let owner = if foreign_clause { Owner::Foreign } else { owner(key, &statement.names) };
                let stranger = |owner| Stranger { key, span: raw.key.span.clone(), owner };
                match owner {
                    Owner::Ours(scope, known) => {
                        ours[index] = true;
                        unit.items.push(Item::new(text, scope, known, raw));
                    }
                    Owner::Foreign => {
                        let value = raw.value.as_ref().map(|value| &text[value.span.clone()]);
                        unit.foreign.push((key, value));
                    }
                    Owner::NearMiss(_) => near_misses.push(stranger(owner)),
                    Owner::Unknown(_) | Owner::WrongScope(..) => unit.strangers.push(stranger(owner)),
                }
            }
            // A near miss means something only beside a key that is surely ours.
            if unit.items.len() > ours_before {
                unit.strangers.extend(near_misses);
                let of_ours = |fault: &&Fault| {
                    ours.get(fault.entry) == Some(&true) || ours.get(fault.entry + 1) == Some(&true)
                };
                unit.faults.extend(clause.faults.iter().filter(of_ours));
            }
        }
        unit
    }

    /// Whether the statement has a setting of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.items.is_empty() || !self.strangers.is_empty()
    }

    /// The entries whose values are known.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let known = |item: &Item<'_>| match &item.reading {
            Reading::Known(parsed) => {
                Some(Entry { scope: item.scope.clone(), key: item.key, value: parsed.value.clone() })
            }
            Reading::Wrong(_) | Reading::Open | Reading::Missing => None,
        };
        self.items.iter().filter_map(known).collect()
    }

    /// What holds in a scope. Entries that are wrong count as not set.
    #[must_use]
    pub fn config(&self, scope: &Scope) -> Config {
        let (side, name) = match scope {
            Scope::Job => (Side::Job, None),
            Scope::Source => (Side::Source, None),
            Scope::Sink => (Side::Sink, None),
            Scope::Named(name) => (self.side_of(name), Some(name.as_str())),
        };
        Settings::resolve(&self.entries(), side, name).config()
    }

    /// Whether a name is written to or read from: the statement's own name and `INTO` are written.
    #[must_use]
    pub fn side_of(&self, name: &str) -> Side {
        let written = self.statement.name.as_ref().is_some_and(|own| own.text == name);
        if written { Side::Sink } else { Side::Source }
    }

    /// The scopes that have a setting of their own, the job's first.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<_> = self.items.iter().map(|item| item.scope.clone()).collect();
        scopes.push(Scope::Job);
        scopes.sort();
        scopes.dedup();
        scopes
    }

    /// The first entry of `key` in `scope`.
    #[must_use]
    pub fn item(&self, scope: &Scope, key: Key) -> Option<&Item<'a>> {
        self.items.iter().find(|item| item.scope == *scope && item.key == key)
    }

    /// Whether the strategy in force in `scope` is written and could be read.
    #[must_use]
    pub fn strategy_is_known(&self, scope: &Scope) -> bool {
        self.effective(scope, Key::BatchStrategy)
            .is_some_and(|item| matches!(item.reading, Reading::Known(_)))
    }

    /// The entry of `key` that holds in `scope`: its own, else the job's.
    #[must_use]
    pub fn effective(&self, scope: &Scope, key: Key) -> Option<&Item<'a>> {
        self.item(scope, key).or_else(|| self.item(&Scope::Job, key))
    }
}

impl<'a> Item<'a> {
    fn new(text: &'a str, scope: Scope, key: Key, raw: &'a RawEntry) -> Self {
        let Some(Text { span, .. }) = &raw.value else {
            let (value_span, reading) = (raw.key.span.clone(), Reading::Missing);
            return Self { scope, key, raw, value: "", value_span, reading };
        };
        let whole = &text[span.clone()];
        let (value, start, open) = match placeholder(whole) {
            Some(Placeholder::Default(default, offset)) => (default, span.start + offset, false),
            Some(Placeholder::Unknown) => (whole, span.start, true),
            None => (whole, span.start, false),
        };
        let reading = match key.def().parse(value) {
            _ if open => Reading::Open,
            Ok(parsed) => Reading::Known(parsed),
            Err(error) => Reading::Wrong(error),
        };
        Self { scope, key, raw, value, value_span: start..start + value.len(), reading }
    }
}
