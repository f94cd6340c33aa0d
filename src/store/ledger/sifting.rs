//! Looking through all records of one kind for what still needs an old key, one by one: what cannot be read is told and
//! not passed over. Also takes out of the queue what is not to be done, and away what cannot be read any more.

use super::{Aged, Ledger, Loaded, Wrote};
use crate::store::{
    Change, Expect, Key, Room, StoreError, Swapped, Then, codec,
    records::{Opened, Record},
};

/// One record as it was found.
#[derive(Debug)]
pub struct Sifted<R> {
    pub key: Key,
    /// Which key version it says it was stamped by; nothing authenticates that where it cannot be read.
    pub stamped_by: Option<u32>,
    pub found: Result<Loaded<R>, StoreError>,
}

impl Ledger {
    /// Records whose key begins with `prefix`, after a key, in the order of their keys, also of an owner that is deleted.
    /// Fewer than `limit` means that there are no more.
    pub async fn sift<R: Record>(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Sifted<R>>, StoreError> {
        let since = self.remembered.now();
        let documents = self.documents.scan(prefix, after, limit).await?;
        let mut all = Vec::with_capacity(documents.len());
        for document in &documents {
            let stamped_by = codec::unwrap(&document.body).ok().map(|envelope| envelope.stamp_key_version);
            let found = match R::name_of(&document.key) {
                Some(name) => self.open(&name, document, since, (Aged::Refused, Opened::Always)).await,
                None => Err(StoreError::Broken {
                    key: document.key.to_string(),
                    cause: "key is not a name of its kind".into(),
                }),
            };
            match found {
                Err(lost @ (StoreError::Unavailable { .. } | StoreError::KeyAway { .. })) => {
                    return Err(lost);
                }
                found => all.push(Sifted { key: document.key.clone(), stamped_by, found }),
            }
        }
        Ok(all)
    }

    /// The record as it is now, found by its key.
    pub async fn sifted<R: Record>(&self, key: &Key) -> Result<Option<Sifted<R>>, StoreError> {
        let first = self.sift::<R>(key.as_str(), None, 1).await?.pop();
        Ok(first.filter(|sifted| sifted.key == *key))
    }

    /// Writes a record as it is, and takes it out of the queue of what is due.
    pub async fn park<R: Record>(&self, loaded: &Loaded<R>) -> Result<Wrote, StoreError> {
        self.put_due(&loaded.record, Expect::At(loaded.version), Room::Forced, None).await
    }

    /// Takes away documents whose key begins with `prefix`, at most `limit`, whether or not they can be read; says how
    /// many there were.
    pub async fn sweep(&self, prefix: &str, limit: usize) -> Result<usize, StoreError> {
        let documents = self.documents.scan(prefix, None, limit).await?;
        let mut swept = 0;
        for document in documents {
            let expect = Expect::At(document.version);
            let change = Change { key: document.key, expect, then: Then::Delete, room: Room::Forced };
            match self.dated(self.documents.swap(change).await?) {
                Swapped::Done(_) | Swapped::Conflict(_) => swept += 1,
            }
        }
        Ok(swept)
    }
}
