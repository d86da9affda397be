//! Which Kafka topics a statement reads and writes.

use crate::unit::Unit;
use velo_schema::Side;
use velo_schema::value::placeholder;

/// The topic of a source or sink, and the keys that can say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name; `None` where only the deployed job knows.
    pub name: Option<String>,
    /// The keys that can name it: `<name>.topic.name`, `<name>.topic`, `source.topic` or `sink.topic`.
    pub keys: [String; 3],
}

/// The topic of the source or sink called `name`: what a key says of it, else its own name.
#[must_use]
pub fn topic(unit: &Unit<'_>, name: &str, side: Side) -> Topic {
    let side = if side == Side::Sink { "sink" } else { "source" };
    let keys = [format!("{name}.topic.name"), format!("{name}.topic"), format!("{side}.topic")];
    let set = unit.foreign.iter().find(|foreign| keys.iter().any(|key| key == foreign.key));
    let name = match set {
        None => Some(name.to_owned()),
        Some(foreign) => foreign.value.filter(|value| placeholder(value).is_none()).map(str::to_owned),
    };
    Topic { name, keys }
}
