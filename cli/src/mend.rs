//! Mends a text with the fixes of its findings, shows the difference, writes it back whole.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use similar::TextDiff;
use velo_lint::{Document, Options};

use crate::input::{Disk, Input};

/// A text with its fixes applied.
pub(crate) struct Mended {
    pub text: String,
    pub applied: usize,
}

/// Applies every fix that lint offers in the text itself; files that it names are mended on their own.
pub(crate) fn mend(input: &Input, options: &Options, with_unsafe: bool) -> Mended {
    let check = |text: &str| {
        let document = Document::read(&input.name, text, input.language, &Disk);
        document.check(options).into_iter().filter(|finding| finding.file == 0).collect()
    };
    let fixed = velo_lint::fix::apply_all(&input.text, with_unsafe, check);
    Mended { text: fixed.text, applied: fixed.applied }
}

/// The change in unified form; empty where there is none.
pub(crate) fn diff(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let diff = TextDiff::from_lines(before, after);
    let mut shown = String::new();
    let _ = write!(shown, "{}", diff.unified_diff().context_radius(3).header(name, name));
    shown
}

/// Replaces a file's contents in one step, keeping its permissions.
pub(crate) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    // A link stays a link: what it leads to is replaced.
    let path = std::fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
