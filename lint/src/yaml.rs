//! YAML or JSON text in; its settings as a clause of dotted keys out, if it holds settings of ours.
//!
//! Nested mappings become dotted keys (`batch: {size: 5}` is `batch.size`), each value keeps its
//! bytes. Aliases and merge keys stand for what they name. Whether a document is ours at all is
//! decided here: most YAML files that say `batch`, `source` or `timeout` belong to somebody else.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use velo_schema::keys::{KEYS, Key};
use velo_schema::neighbours::{COMMON_BATCH_KEYS, FOREIGN_CLAUSE, FOREIGN_KEYS, FOREIGN_ROOT, SCHEMA_KEY};
use velo_schema::strategy::Words;
use velo_schema::value::{Placeholder, placeholder};
use velo_schema::{FailureStrategy, StrategyKind};

use crate::ownership::{Names, Owner, owner};
use crate::scan::{Clause, Fault, FaultKind, Form, RawEntry, RawValue, Statement, Text};

/// More entries than any configuration has; what aliases of aliases could grow to has an end here.
const MOST_ENTRIES: usize = 10_000;

/// More parts than any key of ours has, a name before it included.
const DEEPEST: usize = 4;

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
    crate::steps::add(body.len());
    let mut reader = Reader { text, base: range.start, is_declared, ..Reader::default() };
    let options = granit_parser::options! { emit_unresolved_aliases: true, emit_comments: false };
    for event in Parser::new_from_str_with_options(body, options) {
        match event {
            Ok((event, span)) => reader.event(event, &span),
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(body.len()).min(body.len());
                reader.broken = Some(range.start + body.floor_char_boundary(at));
                // The key that was being read tells whose file it is, too.
                reader.value(RawValue::Unknown);
                break;
            }
        }
    }
    reader.end_document(range.end);
    // A template language decides what is read in the end; its own syntax is not YAML's.
    if body.contains("{{") || body.contains("{%") {
        reader.found.retain(|statement| statement.clauses.iter().all(|clause| clause.faults.is_empty()));
    }
    reader.found
}

