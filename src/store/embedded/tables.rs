//! The tables in the file and the transactions over them, blocking. Knows how to open the file again after
//! an input or output error, which the database below demands. Never runs on an async worker thread.

use super::super::{Change, Document, Due, Expect, Key, StoreError, Swapped, Then, Version};
use crate::clock::Timestamp;
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use redb::{
    Database, Durability, ReadOnlyDatabase, ReadableDatabase, ReadableTable, Table, TableDefinition,
    WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
};

/// Key to version, due time and body.
const DOCUMENTS: TableDefinition<&str, Stored> = TableDefinition::new("documents");
/// Due time and key, which sorts the queue.
const DUE: TableDefinition<(u64, &str), ()> = TableDefinition::new("due");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

type Stored<'a> = (u64, Option<u64>, &'a [u8]);

/// What the tables above look like; another number is another program's file.
const FORMAT: u64 = 1;
/// Memory for pages, in bytes.
const CACHE_MAX: usize = 64 * 1024 * 1024;

type Opener = Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>;

pub(super) struct Tables {
    /// The file, as errors name it.
    place: String,
    open: Opener,
    /// `None` after an error that the database remembers: it has to be opened again before it works.
    database: RwLock<Option<Database>>,
}

impl Tables {
    pub(super) fn on_disk(path: PathBuf) -> Result<Self, StoreError> {
        Self::with_opener(path.display().to_string(), Box::new(move || open_file(&path)))
    }

    pub(super) fn in_memory() -> Result<Self, StoreError> {
        let open = || Ok(Database::builder().create_with_backend(InMemoryBackend::new())?);
        Self::with_opener("memory".to_owned(), Box::new(open))
    }

    pub(super) fn with_opener(place: String, open: Opener) -> Result<Self, StoreError> {
        let tables = Self { place, open, database: RwLock::new(None) };
        drop(tables.opened()?);
        Ok(tables)
    }

    pub(super) fn read(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.with(|database| read(database, key))
    }

    pub(super) fn due(&self, now: Timestamp, skip: usize, limit: usize) -> Result<Due, StoreError> {
        self.with(|database| due(database, now, skip, limit))
    }

