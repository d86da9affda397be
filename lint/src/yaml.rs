//! YAML or JSON text in; its settings as a clause of dotted keys out, if it holds settings of ours.
//!
//! Nested mappings become dotted keys (`batch: {size: 5}` is `batch.size`), each value keeps its
//! bytes. Aliases and merge keys stand for what they name. Whether a document is ours at all is
//! decided here: most YAML files that say `batch`, `source` or `timeout` belong to somebody else.

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use velo_schema::keys::{KEYS, Key};
use velo_schema::neighbours::{COMMON_BATCH_KEYS, FOREIGN_CLAUSE, FOREIGN_KEYS, FOREIGN_ROOT, SCHEMA_KEY};
use velo_schema::strategy::Words;
use velo_schema::value::{Placeholder, placeholder};
use velo_schema::{FailureStrategy, StrategyKind};

use crate::ownership::{Names, Owner, owner};
use crate::scan::{Clause, Fault, FaultKind, Form, RawEntry, RawValue, Statement, Text};
use crate::template;

/// More entries than any configuration has; what aliases of aliases could grow to has an end here.
const MOST_ENTRIES: usize = 10_000;

/// The documents of `range` that hold settings of ours, each as a statement with one clause.
#[must_use]
pub fn documents(text: &str, range: Range<usize>) -> Vec<Statement> {
    // Nothing of ours can stand where none of these words does.
    let has = |word: &str| memchr::memmem::find(text[range.clone()].as_bytes(), word.as_bytes()).is_some();
    let names_a_schema = || has(SCHEMA_KEY.0) && has(SCHEMA_KEY.1);
    if has("batch") || has("failure_strategy") || names_a_schema() {
        read(text, range, false)
    } else {
        Vec::new()
    }
}

/// The documents of a file that a statement of ours names: every word of ours in it counts.
#[must_use]
pub fn declared(text: &str) -> Vec<Statement> {
    read(text, 0..text.len(), true)
}

fn read(text: &str, range: Range<usize>, is_declared: bool) -> Vec<Statement> {
    let body = &text[range.clone()];
    let (found, is_whole) = parse(text, range.start, body, is_declared);
    // The syntax of a template language is not YAML's, but what is between its tags may be.
    if is_whole || !template::has_tag(body) {
        return found;
    }
    let template::Plain { text: plain, is_open } = template::without_tags(body);
    let (mut found, _) = parse(text, range.start, &plain, is_declared);
    found.retain(|statement| statement.clauses.iter().all(|clause| clause.faults.is_empty()));
    for clause in found.iter_mut().flat_map(|statement| &mut statement.clauses) {
        clause.is_open |= is_open;
    }
    found
}

/// Reads `body`, which stands at `base` of `text`; true if it could be read to its end.
fn parse(text: &str, base: usize, body: &str, is_declared: bool) -> (Vec<Statement>, bool) {
    crate::steps::add(body.len());
    let mut reader = Reader { text, base, is_declared, ..Reader::default() };
    let options = granit_parser::options! { emit_unresolved_aliases: true, emit_comments: false };
    let mut is_whole = true;
    for event in Parser::new_from_str_with_options(body, options) {
        match event {
            Ok((Event::UnresolvedAlias(name), span)) => {
                let at = span.start.byte_offset().unwrap_or(body.len()).min(body.len());
                let reason = format!("no anchor is called '{name}'");
                reader.break_off(base + body.floor_char_boundary(at), reason);
                is_whole = false;
                break;
            }
            Ok((event, span)) => reader.event(event, &span),
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(body.len()).min(body.len());
                reader.break_off(base + body.floor_char_boundary(at), error.info());
                is_whole = false;
                break;
            }
        }
    }
    reader.end_document(base + body.len());
    (reader.found, is_whole)
}

/// The comments of `range`, in order.
#[must_use]
pub fn comments(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let body = &text[range.clone()];
    let (found, is_whole) = parse_comments(body, range.start);
    if is_whole || !template::has_tag(body) {
        return found;
    }
    parse_comments(&template::without_tags(body).text, range.start).0
}

