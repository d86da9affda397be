//! Paths in, texts out: files, directories, stdin; what is wrong with a file is said with its name.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use velo_lint::Language;

/// A text and where it comes from.
#[derive(Debug)]
pub(crate) struct Input {
    /// The name to report.
    pub name: String,
    pub text: String,
    pub language: Language,
}

/// The files that `paths` stand for: themselves, or those below a directory that may hold SQL.
pub(crate) fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(Ok(path.clone()));
            continue;
        }
        let before = files.len();
        let mut walk = ignore::WalkBuilder::new(path);
        for entry in walk.sort_by_file_path(Ord::cmp).build() {
            match entry {
                Ok(entry) if language(entry.path()).is_some() && !entry.path().is_dir() => {
                    files.push(Ok(entry.into_path()));
                }
                Ok(_) => {}
                Err(error) => files.push(Err(error.into())),
            }
        }
        if files.len() == before {
            let path = path.display();
            files.push(Err(anyhow::anyhow!("{path}: no .sql, .ksql or .md file in this directory")));
        }
    }
    files
}

fn language(path: &Path) -> Option<Language> {
    Language::of_extension(path.extension()?.to_str()?)
}

/// Reads a file, or stdin for `-`; `stdin_name` names what comes from there.
pub(crate) fn read(path: &Path, stdin_name: Option<&Path>) -> Result<Input> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            anstream::eprintln!("reading SQL from the terminal; end with Ctrl-D");
        }
        stdin.read_to_end(&mut bytes).context("stdin")?;
        let path = stdin_name.unwrap_or(Path::new("<stdin>"));
        return input(path, bytes);
    }
    if path.is_dir() {
        bail!("{}: is a directory; name a file", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    input(path, bytes)
}

fn input(path: &Path, bytes: Vec<u8>) -> Result<Input> {
    let name = path.display().to_string();
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        bail!("{name}: is UTF-16; save it as UTF-8");
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        bail!("{name}: is not a text: there is a zero byte at offset {offset}");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..valid]).matches('\n').count() + 1;
        anyhow::anyhow!(
            "{name}: is not UTF-8: the byte at offset {valid} (line {line}) is no part of a character"
        )
    })?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if matches!(extension, "yaml" | "yml" | "json" | "toml") {
        bail!("{name}: only SQL and Markdown are read, not .{extension}");
    }
    let language = language(path).unwrap_or(Language::Sql);
    Ok(Input { name, text, language })
}
