//! Baselines of the projects: reports in, the findings that are new out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use velo_lint::FileReport;
use velo_lint::baseline::{Baseline, Stale};

use crate::paths::{folder, relative};

/// What the baselines of a run have accepted.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// The number of accepted findings.
    pub count: usize,
    /// The entries that match nothing any more, by baseline.
    pub stale: Vec<(PathBuf, Vec<Stale>)>,
}

/// Removes the findings that baselines accept. `baseline` returns the baseline of a file.
///
/// # Errors
/// If a baseline cannot be read.
pub(crate) fn accept(
    reports: &mut [FileReport],
    baseline: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Accepted> {
    let mut by_baseline: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (index, report) in reports.iter().enumerate() {
        if let Some(file) = baseline(&report.name) {
            by_baseline.entry(file).or_default().push(index);
        }
    }
    let mut accepted = Accepted::default();
    for (file, indices) in by_baseline {
        let shown = file.display();
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!("{shown}: no baseline can be read; velo lint --write-baseline {shown} makes one")
        })?;
        let baseline = Baseline::parse(&text).with_context(|| file.display().to_string())?;
        let mut own: Vec<_> = indices.iter().map(|index| reports[*index].clone()).collect();
        let (count, stale) = baseline.apply(&mut own, names_beside(&file));
        accepted.count += count;
        if !stale.is_empty() {
            accepted.stale.push((file, stale));
        }
        for (index, report) in indices.into_iter().zip(own) {
            reports[index] = report;
        }
    }
    Ok(accepted)
}

/// Returns the names of files relative to the folder of a baseline.
pub(crate) fn names_beside(baseline: &Path) -> impl Fn(&str) -> String {
    let folder = folder(baseline);
    move |name| relative(name, &folder)
}
