//! Inlay hints: what a clause means, at its end.

use std::ops::Range;

use lsp_types::{InlayHint, Label, Tooltip};
use velo_lint::{Route, Unit};
use velo_schema::{Plan, format_duration};

use super::view::View;
use crate::convert::markdown;

/// Returns a hint for each clause with settings of ours in a range of bytes.
pub(crate) fn hints(view: &View<'_>, range: &Range<usize>) -> Vec<InlayHint> {
    let places = view.places();
    let hint = |unit: &Unit<'_>| {
        let mut own = unit.items.iter().map(|item| &unit.clauses[item.clause]);
        let end = own.find(|part| part.file == view.file)?.clause.span.end;
        if !(range.start..=range.end).contains(&end) || !unit.is_ours() {
            return None;
        }
        let plans = plans(view, unit);
        let (_, first) = plans.first()?;
        let others = plans.iter().skip(1).any(|(_, plan)| plan != first);
        let label = if others {
            plans.iter().map(|(name, plan)| format!("{name}: {}", label(plan))).collect::<Vec<_>>().join("; ")
        } else {
            label(first)
        };
        let about = plans.iter().take(if others { plans.len() } else { 1 }).map(|(name, plan)| {
            let name = if others { format!("**{name}**\n\n") } else { String::new() };
            name + &facts(plan)
        });
        Some(InlayHint {
            position: places.position(end),
            label: Label::String(label),
            kind: None,
            text_edits: None,
            tooltip: Some(Tooltip::MarkupContent(markdown(about.collect::<Vec<_>>().join("\n\n")))),
            padding_left: Some(true),
            padding_right: None,
            data: None,
        })
    };
    view.units(range.clone()).filter_map(|unit| hint(&unit)).collect()
}

/// Returns what holds at each source.
fn plans(view: &View<'_>, unit: &Unit<'_>) -> Vec<(String, Plan)> {
    let plan = |route: Route| {
        let name = route.source.map(|source| source.name).unwrap_or_default();
        (name, Plan::of(&route.at_source.config(), view.options.record_bytes))
    };
    Route::all(unit).into_iter().map(plan).collect()
}

/// What a plan means, in a line.
fn label(plan: &Plan) -> String {
    let strategy = plan.strategy.map_or("batching off".to_owned(), |strategy| strategy.to_string());
    let expected = plan.guide_records_per_s.as_ref().map(|span| format!(", {span} records/s by the guide"));
    format!(
        "{strategy}: poll {}, {}, waits {}{}",
        plan.max_poll_records,
        plan.tier,
        format_duration(plan.max_wait),
        expected.unwrap_or_default()
    )
}

/// What a plan means, as a list.
pub(super) fn facts(plan: &Plan) -> String {
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
