//! `velo lsp`: serves an editor on standard input and output.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use velo_lint::{FileReport, FileSettings, Files, Language};
use velo_lsp::Host;

use crate::baselines::accept;
use crate::input::{Disk, list, source};
use crate::paths::canonical;
use crate::project::Projects;

pub(crate) fn run() -> Result<ExitCode> {
    let machine = Machine {
        projects: Projects::nearest(),
        disk: Disk::default(),
        error: Mutex::default(),
        has_told: AtomicBool::default(),
    };
    velo_lsp::serve_stdio(Box::new(machine))?;
    Ok(ExitCode::SUCCESS)
}

/// The files of this machine.
struct Machine {
    projects: Projects,
    disk: Disk,
    /// The first error in a baseline.
    error: Mutex<Option<anyhow::Error>>,
    /// True if there was one.
    has_told: AtomicBool,
}

impl Machine {
    fn note(&self, error: anyhow::Error) {
        // Once, until settings are read again.
        if !self.has_told.swap(true, Ordering::Relaxed) {
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}

impl Host for Machine {
    fn open_folders(&mut self, folders: &[String]) {
        self.disk.roots = folders.iter().map(PathBuf::from).collect();
    }

    fn files(&self) -> &(dyn Files + Sync) {
        &self.disk
    }

    fn settings(&self, path: &str) -> FileSettings {
        self.projects.settings(path)
    }

    fn excludes(&self, path: &str) -> bool {
        self.projects.excludes(path)
    }

    fn language(&self, path: &str) -> Option<Language> {
        self.projects.language(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        /// A file that is larger was written by a program, and is checked when it is opened.
        const LARGEST_BYTES: u64 = 8 << 20;
        std::fs::metadata(path).ok().filter(|file| file.len() <= LARGEST_BYTES)?;
        Some(source(path.as_ref(), &self.projects).ok()?.ok()?.text)
    }

    fn statements_below(&self, folder: &str) -> Vec<String> {
        let listed = list(&[folder.into()], &self.projects);
        let names = listed.files.iter().map(|path| canonical(&path.to_string_lossy()));
        names.filter(|name| self.language(name).is_some_and(|language| language != Language::Yaml)).collect()
    }

    fn root(&self, path: &str) -> Option<String> {
        let project = self.projects.project(path);
        let file = project.file.is_some().then(|| project.root.clone());
        let folder = || Path::new(path).parent().filter(|folder| folder.is_dir()).map(Path::to_owned);
        Some(file.or_else(folder)?.to_string_lossy().into_owned())
    }

    fn accept(&self, reports: &mut [FileReport]) {
        let baseline = |name: &str| self.projects.project(name).baseline();
        if let Err(error) = accept(reports, baseline) {
            self.note(error);
        }
    }

    fn settings_files(&self) -> Vec<String> {
        self.projects.files().iter().map(|file| file.to_string_lossy().into_owned()).collect()
    }

    fn stamp(&self, path: &str) -> u64 {
        let Ok(file) = std::fs::metadata(path) else { return 0 };
        let mut hasher = DefaultHasher::new();
        (file.modified().ok(), file.len()).hash(&mut hasher);
        hasher.finish().max(1)
    }

    fn reload(&mut self) {
        self.projects = Projects::nearest();
        self.has_told = AtomicBool::default();
    }

    fn error(&self) -> Option<String> {
        let own = self.error.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.projects.check().err().or(own).map(|error| format!("{error:#}"))
    }
}
