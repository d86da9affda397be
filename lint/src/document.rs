//! A text with the files that its statements name: read once, then checked, planned or run.

use rustc_hash::FxHashMap as HashMap;
use std::ops::Range;

use velo_schema::Scope;

use crate::files::{FileError, Files};
use crate::finding::Finding;
use crate::language::Language;
use crate::options::Options;
use crate::ownership::{Names, Owner, config_file_scope, is_foreign_clause, owner};
use crate::rule::Findings;
use crate::rules;
use crate::scan::{RawEntry, RawValue, Statement};
use crate::severity::Severity;
use crate::span::Span;
use crate::suppress::Suppressions;
use crate::topic_keys::is_topic_key;
use crate::unit::{Expansions, LostFile, Part, Unit};
use crate::variables::Variables;

/// A text, its statements, and the configuration files that they name.
#[derive(Debug)]
pub struct Document {
    name: String,
    text: String,
    language: Language,
    statements: Vec<Statement>,
    /// For each statement, the files it names.
    references: Vec<Vec<Reference>>,
    files: Vec<ConfigFile>,
    /// The variables that placeholders are filled in from; without them placeholders stay open.
    variables: Option<Variables>,
    expansions: Expansions,
}

#[derive(Debug)]
struct ConfigFile {
    name: String,
    text: String,
    language: Language,
    statements: Vec<Statement>,
}

/// A `config_file` of a statement.
#[derive(Debug)]
struct Reference {
    /// Whose settings the file holds.
    scope: Scope,
    /// Where the path stands.
    span: Range<usize>,
    path: String,
    /// The file's number, from 1.
    found: Result<usize, FileError>,
}

impl Document {
    /// Reads a text called `name` and every file that `files` has of those it names.
    #[must_use]
    pub fn read(name: &str, text: &str, language: Language, files: &dyn Files) -> Self {
        Self::read_with(name, text, language, files, None)
    }

    /// Reads a text that is to be run here: placeholders are filled in, in values, names and paths, and
    /// absolute paths are this machine's.
    #[must_use]
    pub fn read_to_run(
        name: &str,
        text: &str,
        language: Language,
        files: &dyn Files,
        variables: Variables,
    ) -> Self {
        Self::read_with(name, text, language, files, Some(variables))
    }

