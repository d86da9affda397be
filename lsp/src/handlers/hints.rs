//! Inlay hints: what a clause means, at its end.

use std::ops::Range;

use lsp_types::{InlayHint, Label, Tooltip};
use velo_lint::{Route, Unit};
use velo_schema::{Plan, format_duration};

use super::View;
use crate::convert::markdown;

/// Returns a hint for each clause with settings of ours in a range of bytes.
pub(crate) fn hints(view: &View<'_>, range: &Range<usize>) -> Vec<InlayHint> {
    let places = view.open.places(view.encoding);
    let hint = |unit: &Unit<'_>| {
        let clause = unit.items.iter().map(|item| &unit.clauses[item.clause]).find(|part| part.file == 0)?;
        let end = clause.clause.span.end;
        if !(range.start..=range.end).contains(&end) || !unit.is_ours() {
            return None;
        }
        // Of several sources, the first one stands for all.
        let route = Route::all(unit).into_iter().next()?;
        let plan = Plan::of(&route.at_source.config(), view.options.record_bytes);
        Some(InlayHint {
            position: places.position(end),
            label: Label::String(label(&plan)),
            kind: None,
            text_edits: None,
            tooltip: Some(Tooltip::MarkupContent(markdown(tooltip(&plan)))),
            padding_left: Some(true),
            padding_right: None,
            data: None,
        })
    };
    view.document.units(view.options).filter_map(|unit| hint(&unit)).collect()
}

fn label(plan: &Plan) -> String {
    let strategy = plan.strategy.map_or("batching off".to_owned(), |strategy| strategy.to_string());
    format!(
        "{strategy}: poll {}, {}, waits {}",
        plan.max_poll_records,
        plan.tier,
        format_duration(plan.max_wait)
    )
}

fn tooltip(plan: &Plan) -> String {
    let mut text = format!(
        "- **records per poll** {}\n- **records per batch** {}\n- **consumer tier** {}\n- **longest wait** {}",
        plan.max_poll_records,
        plan.batch_records,
        plan.tier,
        format_duration(plan.max_wait)
    );
    if let Some(span) = &plan.guide_records_per_s {
        text += &format!("\n- **records per second** {span} (the guide's figure)");
    }
    if let Some(span) = &plan.guide_latency_ms {
        text += &format!("\n- **latency** {span} ms (the guide's figure)");
    }
    if let Some(row) = plan.matrix_row {
        text += &format!("\n- **row of the decision matrix** {}", row.word());
    }
    text
}
