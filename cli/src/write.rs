//! Shows the difference of two texts, and writes texts to files as a whole.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use similar::TextDiff;

/// Returns the change in unified form; empty if there is none.
pub(crate) fn diff(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let diff = TextDiff::from_lines(before, after);
    let mut shown = String::new();
    let _ = write!(shown, "{}", diff.unified_diff().context_radius(3).header(name, name));
    shown
}

/// Replaces a file's contents in one step, keeping its permissions. A new file has the usual ones.
///
/// # Errors
/// If the folder or the file cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // A link stays a link: what it leads to is replaced.
    match std::fs::canonicalize(path) {
        Ok(path) => replace(&path, text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path, text),
        Err(error) => Err(error),
    }
}

/// Replaces the contents of a file that is there.
///
/// # Errors
/// If there is no such file, or it cannot be written.
pub(crate) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = std::fs::canonicalize(path)?;
    // A pipe or a device is written to, and stays what it is.
    if !std::fs::metadata(&path)?.is_file() {
        return std::fs::OpenOptions::new().write(true).open(&path)?.write_all(text.as_bytes());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
