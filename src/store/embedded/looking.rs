//! The file as it lies there, for somebody who only looks: it is opened for reading, and nothing is made, mended or
//! written. While it is looked at no broker can begin with it.

use super::{
    super::{Change, Dated, Document, Documents, Due, Feed, Key, PAGE_MAX, StoreError, Swapped, check_shard},
    off_thread, tables,
};
use crate::clock::Clock;
use async_trait::async_trait;
use redb::ReadOnlyDatabase;
use std::{io, path::Path, sync::Arc};

/// How a file was found.
pub enum Looked {
    Open(Looking),
    /// There is none yet.
    Nothing,
    /// A process works with it.
    InUse,
    /// The process that worked with it was killed: whoever opens it next puts it in order.
    Unclean,
}

/// Documents that are not written to.
pub struct Looking {
    place: String,
    database: Arc<ReadOnlyDatabase>,
    clock: Arc<dyn Clock>,
}

impl Looking {
    /// [`StoreError::Unusable`] when the file is damaged, is something else, or may not be read.
    pub async fn at(path: &Path, clock: Arc<dyn Clock>) -> Result<Looked, StoreError> {
        let (path, place) = (path.to_owned(), path.display().to_string());
        off_thread(move || match tables::opened_to_look(&path) {
            Ok(database) => Ok(Looked::Open(Self { place, database: Arc::new(database), clock })),
            Err(redb::Error::DatabaseAlreadyOpen) => Ok(Looked::InUse),
            Err(redb::Error::RepairAborted) => Ok(Looked::Unclean),
            Err(redb::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Looked::Nothing),
            Err(error) => Err(tables::explain(&place, &error)),
        })
        .await
    }

    async fn asked<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&ReadOnlyDatabase) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<Dated<T>, StoreError> {
        let (database, place) = (self.database.clone(), self.place.clone());
        let value =
            off_thread(move || ask(&database).map_err(|error| tables::explain(&place, &error))).await?;
        Ok(Dated { value, store_now: self.clock.now() })
    }
}

#[async_trait]
impl Documents for Looking {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        let key = key.clone();
        self.asked(move |database| tables::read(database, &key)).await
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        let cause = "this store is only looked at".to_owned();
        Err(StoreError::Refused { key: change.key.to_string(), cause })
    }

    fn shards(&self) -> u16 {
        1
    }

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        check_shard(shard, self.shards())?;
        let now = self.clock.now();
        self.asked(move |database| tables::due(database, now, skip, limit.min(PAGE_MAX))).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        let found = self
            .asked(move |database| tables::scan(database, &prefix, after.as_ref(), limit.min(PAGE_MAX)))
            .await?;
        Ok(found.value)
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        Err(StoreError::Unusable { cause: "nothing changes in a store that is only looked at".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Embedded, *};
    use crate::{
        clock::SystemClock,
        store::{Expect, Room, Then, Version},
    };

    fn put(key: &Key, body: &[u8]) -> Change {
        let then = Then::Put { body: body.to_vec(), due: None };
        Change { key: key.clone(), expect: Expect::Absent, then, room: Room::Needed }
    }

    #[tokio::test]
    async fn a_file_is_looked_at_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        assert!(matches!(Looking::at(&file, clock.clone()).await, Ok(Looked::Nothing)));
        assert!(!file.exists(), "looking makes no file");

        let key = Key::new("connection/acme/one").unwrap();
        let store = Embedded::open(&file, clock.clone()).await.unwrap();
        store.swap(put(&key, b"body")).await.unwrap();
        assert!(matches!(Looking::at(&file, clock.clone()).await, Ok(Looked::InUse)));
        drop(store);

        let before = std::fs::read(&file).unwrap();
        let Ok(Looked::Open(looking)) = Looking::at(&file, clock.clone()).await else { panic!() };
        let found = looking.read(&key).await.unwrap().value.unwrap();
        assert_eq!((found.version, found.body.as_slice()), (Version::FIRST, b"body".as_slice()));
        assert_eq!(looking.scan("connection/", None, 10).await.unwrap(), [found]);
        let refused = looking.swap(put(&Key::new("connection/acme/two").unwrap(), b"")).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        drop(looking);
        assert_eq!(std::fs::read(&file).unwrap(), before);

        std::fs::write(&file, b"something else, and long enough to be looked at").unwrap();
        assert!(matches!(Looking::at(&file, clock).await, Err(StoreError::Unusable { .. })));
    }
}
