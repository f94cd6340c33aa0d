//! What became of all of them: counts, a table of what is not active, and the same as a file. Never a token.

use super::{
    entry::Entry,
    work::{Outcome, Trouble},
};
use crate::cli::{
    console::{Format, structured},
    failure::Failure,
    table::aligned,
};
use anyhow::Context as _;
use serde::Serialize;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Most of them that are listed for people; the file of --failures has all.
const SHOWN_MAX: usize = 50;

/// Every key is always there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    total: usize,
    imported: usize,
    already_there: usize,
    /// Not begun, because somebody stopped it.
    not_begun: usize,
    pending: Vec<Line>,
    failed: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    place: String,
    connection: String,
    client: String,
    reason: String,
    message: String,
    next_step: String,
}

impl Summary {
    pub(super) fn new(total: usize) -> Self {
        Self { total, not_begun: total, ..Self::default() }
    }

    pub(super) fn add(&mut self, entry: &Entry, outcome: Outcome) {
        let line = |trouble: Trouble| Line {
            place: entry.place.to_string(),
            connection: entry.connection.to_string(),
            client: entry.client.to_string(),
            reason: trouble.reason,
            message: trouble.message,
            next_step: trouble.next_step,
        };
        if outcome != Outcome::NotBegun {
            self.not_begun -= 1;
        }
        match outcome {
            Outcome::NotBegun => {}
            Outcome::Imported => self.imported += 1,
            Outcome::ThereAlready => self.already_there += 1,
            Outcome::Pending(trouble) => self.pending.push(line(trouble)),
            Outcome::Failed(trouble) => self.failed.push(line(trouble)),
        }
    }

    /// How many are not active so far.
    pub(super) fn open(&self) -> usize {
        self.pending.len() + self.failed.len()
    }

    pub(super) fn shown(&self, format: Format) -> String {
        match format {
            Format::Json | Format::Yaml => structured(self, format),
            Format::Table => self.table(),
        }
    }

    fn table(&self) -> String {
        let counts = format!(
            "{} imported, {} there already, {} pending, {} failed",
            self.imported,
            self.already_there,
            self.pending.len(),
            self.failed.len()
        );
        let mut text = match self.not_begun {
            0 => counts + "\n",
            left => format!("{counts}, {left} not begun: run it again to go on\n"),
        };
        let listed = || {
            self.failed
                .iter()
                .map(|line| ("failed", line))
                .chain(self.pending.iter().map(|line| ("pending", line)))
        };
        if listed().next().is_none() {
            return text;
        }
        let mut rows =
            vec![["PLACE", "CONNECTION", "RESULT", "REASON", "WHAT", "NEXT"].map(str::to_owned).to_vec()];
        rows.extend(listed().take(SHOWN_MAX).map(|(result, line)| {
            let Line { place, connection, client: _, reason, message, next_step } = line;
            vec![
                place.clone(),
                connection.clone(),
                result.into(),
                reason.clone(),
                message.clone(),
                next_step.clone(),
            ]
        }));
        text += &aligned(rows);
        match listed().count().saturating_sub(SHOWN_MAX) {
            0 => text,
            more => format!("{text}and {more} more; --failures FILE has all\n"),
        }
    }

    /// A row for each that is not active.
    pub(super) fn write(&self, failures: FailuresFile) -> Result<(), Failure> {
        let FailuresFile { path, part, file } = failures;
        let write = || -> anyhow::Result<()> {
            let mut rows = csv::Writer::from_writer(Vec::new());
            rows.write_record(["place", "connection", "client", "result", "reason", "message", "next_step"])?;
            for (result, lines) in [("failed", &self.failed), ("pending", &self.pending)] {
                for line in lines {
                    let Line { place, connection, client, reason, message, next_step } = line;
                    rows.write_record([
                        place.as_str(),
                        connection,
                        client,
                        result,
                        reason,
                        message,
                        next_step,
                    ])?;
                }
            }
            (&file).write_all(&rows.into_inner()?)?;
            file.sync_all()?;
            Ok(fs::rename(&part, &path)?)
        };
        write().map_err(|error| {
            unwritten(&path, error.context(format!("what there is of it may be in {}", part.display())))
        })
    }

    pub(super) fn ending(&self) -> Result<(), Failure> {
        match (self.open(), self.not_begun) {
            (0, 0) => Ok(()),
            (open, not_begun) => Err(Failure::NotAllImported { open, not_begun, of: self.total }),
        }
    }
}

/// Where failures go. It takes the place of an older one at once, when it is whole.
pub(super) struct FailuresFile {
    path: PathBuf,
    part: PathBuf,
    file: fs::File,
}

impl FailuresFile {
    /// Before a token is spent: a path that cannot be written is told while nothing is lost by it.
    pub(super) fn begin(path: &Path) -> Result<Self, Failure> {
        let begin = || -> anyhow::Result<Self> {
            let mut name = path.file_name().context("the path ends without a name")?.to_owned();
            name.push(".part");
            anyhow::ensure!(!path.is_dir(), "it is a folder: name a file");
            let part = path.with_file_name(name);
            let file = fs::File::create(&part).with_context(|| part.display().to_string())?;
            Ok(Self { path: path.to_owned(), file, part })
        };
        begin().map_err(|error| unwritten(path, error))
    }
}

fn unwritten(path: &Path, error: anyhow::Error) -> Failure {
    Failure::Local(error.context(format!("{} could not be written", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let Err(failure) = FailuresFile::begin(path) else { panic!("{}", path.display()) };
        failure.to_string()
    }

    #[test]
    fn a_file_of_failures_that_could_not_be_written_is_refused_before_anything_is_imported() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there");
        fs::create_dir(&there).unwrap();
        let told = refused(&there);
        assert!(told.ends_with("it is a folder: name a file"), "{told}");
        assert!(!folder.path().join("there.part").exists());
        let told = refused(&folder.path().join("missing").join("failed.csv"));
        assert!(
            told.contains("failed.csv could not be written") && told.contains("failed.csv.part"),
            "{told}"
        );
        FailuresFile::begin(&folder.path().join("failed.csv")).unwrap();
    }
}
