//! `bursar provider`: profiles are read-only over the API; their files are checked on this machine.

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    session::Session,
    table::plain,
    values::ListArgs,
};
use crate::{
    api::{GetProviderRequest, ListProvidersRequest},
    app::{self, Finding},
    domain::names::ProviderName,
};
use clap::Subcommand;
use serde::Serialize;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Largest profile file, in bytes.
const PROFILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// List the profiles
    List(ListArgs),
    /// Show a profile
    Show {
        /// The provider, `providers/{provider}`
        name: ProviderName,
    },
    /// Check profile files, each upon those before it, without a server; exit code 1 if there are mistakes
    Lint {
        /// Profile files, in the order in which they extend each other; of a folder those that `providers.dir` would take
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

impl ProviderCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        if let Self::Lint { files } = &self {
            return lint(files, api.output, console);
        }
        let session = Session::open(api).await?;
        match self {
            Self::Lint { .. } => Ok(()),
            Self::List(list) => {
                let listed = session
                    .pages(list.limit(), |page_size, page_token| {
                        let (mut providers, filter) = (session.providers(), list.filter());
                        let request = ListProvidersRequest { page_size, page_token, filter };
                        async move {
                            let answer = providers.list_providers(request).await?;
                            Ok(answer.map(|page| (page.providers, page.next_page_token)))
                        }
                    })
                    .await?;
                console.listed(&listed, api.output)
            }
            Self::Show { name } => {
                let request = GetProviderRequest { name: name.to_string() };
                let provider = session.wait(session.providers().get_provider(request)).await?;
                console.show(&provider, api.output)
            }
        }
    }
}

/// A mistake as JSON and YAML have it.
#[derive(Serialize)]
struct Told<'a> {
    file: &'a str,
    line: Option<usize>,
    key: &'a str,
    problem: &'a str,
    mend: &'a str,
}

fn lint(paths: &[PathBuf], format: Format, console: &mut Console) -> Result<(), Failure> {
    let files = named(paths)?.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let found = app::lint(&files).map_err(Failure::Local)?;
    let told: Vec<_> = found
        .iter()
        .map(|Finding { file, line, key, problem, mend }| Told { file, line: *line, key, problem, mend })
        .collect();
    match format {
        Format::Table => console.print(&lines(&files, &found))?,
        Format::Json | Format::Yaml => console.data(&told, format)?,
    }
    match found.len() {
        0 => Ok(()),
        1 => Err(Failure::Local(anyhow::anyhow!("there is 1 mistake"))),
        many => Err(Failure::Local(anyhow::anyhow!("there are {many} mistakes"))),
    }
}

/// With the files of folders instead of the folders.
fn named(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(app::profiles_in(path).map_err(|problem| unusable(path, &problem))?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn unusable(path: &Path, problem: &str) -> Failure {
    Failure::Usage(format!("{}: {problem}", plain(&path.display().to_string())))
}

fn read(path: &Path) -> Result<(String, String), Failure> {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error.kind().to_string()))?.len();
    if size > PROFILE_BYTES_MAX {
        return Err(unusable(path, "is larger than 64 KiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error.kind().to_string()))?;
    Ok((name, text))
}

/// `FILE:LINE: key problem; mend`, as editors know it, and a word for each file without mistakes.
fn lines(files: &[(String, String)], found: &[Finding]) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    for (file, _) in files {
        let mut mistakes = found.iter().filter(|finding| finding.file == *file).peekable();
        if mistakes.peek().is_none() {
            let _ = writeln!(text, "{}: no mistakes", plain(file));
        }
        for Finding { file, line, key, problem, mend } in mistakes {
            let line = line.map(|line| format!("{line}:")).unwrap_or_default();
            let key = if key.is_empty() { String::new() } else { format!("{key} ") };
            let told = plain(&format!("{key}{problem}; {mend}"));
            let _ = writeln!(text, "{}:{line} {told}", plain(file));
        }
    }
    text
}
