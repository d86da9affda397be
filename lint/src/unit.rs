//! A statement as the rules see it: every entry of ours with its scope, key and reading, and what
//! holds in each scope.

mod item;
mod stranger;

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use velo_schema::keys::{KEYS, Key};
use velo_schema::placeholder::placeholder;
use velo_schema::{Config, Scope, Settings, Side};

pub use self::item::{Item, Reading};
pub use self::stranger::Stranger;
use crate::files::FileError;
use crate::options::Options;
use crate::ownership::{Names, Owner, counts_alone, is_foreign_clause, owner};
use crate::scan::{Clause, Fault, FaultKind, RawEntry, RawValue, Statement};
use crate::span::Span;
use crate::topic_keys::TopicKeys;
use crate::variables::Expanded;

/// A statement with its entries sorted by whose they are.
#[derive(Debug)]
pub struct Unit<'a> {
    /// The whole text that the statement stands in.
    pub text: &'a str,
    /// The statement.
    pub statement: &'a Statement,
    /// Its clauses, and those of the configuration files that it names.
    pub clauses: Vec<Part<'a>>,
    /// Entries of ours, in order.
    pub items: Vec<Item<'a>>,
    /// Entries that are nearly ours.
    pub strangers: Vec<Stranger<'a>>,
    /// Everything else, in order: the settings of other systems.
    pub foreign: Vec<Foreign<'a>>,
    /// Syntax mistakes at entries of ours, and of clauses that have one.
    pub faults: Vec<Mistake<'a>>,
    /// Files that it names and that cannot be had.
    pub lost: Vec<LostFile>,
    /// What is asked for.
    pub options: &'a Options,
    /// The item in force of each key in each scope, and its place in `by_scope`.
    in_force: HashMap<(Scope, Key), (usize, usize)>,
    /// The item in force of each key, by scope.
    by_scope: HashMap<Scope, Vec<usize>>,
    /// The names that its keys may begin with.
    pub(crate) names: Names,
    /// The keys that name topics.
    pub(crate) topic_keys: TopicKeys,
    /// The names that are written to.
    sinks: HashSet<&'a str>,
    /// What holds in each of [`Unit::scopes`].
    configs: HashMap<Scope, Config>,
    /// The keys of all items, with their scopes.
    qualified: HashSet<String>,
    /// The keys that stand in a scope more than once.
    repeated: HashSet<(Scope, Key)>,
}

/// A clause and the text it stands in.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The file; see [`Span::file`].
    pub file: usize,
    /// The whole text that its spans count in.
    pub text: &'a str,
    /// The clause.
    pub clause: &'a Clause,
    /// Whether a template language decides which entries there are.
    pub is_templated: bool,
    /// The values whose placeholders are filled in.
    expansions: Option<&'a Expansions>,
}

/// Values whose placeholders are filled in, by file and first byte.
pub(crate) type Expansions = HashMap<(usize, usize), Expanded>;

impl<'a> Part<'a> {
    /// A clause of the `file`th text.
    #[must_use]
    pub fn new(file: usize, text: &'a str, clause: &'a Clause) -> Self {
        let body = &text.as_bytes()[clause.span.clone()];
        crate::steps::add(body.len());
        let is_templated = memchr::memmem::find(body, b"{%").is_some();
        Self { file, text, clause, is_templated, expansions: None }
    }

    /// The clause with placeholders filled in.
    pub(crate) fn filled_in(self, expansions: Option<&'a Expansions>) -> Self {
        Self { expansions, ..self }
    }

    /// The text at `start` with its placeholders filled in, if it has any and they are to be filled in.
    fn expanded(&self, start: usize) -> Option<&'a Expanded> {
        self.expansions?.get(&(self.file, start))
    }
}

/// A syntax mistake and the file it stands in.
#[derive(Debug, Clone)]
pub struct Mistake<'a> {
    /// The file; see [`Span::file`].
    pub file: usize,
    /// The mistake.
    pub fault: &'a Fault,
}

/// A file that the statement names and that cannot be had.
#[derive(Debug, Clone)]
pub struct LostFile {
    /// Where its path stands.
    pub span: Span,
    /// The path as written.
    pub path: String,
    /// Why.
    pub error: FileError,
}

