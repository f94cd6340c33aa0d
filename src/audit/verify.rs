//! Whether a trail is what was written: every line in its place, over all files. Says what is wrong and where. What a
//! crash leaves is told apart from what only a person does. Pure but for reading the files.

use super::{
    chain::{TORN_MAX, file_name},
    event::Event,
    line::{self, Head, Link, Pen, VERSION},
    reading::{Part, Trail},
};
use crate::seal::AuditKey;
use serde::Serialize;
use std::io;
use uuid::Uuid;

/// Findings of one trail that are told; more are counted.
pub const FINDINGS_MAX: usize = 100;

/// What was found in one trail.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub folder: String,
    /// Absent if not even that can be read.
    pub chain: Option<Uuid>,
    pub files: usize,
    pub lines: u64,
    /// Of the first line that is here.
    pub first_seq: u64,
    #[serde(flatten)]
    pub head: Option<Told>,
    pub findings: Vec<Finding>,
    /// Problems beyond [`FINDINGS_MAX`].
    pub more: usize,
}

/// A head as it is told and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Told {
    pub last_seq: u64,
    pub head: super::hex::Hash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub weight: Weight,
    pub file: String,
    /// From 1; 0 is the file as a whole.
    pub line: u64,
    pub what: What,
    pub text: String,
}

/// Whether the trail is to be doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    Problem,
    /// What a crash, a full disk or retention leaves.
    Note,
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum What {
    #[error("is no line of an audit trail")]
    NotALine,
    #[error("was altered, or something was put in its place: the next line was written after another one")]
    Altered,
    #[error("was not written by a holder of the key")]
    NotGenuine,
    #[error("lines {from} to {to} are missing before this one")]
    Missing { from: u64, to: u64 },
    #[error("line {seq} stands behind line {after}: moved, or repeated")]
    OutOfOrder { seq: u64, after: u64 },
    #[error("does not begin as a file of a trail")]
    NotAFile,
    #[error("belongs to another chain, or is another file than its name says")]
    Misplaced,
    #[error("the file before, number {number}, is missing")]
    FileMissing { number: u64 },
    #[error("the file was cut: {bytes} bytes are left of {written}")]
    Cut { bytes: u64, written: u64 },
    #[error("{bytes} bytes behind the last line are more than a crash leaves")]
    Surplus { bytes: u64 },
    #[error("was written by a newer program: schema {v}")]
    Newer { v: u32 },
    #[error("the line that was anchored is not in the trail: it was cut off, or written anew")]
    AnchorMissing { seq: u64 },
    #[error("{bytes} bytes behind the last line were never confirmed: torn by a crash or a full disk")]
    Torn { bytes: u64 },
    #[error("was set aside: nothing in it was ever confirmed")]
    SetAside,
    #[error("earlier files are not here: the trail begins with line {seq}")]
    BeginsLater { seq: u64 },
}

/// What a trail is held against.
#[derive(Default)]
pub struct Against<'a> {
    /// With it, lines that were written by nobody who had it are found, the last one too.
    pub key: Option<&'a AuditKey>,
    /// Heads that were noted elsewhere.
    pub anchors: &'a [Head],
}

struct Check<'a> {
    against: &'a Against<'a>,
    report: Report,
    /// What the next line has to carry; `None` where that is not known.
    head: Option<Head>,
    /// Where the last line stands.
    last_at: (String, u64),
    last_number: Option<u64>,
    anchored: Vec<bool>,
}

/// Checks one trail.
pub fn verify(trail: &Trail, against: &Against<'_>) -> io::Result<Report> {
    let mut check = Check {
        against,
        report: Report { folder: trail.folder.display().to_string(), ..Report::default() },
        head: None,
        last_at: (String::new(), 0),
        last_number: None,
        anchored: vec![false; against.anchors.len()],
    };
    trail.each(|part| check.part(part))?;
    for name in &trail.aside {
        check.found(name, 0, What::SetAside);
    }
    let missing = against.anchors.iter().zip(check.anchored.clone()).filter(|(_, seen)| !seen);
    for (anchor, _) in missing {
        let (file, line) = check.last_at.clone();
        check.found(&file, line, What::AnchorMissing { seq: anchor.seq });
    }
    let head = check.head.map(|head| Told { last_seq: head.seq, head: head.hash });
    Ok(Report { head, ..check.report })
}

