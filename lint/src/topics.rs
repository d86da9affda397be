//! Which Kafka topics a statement reads and writes: its keys and names in, for each source and sink its topic out.
//!
//! The most specific key wins, wherever it stands: `<name>.topic.name`, `<name>.topic`, then `source.topic.name`,
//! `source.topic` or the same of the sink. Without one a name is its own topic.

use rustc_hash::FxHashMap as HashMap;

use velo_schema::value::{Kind, ValueError, parse, placeholder};
use velo_schema::{Scope, Side};

use crate::ownership::{Names, misspelt_scope};
use crate::unit::{Foreign, Unit};

/// What a topic key is called behind its scope, the more specific one first.
const WORDS: [&str; 2] = ["topic.name", "topic"];

/// The topic of a source or sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; `None` if a placeholder stands for it.
    pub name: Option<String>,
    /// The key that names it, as written; `None` if the source or sink does.
    pub key: Option<String>,
    /// The topic keys that this one overrides, as written.
    pub overrode: Vec<String>,
}

impl Topic {
    /// Why Kafka has no topic of this name.
    #[must_use]
    pub fn error(&self) -> Option<ValueError> {
        self.name.as_deref().and_then(|name| parse(Kind::Topic, name).err())
    }
}

/// The topic keys of a statement, by scope: the index of each among the settings of other systems.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicKeys(HashMap<Scope, [Vec<usize>; 2]>);

impl TopicKeys {
    pub(crate) fn of(foreign: &[Foreign<'_>], names: &Names) -> Self {
        let mut keys = Self::default();
        for (index, entry) in foreign.iter().enumerate() {
            let (scope, word) = names.split(entry.key, |rest| WORDS.contains(&rest));
            let scope = if scope == Scope::Job { entry.within.clone() } else { scope };
            if let Some(rank) = WORDS.iter().position(|known| *known == word).filter(|_| scope != Scope::Job)
            {
                keys.0.entry(scope).or_default()[rank].push(index);
            }
        }
        keys
    }

    /// The keys of a scope, the most specific first.
    fn of_scope(&self, scope: &Scope) -> impl Iterator<Item = usize> {
        self.0.get(scope).into_iter().flatten().flatten().copied()
    }

    /// Whether an entry is a topic key of one of `scopes`.
    pub(crate) fn has(&self, index: usize, scopes: &[Scope]) -> bool {
        scopes.iter().any(|scope| self.of_scope(scope).any(|known| known == index))
    }
}

/// The topic of the source or sink called `name`; of one without a name, `""`, what its side says.
#[must_use]
pub fn topic(unit: &Unit<'_>, name: &str, side: Side) -> Topic {
    let side = if side == Side::Sink { Scope::Sink } else { Scope::Source };
    let named = Scope::Named(name.to_owned());
    let mut keys = unit.topic_keys.of_scope(&named).chain(unit.topic_keys.of_scope(&side));
    let of = |index: usize| &unit.foreign[index];
    let Some(first) = keys.next().map(of) else {
        let name = Some(name).filter(|name| placeholder(name).is_none()).map(str::to_owned);
        return Topic { name, key: None, overrode: Vec::new() };
    };
    Topic {
        name: first.value.filter(|_| first.open.is_empty()).map(str::to_owned),
        key: Some(first.key.to_owned()),
        overrode: keys.map(|index| of(index).key.to_owned()).collect(),
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
    use crate::{Document, Language, NoFiles, Options};

    /// The topic of the source of `SELECT * FROM Orders`, with the key that names it and those that it overrides.
    fn of(clause: &str) -> (Option<String>, Option<String>, Vec<String>) {
        let sql = format!("CREATE STREAM s AS SELECT * FROM Orders WITH ({clause});");
        let document = Document::read("", &sql, Language::Sql, &NoFiles);
        let options = Options::default();
        let unit = document.units(&options).next().expect("a statement");
        let Topic { name, key, overrode } = topic(&unit, "Orders", Side::Source);
        (name, key, overrode)
    }

    #[test]
    fn the_most_specific_key_names_the_topic_wherever_it_stands() {
        let keys = [
            ("Orders.topic.name", "a"),
            ("orders.topic", "b"),
            ("source.topic.name", "c"),
            ("source.topic", "d"),
        ];
        for from in 0..keys.len() {
            for reversed in [false, true] {
                let mut entries: Vec<_> =
                    keys[from..].iter().map(|(key, value)| format!("'{key}' = '{value}'")).collect();
                if reversed {
                    entries.reverse();
                }
                let (name, key, overrode) = of(&entries.join(", "));
                assert_eq!(name.as_deref(), Some(keys[from].1));
                assert_eq!(key.as_deref(), Some(keys[from].0));
                let others: Vec<_> = keys[from + 1..].iter().map(|(key, _)| *key).collect();
                assert_eq!(overrode, others);
            }
        }
        assert_eq!(of("'sink.topic' = 'x', 'topic' = 'y'"), (Some("Orders".into()), None, vec![]));
        assert_eq!(of("'ORDERS.topic' = '${T}'").0, None);
    }

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
