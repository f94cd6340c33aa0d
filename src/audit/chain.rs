//! The chain of lines over files: where the next line goes, when a file is full, and how it goes on after a crash or
//! on a disk that failed. Files are only ever appended to; what was not confirmed is left behind, and the next file
//! says how much of the one before counts. Blocks; knows nothing of who waits.

use super::{
    event::{Event, FileStart, Name, Previous},
    line::{self, Head, Pen},
    shelf::{Sheet, Shelf},
};
use crate::{clock::Timestamp, seal::AuditKey};
use std::{io, sync::Arc};
use uuid::Uuid;

/// Events that are written at once at most. With [`LINE_MAX`] it bounds what a crash can tear.
pub const GROUP_MAX: usize = 512;
/// Longest line, in bytes: three names and room for the rest.
pub const LINE_MAX: usize = 8 * 1024;
/// Most bytes behind the last whole line that a crash can leave: a group and the first line of its file.
pub const TORN_MAX: u64 = ((GROUP_MAX + 1) * LINE_MAX) as u64;

/// What is read of the last file at start: more than what can be torn, so that a sound line is in it.
const TAIL: u64 = 2 * TORN_MAX;
/// End of the names of the trail's files.
const EXTENSION: &str = ".jsonl";
/// Files of one number that are set aside at most.
const TORN_FILES_MAX: u64 = 10_000;
/// End of the name of a file in which nothing was ever confirmed.
const TORN: &str = ".torn";

/// Where a new line goes.
pub struct Chain {
    shelf: Box<dyn Shelf>,
    key: Arc<AuditKey>,
    id: Uuid,
    replica: Name,
    /// A file is followed by the next one once it has this many bytes.
    rotate_bytes: u64,
    head: Head,
    /// The file that the head lies in.
    last: Option<Previous>,
    /// Open, and all of it confirmed; `None`: the next group begins a file.
    sheet: Option<Box<dyn Sheet>>,
}

/// The folder holds something that neither this program nor a crash of it left there.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// `bursar audit verify` says more. To begin a new chain, move the folder's files away.
    #[error("{file} is damaged beyond what a crash leaves: look at it with `bursar audit verify`")]
    Damaged { file: String },
}

/// What a chain is opened with.
pub struct Options {
    pub key: Arc<AuditKey>,
    pub replica: Name,
    pub rotate_bytes: u64,
    /// The id of a chain that begins.
    pub new_chain: Uuid,
}

/// The end of a file, as far as it is sound.
struct Sound {
    chain: Uuid,
    head: Head,
    /// Bytes up to the end of the last sound line.
    bytes: u64,
}

/// `00000001.jsonl`.
pub fn file_name(number: u64) -> String {
    format!("{number:08}{EXTENSION}")
}

/// The number of a file of a trail; `None` for other files.
pub fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

impl Chain {
    /// Finds where the chain goes on. Writes nothing yet, but for a last file without a single sound line, which gets
    /// another name.
    pub fn open(shelf: Box<dyn Shelf>, options: Options) -> Result<Self, ChainError> {
        let Options { key, replica, rotate_bytes, new_chain } = options;
        let mut numbers: Vec<u64> = shelf.names()?.iter().filter_map(|name| file_number(name)).collect();
        numbers.sort_unstable();
        let mut found = None;
        while let Some(number) = numbers.pop() {
            let name = file_name(number);
            match sound_end(&*shelf, &name)? {
                Some(sound) => {
                    found = Some((number, sound));
                    break;
                }
                // A crash, or a disk that failed, while the file was begun.
                None if shelf.size(&name)? <= TORN_MAX => {
                    shelf.rename(&name, &torn_name(&*shelf, number)?)?;
                    shelf.sync()?;
                }
                None => return Err(ChainError::Damaged { file: name }),
            }
        }
        let (id, head, last) = match found {
            Some((number, Sound { chain, head, bytes })) => (chain, head, Some(Previous { number, bytes })),
            None => (new_chain, Head::START, None),
        };
        Ok(Self { shelf, key, id, replica, rotate_bytes, head, last, sheet: None })
    }

    /// The chain's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The last line that is confirmed.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Writes the events and returns their lines when they are on the disk. After an error nothing of the group is
    /// part of the chain, whatever of it reached the disk, and the next group begins another file.
    pub fn append(&mut self, now: Timestamp, group: &[(Timestamp, Event)]) -> io::Result<Vec<u8>> {
        match self.sheet.take() {
            Some(sheet) => self.continued(sheet, group),
            None => self.begun(now, group),
        }
    }

