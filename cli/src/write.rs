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
    let known = std::fs::canonicalize(path);
    let Ok(path) = known else { return create(path, text) };
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
