//! One `WITH (…)` clause or configuration file: its entries, and what is wrong with its syntax.

use std::ops::Range;

/// How a clause is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `WITH ('key' = 'value')`.
    Sql,
    /// A mapping of YAML or JSON.
    Yaml,
}

/// An option clause, or a configuration file's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// How it is written.
    pub form: Form,
    /// From `WITH` to behind the closing bracket, or to where reading stopped.
    pub span: Range<usize>,
    /// Its entries, in order.
    pub entries: Vec<RawEntry>,
    /// What is wrong with its syntax, in order.
    pub faults: Vec<Fault>,
    /// True if a template or a placeholder may add entries.
    pub is_open: bool,
    /// The bytes that other places share by an alias, in order; a change there changes those, too.
    pub shared: Vec<Range<usize>>,
}

impl Clause {
    /// A clause that is complete and shares nothing.
    #[must_use]
    pub fn new(form: Form, span: Range<usize>, entries: Vec<RawEntry>, faults: Vec<Fault>) -> Self {
        Self { form, span, entries, faults, is_open: false, shared: Vec::new() }
    }
}

/// A key and its value as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// The key; in nested mappings its last part.
    pub key: Text,
    /// The whole dotted key, where the mappings around it are a part of that.
    pub path: Option<String>,
    /// The keys of the mappings around it, the outermost first.
    pub outer: Vec<Text>,
    /// What stands for its value.
    pub value: RawValue,
}

impl RawEntry {
    pub(super) fn new(key: Text, value: RawValue) -> Self {
        Self { key, path: None, outer: Vec::new(), value }
    }

    /// The whole key as written.
    #[must_use]
    pub fn name<'a>(&'a self, text: &'a str) -> &'a str {
        self.path.as_deref().unwrap_or_else(|| &text[self.key.span.clone()])
    }
}

/// What stands for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawValue {
    /// A text.
    Text(Text),
    /// Something that only says its value when the job is deployed, or that a mistake hides.
    Unknown,
    /// Nothing.
    Missing,
    /// No value at all: the entry is not written `key = value`, as options of ours are.
    NotAnOption,
}

/// A text and whether it stood in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The bytes, without quotes.
    pub span: Range<usize>,
    /// Whether there were quotes.
    pub quoted: bool,
}

impl Text {
    /// The bytes with their quotes.
    #[must_use]
    pub fn outer(&self) -> Range<usize> {
        if self.quoted { self.span.start - 1..self.span.end + 1 } else { self.span.clone() }
    }
}

/// A mistake in a clause's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// Where.
    pub span: Range<usize>,
    /// The entry it belongs to, by index; `None` if it is the clause's own.
    pub entry: Option<usize>,
    /// What the parser says of it.
    pub reason: Option<String>,
}

impl Fault {
    /// A mistake that its kind says all about.
    #[must_use]
    pub fn new(kind: FaultKind, span: Range<usize>, entry: Option<usize>) -> Self {
        Self { kind, span, entry, reason: None }
    }
}

/// The mistakes in a clause's syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A quote without its partner.
    UnterminatedString,
    /// Two entries with nothing between them.
    MissingComma,
    /// A key and a value with nothing between them.
    MissingEquals,
    /// A comma with no entry behind it.
    TrailingComma,
    /// The closing bracket is missing.
    Unclosed,
    /// The closing bracket is missing, and so are brackets of a value before it.
    UnclosedValue,
    /// There is nothing in the clause.
    Empty,
    /// From here on the file is no YAML.
    InvalidYaml,
}
