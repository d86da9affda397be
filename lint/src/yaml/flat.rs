//! The mappings of a document in, its settings as dotted keys out; merge keys stand for what they name.

use rustc_hash::FxHashSet as HashSet;
use velo_schema::neighbours::FOREIGN_KEYS;

use super::node::{Content, Name, Pair};
use crate::ownership::{Names, Owner, owner};
use crate::scan::{RawEntry, RawValue, Text};

/// More entries than any configuration has; what aliases of aliases could grow to has an end here.
const MOST_ENTRIES: usize = 10_000;

/// A document's settings as dotted keys.
#[derive(Default)]
pub(super) struct Flat {
    /// Entries that are written out, and those that merge keys bring in.
    entries: Vec<RawEntry>,
    merged: Vec<RawEntry>,
    visits: usize,
    /// The keys of the mappings that are being read.
    outer: Vec<Text>,
    /// True if there may be more entries than are known.
    pub is_open: bool,
}

impl Flat {
    /// Adds the entries of a mapping at `path`, which ends with a dot unless it is empty.
    pub(super) fn mapping(&mut self, pairs: &[Pair], path: &str, is_merged: bool) {
        let mut names = HashSet::default();
        for pair in pairs.iter().filter(|pair| !pair.is_merge()) {
            names.extend(pair.key.as_ref().map(|key| key.name.as_str()));
            self.pair(pair, path, is_merged);
        }
        self.merges(pairs, path, &mut names);
    }

    /// Adds what the merge keys among `pairs` bring in: of two mappings the first one goes first, and
    /// a key that is in `names` is not taken again, whatever is below it.
    fn merges<'n>(&mut self, pairs: &'n [Pair], path: &str, names: &mut HashSet<&'n str>) {
        for pair in pairs.iter().filter(|pair| pair.is_merge()) {
            match &pair.value.content {
                Content::Sequence(items, _) => {
                    for item in items {
                        self.merge(&item.content, path, names);
                    }
                }
                content => self.merge(content, path, names),
            }
        }
    }

    fn merge<'n>(&mut self, content: &'n Content, path: &str, names: &mut HashSet<&'n str>) {
        self.visits += 1;
        let Content::Mapping(pairs, _) = content else {
            self.is_open |= matches!(content, Content::Elsewhere | Content::Value(RawValue::Unknown));
            return;
        };
        if self.is_full() {
            return;
        }
        for pair in pairs.iter().filter(|pair| !pair.is_merge()) {
            if pair.key.as_ref().is_none_or(|key| names.insert(&key.name)) {
                self.pair(pair, path, true);
            }
        }
        self.merges(pairs, path, names);
    }

    /// True if nothing more is read: what aliases of aliases could grow to has an end here.
    fn is_full(&mut self) -> bool {
        let is_full =
            self.entries.len() + self.merged.len() >= MOST_ENTRIES || self.visits >= 5 * MOST_ENTRIES;
        self.is_open |= is_full;
        is_full
    }

    fn pair(&mut self, pair: &Pair, path: &str, is_merged: bool) {
        self.visits += 1;
        crate::steps::add(1);
        let Some(Name { name, text }) = &pair.key else { return };
        if self.is_full() {
            return;
        }
        let path = format!("{path}{name}");
        let value = match &pair.value.content {
            Content::Mapping(pairs, span) => {
                let count = |flat: &Self| flat.entries.len() + flat.merged.len();
                let before = count(self);
                self.outer.push(text.clone());
                self.mapping(pairs, &format!("{path}."), is_merged);
                self.outer.pop();
                // An empty mapping within a mapping of others is something that they have.
                let is_theirs = pairs.is_empty() && path.contains('.');
                if !is_theirs && !stands_for_value(&path, count(self) == before) {
                    return;
                }
                // `{}` is no placeholder.
                if pairs.is_empty() {
                    RawValue::Missing
                } else {
                    RawValue::Text(Text { span: span.clone(), quoted: false })
                }
            }
            Content::Value(value) => value.clone(),
            Content::Sequence(_, span) => RawValue::Text(Text { span: span.clone(), quoted: false }),
            Content::Elsewhere => RawValue::Unknown,
        };
        let entry = RawEntry { key: text.clone(), path: Some(path), outer: self.outer.clone(), value };
        if is_merged { self.merged.push(entry) } else { self.entries.push(entry) }
    }

    /// All entries: what is written out goes before what is merged, in whatever form it is written.
    pub(super) fn in_order(&mut self) -> Vec<RawEntry> {
        let mut entries = std::mem::take(&mut self.entries);
        let mut written: HashSet<_> = entries.iter().filter_map(|entry| entry.path.clone()).collect();
        let is_new = |entry: &RawEntry| entry.path.clone().is_some_and(|path| written.insert(path));
        entries.extend(std::mem::take(&mut self.merged).into_iter().filter(is_new));
        entries
    }
}

/// Whether a mapping is read as the (wrong) value of its key: one that we have, or one that nothing in
/// it would be reported for.
fn stands_for_value(path: &str, is_empty: bool) -> bool {
    // `retry: {backoff: {max: {ms: …}}}` is a key of others, however near its beginning is to one of ours.
    let leads_on = |key: &&str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    if FOREIGN_KEYS.iter().any(leads_on) {
        return false;
    }
    match owner(path, &RawValue::Unknown, &Names::default()) {
        Owner::Ours(..) | Owner::WrongScope(..) | Owner::NearMiss(_) => true,
        Owner::Unknown(_) => is_empty,
        Owner::Foreign => false,
    }
}
