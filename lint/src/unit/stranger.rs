//! An entry that should be ours: what is wrong with its key in, how it would be right out.

use super::Unit;
use crate::finding::Fix;
use crate::ownership::{Owner, Weight, weight};
use crate::span::Span;

/// An entry that is not ours but should be.
#[derive(Debug, Clone)]
pub struct Stranger<'a> {
    /// The key as written, with the mappings around it.
    pub key: &'a str,
    /// Where it stands; of a nested key its last part.
    pub span: Span,
    /// How much of `key` the mappings around it are.
    pub nested: usize,
    /// What is wrong with it.
    pub owner: Owner,
}

impl Stranger<'_> {
    /// How grave the mistake is: an unknown key under our own prefixes is no slip of a key that may have been
    /// meant otherwise.
    #[must_use]
    pub fn weight(&self) -> Weight {
        match &self.owner {
            Owner::NearMiss(near) => weight(self.key, near),
            _ => Weight::Failures,
        }
    }

    /// Writes the key as `near`, if the mappings around it stay as they are and nothing is called so.
    pub(crate) fn respelled(&self, near: &str, unit: &Unit<'_>) -> Option<Fix> {
        if unit.qualified.contains(near) {
            return None;
        }
        let last = near.strip_prefix(&self.key[..self.nested])?;
        Some(Fix::replace(false, self.span.range.clone(), last))
    }
}