    fn continued(&mut self, mut sheet: Box<dyn Sheet>, group: &[(Timestamp, Event)]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        let head = self.write(&mut lines, self.head, group);
        sheet.append(&lines)?;
        sheet.sync()?;
        self.head = head;
        let size = lines.len() as u64;
        if let Some(last) = &mut self.last {
            last.bytes += size;
            if last.bytes < self.rotate_bytes {
                self.sheet = Some(sheet);
            }
        }
        Ok(lines)
    }

    fn begun(&mut self, now: Timestamp, group: &[(Timestamp, Event)]) -> io::Result<Vec<u8>> {
        let number = self.last.as_ref().map_or(1, |last| last.number + 1);
        let start =
            FileStart { chain: self.id, number, replica: self.replica.clone(), previous: self.last.clone() };
        let mut lines = Vec::new();
        let head = line::write(&mut lines, self.pen(), self.head, now, &Event::File(start));
        let head = self.write(&mut lines, head, group);
        let name = file_name(number);
        let mut sheet = match self.shelf.create(&name) {
            // Of an earlier try that could not be cleared away.
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                self.shelf.rename(&name, &torn_name(&*self.shelf, number)?)?;
                self.shelf.create(&name)?
            }
            created => created?,
        };
        let written = sheet.append(&lines).and_then(|()| sheet.sync()).and_then(|()| self.shelf.sync());
        if let Err(err) = written {
            // Nobody was told that any of it is on record. What cannot be removed is set aside by the next try.
            drop(sheet);
            let _ = self.shelf.remove(&name);
            return Err(err);
        }
        self.head = head;
        let bytes = lines.len() as u64;
        self.last = Some(Previous { number, bytes });
        if bytes < self.rotate_bytes {
            self.sheet = Some(sheet);
        }
        Ok(lines)
    }

    fn write(&self, lines: &mut Vec<u8>, mut head: Head, group: &[(Timestamp, Event)]) -> Head {
        for (at, event) in group {
            head = line::write(lines, self.pen(), head, *at, event);
        }
        head
    }

    fn pen(&self) -> Pen<'_> {
        Pen { chain: self.id, key: &self.key }
    }
}

/// Another name for a file in which nothing counts.
fn torn_name(shelf: &dyn Shelf, number: u64) -> io::Result<String> {
    let taken = shelf.names()?;
    let name = |count: u64| format!("{number:08}-{count}{TORN}");
    let free = (1..=TORN_FILES_MAX).map(name).find(|name| !taken.contains(name));
    free.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// The last sound line of a file; `None`: there is none.
fn sound_end(shelf: &dyn Shelf, name: &str) -> Result<Option<Sound>, ChainError> {
    let size = shelf.size(name)?;
    let bytes = shelf.tail(name, TAIL)?;
    let skipped = size.saturating_sub(bytes.len() as u64);
    // From the middle of a file: the first line may be half of one.
    let begin = if skipped == 0 {
        0
    } else {
        bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| at + 1)
    };
    let (mut head, mut sound) = (None::<Head>, begin);
    for line in bytes[begin..].split_inclusive(|&byte| byte == b'\n') {
        let Some(body) = line.strip_suffix(b"\n") else { break };
        let Some(link) = line::link(body) else { break };
        if head.is_some_and(|head| (head.seq + 1, head.hash) != (link.seq, link.prev)) {
            break;
        }
        head = Some(Head::after(link.seq, body));
        sound += line.len();
    }
    let Some(head) = head else {
        return if skipped == 0 { Ok(None) } else { Err(ChainError::Damaged { file: name.to_owned() }) };
    };
    let bytes = skipped + sound as u64;
    if size - bytes > TORN_MAX {
        return Err(ChainError::Damaged { file: name.to_owned() });
    }
    // A file's first line is longer than nothing and shorter than any line may be.
    let chain = first_line(shelf, name, size)?;
    Ok(chain.map(|start| Sound { chain: start.chain, head, bytes }))
}

/// What the file says of itself.
fn first_line(shelf: &dyn Shelf, name: &str, size: u64) -> Result<Option<FileStart>, ChainError> {
    let all = shelf.head(name, size.min(LINE_MAX as u64))?;
    let first = all.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match line::read(first).map(|line| line.event) {
        Some(Event::File(start)) => Ok(Some(start)),
        Some(_) | None => Err(ChainError::Damaged { file: name.to_owned() }),
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
