//! `velo lint`: files in, findings out; or the files mended.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use velo_lint::{Document, Finding, Language, Level, Options, Severity, rules};

use crate::args::{LintArgs, LintFormat, SeverityArg, TargetArg};
use crate::input::{Input, canonical, files, read};
use crate::mend::{Mended, diff, mend, write};
use crate::parallel;
use crate::render::{finding_github, finding_json, finding_sarif, finding_text, style};
use crate::settings::{self, Project};

/// A text with what was found in it.
pub(crate) struct Checked {
    pub name: String,
    pub text: String,
    pub findings: Vec<Finding>,
}

pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    if args.unsafe_fixes && !(args.fix || args.diff) {
        bail!("--unsafe-fixes goes with --fix or --diff");
    }
    let project = project(args)?;
    let read = |file: Result<PathBuf>| {
        let path = file?;
        Ok((read(&path, args.stdin_filename.as_deref())?, path))
    };
    let texts: Vec<Result<_>> = parallel::map(files(&args.paths), read);
    let mut inputs = Vec::with_capacity(texts.len());
    let mut unreadable = false;
    for text in texts {
        match text {
            Ok(input) => inputs.push(input),
            Err(error) => {
                anstream::eprintln!("{} {error:#}", style::error("error:"));
                unreadable = true;
            }
        }
    }
    let mends = args.fix || args.diff;
    let (checked, mended) =
        if mends { fixed(inputs, args, &project)? } else { (check(&inputs, &project.options), 0) };
    // With the mended text on stdout, findings have to go elsewhere.
    let to_stderr = args.diff || (args.fix && args.paths.iter().any(|path| path == Path::new("-")));
    let (out, choice): (Box<dyn Write>, _) = if to_stderr {
        (Box::new(anstream::stderr().lock()), anstream::AutoStream::choice(&std::io::stderr()))
    } else {
        (Box::new(anstream::stdout().lock()), anstream::AutoStream::choice(&std::io::stdout()))
    };
    let mut out = std::io::BufWriter::new(out);
    print(&mut out, args.format, &checked, choice != anstream::ColorChoice::Never)?;
    out.flush()?;
    drop(out);
    let tally = Tally::of(&checked);
    if args.format == LintFormat::Text {
        let fixed = if args.fix && mended > 0 { format!("; {mended} fixed") } else { String::new() };
        anstream::eprintln!("{tally}{fixed}");
    }
    let fail_on = args.fail_on.map_or(project.fail_on.unwrap_or(Severity::Error), severity);
    let failed = tally.worst.is_some_and(|worst| worst >= fail_on) || (args.diff && mended > 0);
    Ok(ExitCode::from(if unreadable { crate::EXIT_USAGE } else { u8::from(failed) }))
}

/// What the project asks for, and what the command line asks for instead.
fn project(args: &LintArgs) -> Result<Project> {
    let first = args.paths.first().filter(|path| *path != Path::new("-")).or(args.stdin_filename.as_ref());
    let file = first.cloned().unwrap_or_default();
    let mut project = settings::load(args.config.as_deref(), &file)?;
    let options = &mut project.options;
    options.record_bytes = args.record_size.or(options.record_bytes);
    options.target = args.target.map(TargetArg::target).or(options.target);
    // What all rules are set to goes before what one is.
    for is_all in [true, false] {
        let lists = [
            (&args.allow, Level::Allow),
            (&args.warn, Level::Report(Severity::Warning)),
            (&args.deny, Level::Report(Severity::Error)),
        ];
        for (rules, level) in lists {
            let rules = rules.iter().filter(|rule| (*rule == rules::ALL) == is_all);
            settings::set_levels(options, rules, level)?;
        }
    }
    Ok(project)
}

/// Checks every text. A configuration file that a statement names is checked as a part of that.
fn check(inputs: &[(Input, PathBuf)], options: &Options) -> Vec<Checked> {
    let document = |(input, _): &(Input, _)| (input.language != Language::Yaml).then(|| input.document());
    let documents = parallel::map(inputs.iter().collect(), document);
    let parts =
        documents.iter().flatten().flat_map(|document| (1..document.texts()).map(|n| document.name(n)));
    let named: HashSet<_> = parts.map(canonical).collect();
    let is_part = |name: &str| !named.is_empty() && named.contains(&canonical(name));
    let find = |((input, _), document): (&(Input, _), Option<Document>)| match document {
        None if is_part(&input.name) => Err(input.name.clone()),
        known => Ok(Found::of(known.unwrap_or_else(|| input.document()), options)),
    };
    let mut results = Results::default();
    for found in parallel::map(inputs.iter().zip(documents).collect(), find) {
        match found {
            Ok(found) => results.add(found),
            Err(part) => results.reserve(&part),
        }
    }
    results.done()
}

