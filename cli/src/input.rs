//! Reads the texts of files, directories and stdin. Errors name the file.

use std::collections::HashSet;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use velo_lint::{Document, File, FileError, Files, Language, NoFiles, Options, Source};

use crate::paths::{canonical, lexical, plain};
use crate::project::Projects;

/// The name of stdin in messages.
pub(crate) const STDIN: &str = "<stdin>";

/// The files of a run.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub files: Vec<PathBuf>,
    /// The files that their project excludes.
    pub excluded: Vec<PathBuf>,
    pub errors: Vec<anyhow::Error>,
}

/// Lists the files among `paths`, and the files with an ending of ours below the directories among them. Ignore files
/// count within directories, and what a project excludes is left out everywhere.
pub(crate) fn list(paths: &[PathBuf], projects: &Projects) -> Listed {
    let mut listed = Listed::default();
    let mut seen = HashSet::new();
    for given in paths {
        let path = if given == Path::new("-") { given.clone() } else { plain(given) };
        if !path.is_dir() {
            if path.to_str().is_none() {
                listed
                    .errors
                    .push(anyhow::anyhow!("{}: the name of the file is not Unicode", path.display()));
                continue;
            }
            if seen.insert(canonical(&path.to_string_lossy())) {
                let is_excluded = path != Path::new("-") && projects.excludes(&path.to_string_lossy());
                if is_excluded { &mut listed.excluded } else { &mut listed.files }.push(path);
            }
            continue;
        }
        let before = listed.files.len() + listed.excluded.len();
        // An ignore file counts whether or not the folder is a checkout.
        let mut walk = ignore::WalkBuilder::new(&path);
        for entry in walk.require_git(false).sort_by_file_path(Ord::cmp).build() {
            let path = match entry {
                Ok(entry) => plain(entry.path()),
                Err(error) => {
                    listed.errors.push(error.into());
                    continue;
                }
            };
            let Some(name) = path.to_str() else {
                if path.is_file() && Language::of_file_name(&path.to_string_lossy()).is_some() {
                    let path = path.display();
                    listed.errors.push(anyhow::anyhow!("{path}: the name of the file is not Unicode"));
                }
                continue;
            };
            // A directory has no text, and reading a pipe blocks.
            if projects.language(name).is_none() || !path.is_file() || !seen.insert(canonical(name)) {
                continue;
            }
            let is_excluded = projects.excludes(name);
            if is_excluded { &mut listed.excluded } else { &mut listed.files }.push(path);
        }
        if listed.files.len() + listed.excluded.len() == before {
            let path = path.display();
            let error = anyhow::anyhow!("{path}: no SQL, YAML, JSON or Markdown file in this directory");
            listed.errors.push(error);
        }
    }
    listed
}

/// Reads a file, or stdin for `-`.
///
/// # Errors
/// If it cannot be read, or is not UTF-8 text.
pub(crate) fn read(path: &Path, projects: &Projects) -> Result<Source> {
    source(path, projects)?.map_err(|Foreign { name, encoding, .. }| anyhow::anyhow!("{name}: {encoding}"))
}

/// A file in another encoding.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub name: String,
    /// Why it is not UTF-8.
    pub encoding: String,
    /// True if it has settings of ours all the same.
    pub is_ours: bool,
}

/// Reads a file, or stdin for `-`. A file in another encoding is no error.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn source(path: &Path, projects: &Projects) -> Result<Result<Source, Foreign>> {
    if path == Path::new("-") {
        return decoded(Path::new(STDIN), stdin()?, projects);
    }
    if path.is_dir() {
        bail!("{}: is a directory; specify a file", path.display());
    }
    decoded(path, std::fs::read(path).with_context(|| path.display().to_string())?, projects)
}

/// Reads all of stdin.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn stdin() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        anstream::eprintln!("reading SQL from the terminal; press Ctrl-D to end");
    }
    stdin.read_to_end(&mut bytes).context("stdin")?;
    Ok(bytes)
}

/// Decodes the bytes of a file.
///
/// # Errors
/// If files with this ending are never read.
pub(crate) fn decoded(path: &Path, bytes: Vec<u8>, projects: &Projects) -> Result<Result<Source, Foreign>> {
    let name = path.display().to_string();
    if path.extension().is_some_and(|extension| extension == "toml") {
        bail!("{name}: unsupported file type .toml; expected SQL, YAML, JSON or Markdown");
    }
    let language = projects.language(&name).unwrap_or(Language::Sql);
    Ok(match decode(bytes) {
        Ok(text) => Ok(Source { name, text, language }),
        Err(Undecodable { why, text }) => {
            let document = Document::read(&name, &text, language, &NoFiles);
            let is_ours = document.units(&Options::default()).any(|unit| unit.is_ours());
            Err(Foreign { name, encoding: why, is_ours })
        }
    })
}

/// Bytes that are not UTF-8, and what can be read of them.
struct Undecodable {
    why: String,
    text: String,
}

/// Decodes UTF-8.
fn decode(bytes: Vec<u8>) -> Result<String, Undecodable> {
    if let [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] = bytes[..] {
        let is_little = bytes[0] == 0xFF;
        let unit = |pair: &[u8]| match pair {
            [low, high] if is_little => u16::from_le_bytes([*low, *high]),
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        let units: Vec<_> = bytes[2..].chunks(2).map(unit).collect();
        let why = "is UTF-16; save it as UTF-8".to_owned();
        return Err(Undecodable { why, text: String::from_utf16_lossy(&units) });
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let why = format!("is not a text file: zero byte at offset {offset}");
        return Err(Undecodable { why, text: String::from_utf8_lossy(&bytes).into_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = String::from_utf8_lossy(&error.as_bytes()[..valid]).matches('\n').count() + 1;
        let why = format!("is not UTF-8: the byte at offset {valid} (line {line}) is invalid");
        Undecodable { why, text: String::from_utf8_lossy(error.as_bytes()).into_owned() }
    })
}

/// Reads the files that statements name from disk.
///
/// A relative path is resolved against the directory of the file that names it, then against each directory above it, up
/// to the root of the project: the directory with `.git` or `velo.toml`, the working directory, or a folder that an editor
/// has open. Without such a root, only the directory of the file counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    /// The folders that an editor has open.
    pub roots: Vec<PathBuf>,
}

impl Files for Disk {
    fn read(&self, from: &str, path: &str) -> Result<File, FileError> {
        let here = std::env::current_dir().map_err(|error| FileError::Unreadable(error.to_string()))?;
        let start = here.join(from);
        let is_root = |folder: &Path| {
            let is_open = folder == here || self.roots.iter().any(|root| root == folder);
            is_open || folder.join(".git").exists() || folder.join("velo.toml").is_file()
        };
        let is_inside = start.ancestors().skip(1).any(is_root);
        for folder in start.ancestors().skip(1) {
            let candidate = folder.join(path);
            if candidate.is_file() {
                let unreadable = |problem: String| FileError::Unreadable(problem);
                let bytes = std::fs::read(&candidate).map_err(|error| unreadable(error.to_string()))?;
                let name = lexical(candidate.strip_prefix(&here).unwrap_or(&candidate)).display().to_string();
                let text =
                    decode(bytes).map_err(|Undecodable { why, .. }| unreadable(format!("it {why}")))?;
                return Ok(File { name, text });
            }
            if is_root(folder) || !is_inside {
                break;
            }
        }
        Err(FileError::NotFound)
    }

    fn canonical(&self, name: &str) -> String {
        canonical(name)
    }
}
