//! Trails as they lie in folders, for whoever checks and searches them: which files there are, and which of their bytes
//! count. Only reads, and believes nothing of what it reads.

use super::{
    chain::{file_name, file_number},
    event::{Event, FileStart},
    line,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// How deep trails are looked for below a folder.
const DEPTH_MAX: usize = 3;

/// The files of one folder: one chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    pub folder: PathBuf,
    /// Numbers of the files, ascending.
    pub files: Vec<u64>,
    /// Files that were set aside, in which nothing counts.
    pub aside: Vec<String>,
}

/// One file, read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// What its first line says, if that is what a first line is.
    pub(super) start: Option<FileStart>,
    /// What the file behind it says that it counts to; `None`: there is none, or it does not say.
    pub(super) counted: Option<u64>,
    /// The number of the file behind it.
    pub(super) next: Option<u64>,
}

/// The trails at these paths: files, or folders with all that is below them. Each folder's files are one trail.
pub fn trails(paths: &[PathBuf]) -> io::Result<Vec<Trail>> {
    let mut found = BTreeMap::new();
    for path in paths {
        if fs::metadata(path)?.is_dir() {
            search(path, DEPTH_MAX, &mut found)?;
        } else {
            take(path, &mut found);
        }
    }
    let mut trails: Vec<Trail> = found.into_values().filter(|trail| !trail.files.is_empty()).collect();
    for trail in &mut trails {
        trail.files.sort_unstable();
        trail.files.dedup();
        trail.aside.sort();
    }
    Ok(trails)
}

fn search(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Trail>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            take(&entry.path(), found);
        } else if depth > 0 {
            search(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}

fn take(path: &Path, found: &mut BTreeMap<PathBuf, Trail>) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let trail = || Trail { folder: folder.to_owned(), ..Trail::default() };
    match file_number(name) {
        Some(number) => found.entry(folder.to_owned()).or_insert_with(trail).files.push(number),
        None if Path::new(name).extension().is_some_and(|end| end == "torn") => {
            found.entry(folder.to_owned()).or_insert_with(trail).aside.push(name.to_owned());
        }
        None => {}
    }
}

impl Trail {
    /// Every file in turn.
    pub(super) fn each(&self, mut see: impl FnMut(&Part)) -> io::Result<()> {
        let mut parts = self.files.iter().map(|&number| self.part(number));
        let mut present = parts.next().transpose()?;
        while let Some(mut part) = present {
            let next = parts.next().transpose()?;
            let previous = next.as_ref().and_then(|next| next.start.as_ref()?.previous.as_ref());
            part.counted =
                previous.filter(|previous| previous.number == part.number).map(|previous| previous.bytes);
            part.next = next.as_ref().map(|next| next.number);
            see(&part);
            present = next;
        }
        Ok(())
    }

    fn part(&self, number: u64) -> io::Result<Part> {
        let bytes = fs::read(self.folder.join(file_name(number)))?;
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let start = match line::read(first).map(|line| line.event) {
            Some(Event::File(start)) => Some(start),
            Some(_) | None => None,
        };
        Ok(Part { number, bytes, start, counted: None, next: None })
    }
}

impl Part {
    /// The bytes that count, and what lies behind them. Of a file that has no successor all whole lines count.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        let whole = self.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let counted = self.counted.and_then(|bytes| usize::try_from(bytes).ok());
        self.bytes.split_at(counted.unwrap_or(whole).min(self.bytes.len()))
    }
}
