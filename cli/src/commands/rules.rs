//! `velo rules`: the rules of lint, or one in full.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use velo_lint::Severity;
use velo_lint::rules::{RULES, Rule};

use crate::render::plan::table;

pub(crate) fn run(rule: Option<&str>) -> Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    let Some(name) = rule else {
        let mut table = table(&["rule", "severity", "finds"]);
        for rule in RULES {
            table.add_row([rule.id, severity(rule), rule.summary]);
        }
        writeln!(out, "{table}")?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(rule) = RULES.iter().find(|rule| rule.id == name) else {
        bail!("there is no rule '{name}'; velo rules lists them");
    };
    writeln!(out, "{} ({})\n\n{}\n\n{}", rule.id, severity(rule), rule.summary, rule.doc)?;
    Ok(ExitCode::SUCCESS)
}

fn severity(rule: &Rule) -> &'static str {
    match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}