impl Check<'_> {
    fn part(&mut self, part: &Part) {
        let name = file_name(part.number);
        self.report.files += 1;
        self.start(part, &name);
        let (lines, rest) = part.split();
        for (number, line) in (1..).zip(lines.split_inclusive(|&byte| byte == b'\n')) {
            if let Some((body, link)) =
                line.strip_suffix(b"\n").and_then(|body| Some((body, line::link(body)?)))
            {
                self.line(&name, number, body, link);
            } else {
                self.found(&name, number, What::NotALine);
                self.head = None;
            }
        }
        let (size, rest) = (part.bytes.len() as u64, rest.len() as u64);
        match part.counted {
            Some(written) if written > size => self.found(&name, 0, What::Cut { bytes: size, written }),
            _ if rest > TORN_MAX => self.found(&name, 0, What::Surplus { bytes: rest }),
            _ if rest > 0 => self.found(&name, self.last_at.1, What::Torn { bytes: rest }),
            Some(_) | None => {}
        }
    }

    fn start(&mut self, part: &Part, name: &str) {
        let before = self.last_number.replace(part.number);
        if let Some(before) = before.filter(|before| before + 1 != part.number) {
            self.found(name, 1, What::FileMissing { number: before + 1 });
        }
        let Some(start) = &part.start else {
            // A crash while it was begun leaves a last file without a whole line.
            let is_torn = part.next.is_none() && part.split().0.is_empty();
            return if is_torn { self.torn_start(part, name) } else { self.found(name, 1, What::NotAFile) };
        };
        let chain = *self.report.chain.get_or_insert(start.chain);
        let previous = start.previous.as_ref().map_or(0, |previous| previous.number);
        if start.number != part.number || start.chain != chain || previous + 1 != part.number {
            self.found(name, 1, What::Misplaced);
        }
    }

    /// The bytes themselves are told behind the last line, as always.
    fn torn_start(&mut self, part: &Part, name: &str) {
        if part.bytes.is_empty() {
            self.found(name, 0, What::Torn { bytes: 0 });
        }
    }

    fn line(&mut self, name: &str, number: u64, body: &[u8], link: Link) {
        if link.v > VERSION {
            self.found(name, number, What::Newer { v: link.v });
        }
        let expected = match (self.head, self.report.lines, link.seq) {
            (None, 0, 1) => Some(Head::START),
            (known, _, _) => known,
        };
        match expected {
            None if self.report.lines == 0 => self.found(name, number, What::BeginsLater { seq: link.seq }),
            Some(head) if link.seq > head.seq + 1 => {
                self.found(name, number, What::Missing { from: head.seq + 1, to: link.seq - 1 });
            }
            Some(head) if link.seq <= head.seq => {
                self.found(name, number, What::OutOfOrder { seq: link.seq, after: head.seq });
            }
            Some(head) if link.prev != head.hash => {
                // Nothing stands before the first line of a chain.
                let (file, at) =
                    Some(self.last_at.clone()).filter(|(_, at)| *at > 0).unwrap_or((name.to_owned(), number));
                self.found(&file, at, What::Altered);
            }
            None | Some(_) => {}
        }
        if number > 1 && matches!(line::read(body).map(|line| line.event), Some(Event::File(_))) {
            self.found(name, number, What::Misplaced);
        }
        if let (Some(key), Some(chain)) = (self.against.key, self.report.chain)
            && !line::is_genuine(body, Pen { chain, key })
        {
            self.found(name, number, What::NotGenuine);
        }
        let head = Head::after(link.seq, body);
        for (seen, anchor) in self.anchored.iter_mut().zip(self.against.anchors) {
            *seen |= *anchor == head;
        }
        if self.report.lines == 0 {
            self.report.first_seq = link.seq;
        }
        self.report.lines += 1;
        self.head = Some(head);
        self.last_at = (name.to_owned(), number);
    }

    fn found(&mut self, file: &str, line: u64, what: What) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.more += usize::from(what.weight() == Weight::Problem);
            return;
        }
        let finding =
            Finding { weight: what.weight(), file: file.to_owned(), line, what, text: what.to_string() };
        self.report.findings.push(finding);
    }
}

impl Report {
    /// How many problems there are; 0 is what an auditor wants to read.
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|found| found.weight == Weight::Problem).count() + self.more
    }
}

impl What {
    pub fn weight(self) -> Weight {
        match self {
            Self::Torn { .. } | Self::SetAside | Self::BeginsLater { .. } => Weight::Note,
            Self::NotALine
            | Self::Altered
            | Self::NotGenuine
            | Self::Missing { .. }
            | Self::OutOfOrder { .. }
            | Self::NotAFile
            | Self::Misplaced
            | Self::FileMissing { .. }
            | Self::Cut { .. }
            | Self::Surplus { .. }
            | Self::Newer { .. }
            | Self::AnchorMissing { .. } => Weight::Problem,
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
