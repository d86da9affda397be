//! What is true of a member after every step: its state in, the first invariant that is broken out.

use super::state::{Member, State};
use crate::ids::{LaneId, LaneName};

impl Member {
    /// Returns the first invariant that is broken, if one is.
    pub(super) fn invariant(&self) -> Option<String> {
        let broken = |holds: bool, what: &str| (!holds).then(|| format!("{what}: {self:#?}"));
        let unended = self.lanes.values().filter(|lane| !lane.has_ended).count();
        let replaced = self.lanes.values().filter(|lane| matches!(lane.state, State::Replaced(_))).count();
        let is_current =
            |(name, id): (&LaneName, &LaneId)| self.lanes.get(id).is_some_and(|lane| lane.name == *name);
        broken(unended == self.unended, "the number of unended lanes is wrong")
            .or_else(|| broken(replaced == self.replaced, "the number of replaced lanes is wrong"))
            .or_else(|| {
                broken(self.by_name.iter().all(is_current), "a partition has the lane of another one")
            })
            .or_else(|| {
                let mut lanes = self.leaving.iter().flat_map(|leaving| &leaving.lanes);
                broken(lanes.all(|id| self.lanes.contains_key(id)), "a leaving lane does not exist")
            })
            .or_else(|| {
                broken(
                    self.leaving.iter().all(|leaving| !leaving.lanes.is_empty()),
                    "partitions without lanes were kept",
                )
            })
    }
}
