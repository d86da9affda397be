//! `velo lint`: files in, findings out.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use velo_lint::{Lines, Severity, lint};

use crate::args::{LintArgs, LintFormat, SeverityArg};
use crate::input::{files, read};
use crate::render::{finding_json, finding_text, style};

pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    let mut out = anstream::stdout().lock();
    let mut unreadable = false;
    let mut tally = Tally::default();
    let mut json = Vec::new();
    for file in files(&args.paths) {
        let input = match file.and_then(|path| read(&path, args.stdin_filename.as_deref())) {
            Ok(input) => input,
            Err(error) => {
                anstream::eprintln!("{} {error:#}", style::error("error:"));
                unreadable = true;
                continue;
            }
        };
        tally.files += 1;
        let lines = Lines::new(&input.text);
        for finding in lint(&input.text, input.language) {
            tally.add(finding.severity);
            match args.format {
                LintFormat::Text => writeln!(out, "{}\n", finding_text::text(&input, &lines, &finding))?,
                LintFormat::Json => json.push(finding_json::json(&input.name, &lines, &finding)),
            }
        }
    }
    match args.format {
        LintFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &json)?;
            writeln!(out)?;
        }
        LintFormat::Text => anstream::eprintln!("{tally}"),
    }
    let failed = tally.worst.is_some_and(|worst| worst >= severity(args.fail_on));
    Ok(ExitCode::from(if unreadable { crate::EXIT_USAGE } else { u8::from(failed) }))
}

fn severity(arg: SeverityArg) -> Severity {
    match arg {
        SeverityArg::Info => Severity::Info,
        SeverityArg::Warning => Severity::Warning,
        SeverityArg::Error => Severity::Error,
    }
}

#[derive(Default)]
struct Tally {
    files: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    worst: Option<Severity>,
}

impl Tally {
    fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Info => self.notes += 1,
        }
        self.worst = self.worst.max(Some(severity));
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        let (notes, files) = (count(self.notes, "note"), count(self.files, "file"));
        write!(f, "{errors}, {warnings}, {notes} in {files}")
    }
}