/// A setting of another system.
#[derive(Debug, Clone)]
pub struct Foreign<'a> {
    /// Which clause it stands in.
    pub clause: usize,
    /// The scope of the file it stands in; of a clause the job's.
    pub within: Scope,
    /// The key as written.
    pub key: &'a str,
    /// Where the key stands.
    pub span: Span,
    /// Its value, if it is a text.
    pub value: Option<&'a str>,
    /// The placeholders in it that are not filled in.
    pub open: Vec<&'a str>,
    /// Whether the whole clause belongs to another system.
    pub of_foreign_clause: bool,
}

impl<'a> Foreign<'a> {
    fn new(part: Part<'a>, clause: usize, within: Scope, raw: &'a RawEntry) -> Self {
        let span = Span { file: part.file, range: raw.key.span.clone() };
        let key = raw.name(part.text);
        let text = match &raw.value {
            RawValue::Text(value) => Some((&part.text[value.span.clone()], part.expanded(value.span.start))),
            _ => None,
        };
        let (value, open) = match text {
            None => (None, Vec::new()),
            Some((_, Some(expanded))) => {
                (Some(expanded.text.as_str()), expanded.open.iter().map(String::as_str).collect())
            }
            Some((text, None)) => (Some(text), placeholder(text).map(|_| text).into_iter().collect()),
        };
        Self { clause, within, key, span, value, open, of_foreign_clause: false }
    }
}

impl<'a> Unit<'a> {
    /// Sorts the entries of a statement.
    #[must_use]
    pub fn new(text: &'a str, statement: &'a Statement) -> Self {
        Self::with_files(text, statement, &[], Vec::new(), Options::DEFAULT, None)
    }

