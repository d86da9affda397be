//! `velo lint`: files in, findings out; or the files fixed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use velo_lint::allow::allowed;
use velo_lint::baseline::Baseline;
use velo_lint::{Change, Each, FileReport, Severity, Source, Workspace};
use velo_report::{Format, Output, statistics};

use crate::args::{FurtherOutput, LintArgs};
use crate::baselines::{accept, names_beside};
use crate::changed::Changed;
use crate::exit::EXIT_USAGE;
use crate::input::{Disk, Listed, STDIN, decoded, list, source, stdin};
use crate::parallel;
use crate::paths::folder;
use crate::project::Projects;
use crate::render::settings::show;
use crate::render::style;
use crate::write::{diff, replace, write};

/// All processors, if there are many files.
struct InParallel;

impl Each for InParallel {
    fn each<T: Send, R: Send>(&self, items: Vec<T>, of: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
        parallel::map(items, of)
    }
}

pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    if args.unsafe_fixes && !(args.fix || args.diff) {
        bail!("--unsafe-fixes goes with --fix or --diff");
    }
    let reads_stdin = args.paths.iter().any(|path| path == Path::new("-"));
    let mut outputs = std::collections::HashSet::new();
    if let Some(twice) = args.output.iter().find(|output| !outputs.insert(&output.file)) {
        bail!("--output: two formats for {}", twice.file.display());
    }
    if args.stdin_filename.is_some() && !reads_stdin {
        bail!("--stdin-filename names the text from stdin: add - to the paths");
    }
    if args.add_allow.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        bail!("--add-allow needs a reason, such as --add-allow 'measured in May'");
    }
    if reads_stdin && (args.add_allow.is_some() || args.changed_since.is_some()) {
        bail!("--add-allow and --changed-since are for files, not for stdin");
    }
    let projects = Projects::of(args)?;
    let inputs = Inputs::read(args, &projects)?;
    if args.show_settings {
        let mut out = anstream::stdout().lock();
        show(&mut out, &projects, inputs.sources.iter().map(|source| &*source.name))?;
        for excluded in &inputs.excluded {
            writeln!(out, "\n# {}\n# excluded by velo.toml", excluded.display())?;
        }
        return Ok(ExitCode::from(if inputs.has_errors { EXIT_USAGE } else { 0 }));
    }
    let options = |name: &str| projects.options(name);
    let excludes = |name: &str| projects.excludes(name);
    let workspace =
        Workspace { files: &Disk::default(), options: &options, excludes: &excludes, each: InParallel };
    let mut unreadable = inputs.has_errors;
    let mut run = Run { args, projects: &projects, changes: Vec::new(), unwritten: 0 };
    let mut reports = if args.fix || args.diff {
        run.fix(&workspace, inputs)?
    } else if let Some(reason) = &args.add_allow {
        run.add_allow(&workspace, inputs.sources, reason)?
    } else {
        workspace.check(&inputs.sources)
    };
    // Files that statements name may belong to other projects.
    projects.check()?;
    if let Some(file) = &args.write_baseline {
        if unreadable {
            bail!("{}: not written, because not all files could be read", file.display());
        }
        return write_baseline(file, &reports, args.quiet);
    }
    // A baseline counts equal findings, so it is applied before other findings are left out.
    let accepted = run.accept(&mut reports)?;
    if let Some(reference) = &args.changed_since {
        Changed::since(reference)?.apply(&mut reports);
    }
    unreadable |= !run.write_outputs(&reports);
    // With the fixed text on stdout, findings have to go elsewhere.
    run.print(&reports, args.diff || (args.fix && reads_stdin))?;
    let tally = Tally::of(&reports);
    if args.format.name == "text" && !args.quiet {
        let count: usize = run.changes.iter().map(|change| change.fixes).sum();
        let fixed =
            if args.fix && !args.diff && count > 0 { format!("; {count} fixed") } else { String::new() };
        let accepted =
            if accepted > 0 { format!("; {accepted} accepted by the baseline") } else { String::new() };
        anstream::eprintln!("{tally}{fixed}{accepted}");
    }
    let fails = |report: &FileReport| {
        let fail_on = projects.settings(&report.name).fail_on.unwrap_or(Severity::Error);
        report.findings.iter().any(|finding| finding.severity >= fail_on)
    };
    let has_failed = !args.exit_zero
        && (reports.iter().any(fails) || (args.diff && !run.changes.is_empty()) || run.unwritten > 0);
    Ok(ExitCode::from(if unreadable { EXIT_USAGE } else { u8::from(has_failed) }))
}

/// The texts of a run.
struct Inputs {
    sources: Vec<Source>,
    /// What was read from stdin, and its name.
    stdin: Option<(String, Vec<u8>)>,
    /// The files that velo.toml excludes.
    excluded: Vec<PathBuf>,
    has_errors: bool,
}

