//! `velo rules`: the rules of lint, or one in full.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;
use velo_lint::rule::Rule;
use velo_lint::rules::{RULES, named};

use velo_report::rules_page::page;

use crate::args::DocsFormat;
use crate::render::plan::table;

pub(crate) fn run(rule: Option<&str>, format: DocsFormat) -> Result<ExitCode> {
    let rules: Vec<&Rule> = match rule {
        None => RULES.to_vec(),
        Some(name) => match named(name) {
            Ok(rule) => vec![rule],
            Err(unknown) => bail!("{unknown}; velo rules lists them"),
        },
    };
    let mut out = anstream::stdout().lock();
    match format {
        DocsFormat::Markdown => write!(out, "{}", page(&rules))?,
        DocsFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &rules.iter().map(|rule| json(rule)).collect::<Vec<_>>())?;
            writeln!(out)?;
        }
        DocsFormat::Text if rule.is_some() => {
            for rule in rules {
                writeln!(out, "{}", explain(rule))?;
            }
        }
        DocsFormat::Text => {
            let mut table = table(&["rule", "severity", "finds"]);
            for rule in rules {
                table.add_row([rule.id, rule.severity.word(), rule.summary]);
            }
            writeln!(out, "{table}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(rule: &Rule) -> String {
    format!(
        "{} ({})\n\n{}\n\n{}\n\ninstead of\n  {}\nwrite\n  {}",
        rule.id,
        rule.severity.word(),
        rule.summary,
        rule.why,
        rule.example.trim_end().replace('\n', "\n  "),
        rule.better.trim_end().replace('\n', "\n  ")
    )
}

fn json(rule: &Rule) -> serde_json::Value {
    json!({
        "id": rule.id,
        "severity": rule.severity.word(),
        "summary": rule.summary,
        "why": rule.why,
        "example": rule.example,
        "better": rule.better,
        "page": format!("docs/rules.md#{}", rule.id),
    })
}
