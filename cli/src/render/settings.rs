//! The settings of files as text: what `velo lint --show-settings` prints.

use std::io::{Result, Write};

use velo_lint::rules::RULES;
use velo_lint::{FileSettings, Level, Severity};
use velo_schema::format_bytes;

use crate::project::Projects;

/// Prints the settings of each file, in the notation of `velo.toml`.
pub(crate) fn show<'a>(
    out: &mut dyn Write,
    projects: &Projects,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    for (index, name) in names.enumerate() {
        let project = projects.project(name);
        let FileSettings { options, fail_on } = projects.settings(name);
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "# {name}")?;
        match &project.file {
            Some(file) => writeln!(out, "# settings: {}", file.display())?,
            None => writeln!(out, "# settings: none, no velo.toml above it")?,
        }
        if let Some(target) = options.target {
            writeln!(out, "target = \"{}\"", target.word())?;
        }
        if let Some(bytes) = options.record_bytes {
            writeln!(out, "record-size = \"{bytes}\" # {}", format_bytes(bytes))?;
        }
        writeln!(out, "fail-on = \"{}\"", fail_on.unwrap_or(Severity::Error).word())?;
        if let Some(baseline) = project.baseline() {
            writeln!(out, "baseline = \"{}\"", baseline.display())?;
        }
        let changed = RULES.iter().filter_map(|rule| {
            let level = options.levels.of(rule.id, rule.severity);
            (level != Level::Report(rule.severity)).then_some((rule.id, level))
        });
        let changed: Vec<_> = changed.collect();
        if !changed.is_empty() {
            writeln!(out, "\n[rules]")?;
        }
        for (rule, level) in changed {
            writeln!(out, "{rule} = \"{}\"", level.word())?;
        }
    }
    Ok(())
}