    pub(super) fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.with(|database| scan(database, prefix, after, limit))
    }

    /// All of it in one transaction, synced once; each change sees those before it. An error is everybody's.
    pub(super) fn write(&self, changes: &[Change]) -> Result<Vec<Swapped>, StoreError> {
        self.with(|database| {
            let transaction = begin_durable(database)?;
            let swapped = {
                let mut documents = transaction.open_table(DOCUMENTS)?;
                let mut queue = transaction.open_table(DUE)?;
                changes
                    .iter()
                    .map(|change| apply(change, &mut documents, &mut queue))
                    .collect::<Result<Vec<_>, _>>()?
            };
            if swapped.iter().any(|end| matches!(end, Swapped::Done(_))) {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(swapped)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let result = work(&*self.opened()?);
        result.map_err(|error| {
            if is_remembered(&error) {
                *self.database.write() = None;
            }
            explain(&self.place, &error)
        })
    }

    fn opened(&self) -> Result<MappedRwLockReadGuard<'_, Database>, StoreError> {
        let guard = self.database.read();
        if let Ok(open) = RwLockReadGuard::try_map(guard, Option::as_ref) {
            return Ok(open);
        }
        let mut slot = self.database.write();
        if slot.is_none() {
            let database = (self.open)().and_then(prepared).map_err(|error| explain(&self.place, &error))?;
            *slot = Some(database);
        }
        RwLockReadGuard::try_map(RwLockWriteGuard::downgrade(slot), Option::as_ref)
            .map_err(|_| StoreError::Unavailable { cause: format!("{} could not be opened", self.place) })
    }
}

pub(super) fn read(database: &impl ReadableDatabase, key: &Key) -> Result<Option<Document>, redb::Error> {
    let documents = database.begin_read()?.open_table(DOCUMENTS)?;
    Ok(documents.get(key.as_str())?.map(|found| document(key, found.value())))
}

pub(super) fn due(
    database: &impl ReadableDatabase,
    now: Timestamp,
    skip: usize,
    limit: usize,
) -> Result<Due, redb::Error> {
    let queue = database.begin_read()?.open_table(DUE)?;
    let mut due = Due::default();
    for entry in queue.range(..=(now.0, LAST_KEY))?.skip(skip).take(limit) {
        let (entry, ()) = entry.map(|(entry, unit)| (entry, unit.value()))?;
        let (at, key) = entry.value();
        due.keys.push((stored_key(key)?, Timestamp(at)));
    }
    let later = queue.range((now.0, LAST_KEY)..)?.next().transpose()?;
    due.next = later.map(|(entry, _)| Timestamp(entry.value().0));
    Ok(due)
}

pub(super) fn scan(
    database: &impl ReadableDatabase,
    prefix: &str,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Document>, redb::Error> {
    let documents = database.begin_read()?.open_table(DOCUMENTS)?;
    let start = after.map_or(prefix, |key| key.as_str().max(prefix));
    let mut page = Vec::new();
    for entry in documents.range(start..)? {
        let (key, value) = entry?;
        if page.len() == limit || !key.value().starts_with(prefix) {
            break;
        }
        if after.is_none_or(|after| after.as_str() < key.value()) {
            page.push(document(&stored_key(key.value())?, value.value()));
        }
    }
    Ok(page)
}

/// A file as it lies there, opened by somebody who writes nothing to it.
pub(super) fn opened_to_look(path: &Path) -> Result<ReadOnlyDatabase, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE_MAX).open_read_only(path)?;
    let meta = database.begin_read()?.open_table(META)?;
    match meta.get("format")?.map(|format| format.value()) {
        Some(FORMAT) | None => {}
        Some(other) => {
            return Err(redb::Error::UpgradeRequired(u8::try_from(other).unwrap_or(u8::MAX)));
        }
    }
    drop(meta);
    Ok(database)
}

/// Sorts behind every key: keys are visible ASCII.
const LAST_KEY: &str = "\u{7f}";

fn apply(
    change: &Change,
    documents: &mut Table<'_, &'static str, Stored<'static>>,
    queue: &mut Table<'_, (u64, &'static str), ()>,
) -> Result<Swapped, redb::Error> {
    let key = change.key.as_str();
    let (found, was_due) = match documents.get(key)? {
        Some(found) => {
            let (version, due, _) = found.value();
            (Expect::At(Version(version)), due)
        }
        None => (Expect::Absent, None),
    };
    if found != change.expect {
        let current = documents.get(key)?.map(|current| document(&change.key, current.value()));
        return Ok(Swapped::Conflict(current));
    }
    if let Some(at) = was_due {
        queue.remove((at, key))?;
    }
    match (&change.then, change.expect) {
        (Then::Put { body, due }, expect) => {
            let version = expect.writes();
            documents.insert(key, (version.0, due.map(|at| at.0), body.as_slice()))?;
            if let Some(at) = due {
                queue.insert((at.0, key), ())?;
            }
            Ok(Swapped::Done(version))
        }
        (Then::Delete, Expect::At(version)) => {
            documents.remove(key)?;
            Ok(Swapped::Done(version))
        }
        // `Change::check` refuses this; nothing was there and nothing is done.
        (Then::Delete, Expect::Absent) => Ok(Swapped::Conflict(None)),
    }
}

fn document(key: &Key, (version, _, body): Stored<'_>) -> Document {
    Document { key: key.clone(), version: Version(version), body: body.to_vec() }
}

fn stored_key(key: &str) -> Result<Key, redb::Error> {
    Key::new(key).map_err(|_| redb::Error::Corrupted("a key is malformed".to_owned()))
}

