//! Reads the texts of files, directories and stdin. Errors name the file.

use std::collections::HashSet;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use velo_lint::{Document, File, FileError, Files, Language};

/// A text and its origin.
#[derive(Debug)]
pub(crate) struct Input {
    /// The name in messages.
    pub name: String,
    pub text: String,
    pub language: Language,
}

impl Input {
    /// Parses the text and the files that its statements name.
    pub(crate) fn document(&self) -> Document {
        Document::read(&self.name, &self.text, self.language, &Disk)
    }
}

/// Returns the files among `paths`, and the SQL, YAML, JSON and Markdown files below the directories among them.
pub(crate) fn files(paths: &[PathBuf]) -> Vec<Result<PathBuf>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        if !path.is_dir() {
            if seen.insert(path.clone()) {
                files.push(Ok(path.clone()));
            }
            continue;
        }
        let before = files.len();
        let mut walk = ignore::WalkBuilder::new(path);
        for entry in walk.sort_by_file_path(Ord::cmp).build() {
            match entry {
                // A directory has no text, and reading a pipe blocks.
                Ok(entry) if language(entry.path()).is_some() && entry.path().is_file() => {
                    if seen.insert(entry.path().to_owned()) {
                        files.push(Ok(entry.into_path()));
                    }
                }
                Ok(_) => {}
                Err(error) => files.push(Err(error.into())),
            }
        }
        if files.len() == before {
            let path = path.display();
            files.push(Err(anyhow::anyhow!("{path}: no SQL, YAML, JSON or Markdown file in this directory")));
        }
    }
    files
}

fn language(path: &Path) -> Option<Language> {
    Language::of_extension(path.extension()?.to_str()?)
}

/// Reads a file, or stdin for `-`. `stdin_name` is the name of stdin in messages.
pub(crate) fn read(path: &Path, stdin_name: Option<&Path>) -> Result<Input> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            anstream::eprintln!("reading SQL from the terminal; press Ctrl-D to end");
        }
        stdin.read_to_end(&mut bytes).context("stdin")?;
        let path = stdin_name.unwrap_or(Path::new("<stdin>"));
        return input(path, bytes);
    }
    if path.is_dir() {
        bail!("{}: is a directory; specify a file", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    input(path, bytes)
}

fn input(path: &Path, bytes: Vec<u8>) -> Result<Input> {
    let name = path.display().to_string();
    let text = decode(bytes).map_err(|problem| anyhow::anyhow!("{name}: {problem}"))?;
    if path.extension().is_some_and(|extension| extension == "toml") {
        bail!("{name}: unsupported file type .toml; expected SQL, YAML, JSON or Markdown");
    }
    let language = language(path).unwrap_or(Language::Sql);
    Ok(Input { name, text, language })
}

/// Decodes UTF-8.
///
/// # Errors
/// If the bytes are not UTF-8 text; the message says why.
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("is UTF-16; save it as UTF-8".to_owned());
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!("is not a text file: zero byte at offset {offset}"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..valid]).matches('\n').count() + 1;
        format!("is not UTF-8: the byte at offset {valid} (line {line}) is invalid")
    })
}

/// Reads the files that statements name from disk.
///
/// A relative path is resolved against the directory of the file that names it, then against each directory above it, up
/// to the root of the project (the directory with `.git` or `velo.toml`) or the working directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, from: &str, path: &str) -> Result<File, FileError> {
        let here = std::env::current_dir().map_err(|error| FileError::Unreadable(error.to_string()))?;
        let start = here.join(from);
        let is_root = |folder: &Path| {
            folder == here || folder.join(".git").exists() || folder.join("velo.toml").is_file()
        };
        let is_inside = start.starts_with(&here);
        for folder in start.ancestors().skip(1) {
            let candidate = folder.join(path);
            if candidate.is_file() {
                let unreadable = |problem: String| FileError::Unreadable(problem);
                let bytes = std::fs::read(&candidate).map_err(|error| unreadable(error.to_string()))?;
                let name = candidate.strip_prefix(&here).unwrap_or(&candidate).display().to_string();
                return Ok(File { name, text: decode(bytes).map_err(unreadable)? });
            }
            if is_root(folder) || !is_inside {
                break;
            }
        }
        Err(FileError::NotFound)
    }
}

/// Returns the canonical path of a file, so that two names of one file compare equal.
pub(crate) fn canonical(name: &str) -> PathBuf {
    std::fs::canonicalize(name).unwrap_or_else(|_| PathBuf::from(name))
}
