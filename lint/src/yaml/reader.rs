//! Events of a YAML parser in; statements, one for each document with settings of ours, out.

use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, ScalarStyle, Span};
use rustc_hash::FxHashMap as HashMap;

use super::flat::Flat;
use super::node::{Content, Name, Node, Pair};
use super::ours::{has_lines_of_ours, is_ours, is_word_of_ours};
use crate::ownership::Names;
use crate::scan::{Clause, Fault, FaultKind, Form, RawValue, Statement, Text};

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

#[derive(Default)]
pub(super) struct Reader<'a> {
    text: &'a str,
    base: usize,
    /// The names of the sources and sinks of the statement that names the file, if one does.
    declared: Option<&'a Names>,
    start: Option<usize>,
    frames: Vec<Frame>,
    root: Option<Rc<Node>>,
    /// What each anchor stands for, and its bytes.
    anchors: HashMap<usize, (Rc<Node>, Range<usize>)>,
    /// The bytes of anchors that an alias refers to.
    shared: Vec<Range<usize>>,
    broken: Option<(usize, String)>,
    pub found: Vec<Statement>,
}

impl<'a> Reader<'a> {
    /// A reader of a part of `text` that begins at `base`.
    pub(super) fn new(text: &'a str, base: usize, declared: Option<&'a Names>) -> Self {
        Self { text, base, declared, ..Self::default() }
    }

    pub(super) fn event(&mut self, event: Event<'_>, span: &Span) {
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
    pub(super) fn break_off(&mut self, at: usize, reason: String) {
        self.broken = Some((at, reason));
        // The key that was being read tells whose file it is, too.
        if let Some(FrameKind::Mapping(_, Some(_))) = self.frames.last().map(|frame| &frame.kind) {
            self.add(Node::leaf(Content::Elsewhere), None);
        }
        while !self.frames.is_empty() {
            self.end_collection(at);
        }
    }

    pub(super) fn end_document(&mut self, end: usize) {
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
        let is_ours = if let Some(names) = self.declared {
            is_broken || entries.iter().any(|entry| is_word_of_ours(self.text, entry, names))
        } else {
            let unread = || &self.text[start..end.max(start)];
            (!entries.is_empty() && is_ours(self.text, &entries))
                || (is_broken && has_lines_of_ours(unread()))
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
