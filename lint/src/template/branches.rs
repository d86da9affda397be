//! A templated text in; which of its places can be there together out.
//!
//! A block such as `{% if %}…{% else %}…{% endif %}` is a group of options, of which each rendering
//! has one. All renderings are enumerated if there are few of them, otherwise a fixed sample is.

use std::ops::Range;

use memchr::memchr2;

use super::{Endless, Tag, TagKind, tag};

/// More renderings than this are sampled.
const MOST_RENDERINGS: usize = 32;

/// Blocks that are nested more deeply count as a part of the block around them.
const DEEPEST: usize = 16;

/// The blocks of a text.
#[derive(Debug, Default)]
pub(crate) struct Branches {
    groups: Vec<Group>,
    nodes: Vec<Node>,
    /// Where each stretch of the text begins, and the innermost option that it lies in.
    stretches: Vec<(usize, Option<usize>)>,
    renderings: usize,
    /// True if another template is inserted.
    includes_others: bool,
    /// True if a block was found that began before the range.
    began_before: bool,
}

/// A block.
#[derive(Debug)]
struct Group {
    options: usize,
    /// True if one of the options is always there.
    is_exhaustive: bool,
    /// How many renderings have the same option in a row; 0 if the block holds nothing of interest.
    stride: usize,
}

/// An option of a block.
#[derive(Debug)]
struct Node {
    parent: Option<usize>,
    group: usize,
    option: usize,
}

/// A block that is open while the text is read.
#[derive(Clone, Copy)]
enum Open {
    /// With options; the node of the present one.
    Group(usize),
    /// Without.
    Plain,
}

impl Branches {
    /// The blocks in `range` of `text`.
    pub(crate) fn of(text: &str, range: Range<usize>) -> Self {
        let mut branches = Self { stretches: vec![(range.start, None)], ..Self::default() };
        let bytes = &text.as_bytes()[..range.end];
        let mut open: Vec<Open> = Vec::new();
        let mut at = range.start;
        // After several tags without an end, what looks like one is text.
        let mut endless = 0;
        while let Some(found) = memchr2(b'{', b'<', &bytes[at..]).filter(|_| endless < 8) {
            at += found;
            match tag(&bytes[at..]) {
                Some(Ok(Tag { kind, length })) => {
                    branches.tag(kind, at + length, &mut open);
                    at += length;
                }
                Some(Err(Endless)) => (endless, at) = (endless + 1, at + 1),
                None => at += 1,
            }
        }
        crate::steps::add(range.len());
        branches
    }

    fn tag(&mut self, kind: TagKind, end: usize, open: &mut Vec<Open>) {
        match kind {
            TagKind::Open if open.len() < DEEPEST => {
                let parent = innermost(open);
                let node = self.option(parent, None);
                open.push(Open::Group(node));
            }
            TagKind::Open | TagKind::OpenPlain => open.push(Open::Plain),
            TagKind::Next { is_last } => match open.last().copied() {
                Some(Open::Group(node)) => {
                    let Node { parent, group, .. } = self.nodes[node];
                    self.groups[group].is_exhaustive |= is_last;
                    let next = self.option(parent, Some(group));
                    open.pop();
                    open.push(Open::Group(next));
                }
                None if !self.began_before => {
                    self.began_before = true;
                    let before = self.option(None, None);
                    for (_, node) in &mut self.stretches {
                        *node = node.or(Some(before));
                    }
                    let group = self.nodes[before].group;
                    self.groups[group].is_exhaustive = is_last;
                    let next = self.option(None, Some(group));
                    open.push(Open::Group(next));
                }
                Some(Open::Plain) | None => {}
            },
            TagKind::End => {
                open.pop();
            }
            TagKind::Include => {
                self.includes_others = true;
                return;
            }
            TagKind::Other | TagKind::Output => return,
        }
        self.stretches.push((end, innermost(open)));
    }

    /// The next option of a group, or the first one of a new group.
    fn option(&mut self, parent: Option<usize>, group: Option<usize>) -> usize {
        let group = group.unwrap_or_else(|| {
            self.groups.push(Group { options: 0, is_exhaustive: false, stride: 0 });
            self.groups.len() - 1
        });
        let option = self.groups[group].options;
        self.groups[group].options += 1;
        self.nodes.push(Node { parent, group, option });
        self.nodes.len() - 1
    }

    /// True if another template is inserted.
    pub(super) fn includes_others(&self) -> bool {
        self.includes_others
    }