    fn read_with(
        name: &str,
        text: &str,
        language: Language,
        files: &dyn Files,
        variables: Option<Variables>,
    ) -> Self {
        let mut statements = crate::statements::statements(text, language);
        let mut document = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            language,
            references: Vec::with_capacity(statements.len()),
            statements: Vec::new(),
            files: Vec::new(),
            variables,
            expansions: Expansions::default(),
        };
        document.fill_in(0, text, &statements);
        document.fill_in_names(&mut statements);
        let mut numbers = HashMap::default();
        for statement in &statements {
            let names = Names::new(&statement.names);
            let mut references = document.references(text, statement);
            for reference in &mut references {
                let number = numbers.entry(reference.path.clone());
                reference.found =
                    number.or_insert_with(|| document.add(files, &reference.path, &names)).clone();
            }
            document.references.push(references);
        }
        document.statements = statements;
        document
    }

    /// Fills in the placeholders in the values of a text.
    fn fill_in(&mut self, file: usize, text: &str, statements: &[Statement]) {
        let Some(variables) = &self.variables else { return };
        let entries = statements.iter().flat_map(|statement| &statement.clauses).flat_map(|c| &c.entries);
        for entry in entries {
            let RawValue::Text(value) = &entry.value else { continue };
            if let Some(expanded) = variables.expand(&text[value.span.clone()]) {
                self.expansions.insert((file, value.span.start), expanded);
            }
        }
    }

    /// Fills in the placeholders in the names of sources and sinks; those that stay open stay as they are.
    fn fill_in_names(&self, statements: &mut [Statement]) {
        let Some(variables) = &self.variables else { return };
        for statement in statements {
            for name in statement.name.iter_mut().chain(&mut statement.names) {
                for text in [Some(&mut name.text), name.short.as_mut()].into_iter().flatten() {
                    let expanded = variables.expand(text).filter(|expanded| expanded.open.is_empty());
                    if let Some(expanded) = expanded {
                        *text = expanded.text;
                    }
                }
            }
        }
    }

    /// The files that a statement names, not looked for yet.
    fn references(&self, text: &str, statement: &Statement) -> Vec<Reference> {
        let names = Names::new(&statement.names);
        let clauses = statement.clauses.iter().filter(|clause| !is_foreign_clause(text, clause));
        let mut found = Vec::new();
        for entry in clauses.flat_map(|clause| &clause.entries) {
            let Some(scope) = config_file_scope(entry.name(text), &names) else { continue };
            let RawValue::Text(value) = &entry.value else { continue };
            let expanded = self.expansions.get(&(0, value.span.start)).filter(|e| e.open.is_empty());
            let path = expanded.map_or(&text[value.span.clone()], |expanded| &expanded.text);
            found.push(Reference {
                scope,
                span: value.span.clone(),
                path: path.to_owned(),
                found: Err(FileError::NotLooked),
            });
        }
        found
    }

    fn add(&mut self, files: &dyn Files, path: &str, names: &Names) -> Result<usize, FileError> {
        let is_absolute = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
        if is_elsewhere(path) || (is_absolute && self.variables.is_none()) {
            return Err(FileError::NotLooked);
        }
        let file = files.read(&self.name, path)?;
        // Two paths may lead to one file.
        if let Some(known) = self.files.iter().position(|known| known.name == file.name) {
            return Ok(known + 1);
        }
        let extension = file.name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let language = Language::of_file_name(&file.name).unwrap_or(Language::Yaml);
        let unreadable = |why: &str| FileError::Unreadable(why.to_owned());
        if extension.eq_ignore_ascii_case("json") && has_comment(&file.text) {
            return Err(unreadable("JSON has no comments; most readers refuse the file"));
        }
        let statements = match language {
            Language::Yaml => crate::yaml::declared(&file.text, names),
            Language::Sql | Language::Markdown => {
                return Err(unreadable("it is no YAML or JSON"));
            }
        };
        // A file without a mapping of our settings would have no effect.
        let clauses = || statements.iter().flat_map(|statement| &statement.clauses);
        let is_ours = |entry: &RawEntry| {
            let name = entry.name(&file.text);
            owner(name, &entry.value, names) != Owner::Foreign || is_topic_key(name, names)
        };
        let is_faulty = clauses().any(|clause| !clause.faults.is_empty());
        if !is_faulty && !clauses().flat_map(|clause| &clause.entries).any(is_ours) {
            return Err(unreadable(
                "it has none of these settings at its top level (batch, failure_strategy, …)",
            ));
        }
        self.fill_in(self.files.len() + 1, &file.text, &statements);
        self.files.push(ConfigFile { name: file.name, text: file.text, language, statements });
        Ok(self.files.len())
    }

    /// The statements, in order.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The name of the text (0) or of the `n`th file that it names.
    #[must_use]
    pub fn name(&self, file: usize) -> &str {
        file.checked_sub(1).map_or(&self.name, |index| &self.files[index].name)
    }

    /// The text itself (0) or the `n`th file that it names.
    #[must_use]
    pub fn text(&self, file: usize) -> &str {
        file.checked_sub(1).map_or(&self.text, |index| &self.files[index].text)
    }

    /// The language of the text (0) or of the `n`th file that it names.
    #[must_use]
    pub fn language(&self, file: usize) -> Language {
        file.checked_sub(1).map_or(self.language, |index| self.files[index].language)
    }

    /// The paths of the files that it names and that are not there or cannot be used, as written.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        let is_unread = |found: &Result<usize, FileError>| {
            matches!(found, Err(FileError::NotFound | FileError::Unreadable(_)))
        };
        let references = self.references.iter().flatten();
        references.filter(move |named| is_unread(&named.found)).map(|named| named.path.as_str())
    }

    /// How many texts there are, this one included.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.files.len() + 1
    }

    /// Each statement with what its files add to it, in the order of [`Document::statements`].
    pub fn units<'a>(&'a self, options: &'a Options) -> impl Iterator<Item = Unit<'a>> {
        self.units_of(options, |_| true)
    }

    /// The same for the statements that `is_wanted` names.
    pub fn units_of<'a>(
        &'a self,
        options: &'a Options,
        is_wanted: impl Fn(&Statement) -> bool,
    ) -> impl Iterator<Item = Unit<'a>> {
        let statements = self.statements.iter().zip(&self.references);
        statements.filter(move |(statement, _)| is_wanted(statement)).map(move |(statement, references)| {
            let mut parts = Vec::new();
            let mut lost = Vec::new();
            for reference in references {
                match &reference.found {
                    Ok(number) => {
                        let file = &self.files[number - 1];
                        let clauses = file.statements.iter().flat_map(|statement| &statement.clauses);
                        let part = |clause| Part::new(*number, &file.text, clause);
                        parts.extend(clauses.map(|clause| (reference.scope.clone(), part(clause))));
                    }
                    Err(error) => lost.push(LostFile {
                        span: Span::here(reference.span.clone()),
                        path: reference.path.clone(),
                        error: error.clone(),
                    }),
                }
            }
            let expansions = self.variables.as_ref().map(|_| &self.expansions);
            Unit::with_files(&self.text, statement, &parts, lost, options, expansions)
        })
    }

    /// Everything that is wrong, whatever comments silence, in the order of the files and of the places in them.
    fn findings(&self, options: &Options) -> Vec<Finding> {
        let mut findings = Vec::new();
        for unit in self.units(options) {
            let mut found = Findings::default();
            rules::check(&unit, &mut found);
            findings.extend(found.into_sorted());
        }
        let users = |file: usize| {
            let names = |references: &&Vec<Reference>| references.iter().any(|named| named.found == Ok(file));
            self.references.iter().filter(names).count()
        };
        let users: Vec<_> = (0..self.texts()).map(|file| if file == 0 { 1 } else { users(file) }).collect();
        merge(findings, |file| users[file])
    }

    /// What makes the settings unusable. A comment may silence a finding; it cannot make a mistake right, so
    /// nobody runs what has an error here.
    #[must_use]
    pub fn errors(&self) -> Vec<Finding> {
        let findings = self.findings(Options::DEFAULT);
        findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect()
    }

    /// Everything that is wrong and that no comment silences, in the order of the files and of the places in them.
    #[must_use]
    pub fn check(&self, options: &Options) -> Vec<Finding> {
        self.check_by_file(options, |_| options)
    }

    /// The same, with options of their own for the levels of rules in each file. What is known beside the text is that
    /// of `options`, because a file is part of the statements that name it.
    #[must_use]
    pub fn check_by_file<'o>(
        &self,
        options: &Options,
        of_file: impl Fn(usize) -> &'o Options,
    ) -> Vec<Finding> {
        let mut findings = self.findings(options);
        for file in 0..self.texts() {
            let suppressions = Suppressions::of(self.text(file), self.language(file), &self.spans(file));
            let unused = suppressions.apply(file, &mut findings);
            findings.extend(unused.iter().filter_map(|unused| rules::unused(file, unused, of_file(file))));
        }
        findings.sort_by(Finding::in_order);
        rules::leveled(findings, |file| &of_file(file).levels)
    }

    /// The bytes of the statements of the text (0) or of the `n`th file that it names.
    #[must_use]
    pub fn spans(&self, file: usize) -> Vec<Range<usize>> {
        let statements = match file.checked_sub(1) {
            None => &self.statements,
            Some(index) => &self.files[index].statements,
        };
        statements.iter().map(|statement| statement.span.clone()).collect()
    }
}

