//! A statement as the rules see it: every entry of ours with its scope, key and reading, and what
//! holds in each scope.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use velo_schema::keys::Key;
use velo_schema::value::{Parsed, Placeholder, ValueError, placeholder};
use velo_schema::{Config, Entry, Scope, Settings, Side};

use crate::ownership::{Names, Owner, is_foreign_clause, owner};
use crate::scan::{Clause, Fault, RawEntry, RawValue, Statement};

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
    /// Syntax mistakes at entries of ours, and of clauses that have one.
    pub faults: Vec<&'a Fault>,
    /// The first item of each key in each scope.
    first: HashMap<(Scope, Key), usize>,
    /// The items of each scope.
    by_scope: HashMap<Scope, Vec<usize>>,
    /// The names that are written to.
    sinks: HashSet<&'a str>,
}

/// An entry of ours.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its scope.
    pub scope: Scope,
    /// Its key.
    pub key: Key,
    /// Which of the statement's clauses it stands in.
    pub clause: usize,
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
            first: HashMap::new(),
            by_scope: HashMap::new(),
            sinks: statement
                .names
                .iter()
                .filter(|name| name.is_sink)
                .map(|name| name.text.as_str())
                .collect(),
        };
        let names = Names::new(&statement.names);
        for (number, clause) in statement.clauses.iter().enumerate() {
            unit.sort(number, clause, &names);
        }
        for (index, item) in unit.items.iter().enumerate() {
            unit.first.entry((item.scope.clone(), item.key)).or_insert(index);
            unit.by_scope.entry(item.scope.clone()).or_default().push(index);
        }
        unit
    }

    fn sort(&mut self, number: usize, clause: &'a Clause, names: &Names) {
        let text = self.text;
        let is_foreign = is_foreign_clause(text, clause);
        let before = (self.items.len(), self.strangers.len());
        let mut near_misses = Vec::new();
        let mut ours = vec![false; clause.entries.len()];
        for (index, raw) in clause.entries.iter().enumerate() {
            let key = &text[raw.key.span.clone()];
            let owner = if is_foreign { Owner::Foreign } else { owner(key, &raw.value, names) };
            let stranger = |owner| Stranger { key, span: raw.key.span.clone(), owner };
            match owner {
                Owner::Ours(scope, known) => {
                    ours[index] = true;
                    self.items.push(Item::new(text, scope, known, number, raw));
                }
                Owner::Foreign => {
                    let value = match &raw.value {
                        RawValue::Text(value) => Some(&text[value.span.clone()]),
                        _ => None,
                    };
                    self.foreign.push((key, value));
                }
                Owner::NearMiss(_) => near_misses.push(stranger(owner)),
                Owner::Unknown(_) | Owner::WrongScope(..) => {
                    ours[index] = true;
                    self.strangers.push(stranger(owner));
                }
            }
        }
        // A near miss means something only beside a key that is surely ours.
        if self.items.len() > before.0 {
            self.strangers.extend(near_misses);
        }
        if (self.items.len(), self.strangers.len()) != before {
            // A mistake between two entries is of ours if either is.
            let is_ours = |entry: usize| ours.get(entry) == Some(&true) || ours.get(entry + 1) == Some(&true);
            self.faults.extend(clause.faults.iter().filter(|fault| fault.entry.is_none_or(is_ours)));
        }
    }

    /// Whether the statement has a setting of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.items.is_empty() || !self.strangers.is_empty()
    }

    /// The entries whose values are known.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.items.iter().filter_map(Item::entry).collect()
    }

    /// What holds in a scope. Entries that are wrong count as not set.
    #[must_use]
    pub fn config(&self, scope: &Scope) -> Config {
        let chain = self.chain(scope);
        let indices = chain.iter().filter_map(|scope| self.by_scope.get(scope)).flatten();
        let entries: Vec<_> = indices.filter_map(|index| self.items[*index].entry()).collect();
        let (side, name) = match scope {
            Scope::Job => (Side::Job, None),
            Scope::Source => (Side::Source, None),
            Scope::Sink => (Side::Sink, None),
            Scope::Named(name) => (self.side_of(name), Some(name.as_str())),
        };
        Settings::resolve(&entries, side, name).config()
    }

    /// Whether a name is written to or read from.
    #[must_use]
    pub fn side_of(&self, name: &str) -> Side {
        if self.sinks.contains(name) { Side::Sink } else { Side::Source }
    }

    /// The scopes that a value may come from in `scope`: its own first, the job's last.
    fn chain(&self, scope: &Scope) -> Vec<Scope> {
        match scope {
            Scope::Job => vec![Scope::Job],
            Scope::Source | Scope::Sink => vec![scope.clone(), Scope::Job],
            Scope::Named(name) => {
                let side = if self.side_of(name) == Side::Sink { Scope::Sink } else { Scope::Source };
                vec![scope.clone(), side, Scope::Job]
            }
        }
    }

    /// The job, both sides, and every source and sink that has settings of its own.
    #[must_use]
    pub fn scopes(&self) -> Vec<Scope> {
        let mut named: Vec<_> =
            self.by_scope.keys().filter(|scope| matches!(scope, Scope::Named(_))).cloned().collect();
        named.sort();
        [Scope::Job, Scope::Source, Scope::Sink].into_iter().chain(named).collect()
    }

    /// The item whose value holds for `key` in `scope`.
    #[must_use]
    pub fn effective(&self, scope: &Scope, key: Key) -> Option<&Item<'a>> {
        let found = |scope: &Scope| self.first.get(&(scope.clone(), key)).map(|index| &self.items[*index]);
        self.chain(scope).iter().find_map(found)
    }

    /// The scopes in which this item's value holds.
    #[must_use]
    pub fn users(&self, item: &Item<'_>) -> Vec<Scope> {
        let uses = |scope: &Scope| {
            let effective = self.effective(scope, item.key);
            effective.is_some_and(|effective| std::ptr::eq(effective.raw, item.raw))
        };
        match &item.scope {
            Scope::Named(_) => vec![item.scope.clone()],
            _ => self.scopes().into_iter().filter(|scope| uses(scope)).collect(),
        }
    }

    /// The items that hold somewhere: the first of each key in each scope.
    pub fn effective_items(&self) -> impl Iterator<Item = &Item<'a>> {
        let is_first = |(index, item): &(usize, &Item<'a>)| {
            self.first.get(&(item.scope.clone(), item.key)) == Some(index)
        };
        self.items.iter().enumerate().filter(is_first).map(|(_, item)| item)
    }

    /// Whether the value in force of `key` in `scope` is set and can be read.
    #[must_use]
    pub fn is_known(&self, scope: &Scope, key: Key) -> bool {
        self.effective(scope, key).is_some_and(|item| matches!(item.reading, Reading::Known(_)))
    }

    /// Whether the value in force of `key` in `scope` is set, and is not one.
    #[must_use]
    pub fn is_unreadable(&self, scope: &Scope, key: Key) -> bool {
        self.effective(scope, key).is_some_and(|item| !matches!(item.reading, Reading::Known(_)))
    }

    /// Whether a template language decides which entries of a clause there are.
    #[must_use]
    pub fn is_templated(&self, clause: usize) -> bool {
        self.text[self.statement.clauses[clause].span.clone()].contains("{%")
    }
}

impl<'a> Item<'a> {
    fn new(text: &'a str, scope: Scope, key: Key, clause: usize, raw: &'a RawEntry) -> Self {
        let without_text = |reading| Self {
            scope: scope.clone(),
            key,
            clause,
            raw,
            value: "",
            value_span: raw.key.span.clone(),
            reading,
        };
        let span = match &raw.value {
            RawValue::Text(value) => value.span.clone(),
            RawValue::Unknown | RawValue::NotAnOption => return without_text(Reading::Open),
            RawValue::Missing => return without_text(Reading::Missing),
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
        Self { scope, key, clause, raw, value, value_span: start..start + value.len(), reading }
    }

    fn entry(&self) -> Option<Entry> {
        match &self.reading {
            Reading::Known(parsed) => {
                Some(Entry { scope: self.scope.clone(), key: self.key, value: parsed.value.clone() })
            }
            Reading::Wrong(_) | Reading::Open | Reading::Missing => None,
        }
    }

    /// The key with its scope, as written.
    #[must_use]
    pub fn qualified(&self) -> String {
        self.scope.qualify(self.key)
    }
}