    /// Prepares the renderings of those blocks that hold one of `places`; false if there is none.
    pub(crate) fn concern(&mut self, places: impl Iterator<Item = usize>) -> bool {
        let mut matters = vec![false; self.groups.len()];
        for at in places {
            let mut node = self.node(at);
            while let Some(Node { parent, group, .. }) = node.map(|node| &self.nodes[node]) {
                matters[*group] = true;
                node = *parent;
            }
        }
        self.renderings = 1;
        for (group, matters) in self.groups.iter_mut().zip(matters) {
            if matters {
                group.stride = self.renderings;
                let options = group.options + usize::from(!group.is_exhaustive);
                self.renderings = (self.renderings * options).min(MOST_RENDERINGS + 1);
            }
        }
        self.renderings > 1
    }

    /// How many renderings are looked at.
    pub(crate) fn renderings(&self) -> usize {
        self.renderings.min(MOST_RENDERINGS)
    }

    /// True if the place `at` is in the text of a rendering.
    pub(crate) fn is_in(&self, at: usize, rendering: usize) -> bool {
        let mut node = self.node(at);
        while let Some(Node { parent, group, option }) = node.map(|node| &self.nodes[node]) {
            if self.choice(*group, rendering) != *option {
                return false;
            }
            node = *parent;
        }
        true
    }

    fn node(&self, at: usize) -> Option<usize> {
        let behind = self.stretches.partition_point(|(start, _)| *start <= at);
        self.stretches[behind.max(1) - 1].1
    }

    /// The option of a group in a rendering; one more than there are if it has none.
    fn choice(&self, group: usize, rendering: usize) -> usize {
        let Group { options, is_exhaustive, stride } = self.groups[group];
        let options = options + usize::from(!is_exhaustive);
        if self.renderings <= MOST_RENDERINGS {
            return rendering / stride.max(1) % options;
        }
        let hash = mixed(rendering as u64, group as u64);
        usize::try_from(hash % options as u64).unwrap_or_default()
    }
}

/// A fixed hash of two numbers that spreads well (the finalizer of `SplitMix64`), so that any two blocks
/// are in every combination of their options.
fn mixed(a: u64, b: u64) -> u64 {
    let mut hash = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (b + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// The innermost option of the open blocks.
fn innermost(open: &[Open]) -> Option<usize> {
    open.iter().rev().find_map(|open| match open {
        Open::Group(node) => Some(*node),
        Open::Plain => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of each rendering.
    fn renderings(text: &str) -> Vec<String> {
        let letters = || text.char_indices().filter(|(_, c)| c.is_ascii_uppercase());
        let mut branches = Branches::of(text, 0..text.len());
        branches.concern(letters().map(|(at, _)| at));
        let of = |n| letters().filter(|(at, _)| branches.is_in(*at, n)).map(|(_, c)| c).collect();
        let mut found: Vec<String> = (0..branches.renderings()).map(of).collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn a_rendering_has_one_option_of_each_block() {
        assert_eq!(renderings("A{% if x %}B{% else %}C{% endif %}D"), ["ABD", "ACD"]);
        assert_eq!(renderings("A{{ if .x }}B{{ end }}"), ["A", "AB"]);
        assert_eq!(renderings("{% if x %}A{% elif y %}B{% endif %}"), ["", "A", "B"]);
        assert_eq!(renderings("{% if x %}A{% if y %}B{% else %}C{% endif %}{% endif %}"), ["", "AB", "AC"]);
        assert_eq!(renderings("{{ define \"d\" }}A{{ if .x }}B{{ end }}C{{ end }}D"), ["ABCD", "ACD"]);
        assert_eq!(renderings("A{% macro m() %}B{% endmacro %}"), ["AB"]);
        assert_eq!(renderings("A{% else %}B{% endif %}C"), ["AC", "BC"]);
        assert_eq!(renderings("{% if x %}z{% endif %}A"), ["A"], "what holds nothing does not count");
    }

    #[test]
    fn many_blocks_are_sampled_in_every_combination_of_two() {
        let text = ('A'..='Z').map(|c| format!("{{% if x %}}{c}{{% endif %}}")).collect::<Vec<_>>().concat();
        let found = renderings(&text);
        assert!(found.len() > MOST_RENDERINGS / 2, "{}", found.len());
        for (a, b) in ('A'..='Z').flat_map(|a| ('A'..a).map(move |b| (a, b))) {
            for (has_a, has_b) in [(false, false), (false, true), (true, false), (true, true)] {
                let has = |text: &String| text.contains(a) == has_a && text.contains(b) == has_b;
                assert!(found.iter().any(has), "{a} {has_a}, {b} {has_b}");
            }
        }
    }
}
