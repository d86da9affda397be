//! `velo lsp`: serves an editor on standard input and output.

use std::process::ExitCode;

use anyhow::Result;
use velo_lint::{FileSettings, Files, Language};
use velo_lsp::Host;

use crate::input::{Disk, list, source};
use crate::paths::canonical;
use crate::project::Projects;

pub(crate) fn run() -> Result<ExitCode> {
    velo_lsp::serve_stdio(Box::new(Machine { projects: Projects::nearest() }))?;
    Ok(ExitCode::SUCCESS)
}

/// The files of this machine.
struct Machine {
    projects: Projects,
}

impl Host for Machine {
    fn files(&self) -> &(dyn Files + Sync) {
        &Disk
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
        Some(source(path.as_ref(), &self.projects).ok()?.ok()?.text)
    }

    fn statements_below(&self, folder: &str) -> Vec<String> {
        let listed = list(&[folder.into()], &self.projects);
        let names = listed.files.iter().map(|path| canonical(&path.to_string_lossy()));
        names.filter(|name| self.language(name).is_some_and(|language| language != Language::Yaml)).collect()
    }

    fn reload(&mut self) {
        self.projects = Projects::nearest();
    }

    fn error(&self) -> Option<String> {
        self.projects.check().err().map(|error| format!("{error:#}"))
    }
}
