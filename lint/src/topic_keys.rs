//! The keys that name topics: settings of other systems in; for each source and sink its topic keys out.

use rustc_hash::FxHashMap as HashMap;
use velo_schema::Scope;

use crate::ownership::{Names, misspelt_scope};

/// What a topic key is called behind its scope, the more specific one first.
const WORDS: [&str; 2] = ["topic.name", "topic"];

/// The topic keys of a statement, by scope: the index of each among the settings of other systems.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicKeys(HashMap<Scope, [Vec<usize>; 2]>);

impl TopicKeys {
    /// Reads the keys of settings, each with the scope that it stands in.
    pub(crate) fn of<'a>(foreign: impl Iterator<Item = (&'a str, &'a Scope)>, names: &Names) -> Self {
        let mut keys = Self::default();
        for (index, (key, within)) in foreign.enumerate() {
            let (scope, word) = names.split(key, |rest| WORDS.contains(&rest));
            let scope = if scope == Scope::Job { within.clone() } else { scope };
            if let Some(rank) = WORDS.iter().position(|known| *known == word).filter(|_| scope != Scope::Job)
            {
                keys.0.entry(scope).or_default()[rank].push(index);
            }
        }
        keys
    }

    /// The keys of a scope, the most specific first.
    pub(crate) fn of_scope(&self, scope: &Scope) -> impl Iterator<Item = usize> {
        self.0.get(scope).into_iter().flatten().flatten().copied()
    }

    /// Whether an entry is a topic key of one of `scopes`.
    pub(crate) fn has(&self, index: usize, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.of_scope(scope).any(|known| known == index))
    }
}

/// True if `key` names the topic of a source or sink.
pub(crate) fn is_topic_key(key: &str, names: &Names) -> bool {
    let (scope, rest) = names.split(key, |rest| WORDS.contains(&rest));
    scope != Scope::Job && WORDS.contains(&rest)
}

/// The topic key that `key` is another spelling of.
pub(crate) fn near_topic_key(key: &str, names: &Names) -> Option<String> {
    let folded = |rest: &str| {
        let letters = rest.chars().filter(char::is_ascii_alphanumeric);
        let folded: String = letters.flat_map(char::to_lowercase).collect();
        WORDS.iter().copied().find(|word| word.replace('.', "") == folded)
    };
    let near = |rest: &str| {
        folded(rest).or_else(|| {
            let (edits, word) = velo_schema::nearest(rest, WORDS)?;
            // Others read several topics.
            (edits <= word.len() / 4 && rest != "topics").then_some(word)
        })
    };
    let (scope, rest) = names.split(key, |rest| near(rest).is_some());
    if scope != Scope::Job {
        return near(rest).filter(|word| *word != rest).map(|word| format!("{scope}.{word}"));
    }
    // `Source.Topic`, `source_topic`.
    let (side, rest) = key.split_once(['.', '_', '-'])?;
    let side = side.to_lowercase();
    if ["source", "sink"].contains(&side.as_str())
        && let Some(word) = folded(rest)
    {
        return Some(format!("{side}.{word}"));
    }
    // A misspelt scope is found with a key in the topic's place.
    let (_, word) = key.split_once('.').filter(|(_, rest)| WORDS.contains(rest))?;
    let stand_in = velo_schema::keys::Key::DlqTopic.name();
    let swapped = format!("{}{stand_in}", key.strip_suffix(word)?);
    let near = misspelt_scope(&swapped, names, velo_schema::keys::Key::from_name)?;
    Some(format!("{}{word}", near.strip_suffix(stand_in)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_of_a_topic_key_is_near_one() {
        let names = Names::new(&[crate::scan::Name { text: "orders".into(), ..Default::default() }]);
        let near = |key: &str| near_topic_key(key, &names);
        for (key, meant) in [
            ("orders.Topic", "orders.topic"),
            ("orders.topc", "orders.topic"),
            ("source.topic.nam", "source.topic.name"),
            ("Source.Topic", "source.topic"),
            ("source_topic", "source.topic"),
            ("orders.topic_name", "orders.topic.name"),
            ("Source.topic", "source.topic"),
            ("soruce.topic.name", "source.topic.name"),
            ("ordrs.topic", "orders.topic"),
        ] {
            assert_eq!(near(key).as_deref(), Some(meant), "{key}");
        }
        for other in ["orders.topic", "source.topic.name", "topic", "clicks.topic", "orders.topics"] {
            assert_eq!(near(other), None, "{other}");
        }
    }
}