fn begin_durable(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    Ok(transaction)
}

fn open_file(path: &Path) -> Result<Database, redb::Error> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let database = Database::builder()
        .set_cache_size(CACHE_MAX)
        // A damaged file is then told from a good one at the start, rather than by a panic later.
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(file)?)?;
    // A new file survives a crash only once its folder is synced, too.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(database)
}

/// Makes the tables, so that readers find them, and sees whose file it is. Writes only what is missing: on a full disk,
/// what is there can be read.
fn prepared(database: Database) -> Result<Database, redb::Error> {
    if is_whole(&database)? {
        return Ok(database);
    }
    let transaction = begin_durable(&database)?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        match format {
            Some(other) => is_ours(other)?,
            None => drop(meta.insert("format", FORMAT)?),
        }
        transaction.open_table(DOCUMENTS)?;
        transaction.open_table(DUE)?;
    }
    transaction.commit()?;
    Ok(database)
}

/// Whether there is nothing left to make.
fn is_whole(database: &Database) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let found = |missing: redb::TableError| match missing {
        redb::TableError::TableDoesNotExist(_) => Ok(()),
        other => Err(redb::Error::from(other)),
    };
    let format = match transaction.open_table(META) {
        Ok(meta) => meta.get("format")?.map(|format| format.value()),
        Err(missing) => return found(missing).map(|()| false),
    };
    let Some(format) = format else { return Ok(false) };
    is_ours(format)?;
    let tables =
        transaction.open_table(DOCUMENTS).map(drop).and_then(|()| transaction.open_table(DUE).map(drop));
    tables.map_or_else(|missing| found(missing).map(|()| false), |()| Ok(true))
}

fn is_ours(format: u64) -> Result<(), redb::Error> {
    if format == FORMAT {
        return Ok(());
    }
    Err(redb::Error::UpgradeRequired(u8::try_from(format).unwrap_or(u8::MAX)))
}

/// A panic of the database over damaged pages becomes an error of this call, not the end of the process.
pub(super) fn contained<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Unusable {
            cause: "the database file is damaged: restore it from a backup".to_owned(),
        })
    })
}

/// After these the database refuses everything until it is opened again.
fn is_remembered(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::LockPoisoned(_)
            | redb::Error::Corrupted(_)
    )
}

pub(super) fn explain(place: &str, error: &redb::Error) -> StoreError {
    use redb::Error as E;
    let unusable = |cause: String| StoreError::Unusable { cause };
    match error {
        E::DatabaseAlreadyOpen | E::LockProtocolMismatch => unusable(format!(
            "{place} is held by another process, most likely a second bursar (`fuser {place}` names it): \
             stop that one, give each its own file, or share a Redis"
        )),
        E::UpgradeRequired(format) => unusable(format!(
            "{place} has format {format}, this program writes {FORMAT}: use the version that wrote it"
        )),
        E::Corrupted(_) | E::RepairAborted => {
            unusable(format!("{place} is damaged: restore it from a backup"))
        }
        E::TableTypeMismatch { .. }
        | E::TypeDefinitionChanged { .. }
        | E::TableIsMultimap(_)
        | E::TableIsNotMultimap(_) => unusable(format!("{place} is another program's database")),
        E::Io(error) => explain_io(place, error),
        // The list is the database's own and open-ended; what is left here works again once reopened.
        _ => StoreError::Unavailable { cause: format!("{place} failed and is opened anew") },
    }
}

fn explain_io(place: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full
        }
        io::ErrorKind::InvalidData => StoreError::Unusable {
            cause: format!("{place} is not a database of this program: name another file"),
        },
        kind @ (io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ReadOnlyFilesystem) => StoreError::Unusable {
            cause: format!("{place}: {kind}: its folder must exist and be writable by this user"),
        },
        kind => StoreError::Unavailable { cause: format!("{place}: {kind}") },
    }
}
