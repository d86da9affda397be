//! Names of files: as users give them in, the one name of each file out.

use std::path::{Component, Path, PathBuf};

/// Returns a path without `.` components, so that a file has one name in a run.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

/// Returns a path without `.`, and without a `..` that follows a folder: the two cancel each other.
pub(crate) fn lexical(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            part => short.push(part),
        }
    }
    short
}

/// Returns the canonical path of a file, so that two names of one file compare equal. A file that does not exist has the
/// canonical path of its folder.
pub(crate) fn canonical(name: &str) -> String {
    let path = Path::new(name);
    let canonical = std::fs::canonicalize(path).or_else(|_| {
        let path = std::path::absolute(path)?;
        let folder = path.parent().map_or_else(|| Ok(PathBuf::new()), std::fs::canonicalize)?;
        std::io::Result::Ok(folder.join(path.file_name().unwrap_or_default()))
    });
    canonical.map_or_else(|_| name.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// Returns the canonical folder of a file.
pub(crate) fn folder(file: &Path) -> PathBuf {
    let file = PathBuf::from(canonical(&file.to_string_lossy()));
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// Returns the path of a file relative to a canonical folder, with `/`.
pub(crate) fn relative(name: &str, folder: &Path) -> String {
    let path = PathBuf::from(canonical(name));
    // From the nearest folder that both are in: up, and down again.
    let up = folder.ancestors().position(|above| path.starts_with(above)).unwrap_or(0);
    let common = folder.ancestors().nth(up).unwrap_or(Path::new(""));
    let down = path.strip_prefix(common).unwrap_or(&path).to_string_lossy();
    format!("{}{}", "../".repeat(up), down.replace(std::path::MAIN_SEPARATOR, "/"))
}

/// Returns a path as users would write it: relative to the working directory if it is below.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    // Below the root, a relative path only looks like another one.
    let is_root = here.parent().is_none();
    path.strip_prefix(&here).ok().filter(|_| !is_root).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_leads_up_and_down_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = std::fs::canonicalize(folder.path()).expect("it is there");
        for file in ["a/b/c.sql", "a/d.sql", "e.sql"] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, "").expect("written");
        }
        let from = |file: &str, base: &str| relative(&root.join(file).to_string_lossy(), &root.join(base));
        assert_eq!(from("a/b/c.sql", "a"), "b/c.sql");
        assert_eq!(from("a/d.sql", "a/b"), "../d.sql");
        assert_eq!(from("e.sql", "a/b"), "../../e.sql");
    }

    #[test]
    fn a_file_has_one_name() {
        assert_eq!(plain(Path::new("./a/./b.sql")), Path::new("a/b.sql"));
        assert_eq!(plain(Path::new("./")), Path::new("."));
        assert_eq!(lexical(Path::new("sql/./../conf/a.yaml")), Path::new("conf/a.yaml"));
        assert_eq!(lexical(Path::new("../../a.yaml")), Path::new("../../a.yaml"));
    }
}