    /// Sorts the entries of a statement and of the files it names: each with the scope whose
    /// settings it holds. What the statement says itself goes before what its files say.
    #[must_use]
    pub(crate) fn with_files(
        text: &'a str,
        statement: &'a Statement,
        files: &[(Scope, Part<'a>)],
        lost: Vec<LostFile>,
        options: &'a Options,
        expansions: Option<&'a Expansions>,
    ) -> Self {
        let sinks = statement.names.iter().filter(|name| name.is_sink);
        let mut unit = Self {
            text,
            statement,
            clauses: Vec::new(),
            items: Vec::new(),
            strangers: Vec::new(),
            foreign: Vec::new(),
            faults: Vec::new(),
            lost,
            options,
            names: Names::new(&statement.names),
            topic_keys: TopicKeys::default(),
            in_force: HashMap::default(),
            by_scope: HashMap::default(),
            sinks: sinks.map(|name| name.text.as_str()).collect(),
            configs: HashMap::default(),
            qualified: HashSet::default(),
            repeated: HashSet::default(),
        };
        for clause in &statement.clauses {
            unit.sort(&Scope::Job, Part::new(0, text, clause).filled_in(expansions));
        }
        for (scope, part) in files {
            unit.sort(scope, part.filled_in(expansions));
        }
        let keys = unit.foreign.iter().map(|foreign| (foreign.key, &foreign.within));
        unit.topic_keys = TopicKeys::of(keys, &unit.names);
        unit.add_empty_clauses();
        unit.index();
        unit
    }

    /// The unit without the entries and mistakes at places that `keep` refuses.
    #[must_use]
    pub(crate) fn only(&self, keep: impl Fn(&Span) -> bool) -> Self {
        let at = |mistake: &Mistake<'_>| Span { file: mistake.file, range: mistake.fault.span.clone() };
        let mut unit = Self {
            text: self.text,
            statement: self.statement,
            clauses: self.clauses.clone(),
            items: self.items.iter().filter(|item| keep(&item.key_span)).cloned().collect(),
            strangers: self.strangers.iter().filter(|stranger| keep(&stranger.span)).cloned().collect(),
            foreign: self.foreign.clone(),
            names: self.names.clone(),
            topic_keys: self.topic_keys.clone(),
            faults: self.faults.iter().filter(|mistake| keep(&at(mistake))).cloned().collect(),
            lost: self.lost.clone(),
            options: self.options,
            in_force: HashMap::default(),
            by_scope: HashMap::default(),
            sinks: self.sinks.clone(),
            configs: HashMap::default(),
            qualified: HashSet::default(),
            repeated: HashSet::default(),
        };
        unit.index();
        unit
    }

    /// Finds out what is in force. Of two entries of one key in one scope the later one is, unless it
    /// stands in a file: what the statement says itself goes first.
    fn index(&mut self) {
        for (index, item) in self.items.iter().enumerate() {
            let of_scope = self.by_scope.entry(item.scope.clone()).or_default();
            match self.in_force.entry((item.scope.clone(), item.key)) {
                Entry::Vacant(vacant) => {
                    vacant.insert((index, of_scope.len()));
                    of_scope.push(index);
                    self.qualified.insert(item.qualified());
                }
                Entry::Occupied(mut occupied) => {
                    self.repeated.insert(occupied.key().clone());
                    let (earlier, place) = occupied.get_mut();
                    let file = |index: usize| self.clauses[self.items[index].clause].file;
                    if file(*earlier) == file(index) {
                        of_scope[*place] = index;
                        *earlier = index;
                    }
                }
            }
        }
        if !self.items.is_empty() {
            let resolved = |scope: Scope| (scope.clone(), self.resolve(&scope));
            self.configs = self.scopes().into_iter().map(resolved).collect();
        }
    }

    /// Sorts a clause whose unprefixed keys are of `within`.
    fn sort(&mut self, within: &Scope, part: Part<'a>) {
        let Part { file, text, clause, .. } = part;
        let number = self.clauses.len();
        self.clauses.push(part);
        crate::steps::add(clause.entries.len() + 1);
        let is_foreign = is_foreign_clause(text, clause);
        let before = (self.items.len(), self.strangers.len());
        let mut near_misses = Vec::new();
        let mut ours = vec![false; clause.entries.len()];
        for (index, raw) in clause.entries.iter().enumerate() {
            let key = raw.name(text);
            let owner = if is_foreign { Owner::Foreign } else { owner(key, &raw.value, &self.names) };
            let foreign = || Foreign::new(part, number, within.clone(), raw);
            let stranger = |owner| {
                let nested = key.len().saturating_sub(raw.key.span.len());
                Stranger { key, span: Span { file, range: raw.key.span.clone() }, nested, owner }
            };
            match owner {
                Owner::Ours(scope, known) => {
                    ours[index] = true;
                    let scope = if scope == Scope::Job { within.clone() } else { scope };
                    self.items.push(Item::new(part, scope, known, number, raw));
                }
                Owner::Foreign => {
                    self.foreign.push(Foreign { of_foreign_clause: is_foreign, ..foreign() });
                }
                Owner::NearMiss(ref near) if !counts_alone(key, near, foreign().value) => {
                    near_misses.push((stranger(owner), foreign()));
                }
                Owner::NearMiss(_) | Owner::Unknown(_) | Owner::WrongScope(..) => {
                    ours[index] = true;
                    self.strangers.push(stranger(owner));
                }
            }
        }
        // Most near misses mean something only beside a key that is surely ours.
        let is_declared = file > 0
            || part.clause.entries.iter().any(|entry| crate::yaml::names_our_schema(part.text, entry));
        let counts = is_declared || self.items.len() > before.0;
        for (stranger, foreign) in near_misses {
            if counts {
                self.strangers.push(stranger);
            } else {
                self.foreign.push(foreign);
            }
        }
        let has_ours = (self.items.len(), self.strangers.len()) != before;
        // A mistake between two entries is of ours if either is.
        let is_ours = |entry: usize| ours.get(entry) == Some(&true) || ours.get(entry + 1) == Some(&true);
        let counts = |fault: &&Fault| match fault.kind {
            FaultKind::Empty => false,
            FaultKind::InvalidYaml => true,
            _ => has_ours && fault.entry.is_none_or(is_ours),
        };
        self.faults.extend(clause.faults.iter().filter(counts).map(|fault| Mistake { file, fault }));
    }

    /// Empty clauses are nobody's by themselves: they count as ours behind the query of a stream,
    /// and beside a clause of ours.
    fn add_empty_clauses(&mut self) {
        let query = self.statement.query.as_ref().filter(|_| self.statement.creates_stream);
        let has_items = !self.items.is_empty();
        for Part { file, clause, .. } in &self.clauses {
            let behind_query = query.is_some_and(|query| query.start < clause.span.start);
            let empty = clause.faults.iter().filter(|fault| fault.kind == FaultKind::Empty);
            let counted = empty.filter(|_| behind_query || has_items);
            self.faults.extend(counted.map(|fault| Mistake { file: *file, fault }));
        }
    }

    /// True if other places share these bytes by an alias.
    #[must_use]
    pub fn is_shared(&self, span: &Span) -> bool {
        self.clauses.iter().filter(|part| part.file == span.file).any(|Part { clause, .. }| {
            let next = clause.shared.partition_point(|shared| shared.end <= span.range.start);
            clause.shared.get(next).is_some_and(|shared| shared.start < span.range.end)
        })
    }

    /// True if all settings of the statement are known: every file that it names was read to its end,
    /// and no template or placeholder adds entries.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_broken = |mistake: &Mistake<'_>| mistake.fault.kind == FaultKind::InvalidYaml;
        let is_open = |part: &Part<'_>| part.clause.is_open;
        self.lost.is_empty() && !self.faults.iter().any(is_broken) && !self.clauses.iter().any(is_open)
    }

    /// Whether the statement has a setting of ours, or should have one.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        // A file that cannot be had may be all that a clause names.
        let has_lost = self.lost.iter().any(|lost| lost.error != FileError::NotLooked);
        has_lost || !(self.items.is_empty() && self.strangers.is_empty() && self.faults.is_empty())
    }