/// Merges what several readers of a file have found in it: one finding a rule and place. `users` is the number of the
/// readers of a file. A fix that not all of them want may change what the file means to the others.
pub(crate) fn merge(mut findings: Vec<Finding>, users: impl Fn(usize) -> usize) -> Vec<Finding> {
    crate::steps::add(findings.len());
    findings.sort_by(Finding::in_order);
    let mut merged: Vec<(Finding, usize)> = Vec::with_capacity(findings.len());
    for finding in findings {
        match merged.last_mut() {
            Some((last, count)) if last.is_at(&finding) => {
                *count += usize::from(last.fix == finding.fix);
                if last.fix != finding.fix {
                    last.fix = None;
                }
            }
            _ => merged.push((finding, 1)),
        }
    }
    let agreed = merged.into_iter().filter_map(|(mut finding, count)| {
        let is_shared = count < users(finding.file);
        // A comment that suppresses something for one of them is used.
        if is_shared && finding.rule == rules::unused_suppression::RULE.id {
            return None;
        }
        if let Some(fix) = &mut finding.fix {
            fix.safe &= !is_shared;
        }
        Some(finding)
    });
    agreed.collect()
}

/// Whether a path is none of a file system: a URL, or a placeholder that is not filled in.
fn is_elsewhere(path: &str) -> bool {
    path.is_empty() || path.contains("://") || path.contains(['$', '{'])
}

/// True if a JSON text has a comment.
fn has_comment(text: &str) -> bool {
    let mut in_string = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            '"' => in_string = !in_string,
            '/' if !in_string => return true,
            _ => {}
        }
    }
    false
}
