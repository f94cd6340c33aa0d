//! Looking through all records of one kind to count them. What cannot be read is counted and not told each time; what is of
//! an owner that is deleted is not there.

use super::{Aged, Ledger};
use crate::store::{Key, StoreError, records::Record};

/// A part of all records.
#[derive(Debug)]
pub struct Counted<R> {
    pub found: Vec<R>,
    pub unreadable: u64,
    /// Where the next part begins; `None` at the end.
    pub next: Option<Key>,
}

impl Ledger {
    /// Records whose key begins with `prefix`, after a key, at most `limit`.
    pub async fn counted<R: Record>(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Counted<R>, StoreError> {
        let since = self.remembered.now();
        let documents = self.documents.scan(prefix, after, limit).await?;
        let next = documents.last().filter(|_| documents.len() == limit).map(|last| last.key.clone());
        let (mut found, mut unreadable) = (Vec::with_capacity(documents.len()), 0);
        for document in &documents {
            let Some(name) = R::name_of(&document.key) else {
                unreadable += 1;
                continue;
            };
            match self.open::<R>(&name, document, since, (Aged::Taken, R::OPENED)).await {
                Ok(loaded) => found.push(loaded.record),
                Err(lost @ (StoreError::Unavailable { .. } | StoreError::KeyAway { .. })) => {
                    return Err(lost);
                }
                Err(StoreError::Deleted { .. }) => {}
                Err(_) => unreadable += 1,
            }
        }
        Ok(Counted { found, unreadable, next })
    }
}