impl Inputs {
    fn read(args: &LintArgs, projects: &Projects) -> Result<Self> {
        let Listed { files, excluded, errors } = list(&args.paths, projects);
        projects.check()?;
        let sources = Vec::with_capacity(files.len());
        let mut inputs = Self { sources, stdin: None, excluded: Vec::new(), has_errors: false };
        for error in errors {
            inputs.error(&error);
        }
        for file in excluded.iter().filter(|_| args.verbose) {
            anstream::eprintln!("skipped {}: velo.toml excludes it", file.display());
        }
        if files.is_empty() && !excluded.is_empty() && !args.quiet {
            anstream::eprintln!("nothing to check: velo.toml excludes all of these files");
        }
        inputs.excluded = excluded;
        if files.iter().any(|path| path == Path::new("-")) {
            let name = args.stdin_filename.clone().unwrap_or(STDIN.into());
            inputs.stdin = Some((name.to_string_lossy().into_owned(), stdin()?));
        }
        let typed = &inputs.stdin;
        let read = |path: PathBuf| match typed {
            // The name decides about stdin as it would about a file.
            Some((name, _)) if path == Path::new("-") && projects.excludes(name) => None,
            Some((name, bytes)) if path == Path::new("-") => {
                Some(decoded(Path::new(name), bytes.clone(), projects))
            }
            _ => Some(source(&path, projects)),
        };
        for text in parallel::map(files, read) {
            match text {
                None => {}
                Some(Ok(Ok(source))) => {
                    if args.verbose {
                        anstream::eprintln!("checking {}", source.name);
                    }
                    inputs.sources.push(source);
                }
                // A file in another encoding without settings of velo is skipped.
                Some(Ok(Err(foreign))) if !foreign.is_ours && !args.verbose => {}
                Some(Ok(Err(foreign))) if !foreign.is_ours => {
                    anstream::eprintln!("skipped {}: {}", foreign.name, foreign.encoding);
                }
                Some(Ok(Err(foreign))) => {
                    inputs.error(&anyhow::anyhow!("{}: {}", foreign.name, foreign.encoding));
                }
                Some(Err(error)) => inputs.error(&error),
            }
        }
        projects.check()?;
        Ok(inputs)
    }

    fn error(&mut self, error: &anyhow::Error) {
        anstream::eprintln!("{} {error:#}", style::error("error:"));
        self.has_errors = true;
    }
}

/// What a run changes and writes.
struct Run<'a> {
    args: &'a LintArgs,
    projects: &'a Projects,
    changes: Vec<Change>,
    /// The number of findings for which no comment could be added.
    unwritten: usize,
}