/// The comments of `range`, in order.
#[must_use]
pub fn comments(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for event in Parser::new_from_str(&text[range.clone()]) {
        match event {
            Ok((Event::Comment(..), span)) => {
                let bytes = span.byte_range().unwrap_or_default();
                found.push(range.start + bytes.start..range.start + bytes.end);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found.sort_by_key(|comment| comment.start);
    found
}

/// A collection that is being read.
enum Frame {
    /// A mapping whose keys continue `path`, which ends with a dot unless it is empty.
    Mapping { path: String, key: Option<Text>, name: String, anchor: usize, first: usize, start: usize },
    /// A sequence that is a value, from its first byte.
    Value { start: usize },
    /// A collection that is a key; the value that follows is no setting.
    Key,
    /// What cannot hold a setting.
    Other,
}

/// The name of a key that is none of a setting's.
const NO_NAME: &str = "\0";

/// What an anchor stands for.
enum Anchored {
    Value(RawValue),
    /// Entries by index, and how long the path of their mapping is.
    Mapping(Range<usize>, usize),
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    base: usize,
    is_declared: bool,
    start: Option<usize>,
    frames: Vec<Frame>,
    entries: Vec<RawEntry>,
    /// Entries that a merge key brings in; those that are written out go before them.
    merged: Vec<RawEntry>,
    anchors: HashMap<usize, Anchored>,
    broken: Option<usize>,
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
            Event::UnresolvedAlias(_) => self.value(RawValue::Unknown),
            Event::MappingStart(_, anchor, _) => self.mapping(anchor, range.start),
            Event::SequenceStart(..) => {
                self.frames.push(match self.frames.last() {
                    Some(Frame::Mapping { key: Some(_), .. }) => Frame::Value { start: range.start },
                    Some(Frame::Mapping { key: None, .. }) => Frame::Key,
                    _ => Frame::Other,
                });
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
        let inner = if quoted && range.len() >= 2 { range.start + 1..range.end - 1 } else { range };
        // What is written differently from what it means (escapes, folded lines) keeps no bytes.
        let is_literal = !is_block && self.text.get(inner.clone()) == Some(value);
        if let Some(Frame::Mapping { key: key @ None, name, .. }) = self.frames.last_mut() {
            *key = Some(Text { span: inner, quoted });
            value.clone_into(name);
            return;
        }
        let raw = match value {
            "" | "~" | "null" | "Null" | "NULL" if !quoted => RawValue::Missing,
            _ if is_literal && is_plain => RawValue::Text(Text { span: inner, quoted }),
            _ => RawValue::Unknown,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored::Value(raw.clone()));
        }
        self.value(raw);
    }

    /// Ends the entry that is being read with its value.
    fn value(&mut self, value: RawValue) {
        let Some(Frame::Mapping { path, key, name, .. }) = self.frames.last_mut() else { return };
        let path = format!("{path}{name}");
        let is_named = !path.contains(NO_NAME);
        if let Some(key) = key.take().filter(|_| is_named && self.entries.len() < MOST_ENTRIES) {
            self.entries.push(RawEntry { key, path: Some(path), value });
        }
    }

    fn mapping(&mut self, anchor: usize, start: usize) {
        let path = match self.frames.last() {
            None => String::new(),
            Some(Frame::Mapping { path, key: Some(_), name, .. }) => format!("{path}{name}."),
            Some(Frame::Mapping { key: None, .. }) => return self.frames.push(Frame::Key),
            Some(_) => return self.frames.push(Frame::Other),
        };
        let first = self.entries.len();
        self.frames.push(Frame::Mapping { path, key: None, name: String::new(), anchor, first, start });
    }

    fn end_collection(&mut self, end: usize) {
        match self.frames.pop() {
            Some(Frame::Mapping { path, anchor, first, start, .. }) => {
                if anchor > 0 {
                    self.anchors.insert(anchor, Anchored::Mapping(first..self.entries.len(), path.len()));
                }
                if stands_for_value(path.trim_end_matches('.'), self.entries.len() == first) {
                    return self.collection(start, end);
                }
            }
            Some(Frame::Value { start }) => return self.collection(start, end),
            Some(Frame::Key) => return self.unnamed_key(),
            Some(Frame::Other) | None => {}
        }
        self.end_entry();
    }

    /// Ends the entry that is being read with a collection as its value.
    fn collection(&mut self, start: usize, end: usize) {
        let end = start + self.text[start..end].trim_end().len();
        self.value(RawValue::Text(Text { span: start..end, quoted: false }));
    }

    fn unnamed_key(&mut self) {
        if let Some(Frame::Mapping { key, name, .. }) = self.frames.last_mut() {
            *key = Some(Text { span: self.base..self.base, quoted: false });
            NO_NAME.clone_into(name);
        }
    }

    fn alias(&mut self, id: usize) {
        let Some(Frame::Mapping { path, key: Some(_), name, .. }) = self.frames.last() else {
            if let Some(Frame::Mapping { .. }) = self.frames.last() {
                self.unnamed_key();
            }
            return;
        };
        let is_merge = name == "<<";
        let into = if is_merge { path.clone() } else { format!("{path}{name}.") };
        match self.anchors.get(&id) {
            Some(Anchored::Value(raw)) => {
                let raw = raw.clone();
                self.value(raw);
            }
            Some(Anchored::Mapping(entries, length)) => {
                let room = MOST_ENTRIES.saturating_sub(self.entries.len() + self.merged.len());
                let depth = into.matches('.').count();
                let is_shallow = |entry: &&RawEntry| {
                    let below = entry.path.as_ref().map_or(0, |path| path[*length..].matches('.').count());
                    depth + below < DEEPEST
                };
                let copies: Vec<_> = self.entries[entries.clone()]
                    .iter()
                    .filter(is_shallow)
                    .take(room)
                    .map(|entry| RawEntry {
                        path: entry.path.as_ref().map(|path| format!("{into}{}", &path[*length..])),
                        ..entry.clone()
                    })
                    .collect();
                crate::steps::add(copies.len());
                if is_merge {
                    self.merged.extend(copies);
                } else {
                    self.entries.extend(copies);
                }
                self.end_entry();
            }
            None => self.end_entry(),
        }
    }

    fn end_entry(&mut self) {
        if let Some(Frame::Mapping { key, .. }) = self.frames.last_mut() {
            *key = None;
        }
    }

    fn end_document(&mut self, end: usize) {
        self.frames.clear();
        self.anchors.clear();
        let mut entries = std::mem::take(&mut self.entries);
        let merged = std::mem::take(&mut self.merged);
        let written: HashSet<_> = entries.iter().map(|entry| entry.path.clone()).collect();
        entries.extend(merged.into_iter().filter(|entry| !written.contains(&entry.path)));
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
        let fault = |at| Fault { kind: FaultKind::InvalidYaml, span: at..at, entry: None };
        let faults = self.broken.map(fault).into_iter().collect();
        let span = start..end.max(start);
        let clause = Clause { form: Form::Yaml, span: span.clone(), entries, faults };
        self.found.push(Statement { span, clauses: vec![clause], ..Statement::default() });
    }
}

/// Whether a mapping is read as the (wrong) value of its key: one that we have, or one that nothing in
/// it would be reported for.
fn stands_for_value(path: &str, is_empty: bool) -> bool {
    // `retry: {backoff: {max: {ms: …}}}` is a key of others, however near its beginning is to one of ours.
    let leads_on = |key: &&str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    if FOREIGN_KEYS.iter().any(|key| leads_on(&key)) {
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
    let (mut worded, mut typed) = (HashSet::new(), HashSet::new());
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
        surely |= path == SCHEMA_KEY.0 && names_our_schema(text, &entry.value);
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

/// Whether a document is declared to be ours by the schema that it names.
fn names_our_schema(text: &str, value: &RawValue) -> bool {
    matches!(value, RawValue::Text(name) if text[name.span.clone()].contains(SCHEMA_KEY.1))
}

/// Whether a value is one of our words, or nearly one: the JSON Schema draws the same line.
fn is_near<W: Words>(text: &str, value: &RawValue) -> bool {
    let RawValue::Text(value) = value else { return false };
    let word = &text[value.span.clone()];
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
        for (key, value) in [("max_retries", "{a: 1}"), ("batch.size", "{}"), ("batch.sise", "{}")] {
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
}
