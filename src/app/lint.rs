//! Checks profile files without a server. Opens no network and no store.

use crate::provider::catalogue::Catalogue;

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