impl Run<'_> {
    /// Fixes the texts; what is left to find in them.
    fn fix(&mut self, workspace: &Workspace<'_, InParallel>, inputs: Inputs) -> Result<Vec<FileReport>> {
        let before = self.args.diff.then(|| workspace.check(&inputs.sources));
        let stdin = inputs.stdin;
        let (mut changes, mut left) = workspace.fix(inputs.sources.clone(), self.args.unsafe_fixes);
        // The text is written byte for byte, without styles.
        let mut out = std::io::stdout().lock();
        if self.args.diff {
            for Change { name, before, after, .. } in &changes {
                write!(out, "{}", diff(name, before, after))?;
            }
        } else if let Some((name, bytes)) = &stdin {
            // Only the text from stdin is given to be changed.
            let others: Vec<_> = changes.extract_if(.., |change| change.name != *name).collect();
            for Change { name, .. } in &others {
                anstream::eprintln!("note: {name} is not changed, because the statement comes from stdin");
            }
            if !others.is_empty() {
                left = workspace.check(&with(inputs.sources, &changes));
            }
            out.write_all(changes.first().map_or(bytes, |change| change.after.as_bytes()))?;
        } else {
            for Change { name, after, .. } in &changes {
                replace(Path::new(name), after).with_context(|| name.clone())?;
            }
        }
        self.changes = changes;
        Ok(before.unwrap_or(left))
    }

    /// Adds a comment to each finding; what is left to find.
    fn add_allow(
        &mut self,
        workspace: &Workspace<'_, InParallel>,
        sources: Vec<Source>,
        reason: &str,
    ) -> Result<Vec<FileReport>> {
        let check = |sources: &[Source]| {
            let mut reports = workspace.check(sources);
            self.accept(&mut reports).map(|_| reports)
        };
        let before = check(&sources)?;
        let comment = |report: &FileReport| {
            let is_given = sources.iter().any(|source| source.name == report.name);
            let after = allowed(report, reason).filter(|_| is_given)?;
            let (name, before) = (report.name.clone(), report.text.clone());
            Some(Change { name, before, after, fixes: report.findings.len() })
        };
        let changes: Vec<_> = before.iter().filter_map(comment).collect();
        for Change { name, after, .. } in &changes {
            replace(Path::new(name), after).with_context(|| name.clone())?;
        }
        let sources = with(sources, &changes);
        let count =
            |reports: &[FileReport]| reports.iter().map(|report| report.findings.len()).sum::<usize>();
        self.unwritten = count(&check(&sources)?);
        if !self.args.quiet {
            let allowed = counted(count(&before).saturating_sub(self.unwritten), "finding");
            anstream::eprintln!("allowed {allowed} in {}", counted(changes.len(), "file"));
        }
        if self.unwritten > 0 {
            anstream::eprintln!(
                "note: the findings that are left cannot be allowed by a comment before their line; use a baseline, or [[overrides]] in \
                 velo.toml"
            );
        }
        // The caller applies the baselines, too.
        Ok(workspace.check(&sources))
    }

    /// Removes the findings that baselines accept. Returns their number.
    fn accept(&self, reports: &mut [FileReport]) -> Result<usize> {
        let own = |name: &str| self.projects.project(name).baseline();
        let accepted = accept(reports, |name| self.args.baseline.clone().or_else(|| own(name)))?;
        for (file, stale) in accepted.stale.iter().filter(|_| !self.args.quiet) {
            let (count, file) = (stale.len(), file.display());
            let entries = if count == 1 { "1 entry" } else { &format!("{count} entries") };
            anstream::eprintln!(
                "note: {entries} of {file} match no finding any more; --write-baseline {file} removes them, and \
                 accepts everything else that is found now"
            );
            for stale in stale.iter().filter(|_| self.args.verbose) {
                anstream::eprintln!("  {}: {}: {}", stale.file, stale.entry.rule, stale.entry.message);
            }
        }
        Ok(accepted.count)
    }

    /// Writes the further outputs. Returns false if one cannot be written.
    fn write_outputs(&self, reports: &[FileReport]) -> bool {
        let mut is_written = true;
        for FurtherOutput { format, file } in &self.args.output {
            let mut bytes = Vec::new();
            let result = (format.print)(&mut bytes, reports, &output(false))
                .and_then(|()| write(file, &String::from_utf8_lossy(&bytes)));
            if let Err(error) = result {
                anstream::eprintln!("{} {}: {error}", style::error("error:"), file.display());
                is_written = false;
            }
        }
        is_written
    }

    fn print(&self, reports: &[FileReport], to_stderr: bool) -> Result<()> {
        let (out, choice): (Box<dyn Write>, _) = if to_stderr {
            (Box::new(anstream::stderr().lock()), anstream::AutoStream::choice(&std::io::stderr()))
        } else {
            (Box::new(anstream::stdout().lock()), anstream::AutoStream::choice(&std::io::stdout()))
        };
        let mut out = std::io::BufWriter::new(out);
        let format: &Format = self.args.format;
        if self.args.statistics && format.name == "json" {
            statistics::print_json(&mut out, reports)?;
        } else if self.args.statistics {
            statistics::print(&mut out, reports)?;
        } else {
            (format.print)(&mut out, reports, &output(choice != anstream::ColorChoice::Never))?;
        }
        out.flush()?;
        Ok(())
    }
}

/// Returns the texts after these changes.
fn with(mut sources: Vec<Source>, changes: &[Change]) -> Vec<Source> {
    for source in &mut sources {
        if let Some(change) = changes.iter().find(|change| change.name == source.name) {
            source.text.clone_from(&change.after);
        }
    }
    sources
}

fn output(has_colors: bool) -> Output {
    Output { has_colors, folder: std::env::current_dir().unwrap_or_default() }
}

fn write_baseline(file: &Path, reports: &[FileReport], quiet: bool) -> Result<ExitCode> {
    let name = names_beside(file);
    let mut baseline = Baseline::of(reports, &name);
    if let Ok(text) = std::fs::read_to_string(file) {
        let before = Baseline::parse(&text).with_context(|| file.display().to_string())?;
        let folder = folder(file);
        // What was not checked now stays accepted, unless it is gone.
        let is_checked = |known: &str| reports.iter().any(|report| name(&report.name) == known);
        for (known, accepted) in before.files {
            if !is_checked(&known) && folder.join(&known).exists() {
                baseline.files.insert(known, accepted);
            }
        }
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&baseline)?);
    write(file, &text).with_context(|| file.display().to_string())?;
    if !quiet {
        let findings = counted(baseline.files.values().map(Vec::len).sum(), "finding");
        anstream::eprintln!(
            "{}: {findings} accepted in {}",
            file.display(),
            counted(baseline.files.len(), "file")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a number with its word, such as `1 file` or `2 files`.
fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[derive(Default)]
struct Tally {
    files: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
}

impl Tally {
    fn of(reports: &[FileReport]) -> Self {
        let mut tally = Self { files: reports.len(), ..Self::default() };
        for finding in reports.iter().flat_map(|report| &report.findings) {
            match finding.severity {
                Severity::Error => tally.errors += 1,
                Severity::Warning => tally.warnings += 1,
                Severity::Info => tally.notes += 1,
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (errors, warnings) = (counted(self.errors, "error"), counted(self.warnings, "warning"));
        let (notes, files) = (counted(self.notes, "note"), counted(self.files, "file"));
        write!(f, "{errors}, {warnings}, {notes} in {files}")
    }
}
