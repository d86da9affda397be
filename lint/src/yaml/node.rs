//! The nodes of a YAML document, which aliases share.

use std::ops::Range;
use std::rc::Rc;

use crate::scan::{RawValue, Text};

/// Collections with more levels below them hold no setting.
const DEEPEST: usize = 64;

/// A node of a document.
pub(super) struct Node {
    pub content: Content,
    /// How many collections are within each other below it, through aliases, too.
    depth: usize,
}

pub(super) enum Content {
    Value(RawValue),
    Sequence(Vec<Rc<Node>>, Range<usize>),
    Mapping(Vec<Pair>, Range<usize>),
    /// What it stands for is not known: an alias of nothing, or too much.
    Elsewhere,
}

impl Node {
    pub(super) fn leaf(content: Content) -> Rc<Self> {
        Rc::new(Self { content, depth: 0 })
    }

    pub(super) fn collection(content: Content) -> Rc<Self> {
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
pub(super) struct Pair {
    pub key: Option<Name>,
    pub value: Rc<Node>,
}

/// A key's name and its bytes.
#[derive(Clone)]
pub(super) struct Name {
    pub name: String,
    pub text: Text,
}

impl Pair {
    /// True for `<<`, which merges other mappings into its own.
    pub(super) fn is_merge(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.name == "<<" && !key.text.quoted)
    }
}
