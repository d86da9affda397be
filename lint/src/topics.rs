//! Which Kafka topics a statement reads and writes: its keys and names in, for each source and sink its topic out.
//!
//! The most specific key wins, wherever it stands: `<name>.topic.name`, `<name>.topic`, then `source.topic.name`,
//! `source.topic` or the same of the sink. Without one a name is its own topic.

use velo_schema::placeholder::placeholder;
use velo_schema::value::{Kind, ValueError, parse};
use velo_schema::{Scope, Side};

use crate::unit::Unit;

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
}
