//! The folder that a trail lies in, and the seam behind which a disk can be full, broken or stuck in tests.
//! Blocks: never called from an async task itself.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Nobody but the account of the process reads the trail by default.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Held by the one writer of a folder.
const LOCK: &str = "lock";

/// A folder of files that are only ever appended to.
pub trait Shelf: Send {
    /// Names of all files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    fn size(&self, name: &str) -> io::Result<u64>;
    /// The first `most` bytes.
    fn head(&self, name: &str, most: u64) -> io::Result<Vec<u8>>;
    /// The last `most` bytes.
    fn tail(&self, name: &str, most: u64) -> io::Result<Vec<u8>>;
    /// A new file; one of this name must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is appended to.
pub trait Sheet: Send {
    /// All of it, or an error after any part of it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything appended is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the file system, which no other process writes to while this is held.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// The trail's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Check that the path is a folder, or can be made, and that the process's account may write there.
    #[error("{path} cannot be written: {cause}")]
    Unusable { path: PathBuf, cause: io::Error },
    /// Each replica needs a folder of its own: set `replica`, or `audit.dir`.
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
}

impl Folder {
    /// Makes the folder if there is none, and keeps other writers out of it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |cause| FolderError::Unusable { path: path.to_owned(), cause };
        fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(unusable)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(unusable(cause)),
        }
    }
}

impl Shelf for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn head(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path.join(name))?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn tail(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path.join(name))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Sheet>> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).mode(FILE_MODE).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Sheet for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