    /// The entries that hold and whose values are known.
    #[must_use]
    pub fn entries(&self) -> Vec<velo_schema::Entry> {
        self.effective_items().filter_map(Item::entry).collect()
    }

    /// What holds in a scope. Entries that are wrong count as not set.
    #[must_use]
    pub fn config(&self, scope: &Scope) -> Config {
        self.configs.get(scope).cloned().unwrap_or_else(|| self.resolve(scope))
    }

    /// Every key with its value and its origin, for `side` and there for the source or sink called `name`.
    #[must_use]
    pub fn settings(&self, side: Side, name: Option<&str>) -> Settings {
        Settings::resolve(&self.entries(), side, name)
    }

    fn resolve(&self, scope: &Scope) -> Config {
        let chain = self.chain(scope);
        crate::steps::add(chain.iter().filter_map(|scope| self.by_scope.get(scope)).map(Vec::len).sum());
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

    /// The scope that the beginning of a key names, and the length of that beginning with its dot. The key may be written
    /// in part.
    #[must_use]
    pub fn scope_of(&self, written: &str) -> (Scope, usize) {
        let is_begun =
            |rest: &str| KEYS.iter().any(|def| def.name.starts_with(rest) || rest.starts_with(def.name));
        let (scope, rest) = self.names.split(written, is_begun);
        (scope, written.len() - rest.len())
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
        crate::steps::add(self.by_scope.len());
        let mut named: Vec<_> =
            self.by_scope.keys().filter(|scope| matches!(scope, Scope::Named(_))).cloned().collect();
        named.sort();
        [Scope::Job, Scope::Source, Scope::Sink].into_iter().chain(named).collect()
    }

    /// The item whose value holds for `key` in `scope`.
    #[must_use]
    pub fn effective(&self, scope: &Scope, key: Key) -> Option<&Item<'a>> {
        self.chain(scope).iter().find_map(|scope| self.set_in(scope, key))
    }

    /// Whether an item's key stands in its scope more than once.
    #[must_use]
    pub fn is_repeated(&self, item: &Item<'_>) -> bool {
        self.repeated.contains(&(item.scope.clone(), item.key))
    }

    /// The item that sets `key` in `scope` itself.
    #[must_use]
    pub fn set_in(&self, scope: &Scope, key: Key) -> Option<&Item<'a>> {
        self.in_force.get(&(scope.clone(), key)).map(|(index, _)| &self.items[*index])
    }

    /// The item whose value would hold in an item's scope if that were not there.
    #[must_use]
    pub fn inherited(&self, item: &Item<'_>) -> Option<&Item<'a>> {
        self.chain(&item.scope)[1..].iter().find_map(|scope| self.set_in(scope, item.key))
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

    /// The items in force somewhere: one of each key in each scope.
    pub fn effective_items(&self) -> impl Iterator<Item = &Item<'a>> {
        let is_in_force = |(index, item): &(usize, &Item<'a>)| {
            let in_force = self.in_force.get(&(item.scope.clone(), item.key));
            in_force.is_some_and(|(in_force, _)| in_force == index)
        };
        self.items.iter().enumerate().filter(is_in_force).map(|(_, item)| item)
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
}
