//! Checks profile files without a server. Opens no network and no store.

use crate::{
    config::{Disk, profile_files},
    provider::catalogue::Catalogue,
};
use std::path::{Path, PathBuf};

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    /// Counted from 1; `None` for what is missing or was inherited.
    pub line: Option<usize>,
    /// Dotted path; empty where the whole file is meant.
    pub key: String,
    pub problem: String,
    /// What to write instead.
    pub mend: String,
}

/// The files of a folder that `providers.dir` would take, in that order; else what is wrong with the folder.
pub fn profiles_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    match profile_files(&Disk, folder) {
        Ok(files) if files.is_empty() => Err("holds no profiles; their names end in .toml".to_owned()),
        other => other,
    }
}

/// Every mistake in these files, each a name and its text, in their order: a file may extend one before it.
pub fn lint(files: &[(String, String)]) -> anyhow::Result<Vec<Finding>> {
    let Err(errors) = Catalogue::built_in()?.with(files) else { return Ok(Vec::new()) };
    let findings = errors.into_iter().flat_map(|error| {
        error.mistakes.into_iter().map(move |mistake| Finding {
            file: error.file.clone(),
            line: mistake.line,
            key: mistake.key,
            problem: mistake.problem,
            mend: mistake.mend,
        })
    });
    Ok(findings.collect())
}
