//! Writes the file of `--report`: a path and a report in, JSON in the file or on stdout out.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use velo_engine::report::Report;

/// Writes the report to a file or to stdout.
pub(super) fn write_report(path: &Path, report: &Report) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    if path == Path::new("-") {
        std::io::stdout().write_all(&json)?;
        return Ok(());
    }
    write_whole(path, &json)
}

/// Checks that a report can be written to `path`.
pub(super) fn may_be_written(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let (shown, folder) = (path.display(), folder_of(path));
    if path.is_dir() {
        bail!("--report {shown}: is a directory; specify a file");
    }
    if !folder.is_dir() {
        bail!("--report {shown}: there is no directory '{}'", folder.display());
    }
    match tempfile::NamedTempFile::new_in(folder) {
        Ok(_) => Ok(()),
        // The error's own text names the temporary file.
        Err(error) => bail!("--report {shown}: cannot create a file in the directory: {}", error.kind()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file atomically: into a temporary file, which is then renamed.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let what = || path.display().to_string();
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path)).with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    file.persist(path).with_context(what)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_path_is_checked_before_the_job_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing/report.json");
        for path in [missing.as_path(), folder.path()] {
            let error = may_be_written(path).expect_err("it cannot be written");
            assert!(format!("{error:#}").starts_with("--report "), "{error:#}");
        }
        may_be_written(&folder.path().join("report.json")).expect("it can");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left behind");
        may_be_written(Path::new("report.json")).expect("in this folder");
        may_be_written(Path::new("-")).expect("stdout");
    }
}
