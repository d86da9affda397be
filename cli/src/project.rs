//! The settings of each file: the nearest `velo.toml` above it, with what the command line asks for instead.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use velo_lint::settings::FILE_NAME;
use velo_lint::{FileSettings, Language, Level, Options, Settings, Severity, rules};

use crate::args::{LintArgs, TargetArg};
use crate::paths::{folder, relative, shown};

/// The settings of a project, and where they are from.
#[derive(Debug, Default)]
pub(crate) struct Project {
    /// The settings file; `None` if there is none.
    pub file: Option<PathBuf>,
    /// The folder that paths in the settings are relative to.
    pub root: PathBuf,
    pub settings: Settings,
}

impl Project {
    fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let settings =
            Settings::parse(&text).map_err(|error| anyhow::anyhow!("{}:{error}", file.display()))?;
        Ok(Self { file: Some(file.to_owned()), root: folder(file), settings })
    }

    /// Returns the baseline file of the project, if it has one.
    pub(crate) fn baseline(&self) -> Option<PathBuf> {
        self.settings.baseline.as_ref().map(|file| self.root.join(file))
    }
}

/// The projects of the files of a run.
pub(crate) struct Projects {
    /// The project of all files, if the command line names its settings or wants none.
    only: Option<Arc<Project>>,
    by_folder: Mutex<HashMap<PathBuf, Arc<Project>>>,
    by_name: Mutex<HashMap<String, Arc<Place>>>,
    /// The first error in a settings file.
    error: Mutex<Option<anyhow::Error>>,
    overrides: Overrides,
}

/// A file in its project.
#[derive(Debug)]
struct Place {
    project: Arc<Project>,
    /// The path relative to the folder of the settings, with `/`.
    path: String,
}

/// What the command line asks for.
#[derive(Debug, Default)]
struct Overrides {
    target: Option<TargetArg>,
    record_bytes: Option<u64>,
    fail_on: Option<Severity>,
    /// The levels of rules, in the order in which they are set.
    levels: Vec<(String, Level)>,
}

impl Projects {
    /// # Errors
    /// If the settings that the command line names cannot be read, or it names a rule that does not exist.
    pub(crate) fn of(args: &LintArgs) -> Result<Self> {
        let only = match &args.config {
            _ if args.isolated => Some(Arc::default()),
            Some(file) if !file.as_os_str().is_empty() => Some(Arc::new(Project::load(file)?)),
            _ => None,
        };
        let mut levels = Vec::new();
        let lists = [
            (&args.allow, Level::Allow),
            (&args.warn, Level::Report(Severity::Warning)),
            (&args.deny, Level::Report(Severity::Error)),
        ];
        for (names, level) in lists {
            for name in names {
                if name != rules::ALL
                    && let Err(error) = rules::named(name)
                {
                    bail!("{error}");
                }
                levels.push((name.clone(), level));
            }
        }
        // What all rules are set to goes before what one is.
        levels.sort_by_key(|(name, _)| name != rules::ALL);
        let overrides =
            Overrides { target: args.target, record_bytes: args.record_size, fail_on: args.fail_on, levels };
        Ok(Self { only, overrides, ..Self::nearest() })
    }

    /// Returns projects for which the command line asks for nothing.
    pub(crate) fn nearest() -> Self {
        Self {
            only: None,
            by_folder: Mutex::default(),
            by_name: Mutex::default(),
            error: Mutex::default(),
            overrides: Overrides::default(),
        }
    }

    /// Returns the project of a file. A settings file with an error counts as empty; see [`Projects::check`].
    pub(crate) fn project(&self, name: &str) -> Arc<Project> {
        Arc::clone(&self.place(name).project)
    }

    fn place(&self, name: &str) -> Arc<Place> {
        if let Some(place) = lock(&self.by_name).get(name) {
            return Arc::clone(place);
        }
        let project = match &self.only {
            Some(only) => Arc::clone(only),
            None => self.of_folder(&folder(Path::new(name))),
        };
        let place = Arc::new(Place { path: relative(name, &project.root), project });
        lock(&self.by_name).insert(name.to_owned(), Arc::clone(&place));
        place
    }

    fn of_folder(&self, folder: &Path) -> Arc<Project> {
        if let Some(project) = lock(&self.by_folder).get(folder) {
            return Arc::clone(project);
        }
        let file = folder.join(FILE_NAME);
        let project = if file.is_file() {
            Arc::new(Project::load(&shown(&file)).unwrap_or_else(|error| {
                lock(&self.error).get_or_insert(error);
                Project::default()
            }))
        } else {
            folder.parent().map_or_else(Arc::default, |above| self.of_folder(above))
        };
        lock(&self.by_folder).insert(folder.to_owned(), Arc::clone(&project));
        project
    }

    /// Returns the settings of a file.
    pub(crate) fn settings(&self, name: &str) -> FileSettings {
        let place = self.place(name);
        let mut settings = place.project.settings.of(&place.path);
        let Overrides { target, record_bytes, fail_on, levels } = &self.overrides;
        let options = &mut settings.options;
        options.target = target.map(TargetArg::target).or(options.target);
        options.record_bytes = record_bytes.or(options.record_bytes);
        settings.fail_on = fail_on.or(settings.fail_on);
        for (rule, level) in levels {
            // The names were checked before.
            let _ = rules::set_level(&mut options.levels, rule, *level);
        }
        settings
    }

    /// Returns the options of a file.
    pub(crate) fn options(&self, name: &str) -> Arc<Options> {
        Arc::new(self.settings(name).options)
    }

    /// Returns true if the project of a file excludes it.
    pub(crate) fn excludes(&self, name: &str) -> bool {
        let place = self.place(name);
        place.project.settings.excludes(&place.path)
    }

    /// Returns the language of a file by its ending, if it is one of ours or of its project.
    pub(crate) fn language(&self, name: &str) -> Option<Language> {
        self.place(name).project.settings.language(name)
    }

    /// Returns the settings files and baselines of the folders that were asked about, and those that would be if they
    /// were there.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let by_folder = lock(&self.by_folder);
        let settings = by_folder.keys().map(|folder| folder.join(FILE_NAME));
        let mut files: Vec<_> =
            settings.chain(by_folder.values().filter_map(|project| project.baseline())).collect();
        files.sort();
        files.dedup();
        files
    }

    /// # Errors
    /// The first error in a settings file that was read.
    pub(crate) fn check(&self) -> Result<()> {
        lock(&self.error).take().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
