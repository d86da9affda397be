//! `off-the-matrix`: a size that no row of the decision matrix covers.

use velo_schema::keys::{Key, Relevance};
use velo_schema::{Plan, Scope};

use super::{Rule, Severity};
use crate::finding::Detail;

/// A batch size that no row of the decision matrix covers.
pub const RULE: Rule = Rule {
    id: "off-the-matrix",
    severity: Severity::Info,
    summary: "A batch size that no row of the decision matrix covers.",
    doc: "The guide says nothing of what to expect there. That is no mistake; measure it.",
    check: |unit, out| {
        // What the poll is made of: the source's settings over the job's.
        let scope = Scope::Source;
        let plan = Plan::of(&unit.config(&scope), None);
        let (Some(strategy), Some(nearest)) = (plan.strategy, plan.nearest_row) else { return };
        let sized = unit.items.iter().find(|item| {
            let by_strategy = matches!(item.key.def().relevance, Relevance::Strategies(s) if s == [strategy]);
            (by_strategy || item.key == Key::BatchStrategy) && item.scope != Scope::Sink
        });
        if let Some(item) = sized {
            let records = plan.batch_records.max;
            let detail = Detail::OffTheMatrix { strategy, records, nearest: nearest.row };
            out.add(&RULE, item.value_span.clone(), detail);
        }
    },
};
