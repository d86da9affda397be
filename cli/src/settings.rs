//! `velo.toml`: the lint settings of a project.
//!
//! ```toml
//! target = "velostream-0.1"      # or "guide"
//! record-size = "2KiB"           # the mean record size
//! fail-on = "warning"            # or "info", "error"
//!
//! [rules]
//! off-the-matrix = "allow"       # or "info", "warning", "error"
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use velo_lint::{Level, Lines, Options, Severity, Target, rules};

/// The file's name.
const NAME: &str = "velo.toml";

/// The settings of a project.
#[derive(Debug, Default)]
pub(crate) struct Project {
    pub options: Options,
    pub fail_on: Option<Severity>,
}

/// Reads the settings at `path`, or those of the nearest directory above `file` that has a `velo.toml`.
pub(crate) fn load(path: Option<&Path>, file: &Path) -> Result<Project> {
    let found = match path {
        Some(path) => Some(path.to_owned()),
        None => find(file)?,
    };
    let Some(path) = found else { return Ok(Project::default()) };
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text).map_err(|problem| {
        let place = Lines::new(&text).position(text.floor_char_boundary(problem.at));
        anyhow::anyhow!("{}:{}:{}: {}", path.display(), place.line, place.column, problem.message)
    })
}

fn find(file: &Path) -> Result<Option<PathBuf>> {
    let start = std::env::current_dir().context("the working directory")?.join(file);
    let settings = start.ancestors().map(|folder| folder.join(NAME)).find(|path| path.is_file());
    Ok(settings)
}

/// An error in the settings, with its byte offset.
struct Problem {
    at: usize,
    message: String,
}

type Value<'a> = Spanned<DeValue<'a>>;

fn parse(text: &str) -> Result<Project, Problem> {
    let table = DeTable::parse(text).map_err(|error| Problem {
        at: error.span().map_or(0, |span| span.start),
        message: error.message().trim().replace('\n', ", "),
    })?;
    let mut project = Project::default();
    let mut settings: Vec<_> = table.get_ref().iter().collect();
    settings.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in settings {
        match key.get_ref().as_ref() {
            "target" => {
                let words: Vec<_> = Target::ALL.iter().map(|target| target.word()).collect();
                project.options.target = Some(word(value, &words, Target::from_word)?);
            }
            "fail-on" => {
                let words = ["info", "warning", "error"];
                project.fail_on = Some(word(value, &words, |word| match Level::from_word(word) {
                    Some(Level::Report(severity)) => Some(severity),
                    _ => None,
                })?);
            }
            "record-size" => {
                let expected = "a quoted size, such as \"500\", \"10KB\" or \"10KiB\"";
                let bytes = value.get_ref().as_str().and_then(velo_schema::parse_bytes);
                project.options.record_bytes = Some(bytes.ok_or_else(|| wrong(value, expected))?);
            }
            "rules" => {
                let table = value.get_ref().as_table().ok_or_else(|| wrong(value, "a table of rules"))?;
                let mut levels: Vec<_> = table.iter().collect();
                // The level of all rules is set first, so that the level of a single rule overrides it.
                levels.sort_by_key(|(rule, _)| (rule.get_ref() != rules::ALL, rule.span().start));
                for (rule, level) in levels {
                    let words: Vec<_> = Level::WORDS.iter().map(|(word, _)| *word).collect();
                    let level = word(level, &words, Level::from_word)?;
                    let set = rules::set_level(&mut project.options.levels, rule.get_ref(), level);
                    set.map_err(|error| Problem { at: rule.span().start, message: error.to_string() })?;
                }
            }
            unknown => {
                let known = ["target", "record-size", "fail-on", "rules"];
                let hint = velo_schema::meant(unknown, known).map_or_else(
                    || format!("expected one of {}", known.join(", ")),
                    |near| format!("did you mean '{near}'?"),
                );
                return Err(Problem {
                    at: key.span().start,
                    message: format!("unknown setting '{unknown}'; {hint}"),
                });
            }
        }
    }
    Ok(project)
}

fn word<T>(value: &Value<'_>, words: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    value
        .get_ref()
        .as_str()
        .and_then(read)
        .ok_or_else(|| wrong(value, &format!("one of {}", words.join(", "))))
}

fn wrong(value: &Value<'_>, expected: &str) -> Problem {
    Problem { at: value.span().start, message: format!("expected {expected}") }
}

/// Sets the level of the rules that are named on the command line.
pub(crate) fn set_levels<'a>(
    options: &mut Options,
    rules: impl IntoIterator<Item = &'a String>,
    level: Level,
) -> Result<()> {
    for rule in rules {
        if let Err(error) = rules::set_level(&mut options.levels, rule, level) {
            bail!("{error}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read() {
        let text = "target = \"velostream-0.1\"\nrecord-size = '2KiB'\nfail-on = 'warning'\n[rules]\nall = 'info'\nunquoted = 'allow'\n";
        let project = parse(text).map_err(|problem| problem.message).unwrap();
        assert_eq!(project.options.target, Some(Target::Velostream01));
        assert_eq!(project.options.record_bytes, Some(2048));
        assert_eq!(project.fail_on, Some(Severity::Warning));
        assert_eq!(project.options.levels.of("unquoted", Severity::Error), Level::Allow);
        assert_eq!(project.options.levels.of("inert-key", Severity::Error), Level::Report(Severity::Info));
    }

    #[test]
    fn errors_have_a_position() {
        let problem = |text: &str| parse(text).map(|_| ()).map_err(|p| (p.at, p.message)).unwrap_err();
        assert_eq!(
            problem("x = 1\nrulez = {}").1,
            "unknown setting 'x'; expected one of target, record-size, fail-on, rules"
        );
        assert_eq!(
            problem("failon = 'error'"),
            (0, "unknown setting 'failon'; did you mean 'fail-on'?".into())
        );
        assert_eq!(problem("fail-on = 'never'"), (10, "expected one of info, warning, error".into()));
        assert_eq!(problem("record-size = 5").0, 14);
        assert_eq!(
            problem("[rules]\ninert-keys = 'allow'").1,
            "there is no rule 'inert-keys'; did you mean 'inert-key'?"
        );
        assert!(problem("target = ").0 > 0);
    }
}