/// A text with the files that it names, and what was found in them.
struct Found {
    document: Document,
    /// The canonical path of the text and of each file.
    paths: Vec<PathBuf>,
    findings: Vec<Finding>,
}

impl Found {
    fn of(document: Document, options: &Options) -> Self {
        let paths = (0..document.texts()).map(|file| canonical(document.name(file))).collect();
        let findings = document.check(options);
        Self { document, paths, findings }
    }
}

/// What was found, by file, in the order in which the files are first met.
#[derive(Default)]
struct Results {
    checked: Vec<Checked>,
    numbers: HashMap<PathBuf, usize>,
}

impl Results {
    /// Makes a place for a file whose findings come with those of another one.
    fn reserve(&mut self, name: &str) {
        self.place(canonical(name), name);
    }

    /// Returns the place of a file, and makes one if it has none.
    fn place(&mut self, path: PathBuf, name: &str) -> usize {
        let next = self.checked.len();
        let number = *self.numbers.entry(path).or_insert(next);
        if number == next {
            let name = name.to_owned();
            self.checked.push(Checked { name, text: String::new(), findings: Vec::new() });
        }
        number
    }

    fn add(&mut self, Found { document, paths, findings }: Found) {
        let mut numbers = Vec::with_capacity(paths.len());
        for (file, path) in paths.into_iter().enumerate() {
            let number = self.place(path, document.name(file));
            document.text(file).clone_into(&mut self.checked[number].text);
            numbers.push(number);
        }
        for mut finding in findings {
            let checked = &mut self.checked[numbers[finding.file]];
            // --fix changes the files that it is given, and no file that those name.
            finding.fix = finding.fix.filter(|_| finding.file == 0);
            finding.file = 0;
            checked.findings.push(finding);
        }
    }

    /// Several statements may name one file, and find the same in it.
    fn done(mut self) -> Vec<Checked> {
        for checked in &mut self.checked {
            checked.findings.sort_by(Finding::in_order);
            checked.findings.dedup();
        }
        self.checked
    }
}

/// Mends the texts; what is left to find in them, and how many fixes there were.
fn fixed(inputs: Vec<(Input, PathBuf)>, args: &LintArgs, project: &Project) -> Result<(Vec<Checked>, usize)> {
    let mut count = 0;
    // The text is somebody's own: every byte of it goes out as it is.
    let mut out = std::io::stdout().lock();
    let mut left = Vec::new();
    // In order, because the settings of a file may stand in another file that is mended before it.
    for (input, path) in inputs {
        let is_stdin = path == Path::new("-");
        let Mended { text, applied } = mend(&input, &project.options, args.unsafe_fixes);
        count += applied;
        if args.diff {
            write!(out, "{}", diff(&input.name, &input.text, &text))?;
            left.push((input, path));
            continue;
        }
        if is_stdin {
            write!(out, "{text}")?;
        } else if text != input.text {
            write(&path, &text).with_context(|| path.display().to_string())?;
        }
        left.push((Input { text, ..input }, path));
    }
    Ok((check(&left, &project.options), count))
}

fn print(out: &mut dyn Write, format: LintFormat, checked: &[Checked], has_colors: bool) -> Result<()> {
    match format {
        LintFormat::Text => {
            for file in checked.iter().filter(|file| !file.findings.is_empty()) {
                finding_text::print(out, file, has_colors)?;
            }
        }
        LintFormat::Json => {
            serde_json::to_writer_pretty(&mut *out, &finding_json::findings(checked))?;
            writeln!(out)?;
        }
        LintFormat::Sarif => {
            serde_json::to_writer_pretty(&mut *out, &finding_sarif::log(checked))?;
            writeln!(out)?;
        }
        LintFormat::Github => finding_github::print(out, checked)?,
    }
    Ok(())
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
    fn of(checked: &[Checked]) -> Self {
        let mut tally = Self { files: checked.len(), ..Self::default() };
        for finding in checked.iter().flat_map(|file| &file.findings) {
            match finding.severity {
                Severity::Error => tally.errors += 1,
                Severity::Warning => tally.warnings += 1,
                Severity::Info => tally.notes += 1,
            }
            tally.worst = tally.worst.max(Some(finding.severity));
        }
        tally
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