/// The comments of `body`, which stands at `base`, and whether it could be read to its end.
fn parse_comments(body: &str, base: usize) -> (Vec<Range<usize>>, bool) {
    let (mut found, mut is_whole) = (Vec::new(), true);
    for event in Parser::new_from_str(body) {
        match event {
            Ok((Event::Comment(..), span)) => {
                let bytes = span.byte_range().unwrap_or_default();
                found.push(base + bytes.start..base + bytes.end);
            }
            Ok(_) => {}
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    found.sort_by_key(|comment| comment.start);
    (found, is_whole)
}

/// A node of a document.
struct Node {
    content: Content,
    /// How many collections are within each other below it, through aliases, too.
    depth: usize,
}

enum Content {
    Value(RawValue),
    Sequence(Vec<Rc<Node>>, Range<usize>),
    Mapping(Vec<Pair>, Range<usize>),
    /// What it stands for is not known: an alias of nothing, or too much.
    Elsewhere,
}

impl Node {
    fn leaf(content: Content) -> Rc<Self> {
        Rc::new(Self { content, depth: 0 })
    }

    fn collection(content: Content) -> Rc<Self> {
        let depth = match &content {
            Content::Sequence(items, _) => items.iter().map(|item| item.depth).max(),
            Content::Mapping(pairs, _) => pairs.iter().map(|pair| pair.value.depth).max(),
            Content::Value(_) | Content::Elsewhere => None,
        };
        let depth = depth.map_or(1, |depth| depth + 1);
        if depth > DEEPEST { Self::leaf(Content::Elsewhere) } else { Rc::new(Self { content, depth }) }
    }
}

/// A key, unless it is no scalar, and what belongs to it.
struct Pair {
    key: Option<Name>,
    value: Rc<Node>,
}

/// A key's name and its bytes.
#[derive(Clone)]
struct Name {
    name: String,
    text: Text,
}

impl Pair {
    /// True for `<<`, which merges other mappings into its own.
    fn is_merge(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.name == "<<" && !key.text.quoted)
    }
}

/// A collection that is being read.
struct Frame {
    kind: FrameKind,
    anchor: usize,
    start: usize,
}

enum FrameKind {
    Sequence(Vec<Rc<Node>>),
    /// The pairs, and the key whose value comes next.
    Mapping(Vec<Pair>, Option<Pending>),
}

/// A key whose value comes next, unless it is no scalar.
struct Pending(Option<Name>);

/// Collections with more levels below them hold no setting.
const DEEPEST: usize = 64;

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    base: usize,
    is_declared: bool,
    start: Option<usize>,
    frames: Vec<Frame>,
    root: Option<Rc<Node>>,
    /// What each anchor stands for, and its bytes.
    anchors: HashMap<usize, (Rc<Node>, Range<usize>)>,
    /// The bytes of anchors that an alias refers to.
    shared: Vec<Range<usize>>,
    broken: Option<(usize, String)>,
    found: Vec<Statement>,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: &Span) {
        let range = self.range(span);
        match event {
            Event::DocumentStart(..) => {
                self.end_document(range.start);
                self.start = Some(range.end);
            }
            Event::DocumentEnd => self.end_document(range.end),
            Event::Scalar(value, style, anchor, tag) => {
                let is_plain = tag.as_deref().is_none_or(granit_parser::Tag::is_yaml_core_schema);
                self.scalar(&value, style, anchor, range, is_plain);
            }
            Event::Alias(id) => self.alias(id),
            Event::MappingStart(_, anchor, _) => {
                let kind = FrameKind::Mapping(Vec::new(), None);
                self.frames.push(Frame { kind, anchor, start: range.start });
            }
            Event::SequenceStart(_, anchor, _) => {
                let kind = FrameKind::Sequence(Vec::new());
                self.frames.push(Frame { kind, anchor, start: range.start });
            }
            Event::MappingEnd | Event::SequenceEnd => self.end_collection(range.end),
            _ => {}
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let bytes = span.byte_range().unwrap_or_default();
        self.base + bytes.start..self.base + bytes.end
    }

    fn scalar(
        &mut self,
        value: &str,
        style: ScalarStyle,
        anchor: usize,
        range: Range<usize>,
        is_plain: bool,
    ) {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        let inner = if quoted && range.len() >= 2 { range.start + 1..range.end - 1 } else { range.clone() };
        // What is written differently from what it means (escapes, folded lines) keeps no bytes.
        let is_literal = !is_block && self.text.get(inner.clone()) == Some(value);
        let text = Text { span: inner, quoted };
        let raw = match value {
            "" | "~" | "null" | "Null" | "NULL" if !quoted => RawValue::Missing,
            _ if is_literal && is_plain => RawValue::Text(text.clone()),
            _ => RawValue::Unknown,
        };
        let node = Node::leaf(Content::Value(raw));
        if anchor > 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), range));
        }
        self.add(node, Some(Name { name: value.to_owned(), text }));
    }

    /// Adds a node to the collection that is being read; `name` is what it is called as a key.
    fn add(&mut self, node: Rc<Node>, name: Option<Name>) {
        match self.frames.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(node),
            Some(FrameKind::Sequence(items)) => items.push(node),
            Some(FrameKind::Mapping(pairs, key)) => match key.take() {
                None => *key = Some(Pending(name)),
                Some(Pending(key)) => pairs.push(Pair { key, value: node }),
            },
        }
    }

    fn end_collection(&mut self, end: usize) {
        let Some(Frame { kind, anchor, start }) = self.frames.pop() else { return };
        let end = start + self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        let node = Node::collection(match kind {
            FrameKind::Sequence(items) => Content::Sequence(items, start..end),
            FrameKind::Mapping(pairs, _) => Content::Mapping(pairs, start..end),
        });
        if anchor > 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), start..end));
        }
        self.add(node, None);
    }

    fn alias(&mut self, id: usize) {
        let Some((node, span)) = self.anchors.get(&id) else {
            return self.add(Node::leaf(Content::Elsewhere), None);
        };
        self.shared.push(span.clone());
        let name = match &node.content {
            Content::Value(RawValue::Text(text)) => {
                Some(Name { name: self.text[text.span.clone()].to_owned(), text: text.clone() })
            }
            _ => None,
        };
        let node = Rc::clone(node);
        self.add(node, name);
    }

    /// Ends everything that is being read at a place where the text is no YAML.
    fn break_off(&mut self, at: usize, reason: String) {
        self.broken = Some((at, reason));
        // The key that was being read tells whose file it is, too.
        if let Some(FrameKind::Mapping(_, Some(_))) = self.frames.last().map(|frame| &frame.kind) {
            self.add(Node::leaf(Content::Elsewhere), None);
        }
        while !self.frames.is_empty() {
            self.end_collection(at);
        }
    }

    fn end_document(&mut self, end: usize) {
        self.frames.clear();
        self.anchors.clear();
        let shared = merged_ranges(std::mem::take(&mut self.shared));
        let root = self.root.take();
        let mut flat = Flat::default();
        if let Some(Content::Mapping(pairs, _)) = root.as_ref().map(|root| &root.content) {
            flat.mapping(pairs, "", false);
        }
        let (entries, is_open) = (flat.in_order(), flat.is_open);
        let start = self.start.take().unwrap_or(self.base);
        let is_broken = self.broken.is_some();
        let is_ours = if self.is_declared {
            is_broken || entries.iter().any(|entry| is_word_of_ours(self.text, entry))
        } else {
            !entries.is_empty() && is_ours(self.text, &entries)
        };
        if !is_ours {
            return;
        }
        let fault = |(at, reason): (usize, String)| Fault {
            reason: Some(reason),
            ..Fault::new(FaultKind::InvalidYaml, at..at, None)
        };
        let faults = self.broken.take().map(fault).into_iter().collect();
        let span = start..end.max(start);
        let clause = Clause { is_open, shared, ..Clause::new(Form::Yaml, span.clone(), entries, faults) };
        self.found.push(Statement { span, clauses: vec![clause], ..Statement::default() });
    }
}

