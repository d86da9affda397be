//! Reading without side effects: records, offsets, groups and topic configurations.

mod inspect;
mod reader;
mod scan;
mod topics;

pub use inspect::{GroupState, Inspector, May, PartitionState, Properties, producer_properties};
pub use reader::{Partition, ReadSource, TopicReader};
pub use scan::{Until, scan, scan_from};
pub use topics::{Ensured, TopicSettings, ensure_topic, topic_settings};
