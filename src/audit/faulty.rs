//! For tests: a folder on a disk that fails as it is told, and samples of what is written to it.

use super::{
    chain::{Chain, ChainError, Options},
    event::{Event, Name, Release},
    hex::Bytes,
    reading::{self, Trail},
    shelf::{Folder, Sheet, Shelf},
    verify::{Against, Report, verify},
};
use crate::{clock::Timestamp, seal::AuditKey};
use parking_lot::{Condvar, Mutex};
use std::{io, path::Path, sync::Arc};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Sound,
    /// ENOSPC after half of what is written.
    Full,
    /// EIO, when all was written.
    NoSync,
    /// Nothing can be made.
    ReadOnly,
    /// Until it is another fault.
    Stuck,
}

#[derive(Clone, Default)]
pub(super) struct Disk(Arc<(Mutex<Option<Fault>>, Condvar)>);

impl Disk {
    pub(super) fn is(&self, fault: Fault) {
        *self.0.0.lock() = Some(fault);
        self.0.1.notify_all();
    }

    fn fault(&self) -> Fault {
        self.0.0.lock().unwrap_or(Fault::Sound)
    }

    pub(super) fn shelf(&self, folder: &Path) -> Box<dyn Shelf> {
        Box::new(Faulty { folder: Folder::open(folder).unwrap(), disk: self.clone() })
    }
}

struct Faulty {
    folder: Folder,
    disk: Disk,
}

struct FaultySheet {
    sheet: Box<dyn Sheet>,
    disk: Disk,
}

impl Shelf for Faulty {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.folder.size(name)
    }

    fn head(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.folder.head(name, most)
    }

    fn tail(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.folder.tail(name, most)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>> {
        match self.disk.fault() {
            Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Sound | Fault::Full | Fault::NoSync | Fault::Stuck => {
                let sheet = self.folder.create(name)?;
                Ok(Box::new(FaultySheet { sheet, disk: self.disk.clone() }))
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.fault() {
            // The harder case: the file stays.
            Fault::NoSync | Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Sound | Fault::Full | Fault::Stuck => self.folder.remove(name),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync()
    }
}

impl Sheet for FaultySheet {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.disk.fault() {
            Fault::Full => {
                self.sheet.append(&bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Sound | Fault::NoSync | Fault::Stuck => self.sheet.append(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let (fault, changed) = &*self.disk.0;
        let mut now = fault.lock();
        while *now == Some(Fault::Stuck) {
            changed.wait(&mut now);
        }
        match now.unwrap_or(Fault::Sound) {
            Fault::NoSync => Err(io::Error::from_raw_os_error(5)),
            Fault::Sound | Fault::Full | Fault::ReadOnly | Fault::Stuck => self.sheet.sync(),
        }
    }
}

pub(super) fn key() -> Arc<AuditKey> {
    static KEY: std::sync::LazyLock<Arc<AuditKey>> =
        std::sync::LazyLock::new(|| Arc::new(AuditKey::parse(&crate::seal::fresh_audit_key()).unwrap()));
    KEY.clone()
}

pub(super) fn chain(shelf: Box<dyn Shelf>, rotate_bytes: u64) -> Result<Chain, ChainError> {
    let new_chain = Uuid::from_u128(7);
    Chain::open(shelf, Options { key: key(), replica: Name::of(&"one"), rotate_bytes, new_chain })
}

pub(super) fn opened(folder: &Path, rotate_bytes: u64) -> Chain {
    chain(Box::new(Folder::open(folder).unwrap()), rotate_bytes).unwrap()
}

/// A release that differs from others by its number.
pub(super) fn release(number: u64) -> Release {
    Release {
        caller: Name::of(&"spiffe://example.org/billing"),
        connection: Name::of(&format!("tenants/acme/connections/c{number}")),
        family: Uuid::from_u128(1),
        generation: number,
        token: Bytes([u8::try_from(number % 256).unwrap(); 16]),
        expires_at: Timestamp::from_secs(2_000_000_000),
    }
}

pub(super) fn group(numbers: std::ops::Range<u64>) -> Vec<(Timestamp, Event)> {
    numbers.map(|number| (Timestamp::from_secs(number), Event::Release(release(number)))).collect()
}

/// The one trail of a folder.
pub(super) fn trail(folder: &Path) -> Trail {
    reading::trails(&[folder.to_owned()]).unwrap().pop().unwrap_or_default()
}

/// With the key.
pub(super) fn verified(folder: &Path) -> Report {
    verify(&trail(folder), &Against { key: Some(&key()), anchors: &[] }).unwrap()
}

/// Generations of all releases that the trail holds, in its order.
pub(super) fn releases(folder: &Path) -> Vec<u64> {
    let filter = super::query::Filter::default();
    let lines = super::query::lines(&[trail(folder)], &filter).unwrap();
    let generation = |event: &Event| match event {
        Event::Release(release) => Some(release.generation),
        _ => None,
    };
    lines.iter().filter_map(|hit| generation(&hit.line.event)).collect()
}