/// Ranges in order, those that touch as one.
fn merged_ranges(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// A document's settings as dotted keys.
#[derive(Default)]
struct Flat {
    /// Entries that are written out, and those that merge keys bring in.
    entries: Vec<RawEntry>,
    merged: Vec<RawEntry>,
    visits: usize,
    /// True if there may be more entries than are known.
    is_open: bool,
}

impl Flat {
    /// Adds the entries of a mapping at `path`, which ends with a dot unless it is empty.
    fn mapping(&mut self, pairs: &[Pair], path: &str, is_merged: bool) {
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
                self.mapping(pairs, &format!("{path}."), is_merged);
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
        let entry = RawEntry { key: text.clone(), path: Some(path), value };
        if is_merged { self.merged.push(entry) } else { self.entries.push(entry) }
    }

    /// All entries: what is written out goes before what is merged, in whatever form it is written.
    fn in_order(&mut self) -> Vec<RawEntry> {
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

/// Whether an entry is ours, or nearly, by its name alone.
fn is_word_of_ours(text: &str, entry: &RawEntry) -> bool {
    let owner = owner(entry.name(text), &entry.value, &Names::default());
    matches!(owner, Owner::Ours(..) | Owner::Unknown(Some(_)) | Owner::WrongScope(..))
}

/// Whether the entries of a document are settings of ours.
fn is_ours(text: &str, entries: &[RawEntry]) -> bool {
    let names = Names::default();
    let mut batch_keys = false;
    let mut surely = false;
    let (mut strangers, mut of_others, mut company) = (false, false, false);
    // The mappings that hold words of ours, and those that say which type of thing they describe.
    let (mut worded, mut typed) = (HashSet::default(), HashSet::default());
    for entry in entries {
        let path = entry.name(text);
        let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
        let is_side = |path: &str| matches!(path, "source" | "sink");
        // A file of nothing but our words is ours, whatever their values; beside others they may be theirs.
        let first = path.split('.').next().unwrap_or_default();
        company |= path != SCHEMA_KEY.0
            && !is_side(first)
            && !KEYS.iter().any(|def| def.name.split('.').next() == Some(first));
        let at_side = parent.is_empty() || is_side(parent);
        if (is_side(path) && entry.value != RawValue::Missing)
            || (at_side && last != "type" && FOREIGN_CLAUSE.contains(&last))
            || FOREIGN_ROOT.contains(&path)
            || path.starts_with("spring.")
        {
            return false;
        }
        if last == "type" {
            typed.insert(parent);
        }
        surely |= names_our_schema(text, entry);
        match owner(path, &entry.value, &names) {
            Owner::Ours(_, key) => {
                let bare = path.len() - key.name().len();
                worded.extend([parent, path[..bare].trim_end_matches('.')]);
                batch_keys |= key.name().starts_with("batch.");
                surely |= match key {
                    Key::FailureStrategy => is_near::<FailureStrategy>(text, &entry.value),
                    Key::BatchStrategy => is_near::<StrategyKind>(text, &entry.value),
                    _ => false,
                };
                of_others |= !could_be_meant(text, key, &entry.value);
                surely |= key.name().starts_with("batch.") && !COMMON_BATCH_KEYS.contains(&key);
            }
            // A slip of the pen is ours; another word is somebody else's.
            Owner::Unknown(near) => {
                strangers |= near.is_none_or(|near| strsim::osa_distance(&near, path) > 2);
            }
            Owner::WrongScope(..) | Owner::NearMiss(_) | Owner::Foreign => {}
        }
    }
    let is_typed = worded.iter().any(|mapping| typed.contains(mapping));
    let describes_others = typed.contains("source") || typed.contains("sink");
    let could_be_others = strangers || describes_others || (of_others && company);
    !is_typed && (surely || (batch_keys && !could_be_others))
}

/// True if an entry declares its document to be ours by the schema that it names.
pub(crate) fn names_our_schema(text: &str, entry: &RawEntry) -> bool {
    let names_ours =
        matches!(&entry.value, RawValue::Text(name) if text[name.span.clone()].contains(SCHEMA_KEY.1));
    names_ours && entry.name(text) == SCHEMA_KEY.0
}

/// Whether a value is one of our words, or nearly one: the JSON Schema draws the same line.
fn is_near<W: Words>(text: &str, value: &RawValue) -> bool {
    let RawValue::Text(value) = value else { return false };
    let word = &text[value.span.clone()];
    // A list or a mapping is no word, however near it is to one.
    if word.starts_with(['[', '{']) {
        return false;
    }
    W::from_text(word).is_some() || W::ALL.iter().any(|known| strsim::osa_distance(word, known.word()) <= 2)
}

/// Whether a value is one of its key in our spelling, or not known: words that everybody uses hold all
/// sorts of things elsewhere.
fn could_be_meant(text: &str, key: Key, value: &RawValue) -> bool {
    let value = match value {
        RawValue::Text(value) => value,
        RawValue::Missing | RawValue::NotAnOption => return false,
        RawValue::Unknown => return true,
    };
    let written = &text[value.span.clone()];
    let is_value = |text: &str| key.def().parse(text).is_ok_and(|parsed| parsed.canonical.is_none());
    match placeholder(written) {
        Some(Placeholder::Unknown) => true,
        Some(Placeholder::Default(default, _)) => is_value(default),
        None if value.quoted => is_value(written),
        None => is_value(&resolved(written)),
    }
}

/// A plain scalar as YAML's core schema reads it: `0x10`, `+16` and `1.6e1` are the number 16, `True` is true.
#[must_use]
pub(crate) fn resolved(plain: &str) -> Cow<'_, str> {
    match plain {
        "True" | "TRUE" => return Cow::Borrowed("true"),
        "False" | "FALSE" => return Cow::Borrowed("false"),
        _ => {}
    }
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let in_base = |prefix: &str, base| {
        let digits =
            plain.strip_prefix(prefix).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u64::from_str_radix(digits, base).ok()
    };
    if let Some(number) = in_base("0x", 16).or_else(|| in_base("0o", 8)) {
        return number.to_string().into();
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
    if !is_number {
        return Cow::Borrowed(plain);
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let is_signless = !plain.starts_with('-') || digits.bytes().all(|b| b == b'0');
        return Cow::Borrowed(if is_signless { digits } else { plain });
    }
    plain.parse::<f64>().map_or(Cow::Borrowed(plain), |number| number.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let shown = |entry: &RawEntry| match &entry.value {
            RawValue::Text(value) => text[value.span.clone()].to_owned(),
            other => format!("{other:?}"),
        };
        let entries = |statement: Statement| statement.clauses.into_iter().flat_map(|clause| clause.entries);
        let found = documents(text, 0..text.len()).into_iter().flat_map(entries);
        found.map(|entry| (entry.name(text).to_owned(), shown(&entry))).collect()
    }

    fn pairs(of: &[(String, String)]) -> Vec<(&str, &str)> {
        of.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    #[test]
    fn nested_dotted_quoted_and_flow_are_the_same_keys() {
        let text = "# c\nbatch:\n  strategy: 'fixed_size'\n  size: 500\nbatch.timeout: \"1s\"\nsource: {batch: {size: 5}}\n";
        assert_eq!(
            pairs(&read(text)),
            [
                ("batch.strategy", "fixed_size"),
                ("batch.size", "500"),
                ("batch.timeout", "1s"),
                ("source.batch.size", "5")
            ]
        );
    }

    #[test]
    fn json_is_read_as_it_stands() {
        let text = "{\"batch\": {\"strategy\": \"mega_batch\", \"parallel\": true}}";
        assert_eq!(pairs(&read(text)), [("batch.strategy", "mega_batch"), ("batch.parallel", "true")]);
    }

    #[test]
    fn aliases_and_merge_keys_stand_for_what_they_name() {
        let text = "base: &b {strategy: fixed_size, size: &n 5}\nbatch:\n  <<: *b\n  size: 7\nsink: {batch: *b, max_retries: *n}\n";
        let found = read(text);
        let of = |key: &str| {
            found.iter().filter(|(name, _)| name == key).map(|(_, v)| v.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of("batch.strategy"), ["fixed_size"]);
        assert_eq!(of("batch.size"), ["7"]);
        assert_eq!(of("sink.batch.size"), ["5"]);
        assert_eq!(of("sink.max_retries"), ["5"]);
    }

    #[test]
    fn a_plain_scalar_is_what_the_core_schema_says() {
        for (plain, read) in [
            ("500", "500"),
            ("+500", "500"),
            ("-500", "-500"),
            ("-0", "0"),
            ("0x10", "16"),
            ("0o17", "15"),
            ("1e3", "1000"),
            ("5.0", "5"),
            ("5.5", "5.5"),
            ("True", "true"),
            ("yes", "yes"),
            ("10ms", "10ms"),
            ("1.2.3", "1.2.3"),
            ("0xes", "0xes"),
        ] {
            assert_eq!(resolved(plain), read);
        }
    }

    #[test]
    fn a_mapping_where_a_value_should_be_is_read_as_one() {
        let text = "failure_strategy: FailBatch\nmax_retries: {a: 1}\nbatch: {size: {}, sise: {}}\nsource: {batch: {}}\n";
        let found = read(text);
        for (key, value) in [("max_retries", "{a: 1}"), ("batch.size", "Missing"), ("batch.sise", "Missing")]
        {
            assert!(pairs(&found).contains(&(key, value)), "{found:?}");
        }
    }

    #[test]
    fn a_document_that_names_our_schema_is_ours() {
        let wrong = |schema: &str| format!("$schema: {schema}\nname: a\nbatch: {{size: ten}}\n");
        assert_eq!(read(&wrong("https://example.org/velo/yaml.draft-7.json")).len(), 3);
        assert!(read(&wrong("http://json-schema.org/draft-07/schema#")).is_empty());
    }

    #[test]
    fn merges_are_what_yaml_says() {
        let text = "\
a: &a {strategy: fixed_size, size: 5}
b: &b {size: 6, timeout: 1s}
c: &c {<<: [*b, *a], parallel: true}
d: &d {batch: {enable: true, size: 9}, failure_strategy: FailBatch}
batch:
  size: 7
  <<: [*c, {window: 2s, timeout: 3s}]
source:
  <<: *d
  batch: {<<: {max_size: 8}}
sink:
  batch: {'<<': {size: 3}, <<: *a}
";
        let found = read(text);
        let of = |scope: &str| {
            let ours =
                found.iter().filter_map(|(key, value)| Some((key.strip_prefix(scope)?, value.as_str())));
            ours.filter(|(key, _)| !key.contains("batch.batch")).collect::<Vec<_>>()
        };
        assert_eq!(
            of("batch."),
            [
                ("size", "7"),
                ("parallel", "true"),
                ("timeout", "1s"),
                ("strategy", "fixed_size"),
                ("window", "2s")
            ]
        );
        // A mapping that is written out replaces the merged one as a whole.
        assert_eq!(of("source.batch."), [("max_size", "8")]);
        assert_eq!(of("source.failure"), [("_strategy", "FailBatch")]);
        assert_eq!(of("sink.batch.<<"), [(".size", "3")], "a quoted key merges nothing");
        assert_eq!(of("sink.batch.s"), [("trategy", "fixed_size"), ("ize", "5")]);
    }

    #[test]
    fn aliases_of_aliases_have_an_end() {
        let mut text = "failure_strategy: FailBatch\nbatch: {strategy: fixed_size}\na0: &a0 {}\n".to_owned();
        for n in 1..40 {
            let of = |what: &str| vec![format!("{what}*a{}", n - 1); 10].join(", ");
            let keyed = (0..10).map(|k| format!("k{k}: *a{}", n - 1)).collect::<Vec<_>>().join(", ");
            text += &format!("a{n}: &a{n} {{<<: [{}], {keyed}}}\n", of(""));
        }
        let found = documents(&text, 0..text.len());
        assert!(found[0].clauses[0].is_open, "not all of it was read");
        let deep = format!("failure_strategy: FailBatch\nx: {}{}\n", "[".repeat(200), "]".repeat(200));
        assert_eq!(documents(&deep, 0..deep.len()).len(), 1);
    }

    #[test]
    fn every_document_counts_for_itself() {
        let text = "a: 1\n---\nbatch: {strategy: fixed_size}\n---\nfailure_strategy: FailBatch\n";
        assert_eq!(documents(text, 0..text.len()).len(), 2);
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        for text in [
            "processors:\n  batch:\n    strategy: fixed_size\n",
            "batch: 16\nepochs: 300\n",
            "batch: {timeout: 200ms, send_batch_size: 8192}\n",
            "type: kafka\nbatch: {size: 10MB}\n",
            "sink: {type: jdbc, batch: {size: 10MB}}\n",
            "source: kafka\nbatch: {size: 10MB}\n",
            "batch: {strategy: round_robin, size: 10MB, colour: red}\n",
            "model: bert\nbatch: {size: auto, parallel: 4}\n",
            "kind: Pipeline\nbatch: {timeout: 5}\n",
            "batch: {size: 64, timeout: 30}\nserver: {port: 80}\n",
            "model: x\nbatch: {size: 32, strategy: random}\n",
            "name: deploy\nfailure_strategy: rollback\nsteps: []\n",
            "max_retries: often\nretry_backoff: slowly\n# batch\n",
        ] {
            assert!(documents(text, 0..text.len()).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_broken_file_of_ours_says_where_and_a_template_says_nothing() {
        let text = "batch:\n  strategy: fixed_size\n size: [\n";
        let found = documents(text, 0..text.len());
        assert_eq!(found[0].clauses[0].faults.len(), 1);
        let template = "batch:\n  strategy: fixed_size\n{{ if .x }}\n size: [\n";
        assert!(documents(template, 0..template.len()).is_empty());
    }

    #[test]
    fn what_is_between_the_tags_of_a_template_is_read() {
        let text = "batch:\n  strategy: fixed_size\n  {{- if .live }}\n  sise: {{ .n }}0\n  {{- else }}\n  size: 5\n  {{- end }}\n  {{ more }}\n";
        let found = documents(text, 0..text.len());
        assert!(found[0].clauses[0].is_open);
        assert_eq!(
            pairs(&read(text)),
            [("batch.strategy", "fixed_size"), ("batch.sise", "Unknown"), ("batch.size", "5")]
        );
    }
}
